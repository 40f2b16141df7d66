# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The operation behind the module ``migration_gate``: takes what the hosts said, asks the database for the rest, and keeps the verdict in the ledger."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import advisory, evidence, gate, gate_hosts, states
from ansible_collections.seamless.rollout.plugins.module_utils._migration.connection import CONNECTION_SPEC, opened
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database, DatabaseError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger import GATE_TTL, Ledger
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger_records import Migration
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL

ARGUMENT_SPEC: dict[str, t.Any] = {
    **CONNECTION_SPEC,
    "app": {"type": "str", "required": True},
    "name": {"type": "str", "default": ""},
    "release": {"type": "str", "default": ""},
    "purpose": {"type": "str", "choices": list(gate.PURPOSES), "default": gate.CONTRACT},
    "groups": {"type": "list", "elements": "str", "default": []},
    "also_runs": {"type": "list", "elements": "str", "default": []},
    "retired": {"type": "list", "elements": "dict", "default": [], "options": {
        "host": {"type": "str", "required": True}, "reason": {"type": "str", "required": True},
    }},
    "pinned": {"type": "list", "elements": "dict", "default": [], "options": {
        "release": {"type": "str", "required": True}, "reason": {"type": "str", "required": True},
    }},
    "root": {"type": "path"},
    "services": {"type": "list", "elements": "dict"},
    "migrations_directory": {"type": "str", "default": "migrations"},
    "poolers": {"type": "list", "elements": "str", "default": []},
    "quiet_period": {"type": "float"},
    "min_age": {"type": "float", "default": gate.MIN_AGE},
    "wait": {"type": "float", "default": 0.0},
    "raise_floor": {"type": "bool", "default": False},
    "must_pass": {"type": "bool", "default": True},
    "rollout_id": {"type": "str", "default": ""},
    "lock_deadline": {"type": "float", "default": 5.0},
    "hosts": {"type": "list", "elements": "dict"},
    "floor_failed": {"type": "dict"},
    "provisional": {"type": "bool", "default": False},
}  # fmt: skip

LOOK_COUNTS = "a look at what MariaDB counts counts itself, so in check mode there is none"


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Judge whether a migration's old shape may be taken away. Writes the verdict into the ledger, except in check mode or through a pooler."""
    if params["hosts"] is None:
        raise SeamlessError("migration_gate needs its action plugin on the controller, which asks the hosts: use it as a task, not over raw modules.")
    if bool(params["name"]) == bool(params["release"]):
        raise SeamlessError("One of name and release must be set: name a migration, or the release that every host must run where a framework migrates.")
    if params["purpose"] == gate.ABORT and (params["raise_floor"] or not params["name"]):
        raise SeamlessError("purpose is abort, which goes with name and without raise_floor: an abort is of one migration, and no release is too old after it.")
    with opened(params) as db:
        if params["purpose"] == gate.ABORT:
            return _judged_for_abort(db, params, check_mode=check_mode)
        return _judged(db, params, check_mode=check_mode) if params["name"] else _judged_release(db, params)


def _migration(ledger: Ledger, app: str, name: str, where: str) -> Migration:
    found = ledger.migration(app, name)
    if found is None:
        known = ", ".join(item.name for item in ledger.migrations(app)) or "none"
        raise SeamlessError(f"name is {name}, and the ledger of the {where} knows no such migration of {app}. It knows: {known}.")
    if found.state == "aborted":
        raise SeamlessError(f"Migration {name} was aborted, so there is nothing left to guard.", state=found.state)
    return found


