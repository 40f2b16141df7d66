# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What all operations share: the operation at work, and the names of what it makes."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import expressions, quote
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import (
    POSTGRESQL,
    Canary,
    Column,
    Fill,
    ForeignKey,
    Name,
    Plan,
    Server,
    Table,
)
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.datatypes import builtin, cast_type, exact, without_equality
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.values import constant, default_of

SCHEMA = "seamless_rollout"  # PostgreSQL: holds the functions and sequences that a migration makes
MARKER = "pg_catalog.current_setting('seamless_rollout.backfill', true)"
MARKED = f"{MARKER} OPERATOR(pg_catalog.=) 'on'"

_BINARY_EQUAL = re.compile(r"\s*(?:var)?char|\s*(?:tiny|medium|long)?text|\s*enum|\s*set\b|\s*(?:n|national )(?:var)?char|\s*json", re.IGNORECASE)
_LENGTH = re.compile(r"\s*(?:character varying|varchar|character|char|bpchar)\s*(?:\(\s*\d+\s*\))?\s*$", re.IGNORECASE)
# The same at the end of a statement as at its beginning, in a trigger too.
_STATEMENT_TIME = re.compile(r"(?:current_timestamp|now)\s*(?:\(\d?\))?$", re.IGNORECASE)
_BOUND = {
    "partition": "name the partitioned table",
    "inheritance": "triggers don't go to the other tables, so do this by an sql operation",
    "system versioning": "the server keeps its history in the old shape, so do this by an sql operation",
}


@dataclasses.dataclass(frozen=True)
class PlanOptions:
    """What the migration as a whole says. *default_schema* is where a table without a schema is."""

    canary: bool = True
    shield: bool = False
    default_schema: str = ""


