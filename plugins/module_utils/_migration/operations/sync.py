# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What a two-way sync is, whatever the engine: old columns, new columns, and the expressions that lead from one to the other."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import expressions
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Check, Column, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.company import Company
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.values import default_of


@dataclasses.dataclass(frozen=True)
class Sync:
    """Old and new columns of *table* that triggers keep in step. *up* has an expression over the old columns for each new one, *down* the other way.

    *plain* is a rename: the same values under another name. *finals* are the new columns as they shall be after the quarantine.
    """

    work: Work
    table: Table
    old: tuple[Column, ...]
    finals: tuple[Column, ...]
    up: t.Mapping[str, str]
    down: t.Mapping[str, str]
    company: Company
    plain: bool = False

    @property
    def old_names(self) -> list[str]:
        return [column.name for column in self.old]

    @property
    def new_names(self) -> list[str]:
        return [column.name for column in self.finals]

    def ups(self, prefix: str = "") -> dict[str, str]:
        """Return the expression of each new column over old columns that stand after *prefix*."""
        return {name: self.work.using(self.up[name], self.old_names, prefix) for name in self.new_names}

    def downs(self, prefix: str = "") -> dict[str, str]:
        return {name: self.work.using(self.down[name], self.new_names, prefix) for name in self.old_names}

    def changed(self, columns: t.Iterable[Column]) -> str:
        """Return the condition that one of *columns* is another than before, in a trigger."""
        return " OR ".join(map(self.work.changed, columns))

    def empty(self, prefix: str = "") -> str:
        """Return the condition that no new column has a value: the row was written by old code."""
        return " AND ".join(f"{prefix}{self.work.q(name)} IS NULL" for name in self.new_names)

    def given(self) -> str:
        """Return the condition, in an INSERT trigger, that an old column was given a value: what tells a write of old code from one that left all out."""
        return " OR ".join(part for part in map(self.work.given, self.old) if part)

    def defaults(self) -> dict[str, str]:
        """Return the defaults of the new columns: up() of the old ones' defaults. A column that comes to nothing has none."""
        work = self.work
        if all(default_of(column) is None for column in self.old):
            return {}
        values = {}
        for column in self.old:
            default = default_of(column)
            values[column.name] = f"({default})" if default is not None else work.cast("NULL", column.type)
        if self.plain:
            pairs = zip(self.old, self.new_names)
            return {new: default for old, new in pairs for default in [default_of(old)] if default is not None}
        return {name: work.cast(f"({expressions.rewritten(work.engine, self.up[name], values)})", self.final(name).type) for name in self.new_names}

    def final(self, name: str) -> Column:
        return next(column for column in self.finals if column.name == name)

    def drifted(self) -> str:
        """Return the condition that a row is right in neither direction: the new shape is not up() of the old one, nor the old one down() of the new."""
        work = self.work
        above = [work.differ(work.q(name), work.cast(text, self.final(name).type), self.final(name), query=True) for name, text in self.ups().items()]
        if self.plain:
            return f"({' OR '.join(above)})"
        below = [work.differ(work.q(column.name), work.cast(text, column.type), column, query=True) for column, text in zip(self.old, self.downs().values())]
        return f"({' OR '.join(above)}) AND ({' OR '.join(below)})"

    def unfilled(self) -> str:
        """Return the condition of the rows that the backfill has to fill; not of those where it has nothing to write."""
        some = " OR ".join(f"({text}) IS NOT NULL" for text in self.ups().values())
        return f"{self.empty()} AND ({some})"

    def filled(self) -> dict[str, str]:
        """Return the assignments of the backfill."""
        return self.ups()

    def verify(self) -> Check:
        return counted(
            self.work, self.table, f"{'/'.join(self.old_names)} and {'/'.join(self.new_names)} are in step", self.drifted(), [*self.old_names, *self.new_names]
        )


def counted(work: Work, table: Table, name: str, condition: str, columns: t.Iterable[str], prepare: tuple[str, ...] = ()) -> Check:
    """Return the check that no row of *table* has *condition*; its sample shows the key and *columns*."""
    shown = dict.fromkeys([*(table.key or ()), *columns])
    source = f"FROM {work.sql(table.name)} WHERE {condition}"
    return Check(name, f"SELECT count(*) {source}", f"SELECT {work.list(shown) or '*'} {source}", prepare)
