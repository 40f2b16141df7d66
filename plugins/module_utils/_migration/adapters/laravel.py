# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Laravel: ``artisan migrate --path`` with a directory for each phase.

Tested against the documented command line with a stand-in, not against Laravel. ``--isolated`` and ``--graceful`` are not used: both end with 0 though
nothing was migrated. ``--pretend`` shows the SQL; it runs the migrations' PHP without the database, and sees no rows.
"""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.base import SPLIT_NONE, Adapter, Command, Preview, Result, Settings, State

_LINE = re.compile(r"^\s*(\d{4}_\d\d_\d\d_\d{6}_\w+|\w+)\s+\.*\s*(?:\[\d+\]\s*)?(Ran|Pending)\s*$")  # Laravel 9.21 and newer
_ROW = re.compile(r"^\|\s*(Yes|No|Y|N)\s*\|\s*(\w+)\s*\|")  # and older
_PRETEND = re.compile(r"^\s*⇂ (.*)$")
_PRETEND_OLD = re.compile(r"^[A-Za-z_]\w*: (.*)$")
_HEADING = re.compile(r"^\s*(?:INFO\s|\d{4}_\d\d_\d\d_\d{6}_\w+\s+\.{2,})")
_NONE = ("Migration table not found", "No migrations found", "Nothing to migrate")


class Laravel(Adapter):
    name = "laravel"
    splits = ("directories", SPLIT_NONE)
    defaults: t.ClassVar[t.Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
        "directories": (("database/migrations/expand",), ("database/migrations/contract",)),
        SPLIT_NONE: (("database/migrations",), ()),
    }
    own_tables = ("migrations",)

    def directories(self, settings: Settings) -> tuple[str, ...]:
        return self._paths(settings)

    def _paths(self, settings: Settings) -> tuple[str, ...]:
        return settings.targets or settings.expand

    def _artisan(self, settings: Settings, *arguments: str, may_fail: bool = False, timeouts: bool = False) -> Command:
        start = settings.binary or (*self.executable(settings, "php"), "artisan")
        paths = [f"--path={path}" for path in self._paths(settings)] if settings.split == "directories" else []
        if any(os.path.isabs(path) for path in self._paths(settings)):
            paths.append("--realpath")
        command = self.command(settings, *start, *arguments, *paths, "--no-interaction", "--no-ansi", *settings.arguments, may_fail=may_fail, timeouts=timeouts)
        return dataclasses.replace(command, environment={"COLUMNS": "2000", **command.environment})

    def status(self, settings: Settings) -> list[Command]:
        return [self._artisan(settings, "migrate:status", may_fail=True)]

    def read_status(self, settings: Settings, results: t.Sequence[Result]) -> State:
        result = results[0]
        text = f"{result.stdout}\n{result.stderr}"
        applied: list[str] = []
        pending: list[str] = []
        for line in result.stdout.splitlines():
            match = _LINE.match(line)
            if match:
                (applied if match.group(2) == "Ran" else pending).append(match.group(1))
            match = _ROW.match(line)
            if match:
                (applied if match.group(1).startswith("Y") else pending).append(match.group(2))
        if not applied and not pending:
            if "Migration table not found" in text or result.code == 0 and "No migrations found" in text:
                files = [name for path in self._paths(settings) for name in settings.listing.get(path, ())]
                return State((), tuple(sorted(name[:-4] for name in files if name.endswith(".php"))), fresh="Migration table not found" in text)
            if result.code or not any(sign in text for sign in _NONE):
                raise SeamlessError(f"artisan migrate:status ended with {result.code}: {text.strip()[-1000:]} {self.explain(result)}".strip())
        return State(tuple(applied), tuple(pending))

    def preview(self, settings: Settings, state: State) -> list[Command]:
        # Even with --pretend Laravel makes its table of migrations where there is none.
        return [] if state.fresh else [self._artisan(settings, "migrate", "--pretend", "--force", may_fail=True)]

    def read_preview(self, settings: Settings, state: State, results: t.Sequence[Result]) -> Preview:
        if not results:
            return Preview()
        result = results[0]
        if result.code:
            return Preview(unknown=(f"artisan migrate --pretend failed: {(result.stderr or result.stdout).strip()[-300:]}",))
        found: list[str] = []
        for line in result.stdout.splitlines():
            match = _PRETEND.match(line) or _PRETEND_OLD.match(line)
            if match:
                found.append(match.group(1).strip())
            elif found and line.strip() and not _HEADING.match(line):
                found[-1] += " " + line.strip()
        return Preview(";\n".join(found), () if found else ("artisan migrate --pretend shows no SQL for what is pending",))

    def run(self, settings: Settings, state: State) -> list[Command]:
        return [self._artisan(settings, "migrate", "--force", timeouts=True)]

    def explain(self, result: Result) -> str:
        text = f"{result.stdout}\n{result.stderr}"
        if "Could not open input file: artisan" in text:
            return "There is no artisan in directory: set it to the application's base directory."
        if "could not find driver" in text:
            return "PHP lacks the database's PDO driver (php-pgsql or php-mysql)."
        return super().explain(result)
