# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What a migration will do, for people: its SQL, its locks, how many rows and how long. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import runner
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Fill, Name, Plan, Step, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.pace import MOST

SHOWN = ("expand", "backfill", "validate", "quarantine", "drop", "abort", "abort_backfill", "abort_validate", "restore", "reverse_backfill", "restore_validate")

# Rows a second of an idle server with small rows: a rough word beforehand. While it runs, the measured rate counts.
ROWS_A_SECOND = 50_000


def described(plans: t.Sequence[Plan], tables: t.Mapping[Name, Table], engine: str) -> list[dict[str, t.Any]]:
    """Return every step of every phase, in the order in which they are run."""
    found: list[dict[str, t.Any]] = []
    for phase in SHOWN:
        for name, part in runner.parts(plans, phase):
            found.append({"phase": phase, "name": name, **(_fill(part, tables, engine) if isinstance(part, Fill) else _step(part, engine))})
    return found


def _step(step: Step, engine: str) -> dict[str, t.Any]:
    if engine == POSTGRESQL:
        mode = "ACCESS EXCLUSIVE, in one transaction" if step.transaction else "SHARE UPDATE EXCLUSIVE, reads and writes go on"
    else:
        mode = "metadata lock, each statement by itself"
    return {"sql": [*step.statements], "locks": [str(name) for name in step.locks], "lock_mode": mode if step.locks or not step.transaction else "none"}


def _fill(fill: Fill, tables: t.Mapping[Name, Table], engine: str) -> dict[str, t.Any]:
    rows = tables[fill.table].rows if fill.table in tables else None
    return {
        "sql": [f"UPDATE {fill.table} SET {fill.assignments} WHERE ({', '.join(fill.key)}) in the next batch AND ({fill.condition})"],
        "locks": [],
        "lock_mode": f"the rows of a batch ({MOST:,} at most)",
        "rows": rows,
        "seconds": None if rows is None else round(rows / ROWS_A_SECOND, 1),
    }


def text(steps: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return what :func:`described` returned as SQL with comments."""
    lines: list[str] = []
    phase = None
    for step in steps:
        if step["phase"] != phase:
            phase = step["phase"]
            lines.append(f"-- {phase}")
        locks = f", locks {' and '.join(step['locks'])} ({step['lock_mode']})" if step["locks"] else f", lock: {step['lock_mode']}"
        rows = f", about {step['rows']:,} rows and {step['seconds']:g} seconds" if step.get("rows") is not None else ""
        lines.append(f"--   {step['name']}{locks}{rows}")
        lines += [f"{statement.rstrip(';')};" for statement in step["sql"]]
    return "\n".join(lines) + "\n"


def catalog(tables: t.Iterable[Table]) -> str:
    """Return what *tables* are made of: for a diff."""
    lines: list[str] = []
    for table in sorted(tables, key=lambda table: table.name.schema + "." + table.name.name):
        lines.append(f"{'view' if table.is_view else 'table'} {table.name}")
        for column in table.columns:
            default = f" DEFAULT {column.default}" if column.default is not None else ""
            lines.append(f"  column {column.name} {column.type}{'' if column.nullable else ' NOT NULL'}{default}")
        for index in sorted(table.indexes, key=lambda index: index.name):
            lines.append(f"  {'unique ' if index.unique else ''}index {index.name} ({', '.join(index.columns)}){'' if index.valid else ' INVALID'}")
        for key in sorted(table.foreign_keys, key=lambda key: key.name):
            lines.append(f"  foreign key {key.name} ({', '.join(key.columns)}) to {key.target} ({', '.join(key.target_columns)})")
        for other in sorted(table.dependents, key=lambda other: (other.kind, other.name)):
            lines.append(f"  {other.kind} {other.name}")
        lines += [f"  trigger {name}" for name in (*table.triggers, *table.our_triggers)]
    return "\n".join(lines) + "\n" if lines else ""
