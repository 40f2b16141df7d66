# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""PostgreSQL: two shapes of a table kept in step by BEFORE ROW triggers; that of updates compares the old row with the new one.

One function for both directions, unconditional: measured cheaper than triggers with WHEN. Inserts have their own, for each question that a function asks
costs a single-row write 1 to 3 %. The triggers' names begin with ~ so that they fire last.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import expressions
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Canary, Check, Column, Name, Plan, Step, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import MARKED, Work
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.postgresql import Carried, locked, not_null, not_valid
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.sync import Sync, counted
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.values import default_of

PREPARED = (
    "Old code that runs SELECT * as a prepared statement of the server gets an error at every call (0A000, cached plan must not change result type) "
    "from when {table} gets a column until it connects anew: psycopg needs prepare_threshold=None, other drivers their own switch."
)

COUNTED = "seamless_counted"


class Objects:
    """The function, trigger and sequence of an operation on *table*."""

    def __init__(self, work: Work, table: Table, suffix: str = "", *, canary: bool = True) -> None:
        self.work, self.table = work, table
        self.function = work.sql(work.own(work.base + suffix, table))
        self.trigger = work.q(f"~{work.base}{suffix}")
        self.sequence: Name | None = work.own(f"{work.base}_canary", table) if canary and work.options.canary else None

    def create(self, body: str, event: str = "INSERT OR UPDATE", level: str = "ROW", *, own_path: bool = True) -> list[str]:
        """Return what makes the function with *body* and the trigger on *event*.

        With *own_path* what the body names is looked up in pg_catalog alone, whatever the writer's search_path is. A body in which nothing depends on it
        does without, for setting it at each call costs as much as all the rest (measured: 8.2 and 5.3 microseconds for a row). It reads no table either,
        and is STABLE, for PL/pgSQL takes a snapshot for each expression of a VOLATILE function (measured: 0 to 2 % of a single-row update).
        """
        path = " SET search_path = pg_catalog, pg_temp" if own_path else " STABLE"
        if COUNTED in body:
            body = f"DECLARE {COUNTED} bigint;\n{body}"
        tag = "$seamless$"
        while tag in body:
            tag = tag[:-1] + "_$"
        return [
            f"CREATE FUNCTION {self.function}() RETURNS trigger LANGUAGE plpgsql{path} AS {tag}\n{body}\n{tag}",
            f"CREATE TRIGGER {self.trigger} BEFORE {event} ON {self.work.sql(self.table.name)} FOR EACH {level} EXECUTE FUNCTION {self.function}()",
        ]

    def drop(self) -> list[str]:
        return [f"DROP TRIGGER IF EXISTS {self.trigger} ON {self.work.sql(self.table.name)}", f"DROP FUNCTION IF EXISTS {self.function}()"]

    def create_canary(self) -> list[str]:
        """Return what makes the sequence. Triggers run as the writer, so everybody may count."""
        if self.sequence is None:
            return []
        name = self.work.sql(self.sequence)
        return [f"CREATE SEQUENCE {name}", f"GRANT USAGE ON SEQUENCE {name} TO PUBLIC"]

    def drop_canary(self) -> list[str]:
        return [] if self.sequence is None else [f"DROP SEQUENCE IF EXISTS {self.work.sql(self.sequence)}"]

    def count(self, condition: str = "") -> str:
        """Return the statement of a trigger that counts a write of old code."""
        if self.sequence is None:
            return ""
        # An assignment is evaluated by itself; PERFORM runs a query, which costs several times as much.
        statement = f"{COUNTED} := {self._next(self.sequence)};"
        return f" IF {condition} THEN {statement} END IF;" if condition else f" {statement}"

    def counting(self) -> str:
        """Return the last part of a trigger's condition that counts a write of old code where all before it is true."""
        return "" if self.sequence is None else f" AND {self._next(self.sequence)} IS NOT NULL"

    def _next(self, sequence: Name) -> str:
        return f"pg_catalog.nextval({self.work.literal(self.work.sql(sequence))}::pg_catalog.regclass)"

    @property
    def canary(self) -> Canary | None:
        return Canary(self.sequence) if self.sequence else None


