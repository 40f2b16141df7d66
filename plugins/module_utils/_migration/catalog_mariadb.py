# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The catalog of MariaDB and MySQL: information_schema, and SHOW CREATE TABLE for what creates an index again."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import quote
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database, DatabaseError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import MARIADB, Column, Dependent, ForeignKey, Index, Name, Table

_TABLE = """
SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, coalesce(TABLE_ROWS, 0), coalesce(DATA_LENGTH, 0) + coalesce(INDEX_LENGTH, 0)
FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND TABLE_TYPE IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED')"""

_COLUMNS = """
SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, GENERATION_EXPRESSION, COLLATION_NAME, COLUMN_COMMENT, DATA_TYPE
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION"""

_INDEXES = """
SELECT INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART
FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY INDEX_NAME, SEQ_IN_INDEX"""

_FOREIGN_KEYS = """
SELECT k.CONSTRAINT_SCHEMA, k.CONSTRAINT_NAME, k.TABLE_SCHEMA, k.TABLE_NAME, k.COLUMN_NAME,
  k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, r.UPDATE_RULE, r.DELETE_RULE
FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r
  ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME
WHERE {where} ORDER BY k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION"""
_FROM = "k.TABLE_SCHEMA = %s AND k.TABLE_NAME = %s AND k.REFERENCED_TABLE_NAME IS NOT NULL"
_TO = "k.REFERENCED_TABLE_SCHEMA = %s AND k.REFERENCED_TABLE_NAME = %s"

_TRIGGERS = """
SELECT TRIGGER_NAME, ACTION_STATEMENT, TRIGGER_NAME LIKE 'seamless!_%%' ESCAPE '!' FROM information_schema.TRIGGERS
WHERE EVENT_OBJECT_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s ORDER BY ACTION_TIMING DESC, EVENT_MANIPULATION, ACTION_ORDER"""

# A view's text names its tables and columns in full, quoted. In MySQL CHECK_CONSTRAINTS does not say whose they are, but a name is there once in a database.
_VIEWS = "SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE instr(VIEW_DEFINITION, %s) > 0 ORDER BY 1, 2"
_CHECKS = {
    False: "SELECT CONSTRAINT_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s AND TABLE_NAME = %s ORDER BY 1",
    True: """SELECT c.CONSTRAINT_NAME, c.CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS o
      ON o.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND o.CONSTRAINT_NAME = c.CONSTRAINT_NAME
      WHERE o.TABLE_SCHEMA = %s AND o.TABLE_NAME = %s AND o.CONSTRAINT_TYPE = 'CHECK' ORDER BY 1""",
}
_GRANTS = """
SELECT PRIVILEGE_TYPE, GRANTEE, COLUMN_NAME FROM information_schema.COLUMN_PRIVILEGES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY 1, 2, 3"""
_PARTITIONS = """
SELECT DISTINCT PARTITION_EXPRESSION, SUBPARTITION_EXPRESSION FROM information_schema.PARTITIONS
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND PARTITION_NAME IS NOT NULL"""

_INDEX_LINE = re.compile(r"\s*((?:UNIQUE |FULLTEXT |SPATIAL |PRIMARY )?KEY (?:`((?:[^`]|``)+)` )?\(.*?),?$")
_NUMBERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "bit", "year")


def resolve(db: Database, name: Name) -> Name | None:
    """See catalog.resolve."""
    found = db.rows(_TABLE, (name.schema, name.name))
    return Name(found[0][0], found[0][1]) if found else None


def read_table(db: Database, name: Name) -> Table | None:
    """See catalog.read_table."""
    found = db.rows(_TABLE, (name.schema, name.name))
    if not found:
        return None
    schema, table, kind, rows, size = found[0]
    at = (schema, table)
    columns = tuple(_column(db, row) for row in db.rows(_COLUMNS, at))
    every = db.rows(_TRIGGERS, at)
    triggers = [(str(trigger), str(body)) for trigger, body, ours in every if not ours]
    partitions = db.rows(_PARTITIONS, at)
    versioning = (Dependent("system versioning", table),) if kind == "SYSTEM VERSIONED" else ()
    return Table(
        name=Name(schema, table),
        columns=columns,
        indexes=() if kind == "VIEW" else _indexes(db, Name(schema, table)),
        foreign_keys=_foreign_keys(db.rows(_FOREIGN_KEYS.format(where=_FROM), at)),
        referenced_by=_foreign_keys(db.rows(_FOREIGN_KEYS.format(where=_TO), at)),
        dependents=tuple(_dependents(db, Name(schema, table), columns, triggers, partitions)) + versioning,
        triggers=tuple(trigger for trigger, dummy in triggers),
        our_triggers=tuple(str(trigger) for trigger, dummy, ours in every if ours),
        sequences=tuple(Name(*sequence) for column in columns for sequence in re.findall(r"nextval\(`([^`]+)`\.`([^`]+)`\)", column.default or "")),
        rows=int(rows),
        bytes=int(size),
        is_view=kind == "VIEW",
        partitioned=bool(partitions),
    )


