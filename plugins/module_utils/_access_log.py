# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Counts the requests in an access log, those that failed and those that were slow, from a place in it to its last whole line."""

from __future__ import annotations

import glob
import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

COMBINED = r'" (?P<status>\d{3}) '
# What a group of the pattern is counted in, as a part of a second.
UNITS = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6}
_BLOCK = 1 << 20

ARGUMENT_SPEC: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "pattern": {"type": "str", "default": COMBINED},
    "ignore": {"type": "str"},
    "slow_seconds": {"type": "float"},
    "since": {"type": "dict", "options": {"inode": {"type": "int", "required": True}, "offset": {"type": "int", "required": True}}},
    "max_bytes": {"type": "int", "default": 1 << 26},
}


def pattern_problems(pattern: t.Any, ignore: t.Any, slow_seconds: t.Any, *, upstream: bool = False) -> list[str]:
    """Return what is wrong with these parameters, each as ``NAME is …``. With *upstream*, the pattern has to tell who answered."""
    problems = []
    for name, text in (("pattern", pattern), ("ignore", ignore)):
        try:
            re.compile(str(text or ""))
        except re.error as exc:
            problems.append(f"{name} is {text!r}, which is no regular expression: {exc}.")
    if problems:
        return problems
    groups = re.compile(str(pattern)).groupindex
    wanted = ["status", *(["upstream"] if upstream else [])]
    problems += [f"pattern is {pattern!r}: it has no group named {group}, such as (?P<{group}>…)." for group in wanted if group not in groups]
    if slow_seconds is not None and not set(UNITS) & set(groups):
        problems.append(f"slow_seconds is {slow_seconds!r}, and pattern has no group of {', '.join(UNITS)} that would tell how long a request took.")
    return problems


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Count, and change nothing. Raises SeamlessError for what can't be read."""
    problems = pattern_problems(params["pattern"], params["ignore"], params["slow_seconds"])
    if problems:
        raise SeamlessError(" ".join(problems))
    path, since = params["path"], params["since"]
    counter = _Counter(params["pattern"], params["ignore"], params["slow_seconds"])
    with _opened(path) as file:
        status = os.fstat(file.fileno())
        start, complete = 0, True
        if since and since["inode"] == status.st_ino:
            # A log that is shorter than it was has been emptied in place.
            start = since["offset"] if since["offset"] <= status.st_size else 0
        elif since:
            complete = _rest_of_rotated(path, since, counter, params["max_bytes"])
        offset = _count(file, start, status.st_size, counter, params["max_bytes"])
    return {
        "changed": False, "counts": counter.counts, "place": {"inode": status.st_ino, "offset": offset}, "complete": complete, "unread": counter.unread,
    }


def _opened(path: str) -> t.BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise SeamlessError(f"path is {path!r}, and there is no such file: name the access log that the server writes.") from None
    except PermissionError:
        raise SeamlessError(f"path is {path!r}, which this user must not read: use become, or have the log be readable.") from None
    except IsADirectoryError:
        raise SeamlessError(f"path is {path!r}, which is a directory: name the access log in it.") from None


def _rest_of_rotated(path: str, since: t.Mapping[str, int], counter: _Counter, most: int) -> bool:
    """Count what was written to the log of before after the place in it. Returns whether it was found, under whatever name that begins with its own."""
    for other in glob.glob(f"{glob.escape(path)}*"):
        try:
            with open(other, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino == since["inode"]:
                    _count(file, since["offset"], status.st_size, counter, most)
                    return True
        except OSError:
            continue
    return False


def _count(file: t.BinaryIO, start: int, end: int, counter: _Counter, most: int) -> int:
    """Count the whole lines between *start* and *end*, of the last *most* bytes. Returns where the last one ends."""
    if end - start > most:
        start = end - most
        file.seek(start - 1)
        start += len(file.readline()) - 1
    file.seek(start)
    offset, rest = start, b""
    while offset + len(rest) < end:
        block = file.read(min(_BLOCK, end - offset - len(rest)))
        if not block:
            break
        whole, newline, rest = (rest + block).rpartition(b"\n")
        offset += len(whole) + len(newline)
        for line in whole.split(b"\n") if newline else ():
            counter.add(line.decode("utf-8", "replace"))
    return offset


class _Counter:
    """What the lines so far have told, by who answered ("" where they don't tell)."""

    def __init__(self, pattern: str, ignore: str | None, slow_seconds: float | None) -> None:
        self._pattern, self._ignore, self._slow = re.compile(pattern), re.compile(ignore) if ignore else None, slow_seconds
        self._unit = next((name for name in UNITS if name in self._pattern.groupindex), None)
        self.counts: dict[str, dict[str, int]] = {}
        self.unread = 0

    def add(self, line: str) -> None:
        if not line or (self._ignore and self._ignore.search(line)):
            return
        found = self._pattern.search(line)
        if found is None:
            self.unread += 1
            return
        groups = found.groupdict()
        tries = _several(groups.get("upstream"))
        states = _several(groups["status"])
        times = _several(groups[self._unit]) if self._unit else []
        for number, upstream in enumerate(tries):
            # A request that went to several servers, one after the other, is listed once for each; of one status only the last server knows.
            if len(states) == len(tries):
                state = states[number]
            elif number == len(tries) - 1:
                state = states[-1]
            else:
                state = "-"
            seconds = times[number] if len(times) == len(tries) else times[-1] if times and number == len(tries) - 1 else None
            self._tell(upstream, failed=not state.isdigit() or int(state) >= 500, slow=self._is_slow(seconds))

    def _is_slow(self, text: str | None) -> bool:
        if self._slow is None or self._unit is None or text is None:
            return False
        try:
            return float(text) * UNITS[self._unit] > self._slow
        except ValueError:
            return False

    def _tell(self, upstream: str, *, failed: bool, slow: bool) -> None:
        count = self.counts.setdefault(upstream, {"requests": 0, "errors": 0, "slow": 0})
        count["requests"] += 1
        count["errors"] += failed
        count["slow"] += slow


def _several(text: str | None) -> list[str]:
    """Return the parts of what nginx writes of a request that it passed to several servers: ``10.0.0.1:80, 10.0.0.2:80 : 10.0.0.3:80``."""
    return [part for part in re.split(r"\s*,\s*|\s+:\s+", text or "") if part] or [""]
