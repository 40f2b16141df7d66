# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Makes the plan of a migration: every operation's, by what the catalog says."""

from __future__ import annotations

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import catalog
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Name, Plan, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import registry
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import PlanOptions
from ansible_collections.seamless.rollout.plugins.module_utils._migration.spec import Spec


def planned(db: Database, spec: Spec) -> tuple[tuple[Plan, ...], dict[Name, Table]]:
    """Return the plan of every operation of *spec*, and what the catalog says of its tables. Reads only. Raises SeamlessError for what can't be done."""
    tables: dict[Name, Table] = {}
    seen: dict[Name, Table] = {}
    plans: list[Plan] = []
    options = PlanOptions(canary=spec.canary, shield=spec.shield, default_schema=db.default_schema)
    try:
        registry.check_together(spec.operations, db.engine, db.default_schema)
    except SeamlessError as exc:
        raise SeamlessError(f"Migration {spec.name}: {exc}", **exc.details) from exc
    for number, operation in enumerate(spec.operations):
        try:
            new = [name for name in registry.needs(operation, db.engine, db.default_schema) if name not in tables]
            read = catalog.read_tables(db, new)
            tables.update(read)
            seen.update(read)
            plans.append(registry.plan(operation, server=db.server, tables=seen, tag=spec.tag, number=number, options=options))
            seen = registry.evolved(operation, server=db.server, tables=seen, default_schema=db.default_schema)
        except SeamlessError as exc:
            raise SeamlessError(f"Migration {spec.name}: {exc}", **exc.details) from exc
    return tuple(plans), tables
