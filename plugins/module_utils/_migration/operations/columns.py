# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The operations on one column that nothing replaces: add_column and drop_column."""

from __future__ import annotations

from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Column, Plan, Step, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import mariadb, sync_mariadb
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import postgresql as pg
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import sync_postgresql as sync_pg
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.company import company
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.sync import counted
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.together import computed
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.values import constant, default_of, type_sql, zero

_EVENTS = ("INSERT", "UPDATE")


def add_column(work: Work) -> Plan:
    """Return the plan of a new column. One with a constant default is there at once; else it is filled row by row, and old code's rows by a trigger."""
    table = work.table()
    values = work.values
    type_ = type_sql(work, values["type"])
    nullable = bool(values.get("nullable", True))
    default = work.expression(values["default"], (), table) if "default" in values else None
    names = [column.name for column in table.columns]
    filling = work.expression(values["backfill"], names, table) if "backfill" in values else None
    if filling is not None and (default is None or (work.postgresql and not nullable)):
        filling = computed(work, "backfill", names, table, inserts=default is None)
    column = Column(work.free(table, values["column"]), type_, nullable, default)
    if not nullable and default is None and filling is None:
        raise work.refuse(
            f"{column.name} is not nullable and has neither default nor backfill, so every INSERT of old code would fail: "
            f"give one of them, such as default: \"''\"."
        )
    if default is not None and filling is None and constant(work, default) and (not work.postgresql or work.server.version >= (11,)):
        return _at_once_postgresql(work, table, column) if work.postgresql else _at_once_mariadb(work, table, column)
    if default is None and filling is None:
        return _at_once_postgresql(work, table, column) if work.postgresql else _at_once_mariadb(work, table, column)
    # Old code's rows get the default where there is one, else they are computed like the old ones.
    filled = work.using(filling if filling is not None else default or "NULL", names)
    trigger = work.using(filling or "NULL", names, "NEW.") if default is None else None
    return _filled_postgresql(work, table, column, filled, trigger) if work.postgresql else _filled_mariadb(work, table, column, filled, trigger)


def _declared(column: Column) -> str:
    return f"{' NOT NULL' if not column.nullable else ''}{f' DEFAULT {column.default}' if column.default is not None else ''}"


def _at_once_postgresql(work: Work, table: Table, column: Column) -> Plan:
    target = f"ALTER TABLE {work.sql(table.name)}"
    return work.plan(
        table,
        expand=(pg.locked("new column", [f"{target} ADD COLUMN {sync_pg.column_sql(work, column)}{_declared(column)}"], table.name),),
        abort=(pg.locked("drop new column", [f"{target} DROP COLUMN IF EXISTS {work.q(column.name)}"], table.name),),
        notes=(sync_pg.PREPARED.format(table=table.name),),
    )


def _at_once_mariadb(work: Work, table: Table, column: Column) -> Plan:
    some, name = mariadb.if_exists(work), table.name
    hidden, shown = (mariadb.definition(work, column, nullable=column.nullable, default=column.default, invisible=invisible) for invisible in (True, False))
    change = f"ADD COLUMN {mariadb.if_exists(work, absent=True)}{work.q(column.name)} {hidden}"
    return work.plan(
        table,
        expand=(mariadb.alone("new column", mariadb.alter(work, name, change, "INSTANT"), mariadb.column_there(work, name, column.name)),),
        quarantine=(mariadb.alone("new column is shown", mariadb.alter(work, name, f"MODIFY COLUMN {some}{work.q(column.name)} {shown}", "INSTANT")),),
        restore=(mariadb.alone("new column is hidden", mariadb.alter(work, name, f"MODIFY COLUMN {some}{work.q(column.name)} {hidden}", "INSTANT")),),
        abort=(mariadb.drop_column(work, name, column.name),),
    )


