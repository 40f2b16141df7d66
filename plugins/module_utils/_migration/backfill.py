# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Fills what the new shape needs in the rows that were there before it: in the database, in batches, so that no client waits for long.

A batch, its marker for the sync triggers and its place in the ledger are one transaction: a runner that is killed leaves whole batches, and the next one goes
on behind the last.
"""

from __future__ import annotations

import dataclasses
import decimal
import os
import random
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import locks, quote
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database, DatabaseError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger import Ledger
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger_records import FillRecord
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Fill
from ansible_collections.seamless.rollout.plugins.module_utils._migration.pace import START, Pace
from ansible_collections.seamless.rollout.plugins.module_utils._migration.spec import Limits

# How long a batch waits for a row that somebody else has locked, with the rows that it has already locked itself kept from others meanwhile.
# On MariaDB it is all or a second, so it does not wait; MySQL knows no less than that second.
ROW_WAIT_MS = 100
# How often the throttles are asked, in seconds.
CHECK_EVERY = 1.0


def encoded(value: t.Any) -> t.Any:
    """Return a key's value as JSON can keep it."""
    if value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"hex": bytes(value).hex()}
    if isinstance(value, decimal.Decimal):
        return {"decimal": str(value)}
    return str(value)


def decoded(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"]) if "hex" in value else decimal.Decimal(value["decimal"])
    return value


def after(engine: str, keys: t.Sequence[str], place: t.Sequence[t.Any]) -> tuple[str, list[t.Any]]:
    """Return the condition, with its parameters, of the rows behind *place* in the order of *keys* (quoted)."""
    return _beyond(engine, keys, place, ">", "")


def up_to(engine: str, keys: t.Sequence[str], place: t.Sequence[t.Any]) -> tuple[str, list[t.Any]]:
    """Return the condition of the rows up to and with *place*."""
    return _beyond(engine, keys, place, "<", "=")


def _beyond(engine: str, keys: t.Sequence[str], place: t.Sequence[t.Any], sign: str, last: str) -> tuple[str, list[t.Any]]:
    values = [decoded(value) for value in place]
    if len(keys) == 1:
        return f"{keys[0]} {sign}{last} %s", values
    if engine == POSTGRESQL:
        return f"({', '.join(keys)}) {sign}{last} ({', '.join(['%s'] * len(keys))})", values
    # MariaDB uses no index for a comparison of rows, but for this it does.
    sql, params = f"{keys[-1]} {sign}{last} %s", [values[-1]]
    for key, value in zip(reversed(keys[:-1]), reversed(values[:-1])):
        sql, params = f"({key} {sign} %s OR ({key} = %s AND {sql}))", [value, value, *params]
    return f"{keys[0]} {sign}= %s AND {sql}", [values[0], *params]


@dataclasses.dataclass
class Throttle:
    """What a backfill waits for."""

    db: Database
    ledger: Ledger
    limits: Limits
    migration_id: int
    asked: float = float("-inf")

    def reason(self) -> str | None:
        """Return why the backfill must wait now, or None. The database is asked once a second at most."""
        if time.monotonic() - self.asked < CHECK_EVERY:
            return None
        self.asked = time.monotonic()
        paused_by = self.ledger.paused_by(self.migration_id)
        if paused_by:
            return f"paused by {paused_by}"
        if self.limits.pause_file and os.path.exists(self.limits.pause_file):
            return f"the pause file {self.limits.pause_file} is there"
        return self._lag() or self._sessions() or self._query()

    def _lag(self) -> str | None:
        if self.limits.max_lag is None or self.db.engine != POSTGRESQL:
            return None
        lag = self.db.value("SELECT coalesce(max(extract(epoch FROM replay_lag)), 0) FROM pg_catalog.pg_stat_replication")
        return f"a replica is {float(lag):.1f} s behind (max_lag {self.limits.max_lag:g})" if float(lag) > self.limits.max_lag else None

    def _sessions(self) -> str | None:
        if self.limits.max_sessions is None:
            return None
        if self.db.engine == POSTGRESQL:
            count = self.db.value(
                "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        else:
            count = int(self.db.rows("SHOW GLOBAL STATUS LIKE 'Threads_running'")[0][1]) - 1
        return f"{count} sessions are running (max_sessions {self.limits.max_sessions})" if int(count) > self.limits.max_sessions else None

    def _query(self) -> str | None:
        if not self.limits.throttle_query:
            return None
        value = self.db.value(self.limits.throttle_query)
        return f"throttle_query says {value}" if value is not None and float(value) > 0 else None


class Backfill:
    """Runs the fills of a migration."""

    def __init__(self, db: Database, ledger: Ledger, migration_id: int, limits: Limits) -> None:
        self.db = db
        self.ledger = ledger
        self.migration_id = migration_id
        self.limits = limits
        self.throttle = Throttle(db, ledger, limits, migration_id)

    def run(self, phase: str, number: int, fill: Fill, *, estimate: int | None = None, index: str | None = None) -> FillRecord:
        """Bring *fill* to its end from where the ledger says it is. *index* (MariaDB) is the one that the batches walk.

        Raises SeamlessError when somebody's locks are in the way for longer than ``limits.lock_wait_total``.
        """
        record = next((item for item in self.ledger.fills(self.migration_id) if (item.phase, item.number) == (phase, number)), None)
        if record is None:
            record = FillRecord(phase, number, None, False, 0, 0, estimate, START, 0.0)
            self.ledger.fill(self.migration_id, record)
        walk = _Walk(self.db, fill, index)
        try:
            walk.enter()
            return self._walk(record, fill, walk)
        finally:
            walk.leave()

    def _walk(self, record: FillRecord, fill: Fill, walk: _Walk) -> FillRecord:
        pace = Pace(self.limits.batch_ms, record.batch)
        hindered: float | None = None
        hindrances = 0
        while not record.done:
            record = self._wait(record)
            started = time.monotonic()
            try:
                with self.db.transaction():
                    walk.prepare()
                    place, walked, changed = walk.batch(record.position, pace.batch)
                    record = dataclasses.replace(
                        record,
                        position=record.position if place is None else place,
                        done=place is None,
                        rows_done=record.rows_done + walked,
                        rows_changed=record.rows_changed + changed,
                        batch=pace.batch,
                        waits=None,
                    )
                    # The time so far, since the transaction's own end can't be known in it.
                    record = dataclasses.replace(record, seconds=record.seconds + time.monotonic() - started)
                    self.ledger.fill(self.migration_id, record)
            except DatabaseError as exc:
                if exc.kind not in ("lock", "deadlock"):
                    raise
                record = self._recorded(record)
                hindrances += 1
                hindered = started if hindered is None else hindered
                if time.monotonic() - hindered > self.limits.lock_wait_total:
                    raise self._given_up(fill, time.monotonic() - hindered, exc) from exc
                pace.hindered()
                if hindrances % 20 == 0:
                    record = dataclasses.replace(record, waits="rows that others keep locked")
                    self.ledger.fill(self.migration_id, record)
                time.sleep(random.uniform(0.01, 0.05) * min(hindrances, 20))
                continue
            hindered, hindrances = None, 0
            time.sleep(pace.took((time.monotonic() - started) * 1000, walked))
        return record

    def _given_up(self, fill: Fill, seconds: float, exc: DatabaseError) -> SeamlessError:
        holders = locks.blockers(self.db, [fill.table], older_than=1.0)
        told = "; ".join(map(str, holders)) or "sessions that came and went, or that this user may not see"
        return SeamlessError(
            f"The backfill of {fill.table} waited {seconds:.0f} seconds for rows that others keep locked (lock_wait_total is {self.limits.lock_wait_total:g}), "
            f"perhaps: {told}. End the long transactions and run it again; it goes on where it is.",
            **{**exc.details, "blockers": [dataclasses.asdict(holder) for holder in holders]},
        )

    def _recorded(self, record: FillRecord) -> FillRecord:
        """Return what the ledger has in place of *record*, whose batch was taken back."""
        return next(item for item in self.ledger.fills(self.migration_id) if (item.phase, item.number) == (record.phase, record.number))

    def _wait(self, record: FillRecord) -> FillRecord:
        """Wait while a throttle says so, with the reason in the ledger for whoever looks."""
        while True:
            reason = self.throttle.reason()
            if reason is None:
                return record
            if reason != record.waits:
                record = dataclasses.replace(record, waits=reason)
                self.ledger.fill(self.migration_id, record)
            time.sleep(CHECK_EVERY)


class _Walk:
    """The SQL of a fill's batches."""

    def __init__(self, db: Database, fill: Fill, index: str | None) -> None:
        self.db, self.fill, self.engine = db, fill, db.engine
        self.keys = [_plain(quote.identifier(self.engine, key)) for key in fill.key]
        self.table = _plain(quote.table(self.engine, fill.table))
        self.hint = f" FORCE INDEX ({_plain(quote.identifier(self.engine, index))})" if index and self.engine != POSTGRESQL else ""
        self.assignments, self.condition = _plain(fill.assignments), _plain(fill.condition)
        self._set = False

    def enter(self) -> None:
        """Set the session up for the walk, where the engine can't do it for a transaction."""
        if self.engine == POSTGRESQL:
            return
        self._set = True
        if self.fill.marked:
            self.db.execute("SET @seamless_backfill = 1")
        self.db.execute(f"SET SESSION innodb_lock_wait_timeout = {1 if self.db.server.mysql else 0}")

    def leave(self) -> None:
        """Take back what :meth:`enter` set."""
        if not self._set:
            return
        self._set = False
        try:
            self.db.execute("SET @seamless_backfill = NULL")
            self.db.execute("SET SESSION innodb_lock_wait_timeout = DEFAULT")
        except DatabaseError as exc:
            if exc.kind != "connection":  # with the session its settings are gone
                raise

    def prepare(self) -> None:
        """Set the transaction of a batch up."""
        if self.engine == POSTGRESQL:
            # A batch that a crash of the server takes back takes its place in the ledger with it: it need not wait for the disk.
            marker = ", set_config('seamless_rollout.backfill', 'on', true)" if self.fill.marked else ""
            self.db.rows(f"SELECT set_config('lock_timeout', '{ROW_WAIT_MS}ms', true), set_config('synchronous_commit', 'off', true){marker}")

    def batch(self, position: t.Sequence[t.Any] | None, size: int) -> tuple[list[t.Any] | None, int, int]:
        """Fill the next *size* rows behind *position*. Returns the new position (None at the end), how many rows were walked and how many changed."""
        behind, params = after(self.engine, self.keys, position) if position is not None else ("1 = 1", [])
        order = ", ".join(self.keys)
        # Under names of their own: ORDER BY would take a text that is called like the column for the column.
        shown = ", ".join(f"{key}{'::text' if self.engine == POSTGRESQL else ''} AS seamless_key_{number}" for number, key in enumerate(self.keys))
        found = self.db.rows(*_ready(f"SELECT {shown} FROM {self.table}{self.hint} WHERE {behind} ORDER BY {order} LIMIT 1 OFFSET {size - 1}", params))
        place = [encoded(value) for value in found[0]] if found else None
        where, values = behind, list(params)
        if place is None:
            walked = int(self.db.value(*_ready(f"SELECT count(*) FROM {self.table}{self.hint} WHERE {behind}", params)))
        else:
            walked = size
            until, more = up_to(self.engine, self.keys, place)
            where, values = f"{behind} AND {until}", [*params, *more]
        sql = f"UPDATE {self.table}{self.hint} SET {self.assignments} WHERE {where} AND ({self.condition})"
        return place, walked, self.db.execute(*_ready(sql, values))


def _plain(sql: str) -> str:
    """Return *sql* as a part of a statement with parameters."""
    return sql.replace("%", "%%")


def _ready(sql: str, params: list[t.Any]) -> tuple[str, list[t.Any]]:
    return (sql, params) if params else (sql.replace("%%", "%"), params)