@dataclasses.dataclass(frozen=True)
class Work:
    """One operation on its way to a plan: *values* are what its author wrote, *number* its index in the migration."""

    kind: str
    values: t.Mapping[str, t.Any]
    server: Server
    tables: t.Mapping[Name, Table]
    tag: str
    number: int
    options: PlanOptions

    @property
    def engine(self) -> str:
        return self.server.engine

    @property
    def postgresql(self) -> bool:
        return self.server.engine == POSTGRESQL

    @property
    def base(self) -> str:
        """What the names of all objects of this operation begin with."""
        return f"seamless_{self.tag}_{self.number}"

    def refuse(self, sentence: str) -> SeamlessError:
        """Return the error that says *sentence* of this operation."""
        return SeamlessError(f"operation {self.number + 1} ({self.kind}): {sentence}")

    def q(self, text: str) -> str:
        return quote.identifier(self.engine, text)

    def list(self, texts: t.Iterable[str]) -> str:
        return quote.identifiers(self.engine, texts)

    def sql(self, name: Name) -> str:
        return quote.table(self.engine, name)

    def literal(self, value: str | float | bool | None) -> str:
        return quote.literal(self.engine, value)

    def cut(self, text: str) -> str:
        return quote.shortened(self.engine, text)

    def helper(self, text: str) -> str:
        """The name of what stands in for *text* (a column, an index, a constraint) until the quarantine."""
        return self.cut(f"{self.base}_{text}")

    def not_null(self, column: str) -> str:
        return self.cut(f"seamless_nn_{self.tag}_{self.number}_{column}")

    def quarantined(self, text: str) -> str:
        return self.cut(f"seamless_q_{text}")

    def own(self, name: str, table: Table) -> Name:
        """What a migration makes besides columns: on PostgreSQL in our schema, on MariaDB in the table's database."""
        return Name(SCHEMA if self.postgresql else table.name.schema, name)

    def name(self, key: str, value: t.Any = None) -> Name:
        """Return the table that *key* names."""
        text = self.values[key] if value is None else value
        parts = parse_name(text)
        if parts is None:
            raise self.refuse(f"{key} is {text!r}: write users, app.users, or [app, users] where a name has a dot in it.")
        if parts.schema:
            return parts
        if self.options.default_schema:
            return Name(self.options.default_schema, parts.name)
        found = [name for name in self.tables if name.name == parts.name]
        if len(found) > 1:
            raise self.refuse(f"{key} is {text!r}, which is in {' and in '.join(name.schema for name in found)}: write it with its schema.")
        return found[0] if found else parts

    def table(self, key: str = "table", value: t.Any = None) -> Table:
        """Return the facts of the table that *key* names. Raises SeamlessError when it isn't there or is no table."""
        name = self.name(key, value)
        table = self.tables.get(name)
        if table is None:
            raise self.refuse(f"there is no table {name}. Is it spelled as the catalog has it, with its schema?")
        if table.is_view:
            raise self.refuse(f"{name} is a view: name the table under it.")
        return table if self.postgresql or self.server.mysql else with_json(table)

    def reshapable(self, table: Table) -> None:
        """Raise SeamlessError when *table* is one whose columns can't be changed by itself."""
        for item in table.dependents:
            if item.kind in _BOUND:
                raise self.refuse(f"{table.name} has columns that are bound by {item.kind} ({item.name}): {_BOUND[item.kind]}.")

    def column(self, table: Table, name: str) -> Column:
        column = table.column(name)
        if column is None:
            known = ", ".join(column.name for column in table.columns)
            raise self.refuse(f"{table.name} has no column {name!r}. Its columns are: {known}.")
        return column

    def free(self, table: Table, name: str) -> str:
        """Return the column name *name* when it is not taken in *table* and not too long."""
        self.reshapable(table)
        if self.cut(name) != name:
            raise self.refuse(
                f"the name {name!r} is too long: {self.engine} takes {63 if self.postgresql else 64} {'bytes' if self.postgresql else 'characters'}."
            )
        taken = {column.name if self.postgresql else column.name.casefold() for column in table.columns}
        if (name if self.postgresql else name.casefold()) in taken:
            raise self.refuse(f"{table.name} already has a column {name!r}: give the new one another name, or drop that one first.")
        return name

    def key(self, table: Table) -> tuple[str, ...]:
        """Return the columns by which *table* is walked. Raises SeamlessError when it has none."""
        if table.key is None:
            raise self.refuse(
                f"{table.name} has no primary key and no unique key over NOT NULL columns, so its rows can't be filled in batches: add one first."
            )
        return table.key

    def returned(self, table: Table, assignments: t.Mapping[str, str], condition: str, moved: t.Mapping[str, str]) -> Fill:
        """Return the reverse backfill of the old columns *assignments*. Rows that were written in the quarantine are not told apart by them.

        *moved* says which new column has the key of an old one. Raises SeamlessError when nothing else tells the rows apart.
        """
        old = [name for name in assignments if name not in moved]
        usable = [key for key in table.keys if not set(key) & set(old)]
        key = min(usable, key=lambda key: bool(set(key) & set(moved)), default=None)
        if key is None:
            raise self.refuse(
                f"the rows of {table.name} are told apart by {', '.join(self.key(table))} alone, so what is written in the quarantine could not be brought "
                "back: add a primary key first."
            )
        return dataclasses.replace(self.fill(table, assignments, condition), key=tuple(moved.get(name, name) for name in key))

    def fill(self, table: Table, assignments: t.Mapping[str, str], condition: str) -> Fill:
        """Return the backfill of *assignments*. Columns that MariaDB would set by itself on an update are pinned to what they are."""
        pinned = {column.name: self.q(column.name) for column in table.columns if column.on_update and column.name not in assignments}
        texts = [f"{self.q(column)} = {value}" for column, value in {**assignments, **pinned}.items()]
        return Fill(table.name, self.key(table), ", ".join(texts), condition)

    def expression(self, value: t.Any, allowed: t.Collection[str], table: Table) -> str:
        """Return a user's *value* as SQL: a text is an expression over the columns *allowed*, a number or boolean a constant."""
        if not isinstance(value, str):
            return self.literal(value)
        names = [column.name for column in table.columns]
        try:
            return expressions.checked(self.engine, value, allowed, [*names, *(name for name in allowed if name not in names)])
        except SeamlessError as exc:
            raise self.refuse(str(exc)) from None

    def using(self, expression: str, columns: t.Iterable[str], prefix: str = "") -> str:
        """Return *expression* with its *columns* quoted, after *prefix* (``NEW.`` in a trigger)."""
        return expressions.rewritten(self.engine, expression, {column: prefix + self.q(column) for column in columns})

    def actions(self, key: ForeignKey) -> str:
        """Return what *key* does by itself when the other table's row changes, as far as it isn't the default."""
        default = ("NO ACTION",) if self.postgresql else ("NO ACTION", "RESTRICT")
        parts = [f" ON {event} {action}" for event, action in (("UPDATE", key.on_update), ("DELETE", key.on_delete)) if action not in default]
        return "".join(parts)

    def plan(self, table: Table, **phases: t.Any) -> Plan:
        notes = (*phases.pop("notes", ()), *uncounted(phases.get("canary")))
        return Plan(operation=self.kind, notes=notes, **{"tables": (table.name,), **phases})

    # What differs between the types

    def differ(self, left: str, right: str, column: Column, *, query: bool = False) -> str:
        """Return the condition that *left* and *right*, both of *column*'s type, are not the same to the last bit.

        On MariaDB texts are compared as bytes, for ``'Ada' <=> 'ADA'`` is true under most collations; in a *query* in one character set, since an
        expression may have another than the column.
        """
        if self.postgresql:
            if without_equality(column.type):
                left, right = f"({left})::text", f"({right})::text"
            elif not builtin(column.type):
                return f"pg_catalog.record_image_ne(ROW({left}), ROW({right}))"
            elif column.collation and column.collation != "default":
                left, right = f'({left}) COLLATE "C"', f'({right}) COLLATE "C"'
            return f"{left} IS DISTINCT FROM {right}"
        if _BINARY_EQUAL.match(column.type):
            left, right = (f"CAST({f'CAST({side} AS CHAR)' if query else side} AS BINARY)" for side in (left, right))
        return f"NOT ({left} <=> {right})"

    def same(self, column: Column) -> str | None:
        """Return the condition, in a PostgreSQL trigger, that *column* is as before, to the last bit.

        It is NULL where it has or had no value. None for a type whose = says less than that.
        """
        if not exact(column.type):
            return None
        new, old = f"NEW.{self.q(column.name)}", f"OLD.{self.q(column.name)}"
        if column.collation and column.collation != "default":
            new, old = (f'({side}) COLLATE pg_catalog."C"' for side in (new, old))
        return f"({new} OPERATOR(pg_catalog.=) {old})"

    def changed(self, column: Column) -> str:
        """Return the condition, in a trigger, that *column* is another than before.

        On PostgreSQL byte by byte, and with no name that the writer's search_path would have to have. record_image_ne does that for every type; where = says
        the same, an expression without a row costs a good deal less (measured: 4 % of a single-row update).
        """
        new, old = f"NEW.{self.q(column.name)}", f"OLD.{self.q(column.name)}"
        if not self.postgresql:
            return self.differ(new, old, column)
        same = self.same(column)
        if same is None:
            return f"pg_catalog.record_image_ne(ROW({new}), ROW({old}))"
        return f"({same} IS NOT TRUE AND ({new} IS NOT NULL OR {old} IS NOT NULL))"

    def given(self, column: Column) -> str | None:
        """Return the condition, in an INSERT trigger, that *column* was given a value; None where its default can't be told from one."""
        new, default = f"NEW.{self.q(column.name)}", default_of(column)
        if default is None:
            return f"{new} IS NOT NULL"
        if not self.postgresql and _STATEMENT_TIME.match(default):
            return self.differ(new, default, column)
        if not constant(self, default):
            return None
        if column.enum:
            # By its text, for the writer's search_path may not have the type.
            word = next(piece.text for piece in expressions.tokens(self.engine, default) if piece.kind == "string")
            return f"({new})::pg_catalog.text IS DISTINCT FROM {word}"
        return self.differ(new, default, column) if not self.postgresql or builtin(column.type) else None

    def seeing(self, canary: Canary | None, columns: t.Iterable[Column]) -> Canary | None:
        """Return *canary* with those of the old *columns* to whose values it is blind in an INSERT."""
        return canary and dataclasses.replace(canary, blind=tuple(column.name for column in columns if self.given(column) is None))

    def cast(self, expression: str, type_: str) -> str:
        """Return *expression* in the type *type_* as an assignment would give it, as near as the engine lets a query come to that."""
        if self.postgresql:
            return f"CAST({expression} AS {'text' if _LENGTH.match(type_) else type_})"
        target = cast_type(type_)
        return f"CAST({expression} AS {target})" if target else f"({expression})"


