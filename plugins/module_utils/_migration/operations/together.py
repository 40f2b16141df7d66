# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Which operations can't be in one migration, for one would take away what the other one works on. And which columns a trigger can compute with."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import expressions
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Name, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.company import TWO

_COMPUTED = {"add_column": ("backfill",), "set_not_null": ("value",), "drop_column": ("down",)}


def leaving(kind: str, values: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    """Return the columns that an operation replaces or drops."""
    if kind in ("change_type", "drop_column"):
        return (str(values["column"]),)
    if kind not in ("rename_column", "split_column", "merge_columns"):
        return ()
    given = values["from"]
    return (given,) if isinstance(given, str) else tuple(given)


def bound(work: Work) -> dict[Name, tuple[str, ...]]:
    """Return the columns that an operation changes, or makes an index or constraint over, by their tables: what comes of it goes when the column goes."""
    values, kind = work.values, work.kind
    if kind not in ("set_not_null", "add_unique", "add_foreign_key", "add_check", "add_index"):
        return {}
    table, name = work.table(), work.name("table")
    if kind == "set_not_null":
        return {name: (values["column"],)}
    if kind == "add_check":
        return {name: _used(work, table, values["check"])}
    if kind == "add_index":
        texts = [*values["columns"], *([values["where"]] if values.get("where") else [])]
        names = [column for text in texts for column in ([text] if table.column(text) else _used(work, table, text))]
        # On MariaDB a length after a column looks like a call.
        lengths = [text.rpartition("(")[0] for text in texts if not work.postgresql]
        return {name: (*names, *(length for length in lengths if table.column(length)))}
    found = {name: tuple(values["columns"])}
    if kind == "add_foreign_key":
        target = work.name("references", values["references"]["table"])
        found[target] = (*found.get(target, ()), *values["references"]["columns"])
    return found


def _used(work: Work, table: Table, text: t.Any) -> tuple[str, ...]:
    return tuple(expressions.columns(work.engine, text, [column.name for column in table.columns])) if isinstance(text, str) else ()


def check_columns(work: Work) -> None:
    """Raise SeamlessError when an earlier operation of the migration takes away a column of this one, or this one takes away a column of an earlier one."""
    needed = dict(bound(work))
    if "table" in work.values:
        table, name = work.table(), work.name("table")
        used = [column for key in _COMPUTED.get(work.kind, ()) for column in _used(work, table, work.values.get(key))]
        mine = leaving(work.kind, work.values)
        needed[name] = (*needed.get(name, ()), *used, *mine)
        for column in mine:
            if column in table.bound:
                raise work.refuse(
                    f"{column} of {table.name} goes, and what an earlier operation of this migration makes over it (NOT NULL, an index, a constraint) "
                    f"would go with it. {TWO}"
                )
    for name, columns in needed.items():
        gone = [column for column in columns if column in work.tables[name].leaving]
        if gone:
            raise work.refuse(f"an earlier operation of this migration replaces or drops {gone[0]} of {name}, so that this one can't work with it. {TWO}")


def check_tables(operations: t.Sequence[tuple[str, t.Sequence[Name]]]) -> tuple[int, str] | None:
    """Return the place of the operation that works on a table which another one of *operations* (kind and tables) renames or drops, and what to say of it."""
    for place, (kind, tables) in enumerate(operations):
        for other, (other_kind, others) in enumerate(operations[:place]):
            shared = [name for name in tables if name in others]
            for number, whole in ((place, kind), (other, other_kind)):
                if shared and whole in ("rename_table", "drop_table"):
                    does = "gives another name to or from" if whole == "rename_table" else "drops"
                    said = f"operation {number + 1} ({whole})" if number == other else "this operation"
                    rest = "so nothing else can be done to it" if number == other else f"and operation {other + 1} ({other_kind}) works on it"
                    return place, f"{said} {does} {shared[0]}, {rest} in the same migration. {TWO}"
    return None


def computed(work: Work, key: str, names: t.Collection[str], table: Table, *, inserts: bool = True) -> str:
    """Return the expression *key*, which a BEFORE trigger computes. Raises SeamlessError when it uses a column that has no value by then.

    *inserts* says whether the trigger is one of inserts as well.
    """
    value = work.values[key]
    text = work.expression(value, names, table)
    for name in _used(work, table, value):
        column = work.column(table, name)
        reason = "it is a generated column, which the server computes after the triggers" if column.generated else ""
        if inserts and not work.postgresql and column.identity:
            reason = "it is AUTO_INCREMENT, which the server counts after the triggers"
        if reason:
            raise work.refuse(
                f"{key} is {value!r}, which uses {name} of {table.name}: {reason}, so that old code's rows would get a wrong value. "
                "Write it with other columns, or do this by an sql operation."
            )
    return text
