# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The lock ladder on MariaDB and MySQL.

There is no transactional DDL, so every statement climbs the ladder by itself, and a step is recorded after its last one.

MariaDB knows lock_wait_timeout = 0 (from 10.3), which stalls a client for some 20 ms; MySQL's shortest is 1 s. Anything in between is made by a watchdog:
the statement runs with 1 s, and a second connection ends it (KILL QUERY) when it has been waiting for a metadata lock for as long as the ladder says.
What waits for nothing is left alone, so an index may be built for hours, and the exclusive lock at its end is waited for within the same bounds.

A metadata lock that is waited for costs more than time: a transaction that has read the table, and now writes to it for the first time, finds a deadlock
with us, and is the one that ends (1213; measured: 6 to 15 of 16 such clients at each DDL statement), since the server rates DDL higher, and no setting
changes that. Who does not wait is in nobody's way (0 of 16). So for the first 5 s it is only tried, some 50 times a second, whether the table is free for a
moment; that is enough unless several transactions always overlap on it. Then there is no other way than to wait, and to rely on the application to do again
what a deadlock ended. Where the server tells who holds the table, we wait sooner if no transaction is seen that has only read it.
``max_stall_ms: 0`` never waits.

Who holds the table's metadata lock is known where the plugin metadata_lock_info or performance_schema is on, and how old its transaction is with the
privilege PROCESS. Then a holder that stays is waited for outside the queue, and no client is stalled meanwhile. With the privilege alone the transactions of
InnoDB are known, of whatever table: good enough for the report, and for not starting to build an index that would be thrown away at its end.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration.attempts import Attempts, Blocker, Record, StepOutcome, qualified, unset_after
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database, DatabaseError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ladder import SHORTEST, Ladder, Limits
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Name, Step

# How long, and how often (ms), a lock is tried without waiting before the first wait; how many times in between two waits.
_PROBING, _REST, _BETWEEN = 5.0, 10, 25
# Above this a build is not thrown away for a try, in bytes.
_SMALL = 64 << 20
# How long to look for a moment in which nobody has read the table and may be about to write, in seconds; after so many looks that found nobody, nobody does so.
_SAFE, _CALM = 0.5, 10
_STAYS = 0.5
_LOOK = 0.1
_ALL_THE_SAME = (1.0, 2.0, 3.0, 5.0)
_DEADLOCKS = 5
_USUAL = "SET SESSION lock_wait_timeout = 10"

_BUILDS = re.compile(
    r"\s*(ALTER\s+TABLE|CREATE\s+(UNIQUE\s+|FULLTEXT\s+|SPATIAL\s+)?INDEX|DROP\s+INDEX)\b(?!.*\bALGORITHM\s*=?\s*INSTANT\b)", re.IGNORECASE | re.DOTALL
)

_STATE = {
    False: "SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = %s",
    True: "SELECT PROCESSLIST_STATE FROM performance_schema.threads WHERE PROCESSLIST_ID = %s",
}
_HOLDERS_PLUGIN = """
SELECT THREAD_ID, GROUP_CONCAT(DISTINCT LOCK_MODE SEPARATOR ', ') FROM information_schema.METADATA_LOCK_INFO
WHERE (TABLE_SCHEMA, TABLE_NAME) IN %s AND THREAD_ID <> CONNECTION_ID() GROUP BY THREAD_ID"""
_HOLDERS_SCHEMA = """
SELECT h.PROCESSLIST_ID, GROUP_CONCAT(DISTINCT m.LOCK_TYPE SEPARATOR ', ')
FROM performance_schema.metadata_locks m JOIN performance_schema.threads h ON h.THREAD_ID = m.OWNER_THREAD_ID
WHERE m.OBJECT_TYPE = 'TABLE' AND m.LOCK_STATUS = 'GRANTED' AND (m.OBJECT_SCHEMA, m.OBJECT_NAME) IN %s AND h.PROCESSLIST_ID <> CONNECTION_ID()
GROUP BY h.PROCESSLIST_ID"""
_INSTRUMENTED = "SELECT count(*) FROM performance_schema.setup_instruments WHERE NAME = 'wait/lock/metadata/sql/mdl' AND ENABLED = 'YES'"
_TRANSACTIONS = "SELECT trx_mysql_thread_id, TIMESTAMPDIFF(MICROSECOND, trx_started, NOW(6)) / 1000000 FROM information_schema.INNODB_TRX"
_TABLES = """
SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE (TABLE_SCHEMA, TABLE_NAME) IN %s
UNION SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE (TRIGGER_SCHEMA, TRIGGER_NAME) IN %s"""
_SESSIONS = """
SELECT ID, USER, HOST, COMMAND, coalesce(STATE, ''), TIME, coalesce(LEFT(INFO, 120), '') FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()"""


