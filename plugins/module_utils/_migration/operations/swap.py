# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""change_type under the same name: a shadow column filled by triggers, exchanged with the column at the quarantine.

During the roll all code works with the old type. Afterwards the old column stays in step as long as it is quarantined, for a restore must not show
values of yesterday under the name that clients read: PostgreSQL by a trigger of its own, MariaDB by the very same trigger, whose text
``SET NEW.shadow = NEW.column`` is right before and after the names are exchanged, which is one atomic statement there.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.seamless.rollout.plugins.module_utils._migration import expressions
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Check, Column, Plan, Step, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import mariadb, sync_mariadb
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import postgresql as pg
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import sync_postgresql as sync_pg
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.company import company
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.datatypes import kept_collation
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.sync import Sync, counted
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.values import default_of, zero

_DATA = "data_exception OR integrity_constraint_violation OR cardinality_violation OR raise_exception"


def swap(work: Work, table: Table, old: Column, type_: str) -> Plan:
    """Return the plan that gives *old* the type *type_* under its name."""
    if work.postgresql and work.values.get("prepared_statements") != "none":
        raise work.refuse(
            f"without a new name (to: ...) every session that holds a prepared statement over {old.name} fails with 0A000 until it reconnects. "
            f"Give the column a new "
            f"name by to, or say prepared_statements: none when the application makes none (psycopg: prepare_threshold=None)."
        )
    shadow = dataclasses.replace(old, name=work.free(table, work.helper(old.name)), type=type_, default=None, collation=kept_collation(old, type_))
    if not work.postgresql and (work.values.get("up") or work.values.get("down")):
        raise work.refuse(
            "without a new name (to: ...) only the server's own conversion is possible here: give the column a new name by to, or leave out up and down."
        )
    source, lossy = work.values, work.values.get("lossy") == "acknowledge"
    plain = work.q(old.name), work.q(shadow.name)
    texts = [work.cast(plain[0], type_), work.cast(plain[1], old.type)] if work.postgresql else list(plain)
    up = work.expression(source["up"], (old.name,), table) if source.get("up") else texts[0]
    down = texts[1]
    if source.get("down"):
        # The author writes the column's own name: under it the new type is there.
        down = expressions.rewritten(work.engine, work.expression(source["down"], (old.name,), table), {old.name: plain[1]})
    members = company(work, table, [old.name], {old.name: shadow.name}, plain=False, lossy=lossy)
    sync = Sync(work, table, (old,), (shadow,), {shadow.name: up}, {old.name: down}, members)
    return _postgresql(sync) if work.postgresql else _mariadb(sync)


def _lost(sync: Sync, column: Column, away: str) -> Check:
    """Return the check, before a restore, that the old type could hold all that was written since."""
    work = sync.work
    condition = f"{work.q(away)} IS NULL AND {work.q(column.name)} IS NOT NULL" if work.postgresql else f"NOT ({work.q(away)} <=> {work.q(column.name)})"
    return counted(work, sync.table, f"{column.name} fits the old type", condition, [column.name])


def _postgresql(sync: Sync) -> Plan:
    work, table, members = sync.work, sync.table, sync.company
    old, shadow = sync.old[0], sync.finals[0]
    name, target = table.name, f"ALTER TABLE {work.sql(table.name)}"
    objects, later = sync_pg.Objects(work, table, canary=False), sync_pg.Objects(work, table, "_q", canary=False)
    carried = pg.Carried(work, table, members)
    column, helper, away = work.q(old.name), work.q(shadow.name), work.q(work.quarantined(old.name))
    forward = objects.create(f"BEGIN\n  {sync_pg.assigned(work, sync.ups('NEW.'))}\n  RETURN NEW;\nEND")
    # In the quarantine the new type has the column's name, and the old type the quarantined one.
    down = expressions.rewritten(work.engine, sync.down[old.name], {shadow.name: f"NEW.{column}"})
    changed = work.changed(old)
    backward = later.create(
        f"BEGIN\n  IF TG_OP = 'UPDATE' AND NOT ({changed}) THEN RETURN NEW; END IF;\n  BEGIN\n    NEW.{away} := {down};\n"
        f"  EXCEPTION WHEN {_DATA} THEN\n    NEW.{away} := NULL;\n  END;\n  RETURN NEW;\nEND"
    )
    guard = pg.not_valid(work, name, work.not_null(shadow.name), f"CHECK ({helper} IS NOT NULL)")
    kept = pg.not_valid(work, name, work.not_null(old.name), f"CHECK ({column} IS NOT NULL)")
    default = sync.defaults().get(shadow.name)
    leave = [*objects.drop(), *carried.quarantine()]
    if not old.nullable:
        leave.append(f"{target} ALTER COLUMN {column} DROP NOT NULL")
    if old.default is not None:
        leave.append(f"{target} ALTER COLUMN {column} DROP DEFAULT")
    leave += [f"{target} RENAME COLUMN {column} TO {away}", f"{target} RENAME COLUMN {helper} TO {column}"]
    if default:
        leave.append(f"{target} ALTER COLUMN {column} SET DEFAULT {default}")
    # An owner is a column, whatever its name is by then: the statement is the same both ways.
    owned = [statement for statement, dummy in sync_pg.owners(sync, {shadow.name: old.name})]
    leave += [*owned, *backward]
    come_back = [*later.drop(), *carried.restore()]
    if default:
        come_back.append(f"{target} ALTER COLUMN {column} DROP DEFAULT")
    come_back += [f"{target} RENAME COLUMN {column} TO {helper}", f"{target} RENAME COLUMN {away} TO {column}"]
    if old.default is not None:
        come_back.append(f"{target} ALTER COLUMN {column} SET DEFAULT {old.default}")
    come_back += owned
    back: tuple[Step, ...] = () if old.nullable else (pg.locked("not null helpers", [kept], name), *pg.not_null(work, table, [old.name]))
    return work.plan(
        table,
        tables=tuple(dict.fromkeys([name, *(key.target for key in members.foreign_keys)])),
        expand=(
            pg.locked(
                "shadow column and its sync",
                [
                    f"{target} ADD COLUMN {sync_pg.column_sql(work, shadow)}",
                    *sync_pg.comments(work, table, [shadow]),
                    *([] if old.nullable else [guard]),
                    sync_pg.tried(work, table, sync.ups().values()),
                    *forward,
                ],
                name,
            ),
        ),
        backfill=(work.fill(table, sync.filled(), sync.unfilled()),),
        validate=(*pg.not_null(work, table, [] if old.nullable else [shadow.name]), *carried.validate()),
        verify=(_above(sync),),
        round_trip=sync_pg.round_trip(sync),
        quarantine=(*carried.drop_keys(helpers=False), pg.locked("types exchanged", leave, name)),
        drop=(pg.locked("drop the old type", [*later.drop(), f"{target} DROP COLUMN IF EXISTS {away}"], name),),
        abort=(*carried.drop_keys(helpers=True), pg.locked("drop the shadow column", [*objects.drop(), f"{target} DROP COLUMN IF EXISTS {helper}"], name)),
        restore=(pg.locked("types exchanged back", [*come_back, *forward], name),),
        restore_validate=(*back, *carried.restore_validate()),
        before_restore=(_lost(sync, old, work.quarantined(old.name)),),
        notes=(*members.notes, f"Writes of old code can't be told from those of new code, for both use {old.name}: no canary."),
    )