def column_sql(work: Work, column: Column) -> str:
    """Return *column* as ADD COLUMN takes it during the roll: nullable and with no default, or an old INSERT would be taken for a new one."""
    collate = ""
    if column.collation and column.collation != "default":
        collate = f" COLLATE {column.collation}"
    return f"{work.q(column.name)} {column.type}{collate}"


def comments(work: Work, table: Table, columns: t.Iterable[Column]) -> list[str]:
    return [f"COMMENT ON COLUMN {work.sql(table.name)}.{work.q(column.name)} IS {work.literal(column.comment)}" for column in columns if column.comment]


def numbers(work: Work, sequence: Name, default: str) -> bool:
    """Say whether *default* uses *sequence*, which the catalog names with its schema or without."""
    texts = [text.replace("''", "'") for text in re.findall(r"nextval\('((?:[^']|'')+)'::(?:pg_catalog\.)?regclass", default)]
    plain = re.compile(r"[a-z_][a-z0-9_$]*$")
    name, schema = ({work.q(part), *([part] if plain.match(part) else [])} for part in (sequence.name, sequence.schema))
    return any(text in name or text in {f"{first}.{last}" for first in schema for last in name} for text in texts)


def owners(sync: Sync, names: t.Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Return what gives each sequence that numbers an old column to the new one whose default uses it, and what gives it back.

    A sequence goes with the column that owns it. *names* are other names of new columns at that time.
    """
    work, found = sync.work, []
    for sequence in sync.table.sequences:
        olds = [column.name for column in sync.old if numbers(work, sequence, default_of(column) or "")]
        news = [column for column, default in sync.defaults().items() if numbers(work, sequence, default)]
        if olds and news:
            owned = f"ALTER SEQUENCE {work.sql(sequence)} OWNED BY {work.sql(sync.table.name)}"
            found.append((f"{owned}.{work.q((names or {}).get(news[0], news[0]))}", f"{owned}.{work.q(olds[0])}"))
    return found


def assigned(work: Work, values: t.Mapping[str, str]) -> str:
    return " ".join(f"NEW.{work.q(name)} := {text};" for name, text in values.items())


def tried(work: Work, table: Table, texts: t.Iterable[str]) -> str:
    """Return the statement that has the server read *texts* just as the triggers will: an unknown name must fail here, not in a client's write."""
    body = (
        "DECLARE kept text := pg_catalog.current_setting('search_path');\nBEGIN\n"
        "  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);\n"
        f"  PERFORM {', '.join(f'({text})' for text in texts)} FROM {work.sql(table.name)} WHERE false;\n"
        "  PERFORM pg_catalog.set_config('search_path', kept, true);\nEND"
    )
    return f"DO $seamless_try$\n{body}\n$seamless_try$"


def quick(sync: Sync, objects: Objects, up: str, *, restored: bool) -> str:
    """Return the beginning of the body that ends it for an update which leaves the new columns as they are, and they have values.

    That is all that old code does to a row that is filled in, and what new code does to other columns. The rest of the body says the same of it, in more
    expressions, each of which PL/pgSQL makes ready anew in every transaction. A NULL anywhere leads to the rest. Only once the old columns are *restored*
    is there something else that writes them in this way: the reverse backfill, which has the marker.
    """
    work = sync.work
    same, kept = (list(map(work.same, columns)) for columns in (sync.finals, sync.old))
    if None in same:
        return ""
    left = " AND ".join(map(str, same))
    stays = " AND ".join(map(str, kept)) if None not in kept else f"NOT ({sync.changed(sync.old)})"
    backfilled = f" AND ({MARKED}) IS NOT TRUE" if restored else ""
    return f"""
  IF ({left} AND NOT ({stays})) IS TRUE{backfilled}{objects.counting()} THEN
    {up}
    RETURN NEW;
  END IF;
  IF {left} AND {stays} THEN RETURN NEW; END IF;"""


def updates(sync: Sync, objects: Objects, *, restored: bool) -> str:
    """Return the body of the trigger of updates. The marker is looked at only where something changed: most updates are of other columns.

    A row that has no new value yet gets it in whatever write, a backfill of another operation too: a check may be there that asks for it.
    """
    work = sync.work
    up, down = assigned(work, sync.ups("NEW.")), assigned(work, sync.downs("NEW."))
    old_changed, new_changed, empty = sync.changed(sync.old), sync.changed(sync.finals), sync.empty("NEW.")
    return f"""BEGIN{quick(sync, objects, up, restored=restored)}
  IF {new_changed} THEN
    IF {MARKED} THEN
      IF {old_changed} THEN {up} END IF;
    ELSE
      {down}
    END IF;
  ELSIF ({old_changed}) AND ({MARKED}) IS NOT TRUE THEN
    {up}{objects.count()}
  ELSIF {empty} THEN
    {up}
  END IF;
  RETURN NEW;
END"""


def inserts(sync: Sync, objects: Objects) -> str:
    """Return the body of the trigger of inserts, which begins with that of old code."""
    work = sync.work
    up, down, empty, given = assigned(work, sync.ups("NEW.")), assigned(work, sync.downs("NEW.")), sync.empty("NEW."), sync.given()
    first = f"""
  IF {empty} AND ({given}){objects.counting()} THEN
    {up}
    RETURN NEW;
  END IF;"""
    return f"""BEGIN{first if given and objects.sequence else ""}
  IF {empty} THEN
    {up}
  ELSE
    {down}
  END IF;
  RETURN NEW;
END"""


def round_trip(sync: Sync) -> tuple[Check, ...]:
    """Return the check of down(up(x)) = x. Its function assigns as the triggers do, and counts a row whose value a cast refuses."""
    if sync.plain:
        return ()
    work = sync.work
    function = f"pg_temp.{work.q(work.base + '_trip')}"
    given = {column.name: f"given_{index}" for index, column in enumerate(sync.old)}
    made = {column.name: f"made_{index}" for index, column in enumerate(sync.finals)}
    back = {column.name: f"back_{index}" for index, column in enumerate(sync.old)}
    lines = [f"{made[column.name]} {column.type};" for column in sync.finals] + [
        f"{back[column.name]} {work.sql(sync.table.name)}.{work.q(column.name)}%TYPE;" for column in sync.old
    ]
    ups = [f"{made[name]} := {expressions.rewritten(work.engine, sync.up[name], given)};" for name in sync.new_names]
    downs = [f"{back[name]} := {expressions.rewritten(work.engine, sync.down[name], made)};" for name in sync.old_names]
    lost = " OR ".join(
        [work.differ(back[column.name], given[column.name], column) for column in sync.old]
        + [f"{made[column.name]} IS NULL" for column in sync.finals if not column.nullable]
    )
    arguments = ", ".join(f"{given[column.name]} {column.type}" for column in sync.old)
    text = f"""DECLARE
  {" ".join(lines)}
BEGIN
  {" ".join(ups)}
  {" ".join(downs)}
  RETURN {lost};
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR cardinality_violation OR raise_exception THEN
  RETURN true;
END"""
    prepare = (
        f"CREATE OR REPLACE FUNCTION {function}({arguments}) RETURNS boolean LANGUAGE plpgsql "
        f"SET search_path = pg_catalog, pg_temp AS $seamless_trip$\n{text}\n$seamless_trip$",
    )
    condition = f"{function}({work.list(sync.old_names)})"
    return (counted(work, sync.table, f"{'/'.join(sync.old_names)} survives down(up(x))", condition, sync.old_names, prepare),)


def plan(sync: Sync) -> Plan:
    """Return the plan that leads from the old columns to the new ones."""
    work, table, company = sync.work, sync.table, sync.company
    name, target = table.name, work.sql(table.name)
    objects, inserting, carried = Objects(work, table), Objects(work, table, "_i", canary=False), Carried(work, table, company)
    required = [column.name for column in sync.finals if not column.nullable]
    tries = [] if sync.plain else [tried(work, table, [*sync.ups().values(), *sync.downs().values()])]

    def triggers(*, restored: bool) -> list[str]:
        return [
            *objects.create(updates(sync, objects, restored=restored), event="UPDATE", own_path=not sync.plain),
            *inserting.create(inserts(sync, objects), event="INSERT", own_path=not sync.plain),
        ]

    dropped = [*objects.drop(), *inserting.drop()]
    alter = f"ALTER TABLE {target}"
    adds = ", ".join(f"ADD COLUMN {column_sql(work, column)}" for column in sync.finals)
    defaults = sync.defaults()
    owned = owners(sync)

    def helpers(columns: t.Iterable[str]) -> list[str]:
        return [not_valid(work, name, work.not_null(column), f"CHECK ({work.q(column)} IS NOT NULL)") for column in columns]

    expand = [
        f"{alter} {adds}", *helpers(required), *comments(work, table, sync.finals), *carried.expand(), *tries, *objects.create_canary(),
        *triggers(restored=False),
    ]  # fmt: skip
    leave = [*dropped, *carried.quarantine()]
    come_back = [*carried.restore()]
    for column in sync.old:
        old, away = work.q(column.name), work.q(work.quarantined(column.name))
        if not column.nullable:
            leave.append(f"{alter} ALTER COLUMN {old} DROP NOT NULL")
        if column.default is not None:
            leave.append(f"{alter} ALTER COLUMN {old} DROP DEFAULT")
        leave.append(f"{alter} RENAME COLUMN {old} TO {away}")
        come_back.append(f"{alter} RENAME COLUMN {away} TO {old}")
        if column.default is not None:
            come_back.append(f"{alter} ALTER COLUMN {old} SET DEFAULT {column.default}")
    leave += [f"{alter} ALTER COLUMN {work.q(column)} SET DEFAULT {default}" for column, default in defaults.items()]
    come_back += [f"{alter} ALTER COLUMN {work.q(column)} DROP DEFAULT" for column in defaults]
    leave += [there for there, dummy in owned]
    come_back += [returned for dummy, returned in owned]
    kept = [column.name for column in sync.old if not column.nullable]
    back: list[Step] = [locked("not null helpers", helpers(kept), name), *not_null(work, table, kept)] if kept else []
    return work.plan(
        table,
        tables=tuple(dict.fromkeys([name, *(key.target for key in company.foreign_keys)])),
        expand=(locked("new columns and their sync", expand, name),),
        backfill=(work.fill(table, sync.filled(), sync.unfilled()),),
        validate=(*not_null(work, table, required), *carried.validate()),
        verify=(sync.verify(),),
        round_trip=round_trip(sync),
        quarantine=(*carried.drop_keys(helpers=False), locked("old columns away", leave, name)),
        drop=(
            locked(
                "drop old columns",
                [*(f"{alter} DROP COLUMN IF EXISTS {work.q(work.quarantined(column))}" for column in sync.old_names), *objects.drop_canary()],
                name,
            ),
        ),
        abort=(
            *carried.drop_keys(helpers=True),
            locked(
                "drop new columns",
                [*dropped, *(f"{alter} DROP COLUMN IF EXISTS {work.q(column)}" for column in sync.new_names), *objects.drop_canary()],
                name,
            ),
        ),
        restore=(locked("old columns back", [*come_back, *triggers(restored=True)], name),),
        reverse_backfill=(work.returned(table, sync.downs(), sync.drifted(), company.moved),),
        restore_validate=(*back, *carried.restore_validate()),
        canary=work.seeing(objects.canary, sync.old),
        notes=(*company.notes, PREPARED.format(table=name)),
    )
