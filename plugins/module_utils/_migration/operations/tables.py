# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The operations on a whole table: rename_table and drop_table."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Name, Plan, Step, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import mariadb, sync_mariadb
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import postgresql as pg
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import sync_postgresql as sync_pg
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work, parse_name

_VIEW_LIMITS = (
    "Until the contract {new} is a view: TRUNCATE, COPY FROM, LOAD DATA, ON CONFLICT ON CONSTRAINT and pg_get_serial_sequence don't work with it. "
    "Writes of old code can't be told from those of new code: no canary."
)


def rename_table(work: Work) -> Plan:
    """Return the plan that gives a table another name: the new one is a view until the contract, so that the table never lacks its old one."""
    table = work.table("from")
    given = parse_name(work.values["to"])
    if given is None:
        raise work.refuse(f"to is {work.values['to']!r}: write people, or app.people.")
    new = Name(given.schema or table.name.schema, given.name)
    if new.schema != table.name.schema:
        raise work.refuse(f"to is {new}, in another schema than {table.name}: only the name can change. Leave the schema out.")
    if new in work.tables or work.cut(new.name) != new.name:
        raise work.refuse(f"to is {new}: {'there is something of that name already' if new in work.tables else 'that name is too long'}. Choose another.")
    views = [item.name for item in table.dependents if item.kind == "view"]
    if views and not work.postgresql:
        raise work.refuse(f"the view {', '.join(views)} is over {table.name}, and views don't follow when a table gets another name here: drop it first.")
    if table.partitioned and work.postgresql:
        raise work.refuse(f"{table.name} is partitioned: rename it in a maintenance window.")
    return _rename_postgresql(work, table, new) if work.postgresql else _rename_mariadb(work, table, new)


def _rename_postgresql(work: Work, table: Table, new: Name) -> Plan:
    old = table.name
    columns = work.list(column.name for column in table.columns)
    invoker = " WITH (security_invoker = true)" if work.server.version >= (15,) else ""
    view = [f"CREATE VIEW {work.sql(new)}{invoker} AS SELECT {columns} FROM {work.sql(old)}", _grants(work, old, new)]
    pairs = [(name, Name(name.schema, work.cut(new.name + name.name[len(old.name) :]))) for name in table.sequences if name.name.startswith(f"{old.name}_")]
    there = [f"ALTER SEQUENCE {work.sql(before)} RENAME TO {work.q(after.name)}" for before, after in pairs]
    back = [f"ALTER SEQUENCE {work.sql(after)} RENAME TO {work.q(before.name)}" for before, after in pairs]
    drop_view = f"DROP VIEW IF EXISTS {work.sql(new)}"
    notes = [_VIEW_LIMITS.format(new=new)]
    if not invoker:
        notes.append(f"Before PostgreSQL 15 a view reads with the rights of its owner: row security of {old} does not hold for {new} during the roll.")
    rename = [drop_view, f"ALTER TABLE {work.sql(old)} RENAME TO {work.q(new.name)}", *there]
    return work.plan(
        table,
        tables=(old, new),
        expand=(pg.locked("the new name as a view", view, old),),
        # The view before its table: the other way round clients wait for us while we wait for them.
        quarantine=(Step("the table has the new name", tuple(rename), locks=(new, old)),),
        abort=(Step("drop the view", (drop_view,), locks=(new,), done=f"SELECT {pg.regclass(work, new)} IS NULL"),),
        restore=(pg.locked("the old name again", [f"ALTER TABLE {work.sql(new)} RENAME TO {work.q(old.name)}", *back, *view], new),),
        notes=tuple(notes),
    )


def _grants(work: Work, old: Name, new: Name) -> str:
    """Return the statement that gives the view the owner and the rights of its table."""
    return f"""DO $seamless$
DECLARE given record;
BEGIN
  EXECUTE pg_catalog.format('ALTER VIEW %s OWNER TO %I', {work.literal(work.sql(new))},
    (SELECT pg_catalog.pg_get_userbyid(relowner) FROM pg_catalog.pg_class WHERE oid = {pg.regclass(work, old)}));
  FOR given IN SELECT acl.grantee, acl.privilege_type, acl.is_grantable FROM pg_catalog.pg_class AS class, pg_catalog.aclexplode(class.relacl) AS acl
    WHERE class.oid = {pg.regclass(work, old)} AND acl.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') AND acl.grantee <> class.relowner
  LOOP
    EXECUTE pg_catalog.format('GRANT %s ON %s TO %s%s', given.privilege_type, {work.literal(work.sql(new))},
      CASE WHEN given.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(given.grantee)) END,
      CASE WHEN given.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
  END LOOP;
END
$seamless$"""


