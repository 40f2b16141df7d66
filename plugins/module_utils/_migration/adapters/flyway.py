# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Flyway: a location for each phase, or ``-target`` for the first one.

Tested against the documented command line with a stand-in, not against Flyway. Both phases keep one history, so the expand call ignores what it does
not find (``*:missing``) and the contract call sees both locations; versions may come out of order. The SQL is read from the files that ``info`` names.
``postgresql.transactional.lock=false`` keeps Flyway's own lock from blocking CREATE INDEX CONCURRENTLY for ever.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.base import (
    EXPAND,
    SPLIT_NONE,
    Adapter,
    Command,
    Preview,
    Result,
    Settings,
    State,
)
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import MARIADB, POSTGRESQL

_PENDING = ("pending", "outdated", "ignored")
_IDLE = ("above target", "below baseline", "available", "undone", "deleted", "ignored (baseline)")
_PREFIXES = ("filesystem:", "classpath:", "s3:", "gcs:")


class Flyway(Adapter):
    name = "flyway"
    splits = ("directories", "targets", SPLIT_NONE)
    defaults: t.ClassVar[t.Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {"directories": (("db/expand",), ("db/contract",))}
    needs_targets = ("targets",)
    own_tables = ("flyway_schema_history",)

    def complete(self, settings: Settings) -> Settings:
        completed = super().complete(settings)
        if completed.split == "targets" and (len(completed.expand) != 1 or len(completed.contract) > 1):
            raise SeamlessError(f"expand is {list(completed.expand)}: with split targets it is one version, such as ['42'], and contract one or none.")
        if completed.split == SPLIT_NONE and (completed.expand or completed.contract):
            raise SeamlessError("expand and contract have no meaning with framework flyway and split none: use split: directories or targets.")
        return completed

    def _flyway(self, settings: Settings, verb: str, timeouts: bool = False, may_fail: bool = False) -> Command:
        options = ["-outputType=json"]
        if settings.split == "directories":
            seen = settings.expand if settings.phase == EXPAND else (*settings.expand, *settings.contract)
            locations = ",".join(path if path.startswith(_PREFIXES) else f"filesystem:{path}" for path in seen)
            options += [f"-locations={locations}", "-outOfOrder=true", "-ignoreMigrationPatterns=*:missing,*:future"]
        elif settings.split == "targets" and settings.targets:
            options.append(f"-target={settings.targets[0]}")
        if settings.engine == POSTGRESQL:
            options.append("-postgresql.transactional.lock=false")
        if timeouts and settings.lock_timeout_ms:
            options.append(f"-initSql={self._init_sql(settings)}")
        return self.command(settings, *self.executable(settings, "flyway"), *options, *settings.arguments, verb, may_fail=may_fail)

    def _init_sql(self, settings: Settings) -> str:
        if settings.engine == MARIADB:
            return f"SET SESSION lock_wait_timeout={max(1, settings.lock_timeout_ms // 1000)}"
        return f"SET lock_timeout='{settings.lock_timeout_ms}ms'"

    def lock_timeout_by(self, settings: Settings) -> str | None:
        return "initSql"

    def _json(self, result: Result, what: str) -> dict[str, t.Any]:
        start = result.stdout.find("{")
        try:
            data = json.loads(result.stdout[start:]) if start >= 0 else {}
        except ValueError:
            data = {}
        error = data.get("error") if isinstance(data, dict) else None
        if error:
            raise SeamlessError(f"flyway {what} failed: {error.get('message', error)} {self.explain(result)}".strip())
        if not isinstance(data, dict) or result.code or not data:
            raise SeamlessError(f"flyway {what} ended with {result.code} and printed no JSON: {(result.stderr or result.stdout).strip()[-1000:]}")
        return data

    def status(self, settings: Settings) -> list[Command]:
        return [self._flyway(settings, "info", may_fail=True)]

    def read_status(self, settings: Settings, results: t.Sequence[Result]) -> State:
        data = self._json(results[0], "info")
        applied, pending, files = [], [], {}
        for one in data.get("migrations") or []:
            state = str(one.get("state", "")).lower()
            name = f"{one.get('version') or 'R'} {one.get('description', '')}".strip()
            if state.startswith("failed"):
                raise SeamlessError(f"Flyway's history has a failed migration, {name}: put right what it left half done, then run flyway repair.")
            if state in _PENDING:
                pending.append(name)
                files[name] = (str(one.get("type", "")), str(one.get("filepath") or ""))
            elif state not in _IDLE:
                applied.append(name)
        return State(tuple(applied), tuple(pending), fresh=not applied, notes={"files": files})

    def preview(self, settings: Settings, state: State) -> list[Command]:
        files = state.notes["files"]
        paths = [files[name][1] for name in state.pending if self._readable(files[name])]
        return [Command(("cat", path), settings.directory, may_fail=True) for path in paths]

    def _readable(self, file: tuple[str, str]) -> bool:
        return file[0].upper().startswith("SQL") and bool(file[1])

    def read_preview(self, settings: Settings, state: State, results: t.Sequence[Result]) -> Preview:
        files, texts, unknown = state.notes["files"], [], []
        waiting = iter(results)
        for name in state.pending:
            result = next(waiting) if self._readable(files[name]) else None
            if result is None or result.code:
                unknown.append(f"migration {name} is no SQL file that can be read (type {files[name][0] or 'unknown'})")
            else:
                texts.append(f"-- {name}\n{result.stdout.rstrip()}\n;")
        return Preview("\n".join(texts), tuple(unknown))

    def run(self, settings: Settings, state: State) -> list[Command]:
        return [self._flyway(settings, "migrate", timeouts=True)]

    def explain(self, result: Result) -> str:
        text = f"{result.stdout}\n{result.stderr}"
        if "Detected failed migration" in text:
            return "A migration failed half-way earlier: put right what it left, then run flyway repair."
        if "checksum mismatch" in text:
            return "A migration that was applied has been edited since: take the edit back, and write a new migration."
        return super().explain(result)
