# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Takes a migration from state to state: the one place that knows in which order locks, ledger, steps, backfills and checks follow each other.

Whatever happens to the runner, the ledger says what is certainly done, and the next one goes on from there.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import locks, states
from ansible_collections.seamless.rollout.plugins.module_utils._migration.backfill import Backfill
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger import GATE_TTL, Ledger
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger_records import Migration
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Check, Fill, Name, Plan, Step, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.spec import Contract, Limits

# Parts of a plan that take back what earlier ones did: the operations in the reverse order.
BACKWARD = ("abort", "abort_backfill", "abort_validate", "restore", "reverse_backfill", "restore_validate")
FILLS = ("backfill", "abort_backfill", "reverse_backfill")
SAMPLES = 5
# Rows that a backfill changed on PostgreSQL from which on somebody should know that their old versions are still there.
VACUUM_DUE = 100_000
# What the gate must have looked for before each of these moves.
PURPOSE_OF = {states.QUARANTINE: "contract", states.DROP: "contract", states.ABORT: "abort"}
# How migration_gate is asked for it, where that is not its default.
ASKED = {"contract": "", "abort": " with purpose: abort"}
TAKES = {
    "contract": "what comes next takes the old shape away from whoever still uses it",
    "abort": "an abort takes the new shape away from whoever uses it already",
}


@dataclasses.dataclass(frozen=True)
class Permission:
    """What lets a migration be contracted or aborted: a gate's record, or somebody's reason to do without."""

    gate: int | None = None
    force_contract_reason: str = ""
    force_abort_reason: str = ""
    gate_ttl: float = GATE_TTL

    def reason(self, purpose: str) -> str:
        """Return why somebody does without a gate of *purpose*, or an empty string."""
        return {"contract": self.force_contract_reason, "abort": self.force_abort_reason}[purpose]


@dataclasses.dataclass
class Report:
    """What a run did: for the module's result, also of a run that failed."""

    steps: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    fills: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    notices: list[str] = dataclasses.field(default_factory=list)
    moved: bool = False

    @property
    def rows(self) -> int:
        return sum(item["rows_changed"] for item in self.fills)


def parts(plans: t.Sequence[Plan], phase: str) -> list[tuple[str, t.Any]]:
    """Return the steps, fills or checks of *phase* of all operations, in the order in which they are run, each with a name that is unique."""
    found = list(enumerate(plans, start=1))
    if phase in BACKWARD:
        found.reverse()
    return [(f"{number}. {plan.operation}: {getattr(part, 'name', '') or part.table}", part) for number, plan in found for part in getattr(plan, phase)]


def sql_sha(step: Step) -> str:
    return hashlib.sha256("\n".join(step.statements).encode()).hexdigest()


def failing(db: Database, checks: t.Sequence[tuple[str, Check]]) -> list[tuple[str, int, list[list[str]]]]:
    """Return the checks that do not hold: name, how many rows are wrong, and some of them."""
    found = []
    for name, check in checks:
        for statement in check.prepare:
            db.execute(statement)
        wrong = int(db.value(check.query) or 0)
        if wrong:
            rows = db.rows(f"{check.sample} LIMIT {SAMPLES}") if check.sample else []
            found.append((name, wrong, [[str(value) for value in row] for row in rows]))
    return found


def told(found: t.Sequence[tuple[str, int, list[list[str]]]]) -> str:
    """Return what :func:`failing` found as a sentence."""
    samples = [" and ".join("(" + ", ".join(row) + ")" for row in item[2]) for item in found]
    return "; ".join(f"{item[0]}: {item[1]} rows" + (f", such as {shown}" if shown else "") for item, shown in zip(found, samples))


