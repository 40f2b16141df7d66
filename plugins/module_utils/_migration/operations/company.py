# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What goes with a column: its indexes, unique keys, foreign keys and checks, and what forbids that it is replaced or dropped at all."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import expressions
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Dependent, ForeignKey, Index, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work

TWO = "Make two migrations, one after the other."

_WOULD_DO = {
    "view": "drop the view before and make it again after the contract",
    "materialized view": "drop the view before and make it again after the contract",
    "generated column": "drop the generated column first",
    "policy": "change the policy first, so that it does not need this column",
    "publication": "publish the table without a column list",
    "partition key": "make a new table by an sql operation and move the rows",
    "column grant": "grant the right on the whole table",
    "trigger": "change the trigger first, so that it does not need this column",
    "check": "drop the check first (DROP CONSTRAINT is instant), for this server can add one to the new column only while writes wait",
}


@dataclasses.dataclass(frozen=True)
class Company:
    """What uses the columns that go. *moved* maps each of them to the column that takes its place; empty where there is no single one.

    *carried* are the indexes that the new column gets as well; *kept* those that only stay with the old one, under another name.
    """

    moved: t.Mapping[str, str]
    indexes: tuple[Index, ...] = ()
    carried: tuple[Index, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Dependent, ...] = ()
    carries_checks: bool = False
    notes: tuple[str, ...] = ()

    @property
    def unique(self) -> tuple[Index, ...]:
        """Those that must go when the column does: rows are written without it then, and two of them would be the same."""
        return tuple(index for index in self.indexes if index.unique)

    @property
    def plain(self) -> tuple[Index, ...]:
        return tuple(index for index in self.indexes if not index.unique)

    @property
    def moved_keys(self) -> tuple[ForeignKey, ...]:
        return self.foreign_keys if self.moved else ()


def company(work: Work, table: Table, old: t.Sequence[str], moved: t.Mapping[str, str], *, plain: bool, lossy: bool = False, gone: bool = False) -> Company:
    """Return what uses the columns *old* of *table*. Raises SeamlessError, naming the dependent, where something can't be made again.

    *plain* is a rename (the values stay the same), *gone* a column that nothing replaces.
    """
    for name in old:
        _refuse_column(work, table, name)
    indexes = tuple(index for index in table.indexes if set(old) & set(_columns(work, table, index)))
    for index in indexes:
        if index.constraint and not index.unique:
            raise work.refuse(
                f"the exclusion constraint {index.constraint} of {table.name} is over {_names(old)}: drop it first, or do this by an sql operation."
            )
        if not work.postgresql and re.match(r"\s*(?:ADD\s+)?(?:FULLTEXT|SPATIAL)", index.definition, re.IGNORECASE):
            raise work.refuse(
                f"the index {index.name} of {table.name} is over {_names(old)}, and one of its kind can't be made while writes go on: drop it first."
            )
        if index.deferrable:
            raise work.refuse(
                f"the unique key {index.constraint} of {table.name} is DEFERRABLE, and one that is can't be made while writes go on: drop it first."
            )
    notes = []
    carried = []
    for index in indexes:
        can = bool(moved) and (plain or not index.partial)
        if can:
            carried.append(index)
        elif index.unique and not gone and not lossy:
            raise work.refuse(
                f"the unique key {index.name} of {table.name} is over {_names(old)} and can't be made on the new shape by itself: "
                f"say lossy: acknowledge and add "
                f"an add_unique for the new columns, or drop it first."
            )
        elif not gone:
            notes.append(f"The index {index.name} is not made again on the new columns: use add_index for what new code needs.")
    foreign_keys = tuple(key for key in table.foreign_keys if set(old) & set(key.columns))
    for key in foreign_keys:
        if not gone and (not moved or (not plain and not work.postgresql)):
            raise work.refuse(f"the foreign key {key.name} of {table.name} is over {_names(old)} and can't be made on the new shape by itself: drop it first.")
        if not work.postgresql and (key.on_update in ("CASCADE", "SET NULL") or key.on_delete in ("SET NULL", "SET DEFAULT")):
            raise work.refuse(
                f"the foreign key {key.name} of {table.name} changes {_names(key.columns)} by itself (ON UPDATE {key.on_update}, "
                f"ON DELETE {key.on_delete}), and InnoDB fires no triggers then: the shapes would drift apart. Make it RESTRICT first."
            )
    if work.postgresql and table.partitioned and (carried or foreign_keys or any(index.unique for index in indexes)):
        raise work.refuse(
            f"{table.name} is partitioned, and {_names([*(index.name for index in indexes), *(key.name for key in foreign_keys)])} is over {_names(old)}: "
            f"PostgreSQL makes neither an index nor a foreign key of a partitioned table again while writes go on. Drop it first, or use a maintenance window."
        )
    checks = tuple(item for item in table.dependents if item.kind == "check" and set(old) & set(item.columns))
    uses = [("index", index.name, _columns(work, table, index)) for index in indexes] + [("foreign key", key.name, key.columns) for key in foreign_keys]
    for what, name, columns in [*uses, *(("check", check.name, check.columns) for check in checks)]:
        others = [column for column in table.leaving if column in columns and column not in old]
        if others:
            raise work.refuse(
                f"the {what} {name} of {table.name} is over {_names(old)} and over {_names(others)}, "
                f"which an earlier operation of this migration replaces or drops: neither could make it for both. {TWO}"
            )
    carries = plain and bool(moved) and all(item.definition for item in checks)
    for check in checks:
        if not work.postgresql:
            raise work.refuse(f"the check {check.name} of {table.name} uses {_names(old)}: {_WOULD_DO['check']}.")
        if not check.definition:
            raise work.refuse(f"the check {check.name} of {table.name} uses {_names(old)} and can't be read: drop it first.")
        if not carries and not gone:
            notes.append(f"The check {check.name} is not made again on the new columns: use add_check for what new code needs.")
    if table.triggers:
        notes.append(f"{table.name} has triggers of its own ({', '.join(table.triggers)}): see that none of them needs {_names(old)} once it is gone.")
    return Company(moved, indexes, tuple(carried), foreign_keys, checks, carries, tuple(notes))


