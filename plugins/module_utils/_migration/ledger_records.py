# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The rows of the ledger as data."""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Plan, from_json


@dataclasses.dataclass(frozen=True)
class Migration:
    """A migration as the ledger has it. Times are seconds since 1970; *now* is the database's clock when it was read."""

    id: int
    app: str
    name: str
    checksum: str
    spec: dict[str, t.Any]
    plans: tuple[Plan, ...]
    release: str
    tag: str
    tables: tuple[str, ...]
    state: str
    paused_by: str | None
    drop_after: float | None
    quarantined_at: float | None
    last_error: str | None
    run_id: str | None
    created_at: float
    updated_at: float
    now: float

    @classmethod
    def read(cls, row: t.Sequence[t.Any]) -> Migration:
        (number, app, name, checksum, spec, plan, release, tag, tables, state, paused_by, drop_after, quarantined_at, last_error, run_id, *times) = row
        created_at, updated_at, now = map(float, times)
        plans = tuple(map(from_json, json.loads(plan)))
        return cls(
            number, app, name, checksum, json.loads(spec), plans, release, tag, tuple(json.loads(tables)), state, paused_by, _seconds(drop_after),
            _seconds(quarantined_at), last_error, run_id, created_at, updated_at, now,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """A step that is done."""

    phase: str
    number: int
    name: str
    sql_sha: str
    done_at: float
    attempts: int | None
    max_wait_ms: float | None

    @classmethod
    def read(cls, row: t.Sequence[t.Any]) -> StepRecord:
        phase, number, name, sql_sha, done_at, attempts, max_wait_ms = row
        return cls(phase, number, name, sql_sha, float(done_at), attempts, _seconds(max_wait_ms))


@dataclasses.dataclass(frozen=True)
class FillRecord:
    """How far a backfill is. *position* is the key of the last row of the last batch; *waits* says what it is waiting for."""

    phase: str
    number: int
    position: list[t.Any] | None
    done: bool
    rows_done: int
    rows_changed: int
    rows_estimate: int | None
    batch: int
    seconds: float
    waits: str | None = None
    updated_at: float = 0

    @classmethod
    def read(cls, row: t.Sequence[t.Any]) -> FillRecord:
        phase, number, position, done, rows_done, rows_changed, rows_estimate, batch, seconds, waits, updated_at = row
        place = None if position is None else json.loads(position)
        return cls(phase, number, place, bool(done), rows_done, rows_changed, rows_estimate, batch, float(seconds), waits, float(updated_at))

    def written(self) -> tuple[t.Any, ...]:
        """Return what the ledger keeps of it, in the order of the columns. When it was written is the database's to say."""
        place = None if self.position is None else json.dumps(self.position)
        return (
            self.phase, self.number, place, self.done, self.rows_done, self.rows_changed, self.rows_estimate, self.batch, self.seconds, self.waits,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Gate:
    """A verdict on whether old code still runs anywhere, with its evidence. *age* in seconds."""

    id: int
    migration_id: int
    verdict: bool
    evidence: dict[str, t.Any]
    at: float
    age: float

    @classmethod
    def read(cls, row: t.Sequence[t.Any]) -> Gate:
        number, migration_id, verdict, evidence, at, age = row
        return cls(number, migration_id, bool(verdict), json.loads(evidence), float(at), float(age))


def _seconds(value: t.Any) -> float | None:
    return None if value is None else float(value)
