# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The ledger: what the database itself knows of its migrations, the floor under its releases, and the evidence for what can't be undone.

It is in the database that is migrated, so that a step and its record can be one transaction. All times are the database's.
"""

from __future__ import annotations

import contextlib
import json
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import ledger_mariadb, ledger_postgresql, states
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger_records import FillRecord, Gate, Migration, StepRecord
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Plan, to_json

GATE_TTL = 600.0


class Connection(t.Protocol):
    """What the ledger needs of a database: see ``database.Database``."""

    @property
    def engine(self) -> str: ...

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, sql: str, params: t.Sequence[t.Any] = ()) -> t.Any: ...

    def rows(self, sql: str, params: t.Sequence[t.Any] = ()) -> list[tuple[t.Any, ...]]: ...

    def value(self, sql: str, params: t.Sequence[t.Any] = ()) -> t.Any: ...

    def transaction(self) -> t.ContextManager[t.Any]: ...


class Ledger:
    """The ledger of the database behind *db*. Every method is one statement or one transaction, and can be part of a transaction of the caller's."""

    def __init__(self, db: Connection) -> None:
        self.db = db
        self.dialect: t.Any = ledger_postgresql if db.engine == POSTGRESQL else ledger_mariadb

    def _t(self, table: str) -> str:
        return f"{self.dialect.PREFIX}{table}"

    def _together(self) -> t.ContextManager[t.Any]:
        """Return a transaction, or nothing when the caller has one open: they can't be nested."""
        return contextlib.nullcontext() if self.db.in_transaction else self.db.transaction()

    def exists(self) -> bool:
        return bool(self.db.value(self.dialect.EXISTS))

    def ensure(self) -> bool:
        """Make the ledger's tables where they are missing. Returns whether any was. Call it under the migration lock."""
        if self.exists():
            return False
        for attempt in range(3):
            try:
                for statement in self.dialect.CREATE:
                    self.db.execute(statement)
                break
            except SeamlessError:  # the runner of another application makes them at this moment: IF NOT EXISTS does not see that
                if attempt == 2:
                    raise
                time.sleep(0.3)
        return True

    # Migrations

    def migration(self, app: str, name: str) -> Migration | None:
        return next(iter(self._migrations("app = %s AND name = %s", (app, name))), None)

    def migrations(self, app: str | None = None) -> list[Migration]:
        """Return all migrations, of *app* or of all applications, oldest first."""
        return self._migrations("app = %s", (app,)) if app is not None else self._migrations("1 = 1", ())

    def _migrations(self, where: str, params: tuple[t.Any, ...]) -> list[Migration]:
        if not self.exists():
            return []
        text, epoch = self.dialect.text, self.dialect.epoch
        rows = self.db.rows(
            f"SELECT id, app, name, checksum, {text('spec')}, {text('plan')}, first_release, tag, {text('tables')}, state, paused_by, "
            f"{epoch('drop_after')}, {epoch('quarantined_at')}, last_error, run_id, {epoch('created_at')}, {epoch('updated_at')}, {epoch(self.dialect.NOW)} "
            f"FROM {self._t('migration')} WHERE {where} ORDER BY id",
            params,
        )
        return [Migration.read(row) for row in rows]

    def start(
        self,
        *,
        app: str,
        name: str,
        checksum: str,
        spec: t.Mapping[str, t.Any],
        plans: t.Sequence[Plan],
        release: str,
        tag: str,
        tables: t.Sequence[str],
        state: str,
        run_id: str,
    ) -> Migration:
        """Enter a migration in *state*, with the plan that all its phases will follow, and take its tables. Again after an abort.

        Raises SeamlessError when another migration that has not ended has one of the tables.
        """
        now = self.dialect.NOW
        with self._together():
            for table, holder in self.holders(tables).items():
                if holder != (app, name):
                    raise SeamlessError(
                        f"table {table} is being migrated by {holder[1]} of {holder[0]}, which has not ended: "
                        "bring that one to contracted or aborted first, since two on one table could undo each other's work."
                    )
            old = self.db.value(f"SELECT id FROM {self._t('migration')} WHERE app = %s AND name = %s", (app, name))
            if old is not None:
                for table in ("step", "backfill", "gate", "active_table"):
                    self.db.execute(f"DELETE FROM {self._t(table)} WHERE migration_id = %s", (old,))
                self.db.execute(f"DELETE FROM {self._t('migration')} WHERE id = %s", (old,))
            json_ = self.dialect.JSON
            self.db.execute(
                f"INSERT INTO {self._t('migration')} (app, name, checksum, spec, plan, first_release, tag, tables, state, run_id, created_at, updated_at) "
                f"VALUES (%s, %s, %s, {json_}, {json_}, %s, %s, {json_}, %s, %s, {now}, {now})",
                (app, name, checksum, json.dumps(spec), json.dumps([*map(to_json, plans)]), release, tag, json.dumps([*tables]), state, run_id),
            )
            found = self.migration(app, name)
            if found is None:
                raise SeamlessError(f"Migration {name} of {app} is not in the ledger, where it was just written: does a trigger or rule remove it?")
            for table in sorted(set(tables)):
                self.db.execute(f"INSERT INTO {self._t('active_table')} (rel, migration_id) VALUES (%s, %s)", (table, found.id))
            self.event(found.id, run_id, "started", {"state": state, "checksum": checksum, "release": release})
        return found

    def holders(self, tables: t.Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return which of *tables* a migration that has not ended has, with its application and name."""
        if not tables or not self.exists():
            return {}
        rows = self.db.rows(
            f"SELECT a.rel, m.app, m.name FROM {self._t('active_table')} a JOIN {self._t('migration')} m ON m.id = a.migration_id "
            f"WHERE a.rel IN ({', '.join(['%s'] * len(tables))})",
            tuple(tables),
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def begin(self, migration_id: int, move: states.Move, run_id: str) -> None:
        """Enter *move*: the state says from now on that it is under way. What an earlier run of the same move recorded is forgotten."""
        with self._together():
            marks = ", ".join(["%s"] * len(move.phases))
            for table in ("step", "backfill"):
                self.db.execute(f"DELETE FROM {self._t(table)} WHERE migration_id = %s AND phase IN ({marks})", (migration_id, *move.phases))
            self._set(migration_id, move.begins, run_id)
            self.event(migration_id, run_id, move.begins)

    def end(self, migration_id: int, move: states.Move, run_id: str, *, quarantine: float = 0) -> None:
        """Enter the end of *move*. After a quarantine the old shape may be dropped in *quarantine* seconds; at the end of all, the tables are free."""
        with self._together():
            self._set(migration_id, move.ends, run_id)
            if move is states.QUARANTINE:
                self.db.execute(
                    f"UPDATE {self._t('migration')} SET quarantined_at = {self.dialect.NOW}, drop_after = {self.dialect.later('%s')} WHERE id = %s",
                    (quarantine, migration_id),
                )
            elif move is states.RESTORE:
                self.db.execute(f"UPDATE {self._t('migration')} SET quarantined_at = NULL, drop_after = NULL WHERE id = %s", (migration_id,))
            if move.ends in states.FINAL:
                self.db.execute(f"DELETE FROM {self._t('active_table')} WHERE migration_id = %s", (migration_id,))
            self.event(migration_id, run_id, move.ends)

    def _set(self, migration_id: int, state: str, run_id: str) -> None:
        self.db.execute(
            f"UPDATE {self._t('migration')} SET state = %s, last_error = NULL, run_id = %s, updated_at = {self.dialect.NOW} WHERE id = %s",
            (state, run_id, migration_id),
        )

    def failed(self, migration_id: int, run_id: str, error: str) -> None:
        """Note why the last run stopped. The state stays: it says what is certainly in the database."""
        with self._together():
            self.db.execute(f"UPDATE {self._t('migration')} SET last_error = %s WHERE id = %s", (error[:4000], migration_id))
            self.event(migration_id, run_id, "failed", {"error": error[:4000]})

    def pause(self, migration_id: int, who: str | None) -> None:
        """Have every backfill of the migration wait until *who* is None again."""
        self.db.execute(f"UPDATE {self._t('migration')} SET paused_by = %s WHERE id = %s", (who, migration_id))

    def paused_by(self, migration_id: int) -> str | None:
        return t.cast("str | None", self.db.value(f"SELECT paused_by FROM {self._t('migration')} WHERE id = %s", (migration_id,)))

    # Steps and backfills

    def steps(self, migration_id: int) -> list[StepRecord]:
        rows = self.db.rows(
            f"SELECT phase, number, name, sql_sha, {self.dialect.epoch('done_at')}, attempts, max_wait_ms FROM {self._t('step')} "
            "WHERE migration_id = %s ORDER BY done_at, number",
            (migration_id,),
        )
        return [StepRecord.read(row) for row in rows]

    def step_done(
        self, migration_id: int, phase: str, number: int, name: str, sql_sha: str, run_id: str, *, attempts: int | None = None, max_wait_ms: float | None = None
    ) -> None:
        """Record a step: in its own transaction on PostgreSQL, after its statements on MariaDB. Harmless when repeated."""
        columns = "name, sql_sha, done_at, attempts, max_wait_ms, run_id"
        self.db.execute(
            f"INSERT INTO {self._t('step')} (migration_id, phase, number, {columns}) VALUES (%s, %s, %s, %s, %s, {self.dialect.NOW}, %s, %s, %s)"
            + self.dialect.upsert("migration_id, phase, number", columns),
            (migration_id, phase, number, name, sql_sha, attempts, max_wait_ms, run_id),
        )

    def fills(self, migration_id: int) -> list[FillRecord]:
        rows = self.db.rows(
            f"SELECT phase, number, {self.dialect.text('position')}, done, rows_done, rows_changed, rows_estimate, batch, seconds, waits, "
            f"{self.dialect.epoch('updated_at')} FROM {self._t('backfill')} WHERE migration_id = %s ORDER BY phase, number",
            (migration_id,),
        )
        return [FillRecord.read(row) for row in rows]

    def fill(self, migration_id: int, record: FillRecord) -> None:
        """Record how far a backfill is: in the transaction of its batch."""
        columns = "position, done, rows_done, rows_changed, rows_estimate, batch, seconds, waits, updated_at"
        self.db.execute(
            f"INSERT INTO {self._t('backfill')} (migration_id, phase, number, {columns}) "
            f"VALUES (%s, %s, %s, {self.dialect.JSON}, %s, %s, %s, %s, %s, %s, %s, {self.dialect.NOW})"
            + self.dialect.upsert("migration_id, phase, number", columns),
            (migration_id, *record.written()),
        )

    def forget_fills(self, migration_id: int, phases: t.Sequence[str]) -> None:
        """Have the backfills of *phases* begin anew."""
        marks = ", ".join(["%s"] * len(phases))
        self.db.execute(f"DELETE FROM {self._t('backfill')} WHERE migration_id = %s AND phase IN ({marks})", (migration_id, *phases))

    # The floor and the gate

    def floor(self, app: str) -> str | None:
        """Return the oldest release of *app* that the schema still allows, or None when it allows all."""
        if not self.exists():
            return None
        return t.cast("str | None", self.db.value(f"SELECT floor FROM {self._t('release_floor')} WHERE app = %s", (app,)))

    def raise_floor(self, app: str, release: str, migration_id: int | None) -> str:
        """Raise the floor of *app* to *release*, and return the floor. It never sinks; releases whose names have no order replace each other."""
        with self._together():
            standing = self.floor(app)
            if standing is not None and states.below(release, standing):
                return standing
            columns = "floor, set_by, set_at"
            self.db.execute(
                f"INSERT INTO {self._t('release_floor')} (app, {columns}) VALUES (%s, %s, %s, {self.dialect.NOW})" + self.dialect.upsert("app", columns),
                (app, release, migration_id),
            )
        return release

    def settle_floor(self, app: str) -> str | None:
        """Set the floor of *app* to what its migrations demand now: after a restore it may be lower. Returns it."""
        with self._together():
            demanding = [item for item in self.migrations(app) if item.state in ("contracting", "quarantined", "dropping", "contracted")]
            self.db.execute(f"DELETE FROM {self._t('release_floor')} WHERE app = %s", (app,))
            floor = None
            for item in demanding:
                floor = self.raise_floor(app, item.release, item.id)
        return floor

    def record_gate(self, migration_id: int, verdict: bool, evidence: t.Mapping[str, t.Any]) -> int:
        """Keep a gate's verdict and evidence. Call it under the migration lock. Returns the record's id, which ``state: quarantined`` asks for."""
        sql = f"INSERT INTO {self._t('gate')} (migration_id, verdict, evidence, at) VALUES (%s, %s, {self.dialect.JSON}, {self.dialect.NOW})"
        values = (migration_id, verdict, json.dumps(evidence))
        with self._together():
            if self.db.engine == POSTGRESQL:
                return int(self.db.value(f"{sql} RETURNING id", values))
            self.db.execute(sql, values)
            return int(self.db.value("SELECT LAST_INSERT_ID()"))

    def gates(self, migration_id: int) -> list[Gate]:
        """Return all gate records of a migration, oldest first."""
        epoch = self.dialect.epoch
        rows = self.db.rows(
            f"SELECT id, migration_id, verdict, {self.dialect.text('evidence')}, {epoch('at')}, {epoch(self.dialect.NOW)} - {epoch('at')} "
            f"FROM {self._t('gate')} WHERE migration_id = %s ORDER BY id",
            (migration_id,),
        )
        return [Gate.read(row) for row in rows]

    def passing_gate(self, migration_id: int, gate_id: int, ttl: float = GATE_TTL, purpose: str = "contract") -> Gate:
        """Return the gate record *gate_id*, or refuse: it must be this migration's, for *purpose*, have passed, and be younger than *ttl* seconds."""
        gate = next((gate for gate in self.gates(migration_id) if gate.id == gate_id), None)
        if gate is None:
            raise SeamlessError(f"gate: {gate_id} is not a gate record of this migration: run migration_gate for it and give the id that it returns.")
        asked = gate.evidence.get("purpose", "contract")
        if asked != purpose:
            raise SeamlessError(f"gate: {gate_id} looked with purpose: {asked}, and this needs purpose: {purpose}: run migration_gate with that.")
        if not gate.verdict:
            raise SeamlessError(f"gate: {gate_id} did not pass, and nothing irreversible is done without: look at its evidence.", evidence=gate.evidence)
        if gate.age > ttl:
            raise SeamlessError(
                f"gate: {gate_id} passed {gate.age:.0f} seconds ago, and a verdict counts for {ttl:g} (gate_ttl): run migration_gate again.",
                evidence=gate.evidence,
            )
        return gate

    def events(self, migration_id: int, limit: int) -> list[dict[str, t.Any]]:
        """Return the last *limit* things that happened to a migration, the newest first."""
        rows = self.db.rows(
            f"SELECT {self.dialect.epoch('at')}, run_id, what, {self.dialect.text('detail')} FROM {self._t('event')} WHERE migration_id = %s "
            "ORDER BY id DESC LIMIT %s",
            (migration_id, limit),
        )
        return [{"at": float(row[0]), "run_id": row[1], "what": row[2], "detail": None if row[3] is None else json.loads(row[3])} for row in rows]

    def event(self, migration_id: int | None, run_id: str, what: str, detail: t.Mapping[str, t.Any] | None = None) -> None:
        self.db.execute(
            f"INSERT INTO {self._t('event')} (at, run_id, migration_id, what, detail) VALUES ({self.dialect.NOW}, %s, %s, %s, {self.dialect.JSON})",
            (run_id, migration_id, what, None if detail is None else json.dumps(detail)),
        )
