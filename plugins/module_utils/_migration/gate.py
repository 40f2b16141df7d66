# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Whether old code still runs anywhere: from evidence to a verdict. Pure.

What Ansible does by itself is no evidence: a play after a roll is run although a host failed, was lost, or was left out by --limit. So each piece of
evidence is something that was seen, and a piece that is missing says what, and what would do.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import states

HOSTS, SESSIONS, CANARY, VERIFIED, ALONE, AGE, FLOOR = "E1", "E2", "E3", "E4", "E5", "E6", "floor"
CONTRACT, ABORT = PURPOSES = ("contract", "abort")
MIN_AGE = 1800.0
# PostgreSQL cuts application_name here.
_NAME_MAX = 63
SHOWN = 5

Report = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One piece of evidence. *missing* says what stands against a pass, and is empty when *ok*.

    *pending*: nothing stands against it but time, so many seconds of it. *weak*: it holds, but could not be seen well, and why.
    """

    id: str
    what: str
    missing: tuple[str, ...] = ()
    would_do: str = ""
    pending: float | None = None
    weak: str = ""
    seen: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.missing and self.pending is None

    def told(self) -> dict[str, t.Any]:
        """Return it as JSON's own types: what the ledger keeps and the module returns."""
        return {
            "id": self.id,
            "ok": self.ok,
            "what": self.what,
            "missing": list(self.missing),
            "would_do": self.would_do,
            "pending": self.pending,
            "weak": self.weak,
            "seen": dict(self.seen),
        }


@dataclasses.dataclass(frozen=True)
class Session:
    """A session of the database. *release* is what its name says after ``app@``; *hidden* when we may not see its details."""

    id: int
    name: str
    user: str = ""
    address: str = ""
    active: bool = False
    query: str = ""
    since: float | None = None  # seconds since it last began or ended a statement
    hidden: bool = False

    def __str__(self) -> str:
        details = [f"session {self.id}", f"user {self.user}" if self.user else "", f"from {self.address}" if self.address else ""]
        return f"{self.name or 'no name'} ({', '.join(filter(None, details))})"


@dataclasses.dataclass(frozen=True)
class Count:
    """How far a canary counted. *reads* is by how much looking at it moves it: MariaDB's sequences can only be read by counting on."""

    sequence: str
    value: int
    reads: int = 0

    def writes_since(self, earlier: Count) -> int:
        return self.value - earlier.value - self.reads


@dataclasses.dataclass(frozen=True)
class Quiet:
    """What is known of the canaries: how far they count, since when (seconds ago) they stand still, and who wrote where they moved."""

    counts: tuple[Count, ...]
    seconds: float
    window: float = 0.0  # seconds between the look before and the last one
    moved: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    suspects: tuple[Session, ...] = ()
    blind: str = ""  # what kept us from seeing all who were connected


def several(items: t.Sequence[str]) -> str:
    """Return the first few of *items*, and how many there are beside them."""
    shown = list(items[:SHOWN])
    return "; ".join([*shown, *([f"and {len(items) - SHOWN} more"] if len(items) > SHOWN else [])])


def carriers(reports: t.Iterable[Report]) -> tuple[str, ...]:
    """Return the releases that carry the migration on every host that has them: one id means the same code everywhere."""
    carrying: set[str] = set()
    not_carrying: set[str] = set()
    for report in reports:
        here = set(report.get("carriers") or [])
        carrying |= here
        not_carrying |= set(report.get("releases") or []) - here
    return tuple(sorted(carrying - not_carrying))


def all_carriers(reports: t.Iterable[Report]) -> tuple[str, ...]:
    """Return the releases that carry the migration on some host: code that an abort takes the new shape away from."""
    return tuple(sorted({release for report in reports for release in report.get("carriers") or []}))


def release_of(name: str, app: str) -> str | None:
    """Return the release that a session's name tells, or None for a session that does not."""
    return name[len(app) + 1:] if name.startswith(f"{app}@") else None


def _is_carrier(name: str, app: str, carrying: t.Iterable[str]) -> bool:
    return any(name == f"{app}@{release}" or name == f"{app}@{release}"[:_NAME_MAX] for release in carrying)