def _holders(db: Database, tables: t.Sequence[Name]) -> dict[int, str] | None:
    """Return who holds a metadata lock on *tables* and in which modes, or None when the server does not tell."""
    if not tables:
        return None
    pairs = [(name.schema, name.name) for name in tables]
    with contextlib.suppress(DatabaseError):
        return {int(pid): str(modes) for pid, modes in db.rows(_HOLDERS_PLUGIN, (pairs,))}
    with contextlib.suppress(DatabaseError):
        if db.value(_INSTRUMENTED):
            return {int(pid): str(modes) for pid, modes in db.rows(_HOLDERS_SCHEMA, (pairs,))}
    return None


def tells_holders(db: Database) -> bool:
    """Say whether the server tells who holds a metadata lock on which table: by default MariaDB does not."""
    return _holders(db, [Name(db.default_schema, "")]) is not None


def _readers(holders: t.Mapping[int, str]) -> bool:
    """Return whether anybody holds the table that has only read it."""
    return any(re.fullmatch(r"(MDL_)?SHARED(_READ)?(, (MDL_)?SHARED(_READ)?)*", modes) for modes in holders.values())


def _transactions(db: Database) -> dict[int, float]:
    """Return the age of each session's transaction in seconds; none when the user has not the privilege PROCESS."""
    with contextlib.suppress(DatabaseError):
        return {int(pid): float(age) for pid, age in db.rows(_TRANSACTIONS) if pid != db.backend_id}
    return {}


def _tables(db: Database, sql: str) -> tuple[Name, ...]:
    """Return the tables and views that the statement names, and those of the triggers that it names."""
    named = [(name.schema, name.name) for name in qualified(db.engine, [sql])]
    return tuple(Name(schema, table) for schema, table in db.rows(_TABLES, (named, named))) if named else ()


def _size(db: Database, tables: t.Sequence[Name]) -> float:
    """Return the bytes of *tables*; without any, more than can be."""
    query = "SELECT coalesce(sum(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES WHERE (TABLE_SCHEMA, TABLE_NAME) IN %s"
    return float(db.value(query, ([(name.schema, name.name) for name in tables],))) if tables else float("inf")


def blockers(db: Database, tables: t.Sequence[Name]) -> tuple[Blocker, ...]:
    """Return the sessions that hold *tables*, or those that have a transaction open where the server does not tell; the oldest transaction first."""
    return _blockers(db, _holders(db, tables))


def _blockers(db: Database, holders: dict[int, str] | None) -> tuple[Blocker, ...]:
    ages = _transactions(db)
    modes = dict.fromkeys(ages, "") if holders is None else holders
    found = []
    for pid, user, host, command, state, seconds, query in db.rows(_SESSIONS):
        if pid in modes:
            asleep = command == "Sleep"
            doing = ("idle in transaction" if pid in ages else "idle") if asleep else (state or command).lower()
            found.append(Blocker(pid, user, f"from {host}", doing, ages.get(pid), float(seconds) if asleep else None, modes[pid], " ".join(query.split())))
    return tuple(sorted(found, key=lambda blocker: -(blocker.age or 0.0)))


