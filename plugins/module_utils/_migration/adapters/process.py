# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Runs a framework's commands: bounded in time and output, and without the secrets in what is shown."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.base import Command, Result

HEAD, TAIL = 1 << 20, 1 << 20  # characters of an output that are kept: of its beginning, which adapters read, and of its end, which people read
_PASSWORD = re.compile(r"(\w+://[^\s:/@]+:)[^\s@]+(@)")
_SETTING = re.compile(r"((?:password|passwd|pwd|secret|token)\s*[=:]\s*)[^\s,;&'\"]+", re.IGNORECASE)


class _Kept:
    """An output of which only the beginning and the end are kept."""

    def __init__(self) -> None:
        self.head, self.tail, self.lost = bytearray(), bytearray(), 0

    def add(self, data: bytes) -> None:
        room = max(0, HEAD - len(self.head))
        self.head += data[:room]
        self.tail += data[room:]
        if len(self.tail) > 2 * TAIL:
            self.lost += len(self.tail) - TAIL
            del self.tail[:-TAIL]

    def text(self) -> str:
        middle = f"\n… {self.lost} bytes left out …\n".encode() if self.lost else b""
        return (bytes(self.head) + middle + bytes(self.tail)).decode("utf-8", "replace")


def run(command: Command, timeout: float, keep: t.Collection[int] = ()) -> Result:
    """Run *command* to its end. Its process group is ended, by force after ten seconds, when it takes longer than *timeout* seconds.

    It inherits the file descriptors *keep*. With the connection that holds the migration lock among them the lock stays for as long as the command lives,
    even when this process is killed.

    Raises SeamlessError when it can't be started or took too long.
    """
    shown = command.argv if isinstance(command.argv, str) else " ".join(command.argv)
    if not os.path.isdir(command.directory):
        raise SeamlessError(f"directory {command.directory} does not exist on this host: set directory to where the release's migrations are.")
    try:
        process = subprocess.Popen(
            command.argv if isinstance(command.argv, str) else list(command.argv), shell=isinstance(command.argv, str), cwd=command.directory,
            env={**os.environ, **command.environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            pass_fds=tuple(keep),
        )
    except (FileNotFoundError, PermissionError) as exc:
        raise SeamlessError(f"{shown.split()[0]} can't be run in {command.directory} ({exc.strerror}): set bin_dir or binary.") from exc
    kept = (_Kept(), _Kept())
    readers = [threading.Thread(target=_read, args=pair, daemon=True) for pair in zip((process.stdout, process.stderr), kept)]
    for reader in readers:
        reader.start()
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        _end(process)
        raise SeamlessError(
            f"{shown} took more than {timeout:g} s and was ended: find out what it waits for, or set timeout to more seconds.",
            output=kept[0].text()[-4000:] + kept[1].text()[-4000:],
        ) from None
    except BaseException:
        _end(process)
        raise
    for reader in readers:
        reader.join(5)  # a child that it left behind may keep the pipe open
    return Result(code, kept[0].text(), kept[1].text())


def _read(pipe: t.Any, kept: _Kept) -> None:
    while True:
        data = os.read(pipe.fileno(), 65536)
        if not data:
            return
        kept.add(data)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if process.poll() is not None:
            return


class Curtain:
    """Takes secrets out of what is shown: the values it is given, passwords in URLs and settings that look like one."""

    def __init__(self, secrets: t.Iterable[str]) -> None:
        found = {secret for secret in secrets if len(secret) >= 3}
        # A URL's password is a secret by itself.
        found.update(match for secret in list(found) for match in re.findall(r"://[^\s:/@]+:([^\s@]{3,})@", secret))
        self.secrets = sorted(found, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "********")
        return _SETTING.sub(r"\1********", _PASSWORD.sub(r"\1********\2", text))
