# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""MariaDB and MySQL: steps and catalog queries, and the indexes and constraints that a new column takes over from an old one.

There is no transactional DDL: each statement is a step, harmless when repeated. Each names its ALGORITHM and LOCK=NONE, for the default may copy the table
while writes wait.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import expressions
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Check, Column, ForeignKey, Index, Name, Step, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work, algorithm
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.company import Company
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.values import constant, default_of


def exists(work: Work, view: str, **values: str) -> str:
    """Return the query whether information_schema's *view* has a row with *values*."""
    where = " AND ".join(f"{column} = {work.literal(value)}" for column, value in values.items())
    return f"SELECT EXISTS (SELECT 1 FROM information_schema.{view} WHERE {where})"


def absent(query: str) -> str:
    return query.replace("SELECT EXISTS", "SELECT NOT EXISTS", 1)


def column_there(work: Work, table: Name, column: str, **more: str) -> str:
    return exists(work, "columns", table_schema=table.schema, table_name=table.name, column_name=column, **more)


def index_there(work: Work, table: Name, index: str) -> str:
    return exists(work, "statistics", table_schema=table.schema, table_name=table.name, index_name=index)


def key_there(work: Work, table: Name, key: str) -> str:
    return exists(work, "table_constraints", constraint_schema=table.schema, table_name=table.name, constraint_name=key, constraint_type="FOREIGN KEY")


def trigger_there(work: Work, trigger: Name) -> str:
    return exists(work, "triggers", trigger_schema=trigger.schema, trigger_name=trigger.name)


def alone(name: str, statement: str, done: str | None = None, **more: t.Any) -> Step:
    """Return the step of one *statement*."""
    return Step(name, (statement,), transaction=False, done=done, **more)


def if_exists(work: Work, *, absent: bool = False) -> str:
    """Return IF [NOT] EXISTS, which MySQL does not know inside ALTER TABLE: there only the step's query tells."""
    return "" if work.server.mysql else f"IF {'NOT ' if absent else ''}EXISTS "


def alter(work: Work, table: Name, change: str, wanted: str, *, kind: str = "") -> str:
    return f"ALTER TABLE {work.sql(table)} {change}, {algorithm(work.server, wanted, kind=kind)}"


def definition(work: Work, column: Column, *, nullable: bool, default: str | None, invisible: bool = False) -> str:
    """Return what follows a column's name in ALTER TABLE. It must be whole: what is left out is lost."""
    parts = [column.type]
    if column.collation and re.match(r"\w+$", column.collation):
        parts.append(f"COLLATE {column.collation}")
    parts.append("NULL" if nullable else "NOT NULL")
    if default is not None:
        parts.append(f"DEFAULT {default_sql(work, default)}")
    if column.comment:
        parts.append(f"COMMENT {work.literal(column.comment)}")
    if invisible:
        parts.append("INVISIBLE")
    return " ".join(parts)


def default_sql(work: Work, default: str) -> str:
    """Return *default* with the parentheses that both servers want around all but constants and the time."""
    if constant(work, default) or re.match(r"(current_timestamp|now|localtimestamp)\b", default, re.IGNORECASE) or default.startswith("("):
        return default
    return f"({default})"


def set_default(work: Work, table: Name, column: str, default: str | None) -> str:
    change = "DROP DEFAULT" if default is None else f"SET DEFAULT {default_sql(work, default)}"
    return alter(work, table, f"ALTER COLUMN {work.q(column)} {change}", "INSTANT")


def spare_default(work: Work, table: Name, column: str, default: str | None) -> Step:
    """Return the step that gives an old column the default that it needs in the quarantine, or takes it back. Once it is renamed away, that is done."""
    name = f"default of {column}" if default is not None else f"no default of {column}"
    return alone(name, set_default(work, table, column, default), absent(column_there(work, table, column)))


def drop_column(work: Work, table: Name, column: str) -> Step:
    statement = alter(work, table, f"DROP COLUMN {if_exists(work)}{work.q(column)}", "INSTANT", kind="drop")
    return alone(f"drop column {column}", statement, absent(column_there(work, table, column)))


def add_index(work: Work, table: Name, name: str, columns: str, *, unique: bool) -> Step:
    change = f"ADD {'UNIQUE ' if unique else ''}INDEX {if_exists(work, absent=True)}{work.q(name)} {columns}"
    return alone(f"index {name}", alter(work, table, change, "NOCOPY"), index_there(work, table, name))


def drop_index(work: Work, table: Name, name: str) -> Step:
    statement = alter(work, table, f"DROP INDEX {if_exists(work)}{work.q(name)}", "NOCOPY")
    return alone(f"drop index {name}", statement, absent(index_there(work, table, name)))


def rename_index(work: Work, table: Name, present: str, new: str, *, ours: bool) -> Step:
    """Return the step that renames an index. *ours*: the new name is one that only a migration gives, so its presence tells that the step is done."""
    statement = alter(work, table, f"RENAME INDEX {work.q(present)} TO {work.q(new)}", "INSTANT", kind="index")
    return alone(f"index {present} is {new}", statement, index_there(work, table, new) if ours else absent(index_there(work, table, present)))


def add_key(work: Work, key: ForeignKey, name: str, columns: t.Sequence[str]) -> Step:
    """Return the step that adds *key* under *name* to *columns*: new rows are held to it, at old ones the server does not look (see :func:`orphans`)."""
    change = (
        f"ADD CONSTRAINT {work.q(name)} FOREIGN KEY {if_exists(work, absent=True)}({work.list(columns)}) REFERENCES {work.sql(key.target)} "
        f"({work.list(key.target_columns)}){work.actions(key)}"
    )
    statement = alter(work, key.table, change, "INSTANT", kind="foreign key")
    checks = ("SET SESSION foreign_key_checks = 0",), ("SET SESSION foreign_key_checks = 1",)
    return alone(f"foreign key {name}", statement, key_there(work, key.table, name), session=checks[0], unset=checks[1])


