# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""MariaDB and MySQL: two shapes of a table kept in step by BEFORE ROW triggers that compare the old row with the new one.

The new columns are INVISIBLE during the roll, so that old code's SELECT * and INSERT without a column list stay what they were.
"""

from __future__ import annotations

import typing as t
import zlib

from ansible_collections.seamless.rollout.plugins.module_utils._migration import expressions
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Canary, Check, Column, Name, Plan, Step, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.datatypes import integer_range
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.mariadb import (
    Carried,
    absent,
    alone,
    alter,
    column_there,
    definition,
    drop_column,
    if_exists,
    set_default,
    spare_default,
    temporary_default,
    trigger_there,
)
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.sync import Sync, counted
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.values import default_of, zero

HIDDEN = "Until the contract new columns are INVISIBLE: new code must name {columns}, for SELECT * and an INSERT without a column list don't have them."
NO_CANARY = "MySQL has no sequences, so writes of old code are not counted: the gate goes by the other evidence."


class Objects:
    """The triggers and the sequence of an operation on *table*."""

    def __init__(self, work: Work, table: Table, suffix: str = "", *, canary: bool = True) -> None:
        self.work, self.table, self.suffix = work, table, suffix
        counts = canary and work.options.canary and not work.server.mysql
        self.sequence: Name | None = work.own(f"{work.base}_canary", table) if counts else None

    def name(self, event: str) -> Name:
        return self.work.own(f"{self.work.base}{self.suffix}_{event[0].lower()}", self.table)

    def create(self, event: str, body: str) -> Step:
        """Return the step that makes the trigger before *event* with *body*: after the users' own, in the order in which they fire."""
        work, name = self.work, self.name(event)
        some = "" if work.server.mysql else "IF NOT EXISTS "
        statement = f"CREATE TRIGGER {some}{work.sql(name)} BEFORE {event} ON {work.sql(self.table.name)} FOR EACH ROW BEGIN {body} END"
        return alone(f"trigger {name.name}", statement, trigger_there(work, name))

    def drop(self, *events: str) -> list[Step]:
        work = self.work
        names = [self.name(event) for event in events]
        return [alone(f"drop trigger {name.name}", f"DROP TRIGGER IF EXISTS {work.sql(name)}", absent(trigger_there(work, name))) for name in names]

    def create_canary(self) -> list[Step]:
        if self.sequence is None:
            return []
        return [alone("canary", f"CREATE SEQUENCE IF NOT EXISTS {self.work.sql(self.sequence)} ENGINE=InnoDB")]

    def drop_canary(self) -> list[Step]:
        return [] if self.sequence is None else [alone("drop canary", f"DROP SEQUENCE IF EXISTS {self.work.sql(self.sequence)}")]

    def count(self, condition: str = "") -> str:
        if self.sequence is None:
            return ""
        name = self.work.sql(self.sequence)
        # Once a second from each session tells as much as each write, and a sequence costs as much as all the rest of a trigger.
        seen = f"@seamless_seen_{zlib.crc32(name.encode()):08x}"
        statement = f"IF NOT ({seen} <=> UNIX_TIMESTAMP()) THEN SET {seen} = UNIX_TIMESTAMP(); DO NEXTVAL({name}); END IF;"
        return f" IF {condition} THEN {statement} END IF;" if condition else f" {statement}"

    @property
    def canary(self) -> Canary | None:
        return Canary(self.sequence) if self.sequence else None

    @property
    def notes(self) -> tuple[str, ...]:
        return (NO_CANARY,) if self.work.server.mysql and self.work.options.canary else ()


def assigned(work: Work, values: t.Mapping[str, str]) -> str:
    return "SET " + ", ".join(f"NEW.{work.q(name)} = {text}" for name, text in values.items()) + ";"


