# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The lock ladder on PostgreSQL.

Three things beside the ladder itself (ladder.py):

A holder that stays is waited for outside the queue. pg_locks says who holds a lock on the table; while one has been there for longer than any of our waits,
another attempt would stall the clients for nothing, so we look every 50 ms until it is gone, and attempt only every few seconds all the same.

What holds SHARE UPDATE EXCLUSIVE (autovacuum above all, also VACUUM, CREATE INDEX CONCURRENTLY, VALIDATE) is waited for in that same mode. Autovacuum gives
way to who has waited for deadlock_timeout (1 s), and a shorter wait never gets the lock: 30 attempts of 100 ms and 10 of 500 ms failed on PostgreSQL 15.
But who waits for SHARE UPDATE EXCLUSIVE stalls no reader and no writer, so that second is free; once it is ours, autovacuum is gone and stays away, and the
ladder goes on in the same transaction (measured: done after 1.0 s, clients at most 9 ms). It needs no privilege, whereas to cancel a worker needs a
superuser or, from 18, pg_signal_autovacuum_worker. A superuser shortens the second by deadlock_timeout. A vacuum against wraparound, or one that a person
started, does not give way; then we go on waiting, which stalls nobody, until ``lock_wait_total``.

A step outside a transaction (CONCURRENTLY, VALIDATE) stalls nobody either; each of its waits is bounded by ``lock_wait_total``, and what it leaves behind
when it fails is repaired.
"""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import quote
from ansible_collections.seamless.rollout.plugins.module_utils._migration.attempts import Attempts, Blocker, Record, StepOutcome, qualified, unset_after
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database, DatabaseError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ladder import Ladder, Limits
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Name, Step

# A holder that has been there for so long is not about to leave within the next 100 ms more likely than not.
_STAYS = 0.4
_LOOK = 0.05
# Between attempts in spite of a holder that stays, in seconds.
_ALL_THE_SAME = (1.0, 2.0, 3.0, 5.0)
_DEADLOCKS = 5

_RELATIONS = """
WITH RECURSIVE wanted AS (
  SELECT c.oid AS root, c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v')
  UNION SELECT w.root, i.inhrelid FROM wanted w JOIN pg_catalog.pg_inherits i ON i.inhparent = w.oid)