def drop_key(work: Work, table: Name, name: str) -> Step:
    statement = alter(work, table, f"DROP FOREIGN KEY {if_exists(work)}{work.q(name)}", "INSTANT", kind="foreign key")
    return alone(f"drop foreign key {name}", statement, absent(key_there(work, table, name)))


def orphans(work: Work, key: ForeignKey, columns: t.Sequence[str]) -> Check:
    """Return the check that each row of the table has its row in the other table."""
    filled = " AND ".join(f"child.{work.q(column)} IS NOT NULL" for column in columns)
    same = " AND ".join(f"parent.{work.q(there)} = child.{work.q(here)}" for here, there in zip(columns, key.target_columns))
    source = f"FROM {work.sql(key.table)} child WHERE {filled} AND NOT EXISTS (SELECT 1 FROM {work.sql(key.target)} parent WHERE {same})"
    shown = ", ".join(f"child.{work.q(column)}" for column in columns)
    return Check(f"{', '.join(columns)} of {key.table} has its row in {key.target}", f"SELECT count(*) {source}", f"SELECT {shown} {source}")


class Carried:
    """The steps for a :class:`Company`: made for the new columns, exchanged at the quarantine, exchanged back by a restore."""

    def __init__(self, work: Work, table: Table, company: Company) -> None:
        self.work, self.table, self.company = work, table, company

    def _columns(self, index: Index, moved: t.Mapping[str, str]) -> str:
        """Return the list of columns of *index*: from its definition where there is one, since it may have lengths and directions."""
        names = {column.name: self.work.q(moved.get(column.name, column.name)) for column in self.table.columns}
        if not index.definition:
            return f"({', '.join(names[column] for column in index.columns)})"
        pieces: list[str] = []
        depth = 0
        for piece in expressions.tokens(self.work.engine, index.definition):
            depth += {"(": 1, ")": -1}.get(piece.text, 0)
            if depth or pieces:
                pieces.append(piece.text)
            if pieces and not depth:
                break
        # A length after a column looks like a call: `a`(10). Only quoted names are columns here.
        text = "".join(pieces)
        return re.sub(r"`((?:[^`]|``)+)`", lambda found: names.get(found.group(1).replace("``", "`"), found.group()), text)

    def _key_names(self) -> dict[ForeignKey, tuple[str, list[str]]]:
        """Return the name and columns of each new foreign key. It keeps this name, for the server can't rename one."""
        moved = self.company.moved
        found = {}
        for key in self.company.moved_keys:
            columns = [moved.get(column, column) for column in key.columns]
            found[key] = (self.work.cut("_".join([key.name, *columns])), columns)
        return found

    def validate(self) -> list[Step]:
        work, name = self.work, self.table.name
        steps = [
            add_index(work, name, work.helper(index.name), self._columns(index, self.company.moved), unique=index.unique) for index in self.company.carried
        ]
        return steps + [add_key(work, key, new, columns) for key, (new, columns) in self._key_names().items()]

    def verify(self) -> list[Check]:
        return [orphans(self.work, key, columns) for key, (_name, columns) in self._key_names().items()]

    def abort(self) -> list[Step]:
        """Return what goes before the new columns do, which can be dropped in an instant only without an index."""
        work, name = self.work, self.table.name
        steps = [drop_key(work, name, new) for new, _columns in self._key_names().values()]
        return steps + [drop_index(work, name, work.helper(index.name)) for index in self.company.carried]

    def leave(self) -> list[Step]:
        """Return what goes before the old columns are no longer kept in step."""
        work, name = self.work, self.table.name
        steps = [drop_key(work, name, key.name) for key in self.company.foreign_keys]
        carried = {index.name for index in self.company.carried}
        for index in self.company.unique:
            step = drop_index(work, name, index.name)
            if index.name in carried:
                # Once the new one has the old one's name, there is nothing left to drop.
                step = alone(step.name, step.statements[0], f"SELECT ({step.done}) OR ({absent(index_there(work, name, work.helper(index.name)))})")
            steps.append(step)
        return steps

    def renames(self) -> list[Step]:
        work, name = self.work, self.table.name
        steps = [rename_index(work, name, index.name, work.quarantined(index.name), ours=True) for index in self.company.plain]
        return steps + [rename_index(work, name, work.helper(index.name), index.name, ours=False) for index in self.company.carried]

    def renames_back(self) -> list[Step]:
        work, name = self.work, self.table.name
        steps = [rename_index(work, name, index.name, work.helper(index.name), ours=True) for index in self.company.carried]
        return steps + [rename_index(work, name, work.quarantined(index.name), index.name, ours=False) for index in self.company.plain]

    def drop(self) -> list[Step]:
        work, name = self.work, self.table.name
        return [drop_index(work, name, work.quarantined(index.name)) for index in self.company.plain]

    def restore_validate(self) -> list[Step]:
        work, name = self.work, self.table.name
        steps = [add_index(work, name, index.name, self._columns(index, {}), unique=True) for index in self.company.unique]
        return steps + [add_key(work, key, key.name, key.columns) for key in self.company.foreign_keys]


def temporary_default(work: Work, column: Column, zero: t.Callable[[Work, Column], str]) -> str | None:
    """Return the default that *column* needs while rows are written without it; None where it has one or takes NULL."""
    return None if column.nullable or default_of(column) is not None else zero(work, column)
