# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._commands import run_command
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.plan import Plan

FLAG = "on"
PAGE = "page.html"
Files = t.Dict[str, t.Optional[bytes]]


class Standing(t.NamedTuple):
    """What is there: the content of every file of ours, None where it is missing, and whether the site is closed by hand or by us."""

    files: Files
    on: bool


class Balancer:
    """What closes a site. Everything that is the same for all is in ``operation.py``.

    *config* are names of files that only count after the balancer has read them again.
    """

    config: t.ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: t.Mapping[str, t.Any], directory: str) -> None:
        self.params = params
        self.directory = directory
        self.commands: dict[str, t.Any] = dict(params["commands"])

    def render(self, plan: Plan) -> dict[str, bytes]:
        """Return the files, by their names, that *plan* needs. Pure. Raises SeamlessError where this balancer can't do it."""
        raise NotImplementedError

    def lines(self, header: str) -> dict[str, str]:
        """Return what the user writes once, by where it belongs."""
        raise NotImplementedError

    def take_over(self) -> None:
        """Have the balancer test its configuration and read it again. Raises SeamlessError where it does not."""
        raise NotImplementedError

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def standing(self, names: t.Iterable[str]) -> Standing:
        return Standing({name: read(self.path(name)) for name in names}, os.path.exists(self.path(FLAG)))

    def differs(self, wanted: Standing) -> bool:
        """Whether what the balancer has at work is known to be other than its files say."""
        return False

    def is_known(self) -> bool:
        """Whether the balancer may have read our files: they were there before."""
        return any(os.path.exists(self.path(name)) for name in self.config)

    def apply(self, wanted: Standing) -> None:
        """Bring about *wanted*. What closes the site comes last, what opens it first: nobody waits for a reload to get in."""
        if not wanted.on:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path(FLAG))
        changed = [name for name, data in wanted.files.items() if write(self.path(name), data)]
        if set(changed) & set(self.config):
            self.take_over()
        if wanted.on and not os.path.exists(self.path(FLAG)):
            _files.write_atomically(self.path(FLAG), b"")

    def write_only(self, wanted: Standing) -> None:
        """Put the files there for a balancer that does not know them yet."""
        for name, data in wanted.files.items():
            write(self.path(name), data)

    def prepare(self) -> None:
        """Make the directory. The balancer reads it as a user without rights."""
        for directory in (os.path.dirname(self.directory), self.directory):
            if not os.path.isdir(directory):
                _files.make_directory(directory)
                os.chmod(directory, 0o755)

    def shown(self, name: str, data: bytes | None) -> str:
        """Return the content of a file as a diff shows it."""
        return (data or b"").decode(errors="replace")

    def check(self, plan: Plan) -> None:
        """Raise SeamlessError where this machine can't do what *plan* says."""

    def run(self, name: str, default: str) -> str:
        """Run one of the commands and return what it printed."""
        return run_command(self.commands.get(name) or default, f"commands.{name}")


def read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def write(path: str, data: bytes | None) -> bool:
    """Bring the file at *path* to *data*, None for no file; return whether that was a change."""
    if read(path) == data:
        return False
    if data is None:
        os.unlink(path)
    else:
        _files.write_atomically(path, data)
    return True