def _judged(db: Database, params: dict[str, t.Any], *, check_mode: bool) -> dict[str, t.Any]:
    ledger = Ledger(db)
    app, reports = params["app"], params["hosts"]
    migration = _migration(ledger, app, params["name"], str(db.settings))
    carrying = gate.carriers(report for report in reports if not report.get("retired"))
    period = params["quiet_period"]
    if period is None:
        period = float((migration.spec.get("contract") or {}).get("quiet_period", 600))
    outside = [
        gate_hosts.judge_hosts(reports, migration.name, _where(params)),
        gate.judge_age(reports, min_age=params["min_age"], pinned={item["release"]: item["reason"] for item in params["pinned"]}, carrying=carrying),
    ]
    if params["floor_failed"] is not None:
        outside.append(gate.judge_floor(params["floor_failed"]))
    if migration.state == "contracted":
        return _told(migration, gate.Verdict(()), None, carrying, db)
    if db.is_pooled():
        pooled = gate.judge_sessions(None, app=app, carrying=carrying, pooled=f"the {db.settings} is reached through a pooler or proxy")
        return _told(migration, gate.Verdict((*outside, pooled)), None, carrying, db)
    watch, quiet, gone = None, None, ""
    counting = migration.state == "backfilled" and bool(evidence.canaries(migration.plans))
    # There a look counts itself: only one that is recorded can be told from a write.
    must_record = counting and db.engine != POSTGRESQL
    if counting and not (must_record and check_mode):
        try:
            watch = evidence.Watch(db, migration, ledger.gates(migration.id), _now(ledger))
            quiet = _waited(ledger, watch, period, params["wait"] if not any(item.missing for item in outside) else 0.0)
        except DatabaseError as exc:
            if exc.kind != "undefined":
                raise
            gone = f"what counts the writes of old code is gone: {exc}"
    with contextlib.ExitStack() as stack:
        locked = _locked(stack, db, params)
        again = _migration(ledger, app, params["name"], str(db.settings))
        if again.state != migration.state:
            went = f"Migration {migration.name} went from {migration.state} to {again.state} while the gate looked: run it again."
            raise SeamlessError(went, state=again.state)
        seen = evidence.sessions(db)
        found, checks = evidence.wrong(db, migration.plans) if migration.state == "backfilled" and not locked else ([], 0)
        if watch is not None and not gone:
            quiet = watch.look(_now(ledger))
        verdict = gate.Verdict(
            (
                outside[0],
                gate.judge_sessions(seen.for_judgement, app=app, carrying=carrying, poolers=params["poolers"], unseen=seen.why, blind=seen.blind),
                gate.judge_canary(
                    quiet, quiet_period=period, app=app, carrying=carrying, now=_now(ledger), gone=gone, uncounted=evidence.uncounted(migration.plans),
                    why_none=LOOK_COUNTS if must_record and check_mode else _why_no_canary(migration),
                ),
                gate.judge_verified(migration.state, found, checks),
                gate.judge_alone(reports, rollout_id=params["rollout_id"], locked=locked, running=_running(ledger, migration)),
                *outside[1:],
            )
        )
        record = None
        if not check_mode and (not locked or must_record):
            record = ledger.record_gate(migration.id, verdict.passed and not params["provisional"], _kept(verdict, params, carrying))
    return {**_told(migration, verdict, record, carrying, db), **({"gate": None} if params["provisional"] else {})}


def _judged_for_abort(db: Database, params: dict[str, t.Any], *, check_mode: bool) -> dict[str, t.Any]:
    """Judge whether a migration's new shape may be taken away. Nothing counts what new code writes, so its processes and sessions must tell."""
    ledger = Ledger(db)
    app, reports = params["app"], params["hosts"]
    migration = _migration(ledger, app, params["name"], str(db.settings))
    carrying = gate.all_carriers(report for report in reports if not report.get("retired"))
    pooled = f"the {db.settings} is reached through a pooler or proxy" if db.is_pooled() else ""
    with contextlib.ExitStack() as stack:
        locked = "the migration lock can't be had through a pooler" if pooled else _locked(stack, db, params)
        seen = evidence.sessions(db)
        verdict = gate.Verdict(
            (
                gate_hosts.judge_hosts(reports, migration.name, _where(params), gate.ABORT),
                gate.judge_sessions(
                    seen.for_judgement, app=app, carrying=carrying, pooled=pooled, poolers=params["poolers"], unseen=seen.why, blind=seen.blind,
                    purpose=gate.ABORT,
                ),
                gate.judge_alone(reports, rollout_id=params["rollout_id"], locked=locked, running=_running(ledger, migration)),
            )
        )
        record = None
        if not check_mode and not locked:
            record = ledger.record_gate(migration.id, verdict.passed, _kept(verdict, params, carrying))
    return _told(migration, verdict, record, carrying, db, gate.ABORT)


def _where(params: t.Mapping[str, t.Any]) -> str:
    return ", ".join([*params["groups"], *params["also_runs"]])


def _locked(stack: contextlib.ExitStack, db: Database, params: t.Mapping[str, t.Any]) -> str:
    """Take the migration lock until *stack* ends, or return who has it."""
    try:
        stack.enter_context(advisory.migration_lock(db, params["app"], deadline=params["lock_deadline"]))
    except DatabaseError:
        raise
    except SeamlessError as exc:
        return str(exc)
    return ""


