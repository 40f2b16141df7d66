# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""PostgreSQL: steps and catalog queries, and the indexes and constraints that a new column takes over from an old one."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import expressions
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Check, ForeignKey, Index, Name, Step, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.company import Company, after_using


def locked(name: str, statements: t.Iterable[str], *tables: Name) -> Step:
    """Return the step that runs *statements* in one transaction, with *tables* locked first in one order for all."""
    return Step(name, tuple(statements), locks=tuple(sorted(set(tables), key=str)))


def regclass(work: Work, name: Name) -> str:
    return f"pg_catalog.to_regclass({work.literal(work.sql(name))})"


def constraint_there(work: Work, table: Name, name: str, *, valid: bool = False) -> str:
    more = " AND convalidated" if valid else ""
    found = f"SELECT 1 FROM pg_catalog.pg_constraint WHERE conrelid = {regclass(work, table)} AND conname = {work.literal(name)}{more}"
    return f"SELECT EXISTS ({found})"


def _index(work: Work, table: Name, name: Name) -> str:
    return f"SELECT 1 FROM pg_catalog.pg_index WHERE indexrelid = {regclass(work, name)} AND indrelid = {regclass(work, table)}"


def index_there(work: Work, table: Name, name: Name, *, valid: bool) -> str:
    return f"SELECT EXISTS ({_index(work, table, name)} AND {'' if valid else 'NOT '}indisvalid)"


def name_free(work: Work, table: Name, name: str) -> Check:
    """Return the check that *name* is free for an index of *table*: it is when that index itself has it."""
    where = Name(table.schema, name)
    source = f"FROM pg_catalog.pg_class WHERE oid = {regclass(work, where)} AND NOT EXISTS ({_index(work, table, where)})"
    shown = "coalesce((SELECT 'index of ' || indrelid::regclass::text FROM pg_catalog.pg_index WHERE indexrelid = pg_class.oid), 'no index')"
    title = f"the name {where} is free in its schema (where it is not, give the new index another name)"
    return Check(title, f"SELECT count(*) {source}", f"SELECT relname, {shown} {source}")


def concurrent_index(work: Work, table: Table, name: str, rest: str, *, unique: bool, or_done: str = "") -> Step:
    """Return the step that makes an index while clients write. One that a killed run left invalid is dropped before; *or_done* is one more sign of success."""
    where = Name(table.name.schema, name)
    valid = index_there(work, table.name, where, valid=True)
    return Step(
        f"index {name}",
        (f"CREATE {'UNIQUE ' if unique else ''}INDEX CONCURRENTLY {work.q(name)} ON {work.sql(table.name)} {rest}",),
        transaction=False,
        done=f"SELECT ({valid}) OR ({or_done})" if or_done else valid,
        broken=index_there(work, table.name, where, valid=False),
        repair=(f"DROP INDEX CONCURRENTLY IF EXISTS {work.sql(where)}",),
    )


def drop_index(work: Work, table: Table, name: str) -> Step:
    where = Name(table.name.schema, name)
    gone = f"SELECT NOT EXISTS ({_index(work, table.name, where)})"
    return Step(f"drop index {name}", (f"DROP INDEX CONCURRENTLY IF EXISTS {work.sql(where)}",), transaction=False, done=gone)


def validated(work: Work, table: Name, names: t.Sequence[str]) -> tuple[Step, ...]:
    """Return the steps that check the old rows against constraints, while clients write."""
    return tuple(
        Step(
            f"validate {name}",
            (f"ALTER TABLE {work.sql(table)} VALIDATE CONSTRAINT {work.q(name)}",),
            transaction=False,
            done=constraint_there(work, table, name, valid=True),
        )
        for name in names
    )


def foreign_key(work: Work, key: ForeignKey, name: str, columns: t.Iterable[str]) -> str:
    """Return the statement that adds *key* under another *name* to other *columns*; rows that are there already are not looked at."""
    deferrable = f" DEFERRABLE INITIALLY {'DEFERRED' if key.deferred else 'IMMEDIATE'}" if key.deferrable else ""
    return (
        f"ALTER TABLE {work.sql(key.table)} ADD CONSTRAINT {work.q(name)} FOREIGN KEY ({work.list(columns)}) REFERENCES {work.sql(key.target)} "
        f"({work.list(key.target_columns)}){' MATCH FULL' if key.full else ''}{work.actions(key)}{deferrable} NOT VALID"
    )


def not_null(work: Work, table: Table, columns: t.Sequence[str], title: str = "not null") -> tuple[Step, ...]:
    """Return the steps that make *columns* NOT NULL by their helper constraints: after them no scan is needed under the lock."""
    if not columns:
        return ()
    names = {column: work.not_null(column) for column in columns}
    statements = [
        part
        for column, name in names.items()
        for part in (f"ALTER TABLE {work.sql(table.name)} ALTER COLUMN {work.q(column)} SET NOT NULL", drop_constraint(work, table.name, name))
    ]
    validates = tuple(
        # Gone is as good as validated: the step after drops it.
        Step(step.name, step.statements, transaction=False, done=f"SELECT ({step.done}) OR NOT ({constraint_there(work, table.name, name)})")
        for name, step in zip(names.values(), validated(work, table.name, list(names.values())))
    )
    return (*validates, locked(title, statements, table.name))


def drop_constraint(work: Work, table: Name, name: str) -> str:
    return f"ALTER TABLE {work.sql(table)} DROP CONSTRAINT IF EXISTS {work.q(name)}"


def not_valid(work: Work, table: Name, name: str, check: str) -> str:
    return f"ALTER TABLE {work.sql(table)} ADD CONSTRAINT {work.q(name)} {check} NOT VALID"


