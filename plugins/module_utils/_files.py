# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


def expand(path: str) -> str:
    """Return *path* absolute, with ``~`` and variables resolved on this host."""
    return os.path.abspath(os.path.expanduser(os.path.expandvars(path)))


def sync_directory(path: str) -> None:
    """Make the entries of directory *path* survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: str, data: bytes, mode: int = 0o644) -> None:
    """Replace the file at *path*: readers see the old content or the new, also after a power cut."""
    directory = os.path.dirname(path)
    import tempfile

    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=directory)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(directory)


@contextlib.contextmanager
def locked(path: str) -> t.Iterator[None]:
    """Let one process at a time be here for the lock file at *path*. The kernel lets go of it when the process dies."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_json(path: str, value: t.Any, mode: int = 0o644) -> None:
    write_atomically(path, json.dumps(value, sort_keys=True).encode() + b"\n", mode)


def read_json(path: str) -> t.Any:
    """Return the content of *path*, or None where there is no such file. Raises SeamlessError for anything but JSON."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except ValueError as exc:
        raise SeamlessError(f"{path} is not JSON ({exc}): it was written by hand or damaged. Move it away and run again.") from exc


def make_directory(path: str, mode: int = 0o755) -> None:
    """Create *path* and its parents where missing, with a clear error where that can't be."""
    try:
        os.makedirs(path, mode=mode, exist_ok=True)
    except FileExistsError as exc:
        raise SeamlessError(f"{path} is a file, a directory is needed there: move the file away.") from exc
    except OSError as exc:
        raise SeamlessError(
            f"{path} can't be created: {exc.strerror}. Create it for the user that Ansible becomes, or use become: true."
        ) from exc