def triggers(sync: Sync, objects: Objects) -> list[Step]:
    """Return the steps that make the triggers: that of updates first, for the backfill needs it as well."""
    work = sync.work
    up, down, empty = assigned(work, sync.ups("NEW.")), assigned(work, sync.downs("NEW.")), sync.empty("NEW.")
    old_changed, new_changed, given = sync.changed(sync.old), sync.changed(sync.finals), sync.given()
    insert = f"IF {empty} THEN {up}{objects.count(given) if given else ''} ELSE {down} END IF;"
    update = (
        f"IF @seamless_backfill = 1 THEN IF ({new_changed}) AND ({old_changed}) THEN {up} END IF; "
        f"ELSEIF {new_changed} THEN {down} ELSEIF {old_changed} THEN {up}{objects.count()} ELSEIF {empty} THEN {up} END IF;"
    )
    return [objects.create("UPDATE", update), objects.create("INSERT", insert)]


def round_trip(sync: Sync) -> tuple[Check, ...]:
    """Return the check of down(up(x)) = x. Casts don't raise in a query: what they can't hold comes back as something else, or is out of its type's range."""
    if sync.plain:
        return ()
    work = sync.work
    made = {name: work.cast(text, sync.final(name).type) for name, text in sync.ups().items()}
    from_made = {name: f"({text})" for name, text in made.items()}
    conditions = []
    for column in sync.old:
        back = work.cast(_over(sync, sync.down[column.name], from_made), column.type)
        conditions.append(work.differ(back, work.q(column.name), column, query=True))
    for name, text in sync.ups().items():
        span = integer_range(sync.final(name).type)
        if span:
            conditions.append(f"({text}) NOT BETWEEN {span[0]} AND {span[1]}")
        if not sync.final(name).nullable:
            conditions.append(f"({text}) IS NULL")
    return (counted(work, sync.table, f"{'/'.join(sync.old_names)} survives down(up(x))", f"({' OR '.join(conditions)})", sync.old_names),)


def _over(sync: Sync, expression: str, names: t.Mapping[str, str]) -> str:
    return expressions.rewritten(sync.work.engine, expression, names)


def add_columns(work: Work, table: Table, columns: t.Iterable[Column], after: str) -> list[Step]:
    """Return the steps that add *columns*, nullable, invisible and with no default, each behind the one before."""
    steps = []
    for column in columns:
        place = f" AFTER {work.q(after)}"
        change = (
            f"ADD COLUMN {if_exists(work, absent=True)}{work.q(column.name)} {definition(work, column, nullable=True, default=None, invisible=True)}{place}"
        )
        statement = alter(work, table.name, change, "INSTANT", kind="after")
        steps.append(alone(f"column {column.name}", statement, column_there(work, table.name, column.name)))
        after = column.name
    return steps


def not_null(work: Work, table: Table, column: Column, default: str | None) -> Step:
    change = f"MODIFY COLUMN {if_exists(work)}{work.q(column.name)} {definition(work, column, nullable=False, default=default)}"
    return alone(f"{column.name} is not null", alter(work, table.name, change, "INPLACE"), column_there(work, table.name, column.name, is_nullable="NO"))


def away(
    work: Work, table: Table, old: t.Iterable[Column], shown: t.Mapping[str, tuple[Column, str | None]], carry_default: t.Mapping[str, str | None]
) -> Step:
    """Return the step, one atomic statement, that renames *old* away and makes the new columns *shown* visible with their defaults."""
    changes = []
    names = []
    for column in old:
        default = carry_default[column.name] or default_of(column)
        text = definition(work, column, nullable=column.nullable, default=default if default is not None else "NULL", invisible=True)
        changes.append(f"CHANGE COLUMN {if_exists(work)}{work.q(column.name)} {work.q(work.quarantined(column.name))} {text}")
        names.append(column.name)
    for column, default in shown.values():
        changes.append(f"MODIFY COLUMN {if_exists(work)}{work.q(column.name)} {definition(work, column, nullable=True, default=default)}")
    statement = alter(work, table.name, ", ".join(changes), "INSTANT", kind="rename")
    return alone("old columns away", statement, column_there(work, table.name, work.quarantined(names[0])))


