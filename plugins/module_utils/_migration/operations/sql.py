# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The operation sql: its author's own statements in our phases, under our locks and ledger."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Check, Fill, Name, Plan, Step
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work

# PostgreSQL runs these outside of a transaction only, or they would hold their locks for too long in one.
_ALONE = re.compile(
    r"\s*(?:(?:CREATE|DROP|REINDEX)\b.*\bCONCURRENTLY\b|VACUUM\b|ALTER\s+TABLE\b.*\bVALIDATE\s+CONSTRAINT\b|ALTER\s+TYPE\b.*\bADD\s+VALUE\b)",
    re.IGNORECASE | re.DOTALL,
)


def sql(work: Work) -> Plan:
    """Return the plan of the author's statements. What contracts can't be undone, so it waits until the quarantine ends."""
    values = work.values
    tables = tuple(work.table("tables", name).name for name in values.get("tables", ()))
    fills: list[Fill] = []
    late: list[str] = []
    backfill = values.get("backfill") or []
    for item in [backfill] if isinstance(backfill, (str, dict)) else backfill:
        if isinstance(item, str):
            late.append(item)
        else:
            table = work.table("backfill.table", item["table"])
            where = item.get("where") or "TRUE"
            fills.append(Fill(table.name, work.key(table), _pinned(work, table.name, item["set"]), f"({where})"))
            tables = tuple(dict.fromkeys([*tables, table.name]))
    verify = [
        Check(f"verify {number}", query, f"SELECT * FROM ({query}) AS wrong") for number, query in enumerate(map(_bare, _listed(values.get("verify"))), start=1)
    ]
    notes = ["The statements are the author's: each must leave old code working, and on MariaDB be harmless when repeated."]
    if fills and any(not item.get("where") for item in ([backfill] if isinstance(backfill, dict) else backfill) if isinstance(item, dict)):
        notes.append("A backfill without where writes every row, and again those that a resumed run comes to a second time.")
    if values.get("expand") and not values.get("abort"):
        notes.append("It has no abort statements, so an abort leaves what its expand statements have made.")
    return Plan(
        operation=work.kind,
        tables=tables,
        expand=_steps(work, "expand", values.get("expand"), tables),
        backfill=tuple(fills),
        validate=_steps(work, "backfill", late, ()),
        verify=tuple(verify),
        drop=_steps(work, "contract", values.get("contract"), tables),
        abort=_steps(work, "abort", values.get("abort"), tables),
        undoable=True,
        notes=tuple(notes),
    )


def _listed(value: t.Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _bare(statement: str) -> str:
    return statement.strip().rstrip(";").strip()


def _pinned(work: Work, name: Name, assignments: str) -> str:
    """Return *assignments* with the columns pinned that MariaDB would set by itself."""
    table = work.tables[name]
    pinned = [f"{work.q(column.name)} = {work.q(column.name)}" for column in table.columns if column.on_update and column.name not in assignments]
    return ", ".join([assignments, *pinned])


def _steps(work: Work, title: str, value: t.Any, tables: tuple[Name, ...]) -> tuple[Step, ...]:
    """Return the steps of the statements *value*: on PostgreSQL one transaction for all that follow each other and can be in one."""
    steps: list[Step] = []
    together: list[str] = []

    def close() -> None:
        if together:
            steps.append(Step(f"{title} {len(steps) + 1}", tuple(together), locks=tuple(sorted(tables, key=str))))
            together.clear()

    for statement in map(_bare, _listed(value)):
        if work.postgresql and not _ALONE.match(statement):
            together.append(statement)
        else:
            close()
            steps.append(Step(f"{title} {len(steps) + 1}", (statement,), transaction=False))
    close()
    return tuple(steps)