def _filled_postgresql(work: Work, table: Table, column: Column, filled: str, trigger: str | None) -> Plan:
    name, target, q = table.name, f"ALTER TABLE {work.sql(table.name)}", work.q(column.name)
    objects = sync_pg.Objects(work, table, canary=False)
    expand = [f"{target} ADD COLUMN {sync_pg.column_sql(work, column)}"]
    if column.default is not None:
        # By itself: together with ADD COLUMN a volatile default would write the whole table anew.
        expand.append(f"{target} ALTER COLUMN {q} SET DEFAULT {column.default}")
    if not column.nullable:
        expand.append(pg.not_valid(work, name, work.not_null(column.name), f"CHECK ({q} IS NOT NULL)"))
    made = []
    if trigger is not None:
        expand.append(sync_pg.tried(work, table, [filled]))
        made = objects.create(f"BEGIN\n  IF NEW.{q} IS NULL THEN NEW.{q} := {trigger}; END IF;\n  RETURN NEW;\nEND", event="INSERT")
    elif not column.nullable:
        # A row that old code changes before the backfill comes to it would not pass the check.
        made = objects.create(
            f"BEGIN\n  IF NEW.{q} IS NULL THEN NEW.{q} := {work.using(filled, _names(table), 'NEW.')}; END IF;\n  RETURN NEW;\nEND", event="UPDATE"
        )
    if trigger is not None and not column.nullable:
        made = [statement.replace("BEFORE INSERT ON", "BEFORE INSERT OR UPDATE ON", 1) for statement in made]
    drop = [pg.locked("drop the trigger", objects.drop(), name)] if made else []
    return work.plan(
        table,
        expand=(pg.locked("new column", [*expand, *made], name),),
        backfill=(work.fill(table, {column.name: filled}, f"{q} IS NULL AND ({filled}) IS NOT NULL" if column.default is None else f"{q} IS NULL"),),
        validate=pg.not_null(work, table, [] if column.nullable else [column.name]),
        verify=() if column.nullable else (counted(work, table, f"{column.name} is filled", f"{q} IS NULL", [column.name]),),
        quarantine=tuple(drop),
        restore=(pg.locked("the trigger again", made, name),) if made else (),
        abort=(pg.locked("drop new column", [*objects.drop(), f"{target} DROP COLUMN IF EXISTS {q}"], name),),
        notes=(sync_pg.PREPARED.format(table=name),),
    )


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def _filled_mariadb(work: Work, table: Table, column: Column, filled: str, trigger: str | None) -> Plan:
    name, q, some = table.name, work.q(column.name), mariadb.if_exists(work)
    objects = sync_mariadb.Objects(work, table, canary=False)
    made: list[Step] = []
    if trigger is not None:
        made = [objects.create("INSERT", f"IF NEW.{q} IS NULL THEN SET NEW.{q} = {trigger}; END IF;")]
    default = [] if column.default is None else [mariadb.alone("default of the new column", mariadb.set_default(work, name, column.name, column.default))]
    shown = mariadb.definition(work, column, nullable=True, default=column.default)
    hidden = mariadb.definition(work, column, nullable=True, default=column.default, invisible=True)

    def modified(text: str, wanted: str) -> str:
        return mariadb.alter(work, name, f"MODIFY COLUMN {some}{q} {text}", wanted)

    return work.plan(
        table,
        expand=(*sync_mariadb.add_columns(work, table, [column], table.columns[-1].name), *default, *made),
        backfill=(work.fill(table, {column.name: filled}, f"{q} IS NULL" if column.default is not None else f"{q} IS NULL AND ({filled}) IS NOT NULL"),),
        verify=() if column.nullable else (counted(work, table, f"{column.name} is filled", f"{q} IS NULL", [column.name]),),
        quarantine=(
            sync_mariadb.not_null(work, table, column, column.default)
            if not column.nullable
            else mariadb.alone("new column is shown", modified(shown, "INSTANT")),
            *(objects.drop("INSERT") if made else ()),
        ),
        restore=(*made, mariadb.alone("new column is hidden", modified(hidden, "INSTANT" if column.nullable else "INPLACE"))),
        abort=(*objects.drop("INSERT"), mariadb.drop_column(work, name, column.name)),
    )


def drop_column(work: Work) -> Plan:
    """Return the plan that takes a column away which new code neither reads nor writes."""
    table = work.table()
    column = work.column(table, work.values["column"])
    names = [other for other in _names(table) if other != column.name]
    down = computed(work, "down", names, table) if "down" in work.values else None
    if not column.nullable and default_of(column) is None and down is None:
        raise work.refuse(
            f"{column.name} of {table.name} is NOT NULL and has no default, and new code writes rows without it: say by down what old code shall find there, "
            f"a constant such as down: \"''\" or an expression over other columns."
        )
    if not names:
        raise work.refuse(f"{column.name} is the only column of {table.name}: drop the table instead.")
    return _drop_postgresql(work, table, column, names, down) if work.postgresql else _drop_mariadb(work, table, column, names, down)


