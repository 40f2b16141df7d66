# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The operation behind the module ``migration``: brings a migration to a state."""

from __future__ import annotations

import dataclasses
import os
import socket
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import advisory, catalog, described, preflight, states
from ansible_collections.seamless.rollout.plugins.module_utils._migration import spec as specs
from ansible_collections.seamless.rollout.plugins.module_utils._migration.connection import CONNECTION_SPEC, opened
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger import GATE_TTL, Ledger
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger_records import Migration
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Name, Plan, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.planner import planned
from ansible_collections.seamless.rollout.plugins.module_utils._migration.runner import ASKED, PURPOSE_OF, Permission, Runner
from ansible_collections.seamless.rollout.plugins.module_utils._migration.spec import Spec

ARGUMENT_SPEC: dict[str, t.Any] = {
    **CONNECTION_SPEC,
    "state": {"type": "str", "choices": list(states.TARGETS), "default": "planned"},
    "src": {"type": "str"},
    "remote_src": {"type": "bool", "default": False},
    "spec": {"type": "dict"},
    "app": {"type": "str"},
    "name": {"type": "str"},
    "gate": {"type": "int"},
    "gate_ttl": {"type": "float", "default": GATE_TTL},
    "force_contract_reason": {"type": "str", "default": ""},
    "force_abort_reason": {"type": "str", "default": ""},
    "paused_by": {"type": "str"},
    "lock_deadline": {"type": "float", "default": 60.0},
    "verify_window": {"type": "float", "default": 1.0},
    "rollout_id": {"type": "str", "default": ""},
}

MOST_OF_WHO = 255  # characters of paused_by that the ledger keeps


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be done to which migration. *spec* is the file's where there is one, else the ledger's."""

    spec: Spec
    plans: tuple[Plan, ...]
    tables: dict[Name, Table]
    migration: Migration | None
    moves: tuple[states.Move, ...]

    @property
    def state(self) -> str:
        return self.migration.state if self.migration else "pending"

    @property
    def starts(self) -> bool:
        """Say whether it is planned from the file now, rather than by the plan that the ledger keeps since it began."""
        return self.state in ("pending", "aborted")


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Bring the migration to the wanted state, and do only what is left to do. ``planned`` and check mode only tell."""
    given = _given(params)
    app, name = (given.app, given.name) if given else (params["app"], params["name"])
    with opened(params) as db:
        preflight.refuse_pooler(db)
        preflight.refuse_stranger(db)
        if params["paused_by"] is not None:
            return _paused(db, app, name, params, check_mode=check_mode)
        if check_mode or params["state"] == "planned":
            return _told(db, given, app, name, params)
        task = _prepared(db, given, app, name, params["state"])
        if not task.moves:
            return _result(db, task)
        with advisory.migration_lock(db, app, deadline=params["lock_deadline"]):
            return _run(db, given, app, name, params)


def _given(params: t.Mapping[str, t.Any]) -> Spec | None:
    """Return the migration of the parameters, or None when they only name one that the ledger knows."""
    if params["spec"] is None:
        if params["src"]:
            raise SeamlessError(f"src: {params['src']} was not read: give the task as seamless.rollout.migration, or the file's content in spec.")
        if not params["app"] or not params["name"]:
            raise SeamlessError("Neither src nor spec is set: give the migration's file in src, or app and name of one that has begun.")
        return None
    given = specs.parse(params["spec"], params["name"] or str(params["spec"].get("name") or ""))
    limits = params["spec"].get("limits") or {}
    if params["engine"] != POSTGRESQL and limits.get("max_lag") is not None:
        raise SeamlessError(
            f"limits.max_lag is {limits['max_lag']}, and a primary of MariaDB or MySQL does not know how far its replicas are behind: leave it out, and give a "
            "throttle_query that returns more than 0 while they lag (from a heartbeat table, say), or have what watches them make the pause_file."
        )
    if params["app"] and params["app"] != given.app:
        raise SeamlessError(f"app is {params['app']}, and migration {given.name} is of {given.app}: leave app out, or give the right file.")
    return given