def with_json(table: Table) -> Table:
    """Return *table* with MariaDB's JSON columns as such: the catalog has a text with a check of the column's name, which only the word JSON makes again."""
    checks = {item.name: item for item in table.dependents if item.kind == "check" and re.match(r"(CHECK \()?json_valid\(`", item.definition)}
    json = {column.name for column in table.columns if column.name in checks and checks[column.name].columns == (column.name,)}
    columns = tuple(dataclasses.replace(column, type="json", collation=None) if column.name in json else column for column in table.columns)
    dependents = tuple(item for item in table.dependents if not (item.kind == "check" and item.name in json))
    return dataclasses.replace(table, columns=columns, dependents=dependents)


def parse_name(text: t.Any) -> Name | None:
    """Return the table that a user's *text* names, with an empty schema where it says none; None when it names none."""
    if isinstance(text, (list, tuple)):
        return Name(*map(str, text)) if len(text) == 2 and all(text) else None
    parts = str(text).split(".")
    if len(parts) > 2 or not all(parts):
        return None
    return Name(parts[0], parts[1]) if len(parts) == 2 else Name("", parts[0])


def algorithm(server: Server, wanted: str, *, kind: str = "") -> str:
    """Return MariaDB's clause for *wanted* (INSTANT, NOCOPY, INPLACE): never the default, which may copy and block.

    MySQL has no NOCOPY, and can do some things in an instant only since the versions of *kind*.
    """
    if server.mysql:
        since = {"drop": (8, 0, 29), "after": (8, 0, 29), "rename": (8, 0, 28)}.get(kind, (8, 0, 12))
        if wanted == "NOCOPY" or (wanted == "INSTANT" and (server.version < since or kind in ("index", "foreign key"))):
            wanted = "INPLACE"
    return f"ALGORITHM={wanted}, LOCK=NONE"


def uncounted(canary: Canary | None) -> tuple[str, ...]:
    """Return the note on what *canary* does not count."""
    return (f"The gate's canary: {canary.weakness}.",) if canary and canary.blind else ()
