# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


class ManagedFile:
    """A file that says to a balancer who its members are. Replaced by a rename: a balancer that reads it half-written drops every member.

    *lock_directory* is where callers wait for each other: a lock beside the file could be read by the balancer as configuration.
    """

    def __init__(self, path: str, lock_directory: str) -> None:
        self.path = os.path.realpath(_files.expand(path))
        self.lock_directory = _files.expand(lock_directory)

    def read(self) -> str:
        try:
            with open(self.path, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError as exc:
            raise SeamlessError(f"path is {self.path!r}, and there is no such file: write it once, with every member, and have the balancer read it.") from exc
        except UnicodeDecodeError as exc:
            raise SeamlessError(f"path is {self.path!r}, which is no text file.") from exc
        except IsADirectoryError as exc:
            raise SeamlessError(f"path is {self.path!r}, a directory: name the one file in it that holds the members.") from exc

    def write(self, text: str) -> None:
        """Replace the file; owner, group and mode stay."""
        before = os.stat(self.path)
        _files.write_atomically(self.path, text.encode(), stat.S_IMODE(before.st_mode))
        now = os.stat(self.path)
        if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
            os.chown(self.path, before.st_uid, before.st_gid)

    @contextlib.contextmanager
    def exclusive(self) -> t.Iterator[None]:
        """Let one caller at a time read, change and write: two hosts may come and go at the same moment."""
        _files.make_directory(self.lock_directory)
        name = hashlib.sha256(self.path.encode()).hexdigest()[:12]
        with _files.locked(os.path.join(self.lock_directory, f".file-{name}.lock")):
            yield

    @contextlib.contextmanager
    def trial(self, before: str, text: str) -> t.Iterator[None]:
        """Write *text*; where what follows fails, such as the balancer that does not take it over, the file holds *before* again."""
        self.write(text)
        try:
            yield
        except BaseException:
            self.write(before)
            raise
