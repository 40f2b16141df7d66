# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The operation behind the module ``migration_info``: what the ledger knows. Reads only."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import advisory, pace, runner, states
from ansible_collections.seamless.rollout.plugins.module_utils._migration.connection import CONNECTION_SPEC, opened
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger import Ledger
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger_records import FillRecord, Migration

ARGUMENT_SPEC: dict[str, t.Any] = {
    **CONNECTION_SPEC,
    "app": {"type": "str"},
    "name": {"type": "str"},
    "events": {"type": "int", "default": 10},
}


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Return the migrations of an application, or of all, and the floors under their releases."""
    del check_mode
    with opened(params) as db:
        ledger = Ledger(db)
        known = [item for item in ledger.migrations(params["app"]) if params["name"] in (None, item.name)]
        apps = sorted({item.app for item in known} | ({params["app"]} if params["app"] else set()))
        return {
            "changed": False,
            "ledger": ledger.exists(),
            "engine": db.engine,
            "server_version": ".".join(map(str, db.server.version)),
            "pooled": db.is_pooled(),
            "migrations": [told(ledger, item, params["events"]) for item in known],
            "running": {app: advisory.holder(db, app) or None for app in apps},
            "floors": {app: ledger.floor(app) for app in apps},
        }


def told(ledger: Ledger, migration: Migration, events: int) -> dict[str, t.Any]:
    """Return *migration* for people and for a rollout's plan."""
    gates = ledger.gates(migration.id)
    return {
        "app": migration.app,
        "name": migration.name,
        "release": migration.release,
        "state": migration.state,
        "unfinished": states.unfinished(migration.state),
        "final": migration.state in states.FINAL,
        "tables": [*migration.tables],
        "tag": migration.tag,
        "checksum": migration.checksum,
        "contract": migration.spec.get("contract", {}),
        "undoable": all(plan.undoable for plan in migration.plans),
        "quarantined_at": migration.quarantined_at,
        "drop_after": migration.drop_after,
        "droppable": migration.state == "quarantined" and migration.drop_after is not None and migration.now >= migration.drop_after,
        "paused_by": migration.paused_by,
        "last_error": migration.last_error,
        "created_at": migration.created_at,
        "updated_at": migration.updated_at,
        "now": migration.now,
        "steps": [
            {"phase": step.phase, "name": step.name, "done_at": step.done_at, "attempts": step.attempts, "max_wait_ms": step.max_wait_ms}
            for step in ledger.steps(migration.id)
        ],
        "fills": [_fill(migration, fill) for fill in ledger.fills(migration.id)],
        "gate": None if not gates else {"id": gates[-1].id, "passed": gates[-1].verdict, "age": round(gates[-1].age, 1), "evidence": gates[-1].evidence},
        "events": ledger.events(migration.id, events) if events > 0 else [],
    }


def _fill(migration: Migration, fill: FillRecord) -> dict[str, t.Any]:
    names = [name for name, dummy in runner.parts(migration.plans, fill.phase)]
    far = pace.progress(fill.rows_done, fill.rows_estimate, fill.seconds, fill.done)
    return {
        "phase": fill.phase,
        "name": names[fill.number] if fill.number < len(names) else str(fill.number),
        "done": fill.done,
        "rows": far.done,
        "rows_changed": fill.rows_changed,
        "rows_estimate": far.estimate,
        "rate": far.rate,
        "eta": far.eta,
        "batch": fill.batch,
        "waits": fill.waits,
        "updated": round(migration.now - fill.updated_at, 1),
    }