def _prepared(db: Database, given: Spec | None, app: str, name: str, target: str) -> Task:
    """Return what is to be done, from the file or from the ledger. Raises SeamlessError when that can't be."""
    migration = Ledger(db).migration(app, name)
    if migration is None or migration.state == "aborted":
        if given is None:
            if migration is not None and not states.path(migration.state, target):
                return Task(specs.stored(migration.spec), migration.plans, {}, migration, ())
            raise SeamlessError(f"Migration {name} of {app} has not begun in {db.settings}: give its file in src.")
        plans, tables = planned(db, given)
        return Task(given, plans, tables, migration, states.path(migration.state if migration else "pending", target))
    kept = specs.stored(migration.spec)
    if given is not None:
        if given.checksum != migration.checksum:
            raise SeamlessError(
                f"Migration {name} is not what it was when it began (it is {migration.state}): a migration that has begun can't be changed. Put its file back "
                f"as it was{_changed(kept, given)}, and write what is new into another migration.",
                state=migration.state,
            )
        kept = dataclasses.replace(kept, limits=given.limits, contract=given.contract, acknowledge=given.acknowledge)
    moves = states.path(migration.state, target)
    return Task(kept, migration.plans, _read(db, migration.plans) if moves or target == "planned" else {}, migration, moves)


def _changed(kept: Spec, given: Spec) -> str:
    fields = [field for field in ("release", "operations", "shield", "canary") if getattr(kept, field) != getattr(given, field)]
    return f" (changed: {', '.join(fields)})" if fields else ""


def _read(db: Database, plans: t.Sequence[Plan]) -> dict[Name, Table]:
    found = {name: catalog.read_table(db, name) for plan in plans for name in plan.tables}
    return {name: table for name, table in found.items() if table is not None}