def _above(sync: Sync) -> Check:
    work = sync.work
    shadow = sync.finals[0]
    text = sync.ups()[shadow.name]
    condition = work.differ(work.q(shadow.name), work.cast(text, shadow.type), shadow, query=True)
    return counted(work, sync.table, f"{sync.old_names[0]} and its shadow are in step", condition, [*sync.old_names, shadow.name])


def _mariadb(sync: Sync) -> Plan:
    work, table, members = sync.work, sync.table, sync.company
    old, shadow = sync.old[0], sync.finals[0]
    name = table.name
    objects, carried = sync_mariadb.Objects(work, table, canary=False), mariadb.Carried(work, table, members)
    column, helper = work.q(old.name), work.q(shadow.name)
    default = default_of(old)
    spare = None if old.nullable else zero(work, old)
    instead = "NULL" if spare is None else spare
    # What the other type can't hold must not fail a client's write; the checks find it.
    body = f"DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; SET NEW.{helper} = NEW.{column};"
    made = [objects.create("UPDATE", body), objects.create("INSERT", body)]
    dropped = objects.drop("INSERT", "UPDATE")
    some = mariadb.if_exists(work)
    new_here = dataclasses.replace(shadow, name=old.name)
    typed = mariadb.definition(work, new_here, nullable=True, default=default)
    exchanged = mariadb.alter(
        work, name,
        f"CHANGE COLUMN {some}{column} {helper} {mariadb.definition(work, old, nullable=old.nullable, default=instead, invisible=True)}, "
        f"CHANGE COLUMN {some}{helper} {column} {typed}",
        "INSTANT", kind="rename",
    )  # fmt: skip
    returned = mariadb.alter(
        work, name,
        f"CHANGE COLUMN {some}{column} {helper} {mariadb.definition(work, shadow, nullable=True, default=None, invisible=True)}, "
        f"CHANGE COLUMN {some}{helper} {column} {mariadb.definition(work, old, nullable=old.nullable, default=default)}",
        "INSTANT", kind="rename",
    )  # fmt: skip
    nullable = mariadb.alter(work, name, f"MODIFY COLUMN {some}{column} {typed}", "INPLACE")
    nullable_now = mariadb.column_there(work, name, old.name, is_nullable="YES")
    required = [sync_mariadb.not_null(work, table, new_here, default)] if not old.nullable else []
    return work.plan(
        table,
        expand=(*sync_mariadb.add_columns(work, table, [shadow], old.name), *made),
        backfill=(work.fill(table, sync.filled(), sync.unfilled()),),
        validate=tuple(carried.validate()),
        verify=(_above(sync),),
        round_trip=sync_mariadb.round_trip(sync),
        quarantine=(
            *carried.leave(),
            mariadb.alone("types exchanged", exchanged, _hidden(work, table, shadow.name, old.type)),
            *required,
            *carried.renames(),
        ),
        drop=(*dropped, *carried.drop(), mariadb.drop_column(work, name, shadow.name)),
        abort=(*dropped, *carried.abort(), mariadb.drop_column(work, name, shadow.name)),
        restore=(
            *([mariadb.alone("nullable again", nullable, f"SELECT ({nullable_now}) OR ({_hidden(work, table, old.name, old.type)})")] if required else []),
            *carried.renames_back(),
            mariadb.alone("types exchanged back", returned, _hidden(work, table, old.name, old.type)),
        ),
        restore_validate=tuple(carried.restore_validate()),
        before_restore=(_lost(sync, old, shadow.name),),
        notes=(*members.notes, f"Writes of old code can't be told from those of new code, for both use {old.name}: no canary."),
    )


def _hidden(work: Work, table: Table, column: str, type_: str) -> str:
    return mariadb.column_there(work, table.name, column, column_type="longtext" if type_ == "json" and not work.server.mysql else type_)