class _Watchdog:
    """Ends a statement of the first connection that waits for a metadata lock for too long. It has a connection of its own."""

    def __init__(self, db: Database) -> None:
        self._db = db.again()
        self._victim = db.backend_id
        self._state = _STATE[db.server.mysql]
        self._stop = threading.Event()
        self.killed = False
        self.longest = 0.0

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def over(self, wait: int) -> t.Iterator[None]:
        """Watch the statement of the block, which may wait *wait* ms at a time."""
        self.killed, self.longest = False, 0.0
        self._stop.clear()
        thread = threading.Thread(target=self._watch, args=(wait / 1000,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _watch(self, wait: float) -> None:
        started = time.monotonic()
        since = None
        # Without a connection to kill with, the statement's own 1 s is the bound.
        with contextlib.suppress(DatabaseError):
            while not self._stop.wait(0.005 if time.monotonic() - started < 1 else 0.02):
                asked = time.monotonic()
                if not re.match(r"waiting for .*metadata lock", str(self._db.value(self._state, (self._victim,))), re.IGNORECASE):
                    since = None
                    continue
                since = asked if since is None else since
                self.longest = max(self.longest, time.monotonic() - since)
                if self.longest >= wait - 0.005:
                    self.killed = True
                    self._db.execute(f"KILL QUERY {self._victim}")
                    return


def run(db: Database, step: Step, limits: Limits, record: Record) -> StepOutcome:
    """Run *step*: see locks.run_step."""
    attempts = Attempts(step, limits)
    if step.broken is not None and db.value(step.broken):
        for statement in step.repair:
            _Statement(db, attempts, statement).run()
    with unset_after(db, step):
        for statement in step.session:
            db.execute(statement)
        for statement in step.statements:
            _Statement(db, attempts, statement).run()
    outcome = attempts.outcome()
    with db.transaction():
        record(outcome)
    return outcome


class _Statement:
    """One statement, tried until it had its locks."""

    def __init__(self, db: Database, attempts: Attempts, sql: str) -> None:
        self._db = db
        self._sql = sql
        self._attempts = attempts
        self._tables = attempts.tables = attempts.step.locks or _tables(db, sql)
        self._costly = bool(_BUILDS.match(sql)) and _size(db, self._tables) > _SMALL
        self._tries = not self._costly and not db.server.mysql and db.server.version >= (10, 3)
        self._ladder = Ladder(attempts.limits, probes=0, between=_BETWEEN if self._tries else 0, rest=_REST, costly=self._costly)
        self._started = time.monotonic()
        self._calm = 0
        self._anyway = 0
        self._watchdog: _Watchdog | None = None

    def run(self) -> None:
        """Run it. Raises DatabaseError, of kind ``lock`` when it did not get its locks."""
        attempts = self._attempts
        deadlocks = 0
        try:
            while True:
                self._until_clear()
                wait = self._next_wait()
                attempts.count += 1
                try:
                    self._attempt(wait)
                    return
                except DatabaseError as exc:
                    deadlocks += exc.kind == "deadlock"
                    if exc.kind not in ("lock", "deadlock") or deadlocks > _DEADLOCKS:
                        raise
                    cause = exc
                if wait or attempts.over or not attempts.blockers:
                    attempts.blockers = blockers(self._db, self._tables) or attempts.blockers
                if attempts.over:
                    raise attempts.given_up(cause) from cause
                time.sleep(self._ladder.pause(wait))
        finally:
            with contextlib.suppress(DatabaseError):
                self._db.execute(_USUAL)
            if self._watchdog:
                self._watchdog.close()

    def _next_wait(self) -> int:
        elapsed = time.monotonic() - self._started
        if self._tries and elapsed < _PROBING and self._calm < _CALM:
            return 0
        wait = self._ladder.wait(elapsed) or (0 if self._tries else SHORTEST)
        if wait and self._calm < _CALM:
            self._until_safe()
        return wait

    def _until_clear(self) -> None:
        """Look until nobody is there that stays, or it is time for an attempt all the same."""
        began = time.monotonic()
        while not self._attempts.over:
            holders = _holders(self._db, self._tables)
            self._calm = self._calm + 1 if holders is not None and not _readers(holders) else 0
            if holders is None and not self._costly:
                return
            ages = _transactions(self._db)
            if not any(age > _STAYS for pid, age in ages.items() if holders is None or pid in holders):
                return
            if time.monotonic() - began >= _ALL_THE_SAME[min(self._anyway, len(_ALL_THE_SAME) - 1)]:
                self._anyway += 1
                return
            self._end_idle(holders)
            time.sleep(_LOOK)
            self._started += _LOOK  # the time for trying begins when it has gone

    def _until_safe(self) -> None:
        """Look for a moment in which nobody holds the table that has only read it: it may be about to write, and would be ended."""
        until = time.monotonic() + _SAFE
        while time.monotonic() < until:
            if not _readers(_holders(self._db, self._tables) or {}):
                return
            time.sleep(0.005)

    def _end_idle(self, holders: dict[int, str] | None) -> None:
        seconds = self._attempts.limits.kill_blockers
        if seconds is None or holders is None:  # never one that may be at another table
            return
        for blocker in _blockers(self._db, holders):
            if blocker.state == "idle in transaction" and (blocker.idle or 0) >= seconds:
                with contextlib.suppress(DatabaseError):  # of a user whose sessions we may not end: it stays a blocker
                    self._db.execute(f"KILL {blocker.pid}")

    def _attempt(self, wait: int) -> None:
        self._db.execute(f"SET SESSION lock_wait_timeout = {1 if wait else 0}")
        if not wait:
            self._db.execute(self._sql)
            return
        self._watchdog = self._watchdog or _Watchdog(self._db)
        watchdog = self._watchdog
        try:
            with watchdog.over(wait):
                self._db.execute(self._sql)
        except DatabaseError as exc:
            if exc.kind == "cancelled" and watchdog.killed:
                raise DatabaseError(str(exc), kind="lock", code=exc.code) from exc
            raise
        finally:
            self._attempts.waited(watchdog.longest)
        if watchdog.killed:  # it came too late, and must not hit the statement that comes next
            with contextlib.suppress(DatabaseError):
                self._db.value("SELECT 1")