def _names(columns: t.Iterable[str]) -> str:
    return ", ".join(columns)


def _columns(work: Work, table: Table, index: Index) -> list[str]:
    """Return the columns that *index* uses, those of its expressions and its WHERE among them."""
    if not work.postgresql or not index.definition:
        return list(index.columns)
    names = [column.name for column in table.columns]
    return [*index.columns, *expressions.columns(work.engine, after_using(work, index), names)]


def after_using(work: Work, index: Index) -> str:
    """Return what follows USING in PostgreSQL's definition of *index*."""
    pieces = expressions.tokens(work.engine, index.definition)
    place = next((place for place, piece in enumerate(pieces) if piece.kind == "word" and piece.text.upper() == "USING"), None)
    if place is None:
        raise work.refuse(f"the index {index.name} has a definition that can't be read: {index.definition!r}.")
    return "".join(piece.text for piece in pieces[place + 1 :]).strip()


def _refuse_column(work: Work, table: Table, name: str) -> None:
    column = work.column(table, name)
    work.reshapable(table)
    if name in table.coming:
        raise work.refuse(f"{name} is made by an earlier operation of this migration: write the column as it shall be there, or make two migrations.")
    if any(index.primary and name in index.columns for index in table.indexes):
        raise work.refuse(f"{name} is in the primary key of {table.name}: rows are told apart by it. Add a new key by an sql operation, or keep the column.")
    if column.generated:
        raise work.refuse(f"{name} is a generated column ({column.generated}): drop it and add the new one, no rows are lost by that.")
    if column.identity:
        raise work.refuse(f"{name} numbers its rows by itself (identity or AUTO_INCREMENT): that can't be in two columns at once. Keep the column.")
    if column.on_update:
        raise work.refuse(
            f"{name} is set by the server on every update (ON UPDATE CURRENT_TIMESTAMP): each update would look "
            f"like one of old code. Drop that attribute first."
        )
    for other in table.columns:
        if other.generated and name in expressions.columns(work.engine, other.generated, [name]):
            raise work.refuse(f"the generated column {other.name} of {table.name} uses {name}: drop it first.")
    for key in table.referenced_by:
        if name in key.target_columns:
            raise work.refuse(f"the foreign key {key.name} of {key.table} points at {name}: drop it first, and add it to the new column after the contract.")
    for item in table.dependents:
        if name in item.columns and item.kind not in ("check", "statistics"):
            hint = _WOULD_DO.get(item.kind, "remove it first")
            raise work.refuse(f"the {item.kind} {item.name} uses {name} of {table.name} and can't be made again on the new shape: {hint}.")
    quarantined = work.quarantined(name)
    if table.column(quarantined):
        raise work.refuse(f"{table.name} still has {quarantined} from an earlier migration: bring that one to contracted first.")