def _judged_release(db: Database, params: dict[str, t.Any]) -> dict[str, t.Any]:
    """Judge whether every host runs one release, for migrations of which the ledger knows nothing. Nothing counts the writes of old code there."""
    app, reports, release = params["app"], params["hosts"], params["release"]
    carrying = [release]
    pinned = {item["release"]: item["reason"] for item in params["pinned"]}
    pooled = f"the {db.settings} is reached through a pooler or proxy" if db.is_pooled() else ""
    locked = advisory.holder(db, app) if not pooled else ""
    seen = evidence.sessions(db)
    verdict = gate.Verdict(
        (
            gate_hosts.judge_hosts(reports, f"the code of release {release}", _where(params)),
            gate.judge_sessions(
                seen.for_judgement, app=app, carrying=carrying, pooled=pooled, poolers=params["poolers"], unseen=seen.why, blind=seen.blind
            ),
            gate.judge_canary(None, quiet_period=0, app=app, carrying=carrying, now=0, why_none="nothing counts writes where a framework migrates"),
            gate.judge_alone(reports, rollout_id=params["rollout_id"], locked=f"a migration of {app} is being run by {locked}" if locked else ""),
            gate.judge_age(reports, min_age=params["min_age"], pinned=pinned, carrying=carrying),
        )
    )
    return {
        "changed": False,
        "app": app,
        "migration": "",
        "release": release,
        "state": "",
        "passed": verdict.passed,
        "pending": verdict.pending,
        "gate": None,
        "record": None,
        "gate_ttl": GATE_TTL,
        "missing": verdict.missing,
        "weak": [f"{item.id}: {item.weak}" for item in verdict.evidence if item.weak],
        "evidence": [item.told() for item in verdict.evidence],
        "carriers": carrying,
        "msg": verdict.sentence(f"release {release}"),
        "database": str(db.settings),
    }


def _now(ledger: Ledger) -> float:
    """Return the database's clock: every time in the ledger is by it."""
    return float(ledger.db.value(f"SELECT {ledger.dialect.epoch(ledger.dialect.NOW)}"))


def _waited(ledger: Ledger, watch: evidence.Watch, period: float, patience: float) -> gate.Quiet:
    """Look at the canaries until they have stood still for *period* seconds, something moves them, or *patience* is over."""
    until = time.monotonic() + patience
    while True:
        quiet = watch.look(_now(ledger))
        if quiet.moved or quiet.seconds >= period or time.monotonic() >= until:
            return quiet
        time.sleep(min(evidence.LOOK, max(0.0, period - quiet.seconds) + 0.01))


def _why_no_canary(migration: Migration) -> str:
    if migration.state != "backfilled":
        return f"the migration is {migration.state}, and nothing is counted any more"
    if migration.spec.get("canary") is False:
        return "the migration says canary: false, so the database can't tell whether something still writes the old shape"
    return "nothing in this migration has an old shape that could be written, or the server can't count"


def _running(ledger: Ledger, mine: Migration) -> list[str]:
    return [f"{item.name} ({item.state})" for item in ledger.migrations(mine.app) if item.id != mine.id and states.unfinished(item.state)]


def _kept(verdict: gate.Verdict, params: t.Mapping[str, t.Any], carrying: t.Sequence[str]) -> dict[str, t.Any]:
    """Return what the ledger keeps of a verdict."""
    return {
        "purpose": params["purpose"],
        "passed": verdict.passed,
        "provisional": params["provisional"],
        "pending": verdict.pending,
        "rollout_id": params["rollout_id"],
        "carriers": list(carrying),
        "evidence": [item.told() for item in verdict.evidence],
    }


def _told(
    migration: Migration, verdict: gate.Verdict, record: int | None, carrying: t.Sequence[str], db: Database, purpose: str = gate.CONTRACT
) -> dict[str, t.Any]:
    over = f"{migration.name} is contracted: there is nothing left to guard."
    return {
        "changed": False,
        "app": migration.app,
        "migration": migration.name,
        "release": migration.release,
        "state": migration.state,
        "passed": verdict.passed,
        "pending": verdict.pending,
        "gate": record if verdict.passed else None,
        "record": record,
        "gate_ttl": GATE_TTL,
        "missing": verdict.missing,
        "weak": [f"{item.id}: {item.weak}" for item in verdict.evidence if item.weak],
        "evidence": [item.told() for item in verdict.evidence],
        "carriers": list(carrying),
        "msg": over if migration.state == "contracted" else verdict.sentence(migration.name, purpose),
        "database": str(db.settings),
    }