SELECT oid FROM wanted"""

_TABLES = """
SELECT tn.nspname, r.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid JOIN pg_catalog.pg_class r ON r.oid = coalesce(i.indrelid, c.oid)
  JOIN pg_catalog.pg_namespace tn ON tn.oid = r.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND r.relkind IN ('r', 'p', 'v')"""

_HELD = """
SELECT coalesce(l.pid, 0), l.virtualtransaction, l.relation, l.mode, coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY(%s::oid[]) AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"""

_SESSION = """coalesce(a.usename::text, ''), coalesce(nullif(a.application_name, ''), a.backend_type, ''), coalesce(a.state, ''),
  extract(epoch FROM clock_timestamp() - a.xact_start)::float8,
  CASE WHEN left(a.state, 7) = 'idle in' THEN extract(epoch FROM clock_timestamp() - a.state_change)::float8 END"""

_BLOCKERS = f"""
SELECT coalesce(l.pid, 0), {_SESSION},
  string_agg(DISTINCT l.mode, ', '), coalesce(left(regexp_replace(a.query, '\\s+', ' ', 'g'), 120), '')
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY(%s::oid[]) AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
GROUP BY l.pid, a.usename, a.application_name, a.backend_type, a.state, a.xact_start, a.state_change, a.query ORDER BY a.xact_start NULLS LAST"""

# CONCURRENTLY waits for every transaction of the database that may still see the table as it was.
_OLDEST = f"""
SELECT a.pid, {_SESSION}, '', left(regexp_replace(a.query, '\\s+', ' ', 'g'), 120)
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.xact_start < clock_timestamp() - interval '1 second' AND a.pid <> pg_backend_pid()
ORDER BY a.xact_start LIMIT 10"""

_IDLE = """
SELECT DISTINCT a.pid FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_locks l ON l.pid = a.pid
WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY(%s::oid[]) AND a.pid <> pg_backend_pid() AND a.datname = current_database()
  AND a.state IN ('idle in transaction', 'idle in transaction (aborted)') AND clock_timestamp() - a.state_change > make_interval(secs => %s)"""


class _Relations:
    """The tables and views of a step that are there, in the order in which they are locked, each with its partitions and children."""

    def __init__(self, db: Database, tables: t.Sequence[Name]) -> None:
        found = ((name, [oid for (oid,) in db.rows(_RELATIONS, (name.schema, name.name))]) for name in tables)
        self.oids = {name: oids for name, oids in found if oids}
        self.all = [oid for oids in self.oids.values() for oid in oids]

    def with_oid(self, held: t.Container[int]) -> list[Name]:
        return [name for name, oids in self.oids.items() if any(oid in held for oid in oids)]


def blockers(db: Database, tables: t.Sequence[Name]) -> tuple[Blocker, ...]:
    """Return the sessions that hold a lock on *tables*, the oldest transaction first."""
    return tuple(Blocker(*row) for row in db.rows(_BLOCKERS, (_Relations(db, tables).all,)))


def run(db: Database, step: Step, limits: Limits, record: Record) -> StepOutcome:
    """Run *step*: see locks.run_step."""
    attempts = Attempts(step, limits)
    with unset_after(db, step):
        return _Transaction(db, attempts, record).run() if step.transaction else _alone(db, attempts, record)


class _Transaction:
    """A step that is one transaction."""

    def __init__(self, db: Database, attempts: Attempts, record: Record) -> None:
        self._db = db
        self._attempts = attempts
        self._record = record
        self._ladder = Ladder(attempts.limits)
        self._seen: dict[str, float] = {}
        self._next_anyway = 0.0
        self._anyway = 0
        self._wait = 0
        setting = db.rows("SELECT setting::int, current_setting('is_superuser') = 'on' FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'")
        self._deadlock_timeout: int
        self._superuser: bool
        self._deadlock_timeout, self._superuser = setting[0]

    def run(self) -> StepOutcome:
        attempts = self._attempts
        deadlocks = 0
        while True:
            relations = _Relations(self._db, attempts.step.locks)
            slow = self._until_clear(relations)
            attempts.count += 1
            self._wait = 0
            try:
                return self._attempt(relations, slow)
            except DatabaseError as exc:
                deadlocks += exc.kind == "deadlock"
                if exc.kind not in ("lock", "deadlock") or deadlocks > _DEADLOCKS:
                    raise
                cause = exc
            held = blockers(self._db, attempts.step.locks)
            attempts.blockers = held or attempts.blockers
            if attempts.over:
                raise attempts.given_up(cause) from cause
            time.sleep(self._ladder.pause(self._wait))

    def _until_clear(self, relations: _Relations) -> list[Name]:
        """Look until no holder is there that stays, or it is time for an attempt all the same. Return the tables on which SHARE UPDATE EXCLUSIVE is held."""
        while True:
            now = time.monotonic()
            held = self._db.rows(_HELD, (relations.all,)) if relations.all else []
            slow = relations.with_oid({oid for dummy, dummy, oid, mode, dummy in held if mode == "ShareUpdateExclusiveLock"})
            by_slow = {who for dummy, who, dummy, mode, dummy in held if mode == "ShareUpdateExclusiveLock"}
            self._seen = {who: self._seen.get(who, now - age) for dummy, who, dummy, dummy, age in held}
            staying = any(now - since > _STAYS for who, since in self._seen.items() if who not in by_slow)
            if not staying:
                self._next_anyway = 0.0
                return slow
            if not self._next_anyway:  # the first attempts do not wait, so they may find out by themselves
                self._next_anyway = now + _ALL_THE_SAME[0]
            if now >= self._next_anyway or self._attempts.over:
                self._anyway += 1
                self._next_anyway = now + _ALL_THE_SAME[min(self._anyway, len(_ALL_THE_SAME) - 1)]
                return slow
            if self._attempts.limits.kill_blockers is not None:
                _end_idle(self._db, relations, self._attempts.limits.kill_blockers)
            time.sleep(_LOOK)

    def _attempt(self, relations: _Relations, slow: list[Name]) -> StepOutcome:
        db, step, attempts = self._db, self._attempts.step, self._attempts
        with db.transaction():
            for name in slow:
                self._wait_without_stalling(name)
            wait = self._ladder.wait(attempts.elapsed)
            if len(relations.oids) > 1:
                # A client that holds the second table and wants the first must never find out that this is a deadlock: it would be the one to end.
                wait = min(wait, self._deadlock_timeout * 4 // 5)
            self._wait = wait
            started = time.monotonic()
            try:
                for name in relations.oids:
                    left = wait - round((time.monotonic() - started) * 1000)
                    if left > 0:
                        db.execute(f"SET LOCAL lock_timeout = {left}")
                    db.execute(f"LOCK TABLE {quote.table(POSTGRESQL, name)} IN ACCESS EXCLUSIVE MODE{'' if left > 0 else ' NOWAIT'}")
            finally:
                attempts.waited(time.monotonic() - started)
            # What the statements lock beside the step's own tables.
            db.execute(f"SET LOCAL lock_timeout = {max(wait, 20)}")
            for statement in (*step.session, *step.statements):
                db.execute(statement)
            outcome = attempts.outcome()
            self._record(outcome)
        return outcome

    def _wait_without_stalling(self, name: Name) -> None:
        if self._superuser:
            self._db.execute("SET LOCAL deadlock_timeout = '20ms'")
        self._db.execute(f"SET LOCAL lock_timeout = {self._deadlock_timeout + 1000}")
        self._db.execute(f"LOCK TABLE {quote.table(POSTGRESQL, name)} IN SHARE UPDATE EXCLUSIVE MODE")
        if self._superuser:
            self._db.execute("RESET deadlock_timeout")


def _end_idle(db: Database, relations: _Relations, seconds: float) -> None:
    """End the sessions that hold *relations* and have been idle in their transaction for *seconds*."""
    for (pid,) in db.rows(_IDLE, (relations.all, seconds)):
        with contextlib.suppress(DatabaseError):  # of a role whose sessions we may not end: it stays a blocker
            db.execute("SELECT pg_terminate_backend(%s)", (pid,))


@contextlib.contextmanager
def _ending_idle(db: Database, tables: t.Sequence[Name], seconds: float | None) -> t.Iterator[None]:
    """While a statement of the block waits, end from a second connection those who are idle in a transaction on its tables."""
    if seconds is None or not tables:
        yield
        return
    stop = threading.Event()

    def watch(second: Database, longer_than: float) -> None:
        with contextlib.suppress(DatabaseError):
            while not stop.wait(1.0):
                _end_idle(second, _Relations(second, tables), longer_than)

    with db.again() as second:
        thread = threading.Thread(target=watch, args=(second, seconds), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _tables(db: Database, step: Step) -> tuple[Name, ...]:
    """Return the tables that the statements name, and those of the indexes that they name."""
    found = [row for name in qualified(db.engine, step.statements) for row in db.rows(_TABLES, (name.schema, name.name))]
    return tuple(Name(*row) for row in dict.fromkeys(found))


def _failed_alone(db: Database, attempts: Attempts, cause: DatabaseError) -> None:
    """Clean up after an attempt, and wait where another one makes sense. Raises SeamlessError where none does."""
    if cause.kind == "lock":
        attempts.blockers = blockers(db, attempts.tables) or tuple(Blocker(*row) for row in db.rows(_OLDEST))
    with contextlib.suppress(DatabaseError):  # it may be blocked by the same; the next run repairs it first
        _repair(db, attempts.step)
    if cause.kind == "lock":
        raise attempts.given_up(cause) from cause
    if cause.kind != "deadlock" or attempts.count > _DEADLOCKS:
        raise cause
    time.sleep(0.2 * attempts.count)


def _alone(db: Database, attempts: Attempts, record: Record) -> StepOutcome:
    """Run a step each of whose statements is a transaction of its own."""
    step = attempts.step
    attempts.tables = step.locks or _tables(db, step)
    bound = max(1, round(attempts.limits.lock_wait_total * 1000))
    db.execute(f"SET lock_timeout = {bound}")
    try:
        for statement in step.session:
            db.execute(statement)
        while True:
            attempts.count += 1
            _repair(db, step)
            try:
                with _ending_idle(db, attempts.tables, attempts.limits.kill_blockers):
                    for statement in step.statements:
                        db.execute(statement)
            except DatabaseError as exc:
                _failed_alone(db, attempts, exc)
            else:
                break
    finally:
        with contextlib.suppress(DatabaseError):
            db.execute("SET lock_timeout = 0")
    outcome = attempts.outcome()
    with db.transaction():
        record(outcome)
    return outcome


def _repair(db: Database, step: Step) -> None:
    """Do away with what a statement left that did not come to its end."""
    if step.broken is not None and db.value(step.broken):
        for statement in step.repair:
            db.execute(statement)