class Carried:
    """The statements for a :class:`Company`: made for the new columns, exchanged at the quarantine, exchanged back by a restore."""

    def __init__(self, work: Work, table: Table, company: Company) -> None:
        self.work, self.table, self.company = work, table, company

    def _rest(self, index: Index, moved: t.Mapping[str, str]) -> str:
        names = {column.name: self.work.q(moved.get(column.name, column.name)) for column in self.table.columns}
        if not index.definition:
            return f"({', '.join(names[column] for column in index.columns)})"
        return f"USING {expressions.rewritten(self.work.engine, after_using(self.work, index), names)}"

    def _made(self, index: Index, name: str, moved: t.Mapping[str, str]) -> list[Step]:
        work, table = self.work, self.table
        steps = [concurrent_index(work, table, name, self._rest(index, moved), unique=index.unique)]
        if index.constraint:
            statement = f"ALTER TABLE {work.sql(table.name)} ADD CONSTRAINT {work.q(name)} UNIQUE USING INDEX {work.q(name)}"
            there = constraint_there(work, table.name, name)
            steps.append(Step(f"constraint {name}", (statement,), locks=(table.name,), done=there))
        return steps

    def _keys(self, names: t.Mapping[ForeignKey, str], moved: t.Mapping[str, str]) -> list[Step]:
        work = self.work
        steps = []
        for key, name in names.items():
            statement = foreign_key(work, key, name, [moved.get(column, column) for column in key.columns])
            there = constraint_there(work, key.table, name)
            steps.append(Step(f"foreign key {name}", (statement,), locks=tuple(sorted({key.table, key.target}, key=str)), done=there))
            steps.extend(validated(work, key.table, [name]))
        return steps

    @property
    def _helpers(self) -> dict[ForeignKey, str]:
        return {key: self.work.helper(key.name) for key in self.company.moved_keys}

    def expand(self) -> list[str]:
        """Return the statements that go with the new columns."""
        work, moved = self.work, self.company.moved
        if not self.company.carries_checks:
            return []
        names = {column.name: work.q(moved.get(column.name, column.name)) for column in self.table.columns}
        return [
            not_valid(work, self.table.name, work.helper(check.name), _stripped(expressions.rewritten(work.engine, check.definition, names)))
            for check in self.company.checks
        ]

    def validate(self) -> list[Step]:
        """Return what new code needs on the new columns before it starts."""
        steps: list[Step] = []
        for index in self.company.carried:
            steps += self._made(index, self.work.helper(index.name), self.company.moved)
        if self.company.carries_checks:
            steps += validated(self.work, self.table.name, [self.work.helper(check.name) for check in self.company.checks])
        return steps + self._keys(self._helpers, self.company.moved)

    def drop_keys(self, *, helpers: bool) -> list[Step]:
        """Return the step that drops the foreign keys: by itself, since it locks the tables that they point to."""
        keys = self._helpers if helpers else {key: key.name for key in self.company.foreign_keys}
        if not keys:
            return []
        statements = [drop_constraint(self.work, self.table.name, name) for name in keys.values()]
        return [locked("drop foreign keys", statements, self.table.name, *(key.target for key in keys))]

    def quarantine(self) -> list[str]:
        """Return the statements that drop what old rows would violate, and give what the new columns have the old names."""
        work, name = self.work, self.table.name
        statements = [drop_constraint(work, name, check.name) for check in self.company.checks]
        for index in self.company.unique:
            statements.append(
                drop_constraint(work, name, index.constraint) if index.constraint else f"DROP INDEX IF EXISTS {work.sql(Name(name.schema, index.name))}"
            )
        statements += [self._renamed(index.name, work.quarantined(index.name)) for index in self.company.plain]
        return statements + [self._exchange(old, helper) for old, helper in self._pairs()]

    def restore(self) -> list[str]:
        statements = [self._exchange(helper, old) for old, helper in self._pairs()]
        return statements + [self._renamed(self.work.quarantined(index.name), index.name) for index in self.company.plain]

    def restore_validate(self) -> list[Step]:
        work, name = self.work, self.table.name
        steps: list[Step] = []
        for index in self.company.unique:
            steps += self._made(index, index.name, {})
        checks = self.company.checks
        if checks:
            statements = [not_valid(work, name, check.name, _stripped(check.definition)) for check in checks]
            steps += [locked("checks", statements, name), *validated(work, name, [check.name for check in checks])]
        return steps + self._keys({key: key.name for key in self.company.foreign_keys}, {})

    def _pairs(self) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        """Return (kind, name) of what takes the place of what."""
        company, helper = self.company, self.work.helper
        pairs = [(("INDEX", index.name), ("INDEX", helper(index.name))) for index in company.carried]
        constraints = [check.name for check in company.checks if company.carries_checks] + [key.name for key in company.moved_keys]
        return pairs + [(("CONSTRAINT", name), ("CONSTRAINT", helper(name))) for name in constraints]

    def _exchange(self, new: tuple[str, str], present: tuple[str, str]) -> str:
        if present[0] == "INDEX":
            return self._renamed(present[1], new[1])
        return f"ALTER TABLE {self.work.sql(self.table.name)} RENAME CONSTRAINT {self.work.q(present[1])} TO {self.work.q(new[1])}"

    def _renamed(self, present: str, new: str) -> str:
        return f"ALTER INDEX {self.work.sql(Name(self.table.name.schema, present))} RENAME TO {self.work.q(new)}"


def _stripped(check: str) -> str:
    return check[: -len(" NOT VALID")] if check.upper().endswith(" NOT VALID") else check
