# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The operations that forbid something: set_not_null, add_unique, add_foreign_key, add_check."""

from __future__ import annotations

from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Check, ForeignKey, Plan, Step, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import mariadb, sync_mariadb
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import postgresql as pg
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import sync_postgresql as sync_pg
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import MARKER, Work
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.sync import counted
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.together import computed
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.values import default_of

_ON_DELETE = ("NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT")


def set_not_null(work: Work) -> Plan:
    """Return the plan that fills every NULL with *value* and then forbids them. Until the contract a trigger fills those of old code."""
    table = work.table()
    column = work.column(table, work.values["column"])
    if not column.nullable:
        raise work.refuse(f"{column.name} of {table.name} is NOT NULL already.")
    if column.generated:
        raise work.refuse(f"{column.name} is a generated column: make its expression one that is never NULL.")
    names = [other.name for other in table.columns if other.name != column.name]
    value = computed(work, "value", names, table)
    q, name = work.q(column.name), table.name
    plain, new = work.using(value, names), work.using(value, names, "NEW.")
    fill = work.fill(table, {column.name: plain}, f"{q} IS NULL AND ({plain}) IS NOT NULL")
    verify = counted(work, table, f"{column.name} is never NULL", f"{q} IS NULL", [column.name])
    if not work.postgresql:
        mine = sync_mariadb.Objects(work, table)
        body = f"IF NEW.{q} IS NULL THEN SET NEW.{q} = {new};{mine.count('@seamless_backfill IS NULL OR @seamless_backfill <> 1')} END IF;"
        made = [mine.create("UPDATE", body), mine.create("INSERT", body)]
        dropped = mine.drop("INSERT", "UPDATE")
        text = mariadb.definition(work, column, nullable=True, default=default_of(column))
        back = mariadb.alter(work, name, f"MODIFY COLUMN {mariadb.if_exists(work)}{q} {text}", "INPLACE")
        return work.plan(
            table,
            expand=(*mine.create_canary(), *made),
            backfill=(fill,),
            verify=(verify,),
            quarantine=(sync_mariadb.not_null(work, table, column, default_of(column)), *dropped),
            drop=tuple(mine.drop_canary()),
            abort=(*dropped, *mine.drop_canary()),
            restore=(*made, mariadb.alone("nullable again", back, mariadb.column_there(work, name, column.name, is_nullable="YES"))),
            canary=mine.canary,
            notes=mine.notes,
        )
    objects = sync_pg.Objects(work, table)
    helper = work.not_null(column.name)
    guard = pg.not_valid(work, name, helper, f"CHECK ({q} IS NOT NULL)")
    counting = objects.count(f"{MARKER} IS DISTINCT FROM 'on'")
    trigger = objects.create(f"BEGIN\n  IF NEW.{q} IS NULL THEN\n    NEW.{q} := {new};{counting}\n  END IF;\n  RETURN NEW;\nEND")
    target = f"ALTER TABLE {work.sql(name)} ALTER COLUMN {q}"
    return work.plan(
        table,
        expand=(pg.locked("the trigger and its check", [sync_pg.tried(work, table, [plain]), *objects.create_canary(), *trigger, guard], name),),
        backfill=(fill,),
        validate=pg.validated(work, name, [helper]),
        verify=(verify,),
        quarantine=(pg.locked("not null", [*objects.drop(), f"{target} SET NOT NULL", pg.drop_constraint(work, name, helper)], name),),
        drop=(pg.locked("drop the canary", objects.drop_canary(), name),) if objects.sequence else (),
        abort=(pg.locked("drop the trigger and its check", [*objects.drop(), pg.drop_constraint(work, name, helper), *objects.drop_canary()], name),),
        restore=(pg.locked("nullable again", [f"{target} DROP NOT NULL", *trigger, guard], name),),
        restore_validate=pg.validated(work, name, [helper]),
        canary=objects.canary,
    )