def _told(db: Database, given: Spec | None, app: str, name: str, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what would be done."""
    task = _prepared(db, given, app, name, params["state"])
    steps = described.described(task.plans, task.tables, db.engine)
    result = _result(db, task)
    result["plan"] = steps
    result["plan_text"] = described.text(steps)
    if task.starts:
        found = preflight.examine(db, task.spec, task.plans, task.tables)
        if task.moves:
            found.insist(task.spec.name)
        result.update(preflight={**found.facts, "problems": found.problems}, notices=found.warnings, warnings=found.problems)
    for purpose in dict.fromkeys(PURPOSE_OF[move] for move in task.moves if move in PURPOSE_OF and move.begins != task.state):
        if not (params["gate"] or params[f"force_{purpose}_reason"].strip()):
            asks = f"state: {params['state']} will ask for a gate that passed{ASKED[purpose]} (gate), or for force_{purpose}_reason."
            result["notices"] = [*result["notices"], asks]
    phases = [phase for move in task.moves for phase in move.phases]
    result["changed"] = bool(task.moves)
    todo = described.text([step for step in steps if step["phase"] in phases])
    before = f"-- {task.spec.name} is {task.state}\n"
    result["diff"] = {"before": before, "after": f"-- {task.spec.name} is {task.moves[-1].ends}, after this:\n{todo}" if task.moves else before}
    return result


def _paused(db: Database, app: str, name: str, params: t.Mapping[str, t.Any], *, check_mode: bool) -> dict[str, t.Any]:
    """Have the backfills of a migration wait, or go on. It takes no lock: who runs it has that."""
    if params["state"] != "planned":
        raise SeamlessError(f"paused_by is set, and state is {params['state']}: pause in a task of its own, without state.")
    ledger, who = Ledger(db), params["paused_by"].strip()[:MOST_OF_WHO] or None
    migration = ledger.migration(app, name)
    if migration is None or migration.state in states.FINAL:
        where = f"is {migration.state}" if migration else "has not begun"
        raise SeamlessError(f"Migration {name} of {app} {where}, so nothing of it can wait: leave paused_by out.")
    changed = migration.paused_by != who
    if changed and not check_mode:
        with db.transaction():
            ledger.pause(migration.id, who)
            ledger.event(migration.id, params["rollout_id"], "paused" if who else "unpaused", {"by": who or migration.paused_by})
    task = Task(specs.stored(migration.spec), migration.plans, {}, migration, ())
    return {**_result(db, task), "changed": changed, "paused_by": who}


def _run(db: Database, given: Spec | None, app: str, name: str, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Do what is to be done, under the lock: the state is read anew, since another run may have gone on meanwhile."""
    ledger = Ledger(db)
    run_id = params["rollout_id"] or f"{socket.gethostname()}-{os.getpid()}-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}"
    task = _prepared(db, given, app, name, params["state"])
    permission = Permission(params["gate"], params["force_contract_reason"].strip(), params["force_abort_reason"].strip(), params["gate_ttl"])
    notices: list[str] = []
    runner = Runner(
        db, ledger, run_id=run_id, limits=task.spec.limits, contract=task.spec.contract, tables=task.tables, verify_window=params["verify_window"]
    )
    migration = task.migration
    try:
        if task.starts and task.moves:
            found = preflight.examine(db, task.spec, task.plans, task.tables)
            found.insist(task.spec.name)
            notices += found.warnings
            if any(move in (states.QUARANTINE, states.DROP) for move in task.moves) and not permission.force_contract_reason:
                raise SeamlessError(
                    f"Migration {name} has not begun: take it to state: backfilled, put the new release on every host, have migration_gate look, and come back."
                )
            ledger.ensure()
            migration = ledger.start(
                app=app,
                name=name,
                checksum=task.spec.checksum,
                spec=task.spec.to_json(),
                plans=task.plans,
                release=task.spec.release,
                tag=task.spec.tag,
                tables=[str(table) for plan in task.plans for table in plan.tables],
                state=task.moves[0].begins,
                run_id=run_id,
            )
            if notices:
                ledger.event(migration.id, run_id, "notices", {"notices": notices})
            runner.report.moved = True
        if migration is not None and task.moves:
            migration = runner.run(migration, task.moves, permission)
    except SeamlessError as exc:
        raise SeamlessError(str(exc), **{**_result(db, task, runner, notices, failed=True), **exc.details}) from exc
    return _result(db, dataclasses.replace(task, migration=migration), runner, notices, before=task)


def _result(
    db: Database, task: Task, runner: Runner | None = None, notices: t.Sequence[str] = (), *, before: Task | None = None, failed: bool = False
) -> dict[str, t.Any]:
    """Return what the module returns: where the migration is, and what this run did to it."""
    ledger = Ledger(db)
    try:
        migration = ledger.migration(task.spec.app, task.spec.name)
        floor = ledger.floor(task.spec.app)
    except SeamlessError:
        if not failed:
            raise
        migration, floor = task.migration, None  # the connection is gone, and why is being told
    result: dict[str, t.Any] = {
        "changed": bool(runner and runner.report.moved),
        "app": task.spec.app,
        "migration": task.spec.name,
        "release": task.spec.release,
        "tag": task.spec.tag,
        "state": migration.state if migration else "pending",
        "previous_state": (before or task).state,
        "tables": sorted({str(table) for plan in task.plans for table in plan.tables}),
        "drop_after": migration.drop_after if migration else None,
        "floor": floor,
        "steps": runner.report.steps if runner else [],
        "fills": runner.report.fills if runner else [],
        "rows": runner.report.rows if runner else 0,
        "notices": [*notices, *(runner.report.notices if runner else [])],
    }
    if before is not None:
        result["diff"] = {"before": described.catalog(before.tables.values()), "after": described.catalog(_read(db, task.plans).values())}
    return result