def _column(db: Database, row: tuple[t.Any, ...]) -> Column:
    name, type_, nullable, default, extra, generated, collation, comment, kind = row
    extra = str(extra).lower()
    return Column(
        name,
        str(type_),
        nullable == "YES",
        None if generated else _default(db.server.mysql, default, extra, str(kind).lower()),
        identity="auto_increment" in extra,
        generated=generated or None,
        on_update="on update" in extra,
        collation=collation,
        comment=comment or None,
    )


def _default(mysql: bool, default: str | None, extra: str, kind: str) -> str | None:
    """Return a column's default as SQL. MariaDB (from 10.2.7) tells it as that, with NULL in words where there is none; MySQL the bare value."""
    if default is None or not mysql:
        return None if default is None or default.upper() == "NULL" else default
    if "default_generated" in extra:
        return default if default.upper().startswith("CURRENT_TIMESTAMP") else f"({default})"
    return default if kind in _NUMBERS else quote.literal(MARIADB, default)


def _indexes(db: Database, name: Name) -> tuple[Index, ...]:
    definitions = {}
    for line in str(db.rows(f"SHOW CREATE TABLE {quote.table(MARIADB, name)}")[0][1]).splitlines():
        found = _INDEX_LINE.match(line)
        if found:
            definitions[found.group(2).replace("``", "`") if found.group(2) else "PRIMARY"] = found.group(1)
    parts: dict[str, list[tuple[t.Any, ...]]] = {}
    for index, *part in db.rows(_INDEXES, (name.schema, name.name)):
        parts.setdefault(index, []).append(tuple(part))
    return tuple(
        Index(
            index,
            tuple(column for dummy, column, dummy in columns if column is not None),
            unique=not columns[0][0],
            primary=index == "PRIMARY",
            partial=any(column is None or length is not None for dummy, column, length in columns),
            constraint=index if not columns[0][0] else None,
            definition=definitions.get(index, ""),
        )
        for index, columns in parts.items()
    )


def _foreign_keys(rows: t.Iterable[tuple[t.Any, ...]]) -> tuple[ForeignKey, ...]:
    keys: dict[tuple[str, ...], list[tuple[t.Any, ...]]] = {}
    for row in rows:
        keys.setdefault((row[0], row[1], row[3]), []).append(row)
    return tuple(
        ForeignKey(
            parts[0][1],
            Name(parts[0][2], parts[0][3]),
            tuple(part[4] for part in parts),
            Name(parts[0][5], parts[0][6]),
            tuple(part[7] for part in parts),
            str(parts[0][8]),
            str(parts[0][9]),
        )
        for parts in keys.values()
    )


def _dependents(
    db: Database, name: Name, columns: tuple[Column, ...], triggers: t.Iterable[tuple[str, str]], partitions: t.Iterable[tuple[t.Any, ...]]
) -> list[Dependent]:
    at = (name.schema, name.name)

    def named(text: str) -> tuple[str, ...]:
        return mentioned(text, [column.name for column in columns])

    views = db.rows(_VIEWS, (quote.table(MARIADB, name),))
    found = [Dependent("view", f"{schema}.{view}", named(text)) for schema, view, text in views if (schema, view) != at]
    try:
        checks = db.rows(_CHECKS[db.server.mysql], at)
    except DatabaseError as exc:
        if exc.kind != "undefined":  # before MariaDB 10.2.22 and MySQL 8.0.16 there are none
            raise
        checks = []
    # MariaDB's implicit json_valid() of a JSON column is named like the column.
    found += [Dependent("check", check, named(clause), f"CHECK ({clause})") for check, clause in checks]
    for column in columns:
        if column.generated:
            uses = tuple(used for used in named(column.generated) if used != column.name)
            found += [Dependent("generated column", column.name, uses)] if uses else []
    found += [Dependent("column grant", f"{privilege} TO {grantee}", (column,)) for privilege, grantee, column in db.rows(_GRANTS, at)]
    found += [Dependent("trigger", trigger, named(body)) for trigger, body in triggers]
    for expressions in partitions:
        found.append(Dependent("partition key", name.name, named(" ".join(str(expression) for expression in expressions if expression))))
    return found


def mentioned(text: str, columns: t.Iterable[str]) -> tuple[str, ...]:
    """Return those of *columns* whose name stands in the SQL *text*, quoted or as a word of its own."""
    lower = re.sub(r"'(?:[^'\\]|''|\\.)*'", "''", text).lower()
    return tuple(
        column for column in columns if f"`{column.lower()}`" in lower or re.search(rf"(?<![\w$`]){re.escape(column.lower())}(?![\w$`])", lower)
    )
