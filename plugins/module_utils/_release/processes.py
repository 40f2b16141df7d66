# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import os
import typing as t


class Use(t.NamedTuple):
    """A process that works in a release, and how that shows: cwd, exe, cmdline or maps."""

    pid: int
    release: str
    how: str


def pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _release_in(path: str, releases: t.Sequence[str]) -> str | None:
    for directory in releases:
        if path.startswith(directory + "/"):
            return path[len(directory) + 1:].split("/", 1)[0].split(" (deleted)", 1)[0] or None
    return None


def uses(pid: int, releases_dir: str, *, maps: bool = True) -> list[Use]:
    """Return how process *pid* shows that it works in a release below *releases_dir*. Unreadable processes show nothing."""
    directories = list(dict.fromkeys((releases_dir, os.path.realpath(releases_dir))))
    found = []
    for how in ("cwd", "exe"):
        try:
            release = _release_in(os.readlink(f"/proc/{pid}/{how}"), directories)
        except OSError:
            continue
        if release:
            found.append(Use(pid, release, how))
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read().decode(errors="replace").split("\0")
    except OSError:
        arguments = []
    for argument in arguments:
        release = _release_in(argument, directories)
        if release:
            found.append(Use(pid, release, "cmdline"))
    if maps:
        found += [Use(pid, release, "maps") for release in _mapped(pid, directories)]
    return list(dict.fromkeys(found))


def _mapped(pid: int, directories: t.Sequence[str]) -> list[str]:
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
            paths = {line.split(None, 5)[5].strip() for line in file if line.count("/") and len(line.split(None, 5)) == 6}
    except OSError:
        return []
    return sorted({release for release in (_release_in(path, directories) for path in paths) if release})


def users_of_releases(releases_dir: str) -> dict[str, list[Use]]:
    """Return every release below *releases_dir* that some process works in, with those processes."""
    found: dict[str, list[Use]] = {}
    for pid in pids():
        for use in uses(pid, releases_dir):
            found.setdefault(use.release, []).append(use)
    return found
