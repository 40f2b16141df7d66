# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The operations on an index: add_index and drop_index."""

from __future__ import annotations

import re

from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Index, Name, Plan, Step, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import mariadb
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import postgresql as pg
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work


def add_index(work: Work) -> Plan:
    """Return the plan of an index. An entry of columns is a column, or an expression in parentheses; on MariaDB also ``column(length)``."""
    table = work.table()
    values = work.values
    unique = bool(values.get("unique", False))
    entries = list(values["columns"])
    name = values.get("name") or work.cut("_".join([table.name.name, *(re.sub(r"\W+", "_", entry).strip("_") for entry in entries), "idx"]))
    if any(index.name == name for index in table.indexes):
        raise work.refuse(f"{table.name} already has an index {name!r}: give this one another name.")
    if work.cut(name) != name:
        raise work.refuse(f"the name {name!r} is too long.")
    listed = ", ".join(_entry(work, table, entry) for entry in entries)
    method = values.get("method")
    if method is not None and not re.match(r"\w+$", method):
        raise work.refuse(f"method is {method!r}: use the name of one, such as btree.")
    if not work.postgresql:
        if values.get("where"):
            raise work.refuse("where: this server has no partial indexes; leave it out.")
        if str(method or "btree").lower() not in ("btree", "hash"):
            raise work.refuse(f"method is {method!r}: an index of that kind can be made only while writes wait. Use btree, or a maintenance window.")
        step = mariadb.add_index(work, table.name, name, f"{f'USING {method.upper()} ' if method else ''}({listed})", unique=unique)
        return work.plan(table, validate=(step,), abort=(mariadb.drop_index(work, table.name, name),))
    if table.partitioned:
        raise work.refuse(
            f"{table.name} is partitioned, and PostgreSQL makes no index over all partitions while writes go on: index each partition by an sql operation."
        )
    names = [column.name for column in table.columns]
    where = f" WHERE ({work.using(work.expression(values['where'], names, table), names)})" if values.get("where") else ""
    rest = f"{f'USING {work.q(method.lower())} ' if method else ''}({listed}){where}"
    step, free = pg.concurrent_index(work, table, name, rest, unique=unique), pg.name_free(work, table.name, name)
    return work.plan(table, before=(free,), validate=(step,), abort=(pg.drop_index(work, table, name),))


def _entry(work: Work, table: Table, entry: str) -> str:
    names = [column.name for column in table.columns]
    if table.column(entry):
        return work.q(entry)
    if entry.startswith("(") and entry.endswith(")"):
        if not work.postgresql and not work.server.mysql:
            raise work.refuse(f"columns has {entry!r}: MariaDB makes no index over an expression. Add a virtual column and index that.")
        return work.using(work.expression(entry, names, table), names)
    length = re.match(r"(.+)\((\d+)\)$", entry)
    if length and not work.postgresql and table.column(length.group(1)):
        return f"{work.q(length.group(1))}({length.group(2)})"
    work.column(table, entry)
    return entry


def drop_index(work: Work) -> Plan:
    """Return the plan that takes an index away. On MariaDB it is ignored first, which is undone in an instant; it goes for good when the quarantine ends."""
    table = work.table()
    name = work.values["name"]
    index = next((index for index in table.indexes if name in (index.name, index.constraint)), None)
    if index is None:
        raise work.refuse(f"{table.name} has no index {name!r}. It has: {', '.join(index.name for index in table.indexes) or 'none'}.")
    if index.primary:
        raise work.refuse(f"{name} is the primary key of {table.name}: rows are told apart by it.")
    used = next((key for key in table.referenced_by if set(key.target_columns) == set(index.columns)), None) if index.unique else None
    if used:
        raise work.refuse(f"the foreign key {used.name} of {used.table} needs {name}: drop it first.")
    notes = (f"{name} is unique: new code must not write duplicates before it is dropped.",) if index.unique else ()
    if work.postgresql:
        if index.constraint:
            drop: Step = pg.locked(f"drop constraint {index.constraint}", [pg.drop_constraint(work, table.name, index.constraint)], table.name)
        else:
            drop = pg.drop_index(work, table, index.name)
        return work.plan(table, drop=(drop,), notes=(*notes, f"PostgreSQL uses {name} until it is dropped."))
    leading = next((key for key in table.foreign_keys if list(index.columns[: len(key.columns)]) == list(key.columns)), None)
    others = [other for other in table.indexes if other.name != index.name and leading and list(other.columns[: len(leading.columns)]) == list(leading.columns)]
    if leading and not others:
        raise work.refuse(
            f"the foreign key {leading.name} of {table.name} needs {name}: drop it first, or add another index that begins with {', '.join(leading.columns)}."
        )
    ignored = work.server.mysql or work.server.version >= (10, 6)
    off, on = ("INVISIBLE", "VISIBLE") if work.server.mysql else ("IGNORED", "NOT IGNORED")
    return work.plan(
        table,
        quarantine=(_switched(work, table, index, off),) if ignored else (),
        restore=(_switched(work, table, index, on),) if ignored else (),
        drop=(mariadb.drop_index(work, table.name, index.name),),
        notes=notes,
    )


def _switched(work: Work, table: Table, index: Index, to: str) -> Step:
    name: Name = table.name
    return mariadb.alone(f"index {index.name} is {to.lower()}", mariadb.alter(work, name, f"ALTER INDEX {work.q(index.name)} {to}", "INSTANT", kind="index"))