def back(work: Work, table: Table, old: t.Iterable[Column], carry_default: t.Mapping[str, str | None]) -> Step:
    """Return the step that gives *old* their names back, for now with the default that they had in the quarantine."""
    changes = []
    names = []
    for column in old:
        text = definition(work, column, nullable=column.nullable, default=carry_default[column.name] or default_of(column))
        changes.append(f"CHANGE COLUMN {if_exists(work)}{work.q(work.quarantined(column.name))} {work.q(column.name)} {text}")
        names.append(column.name)
    return alone("old columns back", alter(work, table.name, ", ".join(changes), "INSTANT", kind="rename"), column_there(work, table.name, names[0]))


def plan(sync: Sync) -> Plan:
    """Return the plan that leads from the old columns to the new ones."""
    work, table, company = sync.work, sync.table, sync.company
    name = table.name
    objects, carried = Objects(work, table), Carried(work, table, company)
    made = triggers(sync, objects)
    dropped = objects.drop("INSERT", "UPDATE")
    defaults: dict[str, str] = sync.defaults()
    spare = {column.name: temporary_default(work, column, zero) for column in sync.old}
    spared = [spare_default(work, name, column, default) for column, default in spare.items() if default is not None]
    unspared = [spare_default(work, name, column, None) for column, default in spare.items() if default is not None]
    shown = {column.name: (column, defaults.get(column.name)) for column in sync.finals}
    hidden = [
        alone(
            f"{column.name} is hidden",
            alter(
                work, name, f"MODIFY COLUMN {if_exists(work)}{work.q(column.name)} {definition(work, column, nullable=True, default=None, invisible=True)}",
                "INSTANT" if column.nullable else "INPLACE",
            ),
        )
        for column in sync.finals
    ]  # fmt: skip
    return work.plan(
        table,
        tables=tuple(dict.fromkeys([name, *(key.target for key in company.foreign_keys)])),
        # MySQL refuses a row that leaves out a NOT NULL column before its triggers can fill it.
        expand=(*objects.create_canary(), *(spared if work.server.mysql else ()), *add_columns(work, table, sync.finals, sync.old_names[-1]), *made),
        backfill=(work.fill(table, sync.filled(), sync.unfilled()),),
        validate=tuple(carried.validate()),
        verify=(sync.verify(), *_nulls(sync), *carried.verify()),
        round_trip=round_trip(sync),
        quarantine=(
            *spared,
            *carried.leave(),
            *(alone(f"default of {column}", set_default(work, name, column, default)) for column, default in defaults.items()),
            *dropped,
            away(work, table, sync.old, shown, spare),
            *(not_null(work, table, column, defaults.get(column.name)) for column in sync.finals if not column.nullable),
            *carried.renames(),
        ),
        drop=(*carried.drop(), *(drop_column(work, name, work.quarantined(column)) for column in sync.old_names), *objects.drop_canary()),
        abort=(
            *dropped,
            *carried.abort(),
            *(drop_column(work, name, column) for column in sync.new_names),
            *objects.drop_canary(),
            *(unspared if work.server.mysql else ()),
        ),
        restore=(back(work, table, sync.old, spare), *made, *carried.renames_back(), *hidden),
        reverse_backfill=(work.returned(table, sync.downs(), sync.drifted(), company.moved),),
        restore_validate=(*(() if work.server.mysql else unspared), *carried.restore_validate()),
        canary=work.seeing(objects.canary, sync.old),
        notes=(*company.notes, *objects.notes, HIDDEN.format(columns=", ".join(sync.new_names))),
    )  # fmt: skip


def _nulls(sync: Sync) -> list[Check]:
    """Return the checks that the new columns can become NOT NULL at the quarantine."""
    required = [column.name for column in sync.finals if not column.nullable]
    return [counted(sync.work, sync.table, f"{column} is never NULL", f"{sync.work.q(column)} IS NULL", [column]) for column in required]