def judge_sessions(
    sessions: t.Sequence[Session] | None, *, app: str, carrying: t.Sequence[str], pooled: str = "", poolers: t.Container[str] = (), unseen: str = "",
    blind: str = "", purpose: str = CONTRACT,
) -> Evidence:
    """E2: no session of the database tells that it is of a release that must be gone: one that does not carry the migration, or one that does (abort).

    *pooled* says why our own connection can't be trusted to see them.
    """
    if pooled:
        return Evidence(
            SESSIONS,
            "the gate's own connection goes through a connection pooler, which shares the server's sessions",
            (f"{pooled}: neither the migration lock nor what is seen through it would be ours alone",),
            "Give the server's own address in login_host and login_port (or login_unix_socket).",
        )
    if sessions is None:
        return Evidence(SESSIONS, "the sessions can't be asked for their release", weak=unseen or "the server does not tell")
    named = [session for session in sessions if release_of(session.name, app) is not None]
    old = [session for session in named if _is_carrier(session.name, app, carrying) is (purpose == ABORT)]
    kept = [session for session in old if session.address in poolers and not session.active]
    old = [session for session in old if session not in kept]
    weak = [blind] if blind else []
    if kept:
        weak.append(f"idle connections of a pooler still have the name of a client that may have left: {several([str(session) for session in kept])}")
    if not named:
        weak.append(f"no session says its release: set application_name={app}@RELEASE where the application connects")
    elif len(named) < len(sessions):
        weak.append(f"{len(sessions) - len(named)} sessions do not say their release")
    if any(session.hidden for session in sessions):
        weak.append("details of some sessions are hidden from this user (pg_read_all_stats shows them)")
    seen = {"named": len(named), "unnamed": len(sessions) - len(named)}
    if old:
        return Evidence(
            SESSIONS,
            f"{len(old)} of {len(sessions)} sessions are of a release that {'carries' if purpose == ABORT else 'does not carry'} the migration",
            tuple(f"session of release {release_of(session.name, app)}: {session}" for session in old[:20]),
            "Stop or restart what connects from there. A pooler's idle connection keeps the name of a client that left: have it reconnect, or name the "
            "pooler's addresses in poolers.",
            seen=seen,
        )
    each = "none" if purpose == ABORT else "each"
    return Evidence(SESSIONS, f"{len(named)} of {len(sessions)} sessions say their release, and {each} carries the migration", weak="; ".join(weak), seen=seen)


def judge_canary(
    quiet: Quiet | None, *, quiet_period: float, app: str, carrying: t.Sequence[str], now: float, why_none: str = "", gone: str = "", uncounted: str = ""
) -> Evidence:
    """E3: nobody has written the old shape for *quiet_period* seconds, as the canaries in the sync triggers count.

    *now* is the database's clock; *uncounted* says which writes the canaries do not see.
    """
    if gone:
        advice = "See what removed it; aborting the migration and starting it anew makes it again."
        return Evidence(CANARY, "the writes of old code can't be counted", (gone,), advice)
    if quiet is None:
        return Evidence(CANARY, "no canary counts the writes of old code", weak=why_none)
    seen = {
        "counts": {count.sequence: count.value for count in quiet.counts},
        "reads": {count.sequence: count.reads for count in quiet.counts},
        "since": now - quiet.seconds,
        "at": now,
    }
    if quiet.moved:
        writes = sum(quiet.moved.values())
        often = f"at least {'once' if writes == 1 else f'{writes} times'} in the last {quiet.window:.0f} seconds"
        who = [str(session) for session in quiet.suspects if not _is_carrier(session.name, app, carrying)]
        named = f"; connected then, and not of a release that carries it: {several(who)}" if who else f"; {quiet.blind or 'who wrote was gone when we looked'}"
        return Evidence(
            CANARY,
            f"the old shape was written {often}",
            (f"something still writes the old shape ({often}, counted by {', '.join(quiet.moved)}){named}",),
            "Find what still runs old code: a cron job, a worker, a script or a host that is in no group. Then the old shape must be left alone for "
            f"{quiet_period:g} seconds (quiet_period).",
            seen={**seen, "suspects": who[:20]},
        )
    if quiet.seconds < quiet_period:
        left = round(quiet_period - quiet.seconds, 1)
        return Evidence(
            CANARY,
            f"the old shape was not written for {quiet.seconds:.0f} of {quiet_period:g} seconds",
            would_do=f"Ask again in {left:g} seconds, or say wait: {left:.0f} or more.",
            pending=left,
            weak=uncounted,
            seen=seen,
        )
    return Evidence(CANARY, f"the old shape was not written for {quiet.seconds:.0f} seconds ({quiet_period:g} are enough)", weak=uncounted, seen=seen)


def judge_verified(state: str, found: t.Sequence[tuple[str, int]], checks: int) -> Evidence:
    """E4: the migration is where a contract may begin, and both shapes agree now. *found* are the checks that do not hold, with how many rows are wrong."""
    if not states.reached(state, "backfilled"):
        return Evidence(
            VERIFIED,
            f"the migration is {state}",
            (f"the migration is {state}, not backfilled: the new shape is not complete yet",),
            "Bring it to state: backfilled first.",
            seen={"state": state},
        )
    if state != "backfilled":
        return Evidence(VERIFIED, f"the migration is {state}: both shapes agreed when its contract began", seen={"state": state})
    if found:
        return Evidence(
            VERIFIED,
            "the two shapes differ",
            tuple(f"rows are not the same in both shapes: {name}: {wrong} rows" for name, wrong in found),
            "Look at what wrote them (a trigger that fires after ours, replication with triggers off), and bring it to state: backfilled again.",
            seen={"state": state},
        )
    return Evidence(VERIFIED, f"both shapes agree in every row ({checks} checks)", seen={"state": state})


