# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What the database itself can tell of old code: who is connected, what still writes the old shape, whether both shapes agree."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import quote
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database, DatabaseError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.driver import APPLICATION
from ansible_collections.seamless.rollout.plugins.module_utils._migration.gate import CANARY, Count, Quiet, Session
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger_records import Gate, Migration
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Canary, Plan

# A user who may not see others' details sees their names all the same, but neither state nor kind.
_POSTGRESQL = """
SELECT pid, application_name, coalesce(usename::text, ''), coalesce(host(client_addr), CASE WHEN state IS NULL THEN '' ELSE 'local socket' END), state,
  CASE WHEN state IS NULL THEN '' ELSE left(regexp_replace(query, '\\s+', ' ', 'g'), 200) END,
  extract(epoch FROM clock_timestamp() - state_change)::float8
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND coalesce(backend_type, 'client backend') = 'client backend' ORDER BY pid"""
_MARIADB = """
SELECT ID, USER, HOST, COMMAND, left(coalesce(INFO, ''), 200), TIME FROM information_schema.PROCESSLIST
WHERE DB = DATABASE() AND ID <> CONNECTION_ID() AND COMMAND <> 'Daemon' ORDER BY ID"""
_NAMES = "SELECT PROCESSLIST_ID, ATTR_VALUE FROM performance_schema.session_connect_attrs WHERE ATTR_NAME = 'program_name'"
_SEES_ALL = """
SELECT count(*) FROM information_schema.USER_PRIVILEGES
WHERE PRIVILEGE_TYPE = 'PROCESS' AND GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')"""
# Who writes and is gone a moment later is seen by looking often.
LOOK = 0.25


class Sessions(t.NamedTuple):
    """The sessions of the database besides our own; whether they tell their release, or *why* not; and what keeps us from seeing all of them."""

    found: list[Session]
    telling: bool
    why: str = ""
    blind: str = ""

    @property
    def for_judgement(self) -> list[Session] | None:
        return self.found if self.telling else None


def sessions(db: Database) -> Sessions:
    """Return who is connected to the application's database now. Sessions of our own kind are left out."""
    if db.engine == POSTGRESQL:
        found = [
            Session(int(pid), name or "", user, address, state not in (None, "idle"), query, None if since is None else float(since), state is None)
            for pid, name, user, address, state, query, since in db.rows(_POSTGRESQL)
        ]
        return Sessions([session for session in found if session.name != APPLICATION], telling=True)
    names: dict[int, str] = {}
    why = "performance_schema is off, so sessions can't tell their release (program_name)"
    try:
        if int(db.value("SELECT @@performance_schema") or 0):
            names = {int(number): str(name or "") for number, name in db.rows(_NAMES)}
            why = ""
    except DatabaseError as exc:
        if exc.kind not in ("privilege", "undefined"):
            raise
        why = "performance_schema can't be read by this user, so sessions can't tell their release: GRANT SELECT ON performance_schema.* TO it"
    found = [
        Session(int(number), names.get(int(number), ""), str(user), str(host).rpartition(":")[0] or str(host), command != "Sleep", str(query), float(since))
        for number, user, host, command, query, since in db.rows(_MARIADB)
    ]
    blind = "" if int(db.value(_SEES_ALL) or 0) else "this user sees its own sessions only: GRANT PROCESS ON *.* TO it"
    return Sessions([session for session in found if session.name != APPLICATION], telling=not why, why=why, blind=blind)


def canaries(plans: t.Sequence[Plan]) -> list[Canary]:
    return [plan.canary for plan in plans if plan.canary is not None]


def uncounted(plans: t.Sequence[Plan]) -> str:
    """Return which writes of old code the canaries do not see, "" where they see all."""
    return "; ".join(canary.weakness for canary in canaries(plans) if canary.blind)


def counts(db: Database, plans: t.Sequence[Plan]) -> tuple[Count, ...]:
    """Return how far the canaries count. Raises DatabaseError (kind undefined) where one is gone."""
    return tuple(_count(db, canary) for canary in canaries(plans))


