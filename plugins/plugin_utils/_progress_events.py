# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Happenings of a rollout as lines of JSON, for CI and for what ships logs."""

from __future__ import annotations

import datetime
import json
import os
import sys
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_model import Happening

SCHEMA = 1
# Kept until it is known where the lines go.
_MOST_KEPT = 1000
# How a view calls a step is nothing to search for.
_FOR_PEOPLE = ("event", "at", "words")


def iso(at: float) -> str:
    """Return seconds since 1970 as a time in UTC, with milliseconds."""
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record(happening: Happening, facts: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what is written of *happening* in a rollout of *facts*; what there is nothing to say of is left out."""
    head = {"schema": SCHEMA, "time": iso(happening["at"]), "event": happening["event"]}
    of = {"rollout": facts.get("id"), "app": facts.get("app"), "release": facts.get("release")}
    return {**head, **of, **{key: value for key, value in happening.items() if key not in _FOR_PEOPLE and value != ""}}


class Lines:
    """Appends lines to a file, or to stderr for ``-``. It never fails and never waits: what can't be written is told to *warn*, once, and lost."""

    def __init__(self, warn: t.Callable[[str], None]) -> None:
        self.warn = warn
        self._path: str | None = None
        self._handle: int | None = None
        self._kept: list[bytes] = []
        self._broken = False

    def to(self, path: str) -> None:
        """Write to *path* from now on, and first what was kept."""
        if path == self._path:
            return
        self.close()
        self._path = path
        kept, self._kept = self._kept, []
        for line in kept:
            self._write(line)

    def add(self, data: t.Mapping[str, t.Any]) -> None:
        line = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
        if self._path is None:
            self._kept = [*self._kept, line][-_MOST_KEPT:]
        else:
            self._write(line)

    def _write(self, line: bytes) -> None:
        if self._broken:
            return
        try:
            if self._path == "-":
                # By way of Python: a view on the same terminal makes room.
                sys.stderr.write(line.decode())
                sys.stderr.flush()
                return
            if self._handle is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
                self._handle = os.open(os.path.expanduser(str(self._path)), flags, 0o600)
            written = os.write(self._handle, line)
            if written != len(line):
                raise OSError(f"only {written} of {len(line)} bytes were taken")
        except OSError as exc:
            self._broken = True
            self.warn(f"The events can't be written to {self._path}: {exc}. The rollout goes on without them.")

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)