def _drop_postgresql(work: Work, table: Table, column: Column, names: list[str], down: str | None) -> Plan:
    name, target, q, away = table.name, f"ALTER TABLE {work.sql(table.name)}", work.q(column.name), work.q(work.quarantined(column.name))
    members = company(work, table, [column.name], {}, plain=False, gone=True)
    objects, later, carried = sync_pg.Objects(work, table), sync_pg.Objects(work, table, "_q", canary=False), pg.Carried(work, table, members)
    text = work.using(down, names, "NEW.") if down is not None else ""
    given = f"NEW.{q} IS NOT NULL AND ({work.given(column) or 'FALSE'})"
    changed = work.changed(column)
    lines = [
        *(
            [f"IF TG_OP = 'UPDATE' THEN\n    IF {changed} THEN{objects.count()} END IF;", f"ELSIF {given} THEN\n   {objects.count()}\n  END IF;"]
            if objects.sequence
            else []
        ),
        *([f"IF TG_OP = 'INSERT' AND NEW.{q} IS NULL THEN\n    NEW.{q} := {text};\n  END IF;"] if text else []),
    ]
    body = "BEGIN\n  " + "\n  ".join([*lines, "RETURN NEW;"]) + "\nEND"
    made = objects.create(body, event="INSERT OR UPDATE" if objects.sequence else "INSERT") if lines else []
    # In the quarantine rows are still given what down says, unless it fails: then no client's write may.
    fill = f"BEGIN NEW.{away} := {text}; EXCEPTION WHEN OTHERS THEN NULL; END;"
    filling = later.create(f"BEGIN\n  IF NEW.{away} IS NULL THEN\n    {fill}\n  END IF;\n  RETURN NEW;\nEND", event="INSERT") if text else []
    loose = not column.nullable and default_of(column) is None
    leave = [
        *objects.drop(),
        *carried.quarantine(),
        *([f"{target} ALTER COLUMN {q} DROP NOT NULL"] if loose else []),
        f"{target} RENAME COLUMN {q} TO {away}",
        *filling,
    ]
    come_back = [*later.drop(), *carried.restore(), f"{target} RENAME COLUMN {away} TO {q}", *made]
    helper = pg.not_valid(work, name, work.not_null(column.name), f"CHECK ({q} IS NOT NULL)")
    back: tuple[Step, ...] = (pg.locked("not null helpers", [helper], name), *pg.not_null(work, table, [column.name])) if loose else ()
    tries = [sync_pg.tried(work, table, [work.using(down, names)])] if down else []
    return work.plan(
        table,
        tables=tuple(dict.fromkeys([name, *(key.target for key in members.foreign_keys)])),
        expand=(pg.locked("the trigger", [*tries, *objects.create_canary(), *made], name),) if made else (),
        quarantine=(*carried.drop_keys(helpers=False), pg.locked("old column away", leave, name)),
        drop=(pg.locked("drop the old column", [*later.drop(), f"{target} DROP COLUMN IF EXISTS {away}", *objects.drop_canary()], name),),
        abort=(pg.locked("drop the trigger", [*objects.drop(), *objects.drop_canary()], name),) if made else (),
        restore=(pg.locked("old column back", come_back, name),),
        reverse_backfill=(work.returned(table, {column.name: work.using(down, names)}, f"{q} IS NULL", {}),) if loose and down is not None else (),
        restore_validate=(*back, *carried.restore_validate()),
        canary=work.seeing(objects.canary, [column]),
        notes=members.notes,
    )


def _drop_mariadb(work: Work, table: Table, column: Column, names: list[str], down: str | None) -> Plan:
    name, q = table.name, work.q(column.name)
    members = company(work, table, [column.name], {}, plain=False, gone=True)
    objects, carried = sync_mariadb.Objects(work, table), mariadb.Carried(work, table, members)
    filled = f"SET NEW.{q} = {work.using(down, names, 'NEW.')};" if down is not None else ""
    written, changed = work.given(column) or "FALSE", work.changed(column)
    count = objects.count()
    made: list[Step] = []
    if count:
        made.append(objects.create("UPDATE", f"IF {changed} THEN{count} END IF;"))
    given = f"NEW.{q} IS NOT NULL AND ({written})"
    if filled:
        made.append(objects.create("INSERT", f"IF NEW.{q} IS NULL THEN {filled}{f' ELSEIF {given} THEN{count}' if count else ''} END IF;"))
    elif count:
        made.append(objects.create("INSERT", f"IF {given} THEN{count} END IF;"))
    dropped = objects.drop(*_EVENTS) if made else []
    # In the quarantine the column fills itself: the server takes other columns in a default.
    spare = None
    if default_of(column) is None and (down is not None or not column.nullable):
        spare = work.using(down, names) if down is not None else zero(work, column)
    sparing = [] if spare is None else [mariadb.spare_default(work, name, column.name, spare)]
    unsparing = [] if spare is None else [mariadb.spare_default(work, name, column.name, None)]
    early = work.server.mysql and spare is not None and not column.nullable
    return work.plan(
        table,
        tables=tuple(dict.fromkeys([name, *(key.target for key in members.foreign_keys)])),
        expand=(*objects.create_canary(), *(sparing if early else ()), *made),
        quarantine=(*sparing, *carried.leave(), *dropped, sync_mariadb.away(work, table, [column], {}, {column.name: spare}), *carried.renames()),
        drop=(*carried.drop(), mariadb.drop_column(work, name, work.quarantined(column.name)), *objects.drop_canary()),
        abort=(*dropped, *objects.drop_canary(), *(unsparing if early else ())),
        restore=(sync_mariadb.back(work, table, [column], {column.name: spare}), *made, *carried.renames_back()),
        restore_validate=(*(() if early else unsparing), *carried.restore_validate()),
        canary=work.seeing(objects.canary, [column]),
        notes=(*members.notes, *objects.notes),
    )
