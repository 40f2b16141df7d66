# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""From an operation as its author wrote it to the plan of all its phases. Pure: what the catalog says comes in, what is to be run goes out."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Column, Name, Plan, Server, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import columns, constraints, indexes, reshape, sql, together
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import tables as whole
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import PlanOptions, Work, parse_name

_PLANNERS: dict[str, t.Callable[[Work], Plan]] = {
    "add_column": columns.add_column,
    "drop_column": columns.drop_column,
    "rename_column": reshape.rename_column,
    "rename_table": whole.rename_table,
    "change_type": reshape.change_type,
    "split_column": reshape.split_column,
    "merge_columns": reshape.merge_columns,
    "set_not_null": constraints.set_not_null,
    "add_unique": constraints.add_unique,
    "add_foreign_key": constraints.add_foreign_key,
    "add_check": constraints.add_check,
    "add_index": indexes.add_index,
    "drop_index": indexes.drop_index,
    "drop_table": whole.drop_table,
    "sql": sql.sql,
}


def kinds() -> tuple[str, ...]:
    """Return the names of all operations."""
    return tuple(_PLANNERS)


def _opened(operation: t.Mapping[str, t.Any]) -> tuple[str, t.Mapping[str, t.Any]]:
    if len(operation) != 1:
        raise SeamlessError(f"an operation has one key, its kind: this one has {', '.join(map(str, operation)) or 'none'}.")
    kind, values = next(iter(operation.items()))
    if kind not in _PLANNERS:
        raise SeamlessError(f"{kind!r} is no operation. The operations are: {', '.join(_PLANNERS)}.")
    return kind, values


def needs(operation: t.Mapping[str, t.Any], engine: str, default_schema: str) -> tuple[Name, ...]:
    """Return the tables whose facts :func:`plan` needs. One that is not in the database is left out of its *tables*: the new name of a table has to be free."""
    kind, values = _opened(operation)
    texts: list[t.Any] = [values.get("table")]
    if kind == "rename_table":
        texts = [values["from"], values["to"]]
    elif kind == "add_foreign_key":
        texts.append(values["references"]["table"])
    elif kind == "sql":
        backfill = values.get("backfill") or []
        fills = [backfill] if isinstance(backfill, t.Mapping) else [item for item in backfill if isinstance(item, t.Mapping)]
        texts = [*values.get("tables", ()), *(item["table"] for item in fills)]
    found = []
    for text in texts:
        name = parse_name(text) if text else None
        if name is None:
            raise SeamlessError(f"{kind}: the table is {text!r}: write users, app.users, or [app, users] where a name has a dot in it.")
        found.append(Name(name.schema or default_schema, name.name))
    if kind == "rename_table" and parse_name(values["to"]) == Name("", found[1].name):
        found[1] = Name(found[0].schema, found[1].name)
    if kind == "drop_table":
        found.append(Name(found[0].schema, f"seamless_q_{found[0].name}"))
    return tuple(dict.fromkeys(found))


def plan(
    operation: t.Mapping[str, t.Any],
    *,
    server: Server,
    tables: t.Mapping[Name, Table],
    tag: str,
    number: int,
    options: PlanOptions | None = None,
) -> Plan:
    """Return the plan of *operation*, the one with index *number* (from 0) of the migration *tag*.

    Raises SeamlessError, naming what is in the way and what would do, for what can't be done without failing a client or losing a row.
    """
    kind, values = _opened(operation)
    work = Work(kind, values, server, tables, tag, number, options or PlanOptions())
    if work.options.shield:
        raise work.refuse(
            "shield is true: a view that hides new columns from old code hides them from new code as well, for both use the table's name. "
            "Leave it out; against 0A000 "
            "switch off prepared statements in the application (psycopg: prepare_threshold=None)."
        )
    found = _PLANNERS[kind](work)
    together.check_columns(work)
    return found


def check_together(operations: t.Sequence[t.Mapping[str, t.Any]], engine: str, default_schema: str) -> None:
    """Raise SeamlessError when one of *operations*, which are those of one migration, takes away the table of another one."""
    found = together.check_tables([(_opened(operation)[0], needs(operation, engine, default_schema)) for operation in operations])
    if found:
        raise SeamlessError(f"operation {found[0] + 1} ({_opened(operations[found[0]])[0]}): {found[1]}")


def evolved(operation: t.Mapping[str, t.Any], *, server: Server, tables: t.Mapping[Name, Table], default_schema: str = "") -> dict[Name, Table]:
    """Return *tables* as the operations that come after *operation* in the same migration find them: with the columns that it adds, and
    with what it takes away or works on noted.

    Plan the operations one after another, each with what this returned for the one before; so an index or a foreign key can be over a new column.
    """
    kind, values = _opened(operation)
    result = dict(tables)
    if "table" not in values:
        return result
    work = Work(kind, values, server, tables, "", 0, PlanOptions(default_schema=default_schema))
    table = work.table()
    added: list[Column] = []
    if kind == "add_column":
        added = [Column(values["column"], values["type"], True)]
    elif kind == "rename_column":
        added = [dataclasses.replace(work.column(table, values["from"]), name=values["to"], nullable=True, default=None)]
    elif kind == "change_type" and values.get("to"):
        added = [Column(values["to"], values["type"], True)]
    elif kind in ("split_column", "merge_columns"):
        added = [Column(name, type_, True) for name, type_ in values["to"].items()]
    coming = (*table.coming, *(column.name for column in added))
    leaving = (*table.leaving, *together.leaving(kind, values))
    result[work.name("table")] = dataclasses.replace(table, columns=(*table.columns, *added), coming=coming, leaving=leaving)
    for name, bound in together.bound(work).items():
        result[name] = dataclasses.replace(result[name], bound=(*result[name].bound, *bound))
    return result
