# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Makes the plan of a migration: every operation's, by what the catalog says."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import catalog
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Column, Name, Plan, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import registry
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import PlanOptions
from ansible_collections.seamless.rollout.plugins.module_utils._migration.spec import Spec


def planned(db: Database, spec: Spec) -> tuple[tuple[Plan, ...], dict[Name, Table]]:
    """Return the plan of every operation of *spec*, and what the catalog says of its tables. Reads only. Raises SeamlessError for what can't be done."""
    tables: dict[Name, Table] = {}
    seen: dict[Name, Table] = {}
    plans: list[Plan] = []
    options = PlanOptions(canary=spec.canary, shield=spec.shield, default_schema=db.default_schema)
    for number, operation in enumerate(spec.operations):
        for name in registry.needs(operation, db.engine, db.default_schema):
            if name not in seen:
                table = catalog.read_table(db, name)
                if table is not None:
                    tables[name] = seen[name] = table
        try:
            plan = registry.plan(operation, server=db.server, tables=seen, tag=spec.tag, number=number, options=options)
        except SeamlessError as exc:
            raise SeamlessError(f"Migration {spec.name}, {exc}", **exc.details) from exc
        plans.append(plan)
        _evolve(seen, operation, plan)
    return tuple(plans), tables


def _evolve(tables: dict[Name, Table], operation: t.Mapping[str, t.Any], plan: Plan) -> None:
    """Add the columns that *operation* makes to what later operations see of its table."""
    kind, values = next(iter(operation.items()))
    made: dict[str, str] = {}
    if kind == "add_column":
        made[values["column"]] = values["type"]
    elif kind in ("split_column", "merge_columns"):
        made.update(values["to"])
    elif kind == "change_type" and "to" in values:
        made[values["to"]] = values["type"]
    for name in plan.tables[:1]:
        table = tables.get(name)
        if table is None:
            continue
        if kind == "rename_column":
            old = table.column(values["from"])
            made[values["to"]] = old.type if old else "text"
        new = tuple(Column(column, type_, True) for column, type_ in made.items() if table.column(column) is None)
        coming = (*table.coming, *(column.name for column in new))
        tables[name] = dataclasses.replace(table, columns=(*table.columns, *new), coming=coming)