def add_unique(work: Work) -> Plan:
    table = work.table()
    columns = _columns(work, table, work.values["columns"])
    name = _new_name(work, table, work.values.get("name") or work.cut("_".join([table.name.name, *columns, "key"])))
    listed = work.list(columns)
    check = _duplicates(work, table, columns)
    before = () if set(columns) & set(table.coming) else (check,)
    if not work.postgresql:
        return work.plan(
            table, before=before, verify=(check,), abort=(mariadb.drop_index(work, table.name, name),),
            validate=(mariadb.add_index(work, table.name, name, f"({listed})", unique=True),),
        )  # fmt: skip
    _refuse_partitioned(work, table)
    helper = work.helper("u")
    there = pg.constraint_there(work, table.name, name)
    statement = f"ALTER TABLE {work.sql(table.name)} ADD CONSTRAINT {work.q(name)} UNIQUE USING INDEX {work.q(helper)}"
    return work.plan(
        table,
        before=(*before, pg.name_free(work, table.name, name)),
        verify=(check,),
        validate=(
            pg.concurrent_index(work, table, helper, f"({listed})", unique=True, or_done=there),
            Step(f"constraint {name}", (statement,), locks=(table.name,), done=there),
        ),
        abort=(pg.locked("drop the constraint", [pg.drop_constraint(work, table.name, name)], table.name), pg.drop_index(work, table, helper)),
    )


def _duplicates(work: Work, table: Table, columns: list[str]) -> Check:
    listed = work.list(columns)
    filled = " AND ".join(f"{work.q(column)} IS NOT NULL" for column in columns)
    source = f"FROM {work.sql(table.name)} WHERE {filled} GROUP BY {listed} HAVING count(*) > 1"
    return Check(f"{', '.join(columns)} is unique", f"SELECT count(*) FROM (SELECT 1 {source}) AS duplicates", f"SELECT {listed}, count(*) {source}")


def add_foreign_key(work: Work) -> Plan:
    """Return the plan of a foreign key. New rows are held to it from the start, old ones are checked while clients write."""
    table = work.table()
    columns = _columns(work, table, work.values["columns"])
    references = work.values["references"]
    target = work.table("references", references["table"])
    there = _columns(work, target, references["columns"])
    action = str(work.values.get("on_delete") or "NO ACTION").upper()
    if action not in _ON_DELETE:
        raise work.refuse(f"on_delete is {work.values['on_delete']!r}: it must be one of {', '.join(_ON_DELETE)}.")
    if len(columns) != len(there):
        raise work.refuse(f"{len(columns)} columns can't point at {len(there)}: columns is {', '.join(columns)} and references.columns is {', '.join(there)}.")
    if not any(index.unique and not index.partial and set(index.columns) == set(there) for index in target.indexes):
        raise work.refuse(
            f"{', '.join(there)} of {target.name} is neither its primary key nor a unique key: a foreign key can "
            f"point only at one. Add it by add_unique before."
        )
    coming = set(columns) & set(table.coming)
    if coming and not work.postgresql and action in ("SET NULL", "SET DEFAULT"):
        raise work.refuse(
            f"on_delete is {action}, and {', '.join(coming)} is kept in step by triggers, which InnoDB does not fire for it: use RESTRICT or CASCADE."
        )
    name = work.values.get("name") or work.cut("_".join([table.name.name, *columns, "fkey"]))
    if any(key.name == name for key in table.foreign_keys):
        raise work.refuse(f"{table.name} already has a foreign key {name!r}: give this one another name.")
    key = ForeignKey(name, table.name, tuple(columns), target.name, tuple(there), on_delete=action)
    check = mariadb.orphans(work, key, columns)
    before = () if coming else (check,)
    both = tuple(dict.fromkeys([table.name, target.name]))
    if work.postgresql:
        return work.plan(
            table,
            tables=both,
            before=before,
            verify=(check,),
            expand=(pg.locked("foreign key", [pg.foreign_key(work, key, name, columns)], *both),),
            validate=pg.validated(work, table.name, [name]),
            abort=(pg.locked("drop the foreign key", [pg.drop_constraint(work, table.name, name)], *both),),
        )
    indexed = any(list(index.columns[: len(columns)]) == columns for index in table.indexes)
    index = work.cut("_".join([table.name.name, *columns, "idx"]))
    # Without an index the server makes one by itself, and not while writes go on.
    need = () if indexed else (mariadb.add_index(work, table.name, index, f"({work.list(columns)})", unique=False),)
    return work.plan(
        table,
        tables=both,
        before=before,
        verify=(check,),
        expand=(*need, mariadb.add_key(work, key, name, columns)),
        abort=(mariadb.drop_key(work, table.name, name), *(() if indexed else (mariadb.drop_index(work, table.name, index),))),
    )