def _rename_mariadb(work: Work, table: Table, new: Name) -> Plan:
    old = table.name
    columns = work.list(column.name for column in table.columns)
    spare, other = Name(old.schema, f"{work.base}_v"), Name(old.schema, f"{work.base}_w")

    def view(name: Name, source: Name) -> str:
        return f"CREATE OR REPLACE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW {work.sql(name)} AS SELECT {columns} FROM {work.sql(source)}"

    def is_table(name: Name, kind: str = "BASE TABLE") -> str:
        return mariadb.exists(work, "tables", table_schema=name.schema, table_name=name.name, table_type=kind)

    def renamed(*pairs: tuple[Name, Name]) -> str:
        return "RENAME TABLE " + ", ".join(f"{work.sql(before)} TO {work.sql(after)}" for before, after in pairs)

    no_spare, no_other = f"DROP VIEW IF EXISTS {work.sql(spare)}", f"DROP VIEW IF EXISTS {work.sql(other)}"
    return work.plan(
        table,
        tables=(old, new),
        expand=(mariadb.alone("the new name as a view", view(new, old), is_table(new, "VIEW")),),
        quarantine=(
            mariadb.alone("the table has the new name", renamed((new, spare), (old, new)), is_table(new)),
            mariadb.alone("drop the view", no_spare),
        ),
        abort=(mariadb.alone("drop the view", f"DROP VIEW IF EXISTS {work.sql(new)}", mariadb.absent(is_table(new, "VIEW"))),),
        # Both names must be there all the time, so they are views for a moment: the old one of the table, and over it what will be the new one.
        restore=(
            mariadb.alone("the old name as a view", view(old, new), is_table(old)),
            mariadb.alone("the new name's view", view(spare, old), is_table(old)),
            mariadb.alone("the old name again", renamed((old, other), (new, old), (spare, new)), is_table(old)),
            mariadb.alone("drop the view", no_other),
        ),
        notes=(
            _VIEW_LIMITS.format(new=new),
            f"A user with rights on the table {old} alone needs the same on {new}: rights on the whole database hold for both.",
        ),
    )


def drop_table(work: Work) -> Plan:
    """Return the plan that takes a table away which new code neither reads nor writes."""
    table = work.table()
    for key in table.referenced_by:
        if key.table != table.name:
            raise work.refuse(f"the foreign key {key.name} of {key.table} points at {table.name}: drop it first.")
    if table.triggers:
        raise work.refuse(f"{table.name} has triggers ({', '.join(table.triggers)}): drop them first, so that nothing else needs the table.")
    for item in table.dependents:
        if item.kind not in ("check", "statistics", "generated column", "column grant", "policy", "partition key"):
            raise work.refuse(f"the {item.kind} {item.name} uses {table.name}: remove it first.")
    away = Name(table.name.schema, work.quarantined(table.name.name))
    if away in work.tables:
        raise work.refuse(f"there still is {away} from an earlier migration: bring that one to contracted first.")
    cascades = any(key.on_delete not in ("NO ACTION", "RESTRICT") for key in table.foreign_keys)
    return _drop_postgresql(work, table, away, not cascades) if work.postgresql else _drop_mariadb(work, table, away, not cascades)


def _drop_postgresql(work: Work, table: Table, away: Name, counts: bool) -> Plan:
    name = table.name
    keys = [key for key in table.foreign_keys if key.target != name]
    # A cascade looks like a write, and is none of old code.
    objects = sync_pg.Objects(work, table, canary=counts)
    made = objects.create(f"BEGIN\n {objects.count()}\n  RETURN NULL;\nEND", event="INSERT OR UPDATE OR DELETE", level="STATEMENT") if objects.sequence else []
    dropped = [*objects.drop()] if made else []
    everything = tuple(dict.fromkeys([name, *(key.target for key in keys)]))
    leave = [*dropped, *(pg.drop_constraint(work, name, key.name) for key in keys), f"ALTER TABLE {work.sql(name)} RENAME TO {work.q(away.name)}"]
    back = [f"ALTER TABLE {work.sql(away)} RENAME TO {work.q(name.name)}", *(pg.foreign_key(work, key, key.name, key.columns) for key in keys), *made]
    return work.plan(
        table,
        tables=everything,
        expand=(pg.locked("the canary", [*objects.create_canary(), *made], name),) if made else (),
        quarantine=(pg.locked("the table away", leave, *everything),),
        drop=(Step("drop the table", (f"DROP TABLE IF EXISTS {work.sql(away)}", *objects.drop_canary())),),
        abort=(pg.locked("drop the canary", [*dropped, *objects.drop_canary()], name),) if made else (),
        restore=(pg.locked("the table again", back, away, *(key.target for key in keys)),),
        canary=objects.canary,
        notes=_dangling(keys),
    )


def _dangling(keys: t.Sequence[t.Any]) -> tuple[str, ...]:
    if not keys:
        return ()
    return (f"In the quarantine the foreign keys {', '.join(key.name for key in keys)} are gone, so a restored table may point at rows that are not there.",)


def _drop_mariadb(work: Work, table: Table, away: Name, counts: bool) -> Plan:
    name = table.name
    keys = [key for key in table.foreign_keys if key.target != name]
    objects = sync_mariadb.Objects(work, table, canary=counts)
    events = ("INSERT", "UPDATE", "DELETE")
    made = [objects.create(event, objects.count()) for event in events] if objects.sequence else []
    dropped = objects.drop(*events) if made else []
    gone = mariadb.exists(work, "tables", table_schema=away.schema, table_name=away.name)
    here = mariadb.exists(work, "tables", table_schema=name.schema, table_name=name.name)
    return work.plan(
        table,
        tables=tuple(dict.fromkeys([name, *(key.target for key in keys)])),
        expand=(*objects.create_canary(), *made),
        quarantine=(
            *dropped,
            *(mariadb.drop_key(work, name, key.name) for key in keys),
            mariadb.alone("the table away", f"RENAME TABLE {work.sql(name)} TO {work.sql(away)}", gone),
        ),
        drop=(mariadb.alone("drop the table", f"DROP TABLE IF EXISTS {work.sql(away)}", mariadb.absent(gone)), *objects.drop_canary()),
        abort=(*dropped, *objects.drop_canary()),
        restore=(
            mariadb.alone("the table again", f"RENAME TABLE {work.sql(away)} TO {work.sql(name)}", here),
            *(mariadb.add_key(work, key, key.name, key.columns) for key in keys),
            *made,
        ),
        canary=objects.canary,
        notes=(*_dangling(keys), *objects.notes),
    )