def _count(db: Database, canary: Canary) -> Count:
    name = quote.table(db.engine, canary.sequence)
    if db.engine == POSTGRESQL:
        last, called = db.rows(f"SELECT last_value, is_called FROM {name}")[0]
        return Count(str(canary.sequence), int(last) if called else int(last) - canary.step)
    # What the table behind a sequence shows may be many numbers ahead of what was handed out: only taking a number tells.
    return Count(str(canary.sequence), int(db.value(f"SELECT NEXTVAL({name})")), canary.step)


def moved(earlier: t.Sequence[Count], later: t.Sequence[Count]) -> dict[str, int]:
    """Return which canaries counted writes between two looks that follow each other, and how many at least. One that is new says nothing."""
    known = {count.sequence: count for count in earlier}
    writes = {count.sequence: count.writes_since(known[count.sequence]) for count in later if count.sequence in known}
    return {sequence: number for sequence, number in writes.items() if number}


class Look(t.NamedTuple):
    """What a gate saw of the canaries *at* a time (the database's clock), and *since* when they had stood still by then."""

    counts: tuple[Count, ...]
    since: float
    at: float


def last_look(gates: t.Sequence[Gate], migration: Migration) -> Look | None:
    """Return what the last gate saw of the canaries, or None where none looked.

    Whatever was seen before the migration came to its state says nothing: in the quarantine no trigger counts.
    """
    for gate in reversed(gates):
        if gate.at < migration.updated_at:
            return None
        seen = next((item.get("seen") or {} for item in gate.evidence.get("evidence") or [] if item.get("id") == CANARY), {})
        if "counts" in seen:
            reads = seen.get("reads") or {}
            counted = tuple(Count(sequence, int(value), int(reads.get(sequence, 0))) for sequence, value in seen["counts"].items())
            return Look(counted, float(seen["since"]), float(seen["at"]))
    return None


def suspects(found: t.Sequence[Session], plans: t.Sequence[Plan]) -> tuple[Session, ...]:
    """Return *found*, with those first whose last statement names one of the tables, and of these who was active last."""
    tables = {name.name.lower() for plan in plans for name in plan.tables}

    def rank(session: Session) -> tuple[bool, float]:
        return not any(table in session.query.lower() for table in tables), session.since if session.since is not None else float("inf")

    return tuple(sorted(found, key=rank))


class Watch:
    """Looks at the canaries of a migration, again and again while it is waited for."""

    def __init__(self, db: Database, migration: Migration, gates: t.Sequence[Gate], now: float) -> None:
        self._db, self._migration = db, migration
        before = last_look(gates, migration)
        counted = counts(db, migration.plans)
        if before is not None and {count.sequence for count in before.counts} != {count.sequence for count in counted}:
            before = None
        self._moved = moved(before.counts, counted) if before else {}
        self._begun = before.at if before else now
        # It begins with the first look: nobody can say whether they stood still before.
        self.since = max(before.since, migration.updated_at) if before and not self._moved else now
        self._counted = counted
        self._suspects: tuple[Session, ...] = ()
        self._blind = ""
        if self._moved:
            self._suspect()

    def _suspect(self) -> None:
        """See who is connected in the moment in which something wrote."""
        seen = sessions(self._db)
        self._suspects, self._blind = suspects(seen.found, self._migration.plans), seen.blind

    def look(self, now: float) -> Quiet:
        """Return what is known of the canaries at *now*, by the database's clock."""
        counted = counts(self._db, self._migration.plans)
        news = moved(self._counted, counted)
        self._counted = counted
        if news:
            self.since = now
            self._moved = {**self._moved, **{sequence: self._moved.get(sequence, 0) + number for sequence, number in news.items()}}
            self._suspect()
        return Quiet(counted, max(0.0, now - self.since), max(0.0, now - self._begun), dict(self._moved), self._suspects, self._blind)


def wrong(db: Database, plans: t.Sequence[Plan]) -> tuple[list[tuple[str, int]], int]:
    """Return the checks of *plans* that do not hold now, with how many rows are wrong, and how many checks there are."""
    checks = [(f"{number}. {plan.operation}: {check.name}", check) for number, plan in enumerate(plans, start=1) for check in plan.verify]
    found = [(name, int(db.value(check.query) or 0)) for name, check in checks]
    return [(name, rows) for name, rows in found if rows], len(checks)