def add_check(work: Work) -> Plan:
    """Return the plan of a check. MariaDB before 11.2 and MySQL can add one only while writes wait, so it is refused there."""
    table = work.table()
    names = [column.name for column in table.columns]
    name = str(work.values["name"])
    if work.cut(name) != name:
        raise work.refuse(f"the name {name!r} is too long.")
    if any(item.kind == "check" and item.name == name for item in table.dependents):
        raise work.refuse(f"{table.name} already has a check {name!r}: give this one another name.")
    text = work.using(work.expression(work.values["check"], names, table), names)
    used = [column for column in names if work.q(column) in text]
    wrong = counted(work, table, f"the check {name} holds", f"NOT ({text})", used)
    before = () if set(used) & set(table.coming) else (wrong,)
    if work.postgresql:
        return work.plan(
            table,
            before=before,
            verify=(wrong,),
            expand=(pg.locked("check", [pg.not_valid(work, table.name, name, f"CHECK ({text})")], table.name),),
            validate=pg.validated(work, table.name, [name]),
            abort=(pg.locked("drop the check", [pg.drop_constraint(work, table.name, name)], table.name),),
            notes=("Old code that writes what the check forbids gets an error from the expand on.",),
        )
    if work.server.mysql or work.server.version < (11, 2):
        raise work.refuse(
            f"this server ({'.'.join(map(str, work.server.version))}) adds a check only while writes wait (ALGORITHM=COPY). "
            f"Use an sql operation with BEFORE INSERT and "
            f"BEFORE UPDATE triggers that SIGNAL SQLSTATE '45000' for what is wrong, or add the check in a maintenance window."
        )
    there = mariadb.exists(work, "check_constraints", constraint_schema=table.name.schema, table_name=table.name.name, constraint_name=name)
    drop = f"ALTER TABLE {work.sql(table.name)} DROP CONSTRAINT IF EXISTS {work.q(name)}, ALGORITHM=INSTANT, LOCK=NONE"
    return work.plan(
        table,
        before=before,
        verify=(wrong,),
        expand=(mariadb.alone("check", f"ALTER TABLE {work.sql(table.name)} ADD CONSTRAINT {work.q(name)} CHECK ({text}), ALGORITHM=COPY, LOCK=NONE", there),),
        abort=(mariadb.alone("drop the check", drop, mariadb.absent(there)),),
    )


def _columns(work: Work, table: Table, names: list[str]) -> list[str]:
    return [work.column(table, name).name for name in names]


def _new_name(work: Work, table: Table, name: str) -> str:
    """Return the index's *name* when it is free and not too long."""
    if any(index.name == name for index in table.indexes):
        raise work.refuse(f"{table.name} already has an index {name!r}: give this one another name.")
    if work.cut(name) != name:
        raise work.refuse(f"the name {name!r} is too long.")
    return name


def _refuse_partitioned(work: Work, table: Table) -> None:
    if table.partitioned:
        raise work.refuse(
            f"{table.name} is partitioned, and PostgreSQL makes no index over all partitions while writes go on: index each partition by an sql operation."
        )