def judge_alone(reports: t.Sequence[Report], *, rollout_id: str, locked: str = "", running: t.Sequence[str] = ()) -> Evidence:
    """E5: nobody else works on the application. *locked* says who holds the migration lock; *running* are migrations that somebody began and did not end."""
    missing: list[str] = []
    dead: list[str] = []
    for report in reports:
        lock = report.get("lock") or {}
        if not lock or lock.get("id") == rollout_id or report.get("retired"):
            continue
        text = f"{report['host']} is locked by rollout {lock.get('id')} of {lock.get('owner') or 'unknown'}"
        (dead if lock.get("expired") else missing).append(text)
    if locked:
        missing.append(locked)
    weak = [f"a rollout died and left its lock: {several(dead)}"] if dead else []
    weak += [f"begun and not ended: {', '.join(running)}"] if running else []
    if missing:
        advice = "Wait until that has ended, or settle it with the recover playbook."
        return Evidence(ALONE, "somebody else works on the application", tuple(missing), advice, weak="; ".join(weak))
    return Evidence(ALONE, "no other rollout or migration of the application is under way", weak="; ".join(weak))


def judge_age(reports: t.Sequence[Report], *, min_age: float, pinned: t.Mapping[str, str], carrying: t.Container[str]) -> Evidence:
    """E6: the last host was switched long enough ago, and nobody wants to keep an older release possible."""
    ages = {str(report["host"]): report.get("switched_ago") for report in reports if report.get("answered") and not report.get("retired")}
    missing = [f"release {release} is pinned ({reason}), and does not carry the migration" for release, reason in pinned.items() if release not in carrying]
    known = {host: float(age) for host, age in ages.items() if age is not None}
    youngest = min(known, key=lambda host: known[host], default=None)
    seen = {"switched_ago": known[youngest] if youngest else None, "host": youngest}
    if min_age > 0:
        missing += [f"{host} can't tell when it was switched to its release" for host, age in ages.items() if age is None]
    if missing:
        return Evidence(
            AGE,
            "the way back is still wanted, or can't be told to be over",
            tuple(missing),
            "Take the release out of pinned when nobody needs the way back to it; a host that can't tell is switched again, or named in retired.",
            seen=seen,
        )
    if youngest is not None and known[youngest] < min_age:
        left = round(min_age - known[youngest], 1)
        return Evidence(
            AGE,
            f"the last host, {youngest}, was switched {known[youngest]:.0f} seconds ago, and {min_age:g} are asked for (min_age)",
            would_do=f"Ask again in {left:g} seconds, or set min_age lower where nobody needs a way back for so long.",
            pending=left,
            seen=seen,
        )
    when = f"the last host, {youngest}, was switched {known[youngest]:.0f} seconds ago" if youngest is not None else "no host can tell when it was switched"
    return Evidence(AGE, when, seen=seen)


def judge_floor(failed: t.Mapping[str, str]) -> Evidence:
    """The floor: every host refuses older releases from now on. *failed* are the hosts that did not take it, with what they said."""
    if failed:
        return Evidence(
            FLOOR,
            "not every host refuses older releases now",
            tuple(f"{host} did not take the release floor: {why}" for host, why in failed.items()),
            "Repair the hosts and run it again. Where the contract is given up, release_floor with state: absent takes the floor back.",
        )
    return Evidence(FLOOR, "every host refuses older releases from now on")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What all the evidence comes to. *pending* is set when nothing but time is missing: how many seconds of it."""

    evidence: tuple[Evidence, ...]

    @property
    def passed(self) -> bool:
        return all(item.ok for item in self.evidence)

    @property
    def pending(self) -> float | None:
        waits = [item.pending for item in self.evidence if item.pending is not None]
        return max(waits) if waits and not any(item.missing for item in self.evidence) else None

    @property
    def missing(self) -> list[str]:
        """Return every piece that is missing, with the name of its evidence."""
        lines = [f"{item.id}: {what}" for item in self.evidence for what in item.missing]
        return lines + [f"{item.id}: not yet: {item.what}" for item in self.evidence if not item.missing and item.pending is not None]

    def sentence(self, migration: str, purpose: str = CONTRACT) -> str:
        if self.passed:
            return f"The gate of {migration} passed: no {'code that needs it' if purpose == ABORT else 'old code'} was found anywhere."
        advice = " ".join(dict.fromkeys(item.would_do for item in self.evidence if not item.ok and item.would_do))
        held = "is not open yet" if self.pending is not None else "is shut"
        return f"The gate of {migration} {held}, since nothing that can't be undone is done without evidence. Missing: {'; '.join(self.missing)}. {advice}"