class Runner:
    """Runs moves of one migration on a connection that holds the migration lock of its application."""

    def __init__(
        self,
        db: Database,
        ledger: Ledger,
        *,
        run_id: str,
        limits: Limits,
        contract: Contract,
        tables: t.Mapping[Name, Table] | None = None,
        verify_window: float = 1.0,
    ) -> None:
        self.db = db
        self.ledger = ledger
        self.run_id = run_id
        self.limits = limits
        self.contract = contract
        self.tables = tables or {}
        self.verify_window = verify_window
        self.report = Report()

    def permit(self, migration: Migration, moves: t.Sequence[states.Move], permission: Permission) -> None:
        """Refuse moves that need evidence which is not there, before anything is done.

        What has begun goes on without: its evidence was there at the beginning, and half a contract helps nobody.
        """
        for move in moves:
            if migration.state == move.begins:
                continue
            if move is states.RESTORE:
                self._check_restore(migration)
            purpose = PURPOSE_OF.get(move)
            if purpose is None or permission.reason(purpose):
                continue
            if permission.gate is None:
                raise SeamlessError(
                    f"Migration {migration.name} is {migration.state}, and {TAKES[purpose]}: give the id of a gate that passed (gate: what "
                    f"migration_gate{ASKED[purpose]} returned), or say in force_{purpose}_reason why you know better."
                )
            self.ledger.passing_gate(migration.id, permission.gate, permission.gate_ttl, purpose)
            if move is not states.DROP:
                continue
            if migration.state != "quarantined" and self.contract.quarantine > 0:
                raise SeamlessError(
                    f"Migration {migration.name} is {migration.state}: take it to state: quarantined first. Its old shape may be dropped "
                    f"{self.contract.quarantine:g} seconds after that (contract.quarantine)."
                )
            if migration.drop_after is not None and migration.now < migration.drop_after:
                due = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(migration.drop_after))
                raise SeamlessError(
                    f"Migration {migration.name} is in quarantine until {due}, and can be undone with state: restored until its old shape is dropped: run this "
                    "again after that, or say in force_contract_reason why it can't wait.",
                    drop_after=migration.drop_after,
                )

    def _check_restore(self, migration: Migration) -> None:
        """Refuse a restore that can't succeed, before it begins."""
        for plan in migration.plans:
            if not plan.undoable:
                raise SeamlessError(
                    f"Migration {migration.name} can't be restored: nothing leads back from its {plan.operation}. Its old shape is there until it is dropped, "
                    "and only a new migration, written by hand, can bring it back."
                )
        found = failing(self.db, [(name, t.cast("Check", check)) for name, check in parts(migration.plans, "before_restore")])
        if found:
            raise SeamlessError(f"Migration {migration.name} can't be restored: rows are in the way of {told(found)}. Correct them first.")

    def run(self, migration: Migration, moves: t.Sequence[states.Move], permission: Permission) -> Migration:
        """Run *moves*. Raises SeamlessError with what stopped it; the ledger has it too, and the next run goes on from there."""
        self.permit(migration, moves, permission)
        try:
            for move in moves:
                self._enter(migration, move, permission)
                for phase in move.phases:
                    self._phase(migration, phase)
                if move in (states.BACKFILL, states.RESTORE):
                    self._verify(migration, move)
                self._leave(migration, move)
                migration = self.reread(migration)
        except SeamlessError as exc:
            self._note(migration, str(exc))
            raise
        return migration

    def reread(self, migration: Migration) -> Migration:
        found = self.ledger.migration(migration.app, migration.name)
        if found is None:
            raise SeamlessError(f"Migration {migration.name} is not in the ledger any more: somebody removed it while it was run.")
        return found

    def _note(self, migration: Migration, error: str) -> None:
        try:
            self.ledger.failed(migration.id, self.run_id, error)
        except SeamlessError as exc:  # the connection may be what failed
            self.report.notices.append(f"The ledger does not know why the run stopped: {exc}")

    def _enter(self, migration: Migration, move: states.Move, permission: Permission) -> None:
        """Say in the ledger that *move* has begun. The floor is raised with the beginning of a quarantine, before any of its DDL."""
        if migration.state == move.begins:
            return
        with self.db.transaction():
            self.ledger.begin(migration.id, move, self.run_id)
            if move is states.QUARANTINE:
                self.ledger.raise_floor(migration.app, migration.release, migration.id)
            purpose = PURPOSE_OF.get(move)
            if purpose is not None:
                self.ledger.event(migration.id, self.run_id, "permitted", {"gate": permission.gate, f"force_{purpose}_reason": permission.reason(purpose)})
        self.report.moved = True

    def _leave(self, migration: Migration, move: states.Move) -> None:
        with self.db.transaction():
            self.ledger.end(migration.id, move, self.run_id, quarantine=self.contract.quarantine)
            if move is states.RESTORE:
                self.ledger.settle_floor(migration.app)
        self.report.moved = True

    def _phase(self, migration: Migration, phase: str) -> None:
        found = parts(migration.plans, phase)
        if phase in FILLS:
            for number, (name, fill) in enumerate(found):
                self._fill(migration, phase, number, name, fill)
            return
        done = {record.number for record in self.ledger.steps(migration.id) if record.phase == phase}
        for number, (name, step) in enumerate(found):
            if number not in done:
                self._step(migration, phase, number, name, step)

    def _step(self, migration: Migration, phase: str, number: int, name: str, step: Step) -> None:
        def record(outcome: locks.StepOutcome) -> None:
            self.ledger.step_done(
                migration.id, phase, number, name, sql_sha(step), self.run_id, attempts=outcome.attempts, max_wait_ms=outcome.max_wait_ms
            )

        try:
            outcome = locks.run_step(self.db, step, self._ladder, record)
        except SeamlessError as exc:
            raise _in(exc, f"{phase}, {name}") from exc
        self.report.steps.append(
            {"phase": phase, "name": name, "attempts": outcome.attempts, "max_wait_ms": outcome.max_wait_ms, "was_there": outcome.skipped}
        )

    @functools.cached_property
    def _ladder(self) -> locks.Limits:
        return locks.Limits(max_stall_ms=self.limits.max_stall_ms, lock_wait_total=self.limits.lock_wait_total, kill_blockers=self.limits.kill_blockers)

    def _fill(self, migration: Migration, phase: str, number: int, name: str, fill: Fill) -> None:
        table = self.tables.get(fill.table)
        index = next((index.name for index in table.indexes if index.columns == fill.key and index.unique and not index.partial), None) if table else None
        started = time.monotonic()
        try:
            record = Backfill(self.db, self.ledger, migration.id, self.limits).run(
                phase, number, fill, estimate=table.rows if table else None, index=index
            )
        except SeamlessError as exc:
            raise _in(exc, f"{phase}, {name}") from exc
        if self.db.engine == POSTGRESQL and record.rows_changed >= VACUUM_DUE:
            self.report.notices.append(
                f"The backfill of {fill.table} has left {record.rows_changed:,} old versions of rows, for which autovacuum comes when it finds the time: "
                f"VACUUM (ANALYZE) {fill.table} is due in a quiet hour before that."
            )
        self.report.fills.append(
            {
                "phase": phase,
                "name": name,
                "rows": record.rows_done,
                "rows_changed": record.rows_changed,
                "batch": record.batch,
                "seconds": round(time.monotonic() - started, 3),
            }
        )

    def _verify(self, migration: Migration, move: states.Move) -> None:
        """Check that both shapes agree in every row, and once more after a time in which the triggers served writes."""
        checks = [(name, t.cast("Check", check)) for name, check in parts(migration.plans, "verify")]
        if not checks:
            return
        for when in ("after the backfill", f"{self.verify_window:g} seconds later"):
            found = failing(self.db, checks)
            if found:
                # The next run is to look at every row again.
                self.ledger.forget_fills(migration.id, move.phases)
                raise SeamlessError(
                    f"Rows are not the same in both shapes {when}, so new code must not start: {told(found)}. "
                    "Look at what wrote them (a trigger that fires after ours, replication with triggers off), and run it again, or take it back with "
                    "state: aborted.",
                    wrong=[{"check": name, "rows": wrong, "sample": rows} for name, wrong, rows in found],
                )
            if when == "after the backfill":
                time.sleep(self.verify_window)


def _in(exc: SeamlessError, where: str) -> SeamlessError:
    """Return *exc* with the step that it stopped."""
    return SeamlessError(f"{where}: {exc}", **exc.details)
