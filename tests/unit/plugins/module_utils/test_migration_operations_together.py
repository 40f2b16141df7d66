# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import types
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import catalog, catalog_postgresql, planner
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Column, Dependent, ForeignKey, Index, Name, Plan, Server, Step, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import registry
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import PlanOptions
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.datatypes import collated

PG, MARIA = Server("postgresql", (15, 18)), Server("mariadb", (10, 11, 19))
PRIMARY = Index("users_pkey", ("id",), True, primary=True, constraint="users_pkey")
BOTH = Index("u", ("name", "note"), True, constraint="u", definition="CREATE UNIQUE INDEX u ON app.users USING btree (name, note)")
HASHED = Index("h", (), False, partial=True, definition="CREATE INDEX h ON app.users USING btree (lower(name), note)")
KEY = ForeignKey("fk", Name("app", "users"), ("name", "note"), Name("app", "notes"), ("a", "b"))
CHECK = Dependent("check", "chk", ("name", "note"), "CHECK ((name < note))")
SHOP = Name("app", "users"), Name("app", "notes")

Operation = t.Dict[str, t.Dict[str, t.Any]]


def users(server: Server, **changes: t.Any) -> Table:
    text = "text" if server == PG else "varchar(40)"
    columns = (Column("id", "int", False), Column("name", text, True), Column("note", text, True), Column("age", "int", True))
    return dataclasses.replace(Table(SHOP[0], columns, (PRIMARY,)), **changes)


def planned(server: Server, *operations: Operation, **changes: t.Any) -> tuple[Plan, ...]:
    """Return what the planner makes of *operations* on the tables users and notes."""
    there = {table.name: table for table in (users(server, **changes), dataclasses.replace(users(server), name=SHOP[1]))}
    db = types.SimpleNamespace(server=server, engine=server.engine, default_schema="app")
    spec = types.SimpleNamespace(name="m", operations=operations, tag="deadbeef", canary=True, shield=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "read_tables", lambda db, names: {name: there[name] for name in names if name in there})
        return planner.planned(t.cast(t.Any, db), t.cast(t.Any, spec))[0]


def on_users(kind: str, **values: t.Any) -> Operation:
    return {kind: {"table": "users", **{key.rstrip("_"): value for key, value in values.items()}}}


def refused(server: Server, *operations: Operation, **changes: t.Any) -> str:
    with pytest.raises(SeamlessError) as caught:
        planned(server, *operations, **changes)
    return str(caught.value)


def texts(steps: t.Iterable[Step]) -> list[str]:
    return [statement for step in steps for statement in step.statements]


RENAME, OTHER = on_users("rename_column", from_="name", to="b"), on_users("rename_column", from_="note", to="d")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"indexes": (PRIMARY, BOTH)}, "the index u"),
        ({"indexes": (PRIMARY, HASHED)}, "the index h"),
        ({"foreign_keys": (KEY,)}, "the foreign key fk"),
        ({"dependents": (CHECK,)}, "the check chk"),
    ],
)
def test_two_operations_can_t_share_what_is_over_both_columns(changes: dict[str, t.Any], what: str) -> None:
    said = refused(PG, RENAME, OTHER, **changes)
    assert f"operation 2 (rename_column): {what} of app.users is over note and over name" in said and "Make two migrations" in said
    assert len(planned(PG, RENAME, on_users("rename_column", from_="age", to="years"), **changes)) == 2
    drops = refused(PG, on_users("drop_column", column="name"), on_users("drop_column", column="note"), **changes)
    assert what in drops and "Make two migrations" in drops


def test_two_operations_can_t_share_an_index_on_mariadb() -> None:
    index = Index("u", ("name", "note"), True, constraint="u", definition="UNIQUE KEY `u` (`name`,`note`)")
    assert "the index u of app.users is over note and over name" in refused(MARIA, RENAME, OTHER, indexes=(PRIMARY, index))
    assert len(planned(MARIA, RENAME, OTHER)) == 2


PEOPLE: Operation = {"rename_table": {"from": "users", "to": "people"}}
FOREIGN = on_users("add_foreign_key", columns=["age"], references={"table": "notes", "columns": ["id"]})


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (PEOPLE, RENAME, "operation 2 (rename_column): operation 1 (rename_table) gives another name to or from app.users"),
        (RENAME, PEOPLE, "operation 2 (rename_table): this operation gives another name to or from app.users, and operation 1 (rename_column) works on it"),
        (PEOPLE, {"add_column": {"table": "people", "column": "x", "type": "int"}}, "operation 1 (rename_table) gives another name to or from app.people"),
        ({"drop_table": {"table": "users"}}, RENAME, "operation 1 (drop_table) drops app.users"),
        (RENAME, {"drop_table": {"table": "users"}}, "this operation drops app.users, and operation 1"),
        (FOREIGN, {"drop_table": {"table": "notes"}}, "this operation drops app.notes"),
    ],
)
@pytest.mark.parametrize("server", [PG, MARIA], ids=["postgresql", "mariadb"])
def test_no_table_is_taken_from_under_another_operation(server: Server, first: Operation, second: Operation, said: str) -> None:
    found = refused(server, first, second)
    assert said in found and found.endswith("Make two migrations, one after the other.")
    assert len(planned(server, PEOPLE, {"drop_table": {"table": "notes"}})) == 2


SAME = on_users("change_type", column="age", type="bigint", prepared_statements="none")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SAME, on_users("set_not_null", column="age", value=1)),
        (SAME, on_users("add_index", columns=["age"])),
        (SAME, SAME),
        (RENAME, on_users("set_not_null", column="name", value="'x'")),
        (RENAME, on_users("rename_column", from_="name", to="c")),
        (RENAME, on_users("drop_column", column="name")),
        (RENAME, on_users("add_index", columns=["(lower(name))"])),
        (RENAME, on_users("add_index", columns=["age"], where="name IS NULL")),
        (RENAME, on_users("add_check", name="c", check="name <> 'x'")),
        (RENAME, on_users("add_column", column="x", type="text", backfill="lower(name)")),
        (RENAME, on_users("drop_column", column="note", down="lower(name)")),
        (RENAME, {"add_foreign_key": {"table": "notes", "columns": ["note"], "references": {"table": "users", "columns": ["name"]}}}),
        (on_users("merge_columns", from_=["name", "note"], to={"x": "text"}, up={"x": "name"}, down={"name": "x", "note": "x"}, lossy="acknowledge"),
         on_users("set_not_null", column="note", value="'x'")),
    ],
)  # fmt: skip
def test_no_column_is_taken_from_under_a_later_operation(first: Operation, second: Operation) -> None:
    key = Index("users_name", ("name",), True, constraint="users_name", definition="CREATE UNIQUE INDEX users_name ON app.users USING btree (name)")
    said = refused(PG, first, second, indexes=(PRIMARY, key))
    assert "operation 2" in said and "an earlier operation of this migration replaces or drops" in said and "Make two migrations" in said


@pytest.mark.parametrize(
    ("operation", "server"),
    [(on_users("add_unique", columns=["name"]), PG), (on_users("add_index", columns=["name(10)"]), MARIA), (on_users("add_index", columns=["name"]), MARIA)],
)
def test_what_is_made_over_a_column_is_not_lost_by_a_later_operation(operation: Operation, server: Server) -> None:
    assert "what an earlier operation of this migration makes over it" in refused(server, operation, RENAME)
    assert len(planned(server, operation, OTHER)) == 2


def test_a_column_that_is_dropped_later_can_be_computed_with() -> None:
    first = on_users("add_column", column="x", type="text", backfill="lower(name)")
    assert len(planned(PG, first, on_users("drop_column", column="name"))) == 2
    assert len(planned(PG, RENAME, on_users("set_not_null", column="note", value="b"))) == 2


COUNTED, MADE = Column("no", "bigint", False, identity=True), Column("made", "int", True, generated="(age + 1)")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("add_column", {"column": "x", "type": "int", "backfill": "{}"}),
        ("drop_column", {"column": "note", "down": "{}"}),
        ("set_not_null", {"column": "note", "value": "{}"}),
    ],
)
def test_triggers_don_t_compute_with_what_they_don_t_have(kind: str, values: dict[str, t.Any]) -> None:
    for server in (PG, MARIA):
        changes = {"columns": (*users(server).columns, COUNTED, MADE)}

        def with_(column: str) -> Operation:
            return on_users(kind, **{key: value.format(column) for key, value in values.items()})

        assert "uses made of app.users: it is a generated column" in refused(server, with_("made + 1"), **changes)
        if server == MARIA:
            assert "uses no of app.users: it is AUTO_INCREMENT" in refused(server, with_("no + 1"), **changes)
        else:
            assert planned(server, with_("no + 1"), **changes)


def test_a_backfill_that_no_trigger_repeats_may_use_all_columns() -> None:
    columns = (*users(MARIA).columns, COUNTED, MADE)
    assert planned(MARIA, on_users("add_column", column="x", type="int", default=0, backfill="no + made"), columns=columns)
    assert "generated" in refused(PG, on_users("add_column", column="x", type="int", default=0, nullable=False, backfill="made"), columns=columns)


def test_a_sequence_follows_the_column_that_is_numbered_by_it() -> None:
    columns = (*users(PG).columns, Column("no", "int", False, "nextval('app.users_no_seq'::regclass)"))
    sequences = tuple(Name("app", name) for name in ("users_no_se", "users_no_seq", "users_no_seq1"))
    new, old = (f'ALTER SEQUENCE "app"."users_no_seq" OWNED BY "app"."users"."{name}"' for name in ("number", "no"))
    split = on_users("split_column", from_="no", to={"odd": "int", "number": "bigint"}, up={"odd": "1", "number": "no"}, down={"no": "number"})
    rename, change = on_users("rename_column", from_="no", to="number"), on_users("change_type", column="no", to="number", type="bigint")
    for operation in (rename, change, split):
        (found,) = planned(PG, operation, columns=columns, sequences=sequences)
        assert [text for text in texts(found.quarantine) if "SEQUENCE" in text] == [new]
        assert [text for text in texts(found.restore) if "OWNED BY" in text] == [old]
        assert texts(found.quarantine).index(new) > next(place for place, text in enumerate(texts(found.quarantine)) if "SET DEFAULT" in text)
    (same,) = planned(PG, on_users("change_type", column="no", type="bigint", prepared_statements="none"), columns=columns, sequences=sequences)
    for steps in (same.quarantine, same.restore):
        found_texts = texts(steps)
        assert [text for text in found_texts if "OWNED BY" in text] == [old]
        assert found_texts.index(old) > max(place for place, text in enumerate(found_texts) if "RENAME COLUMN" in text)


@pytest.mark.parametrize(
    ("default", "is_it"),
    [
        ("nextval('users_no_seq'::regclass)", True),
        ("nextval('app.users_no_seq'::regclass)", True),
        ("nextval('other.users_no_seq'::regclass)", False),
        ("nextval('users_no_seq1'::regclass)", False),
    ],
)
def test_a_sequence_is_known_by_its_whole_name(default: str, is_it: bool) -> None:
    columns = (*users(PG).columns, Column("no", "int", False, default))
    (found,) = planned(PG, on_users("rename_column", from_="no", to="b"), columns=columns, sequences=(Name("app", "users_no_seq"),))
    assert any("OWNED BY" in text for text in texts(found.quarantine)) is is_it


def test_an_index_of_another_table_is_not_taken_for_ours() -> None:
    (found,) = planned(PG, on_users("add_index", columns=["age"], name="i"))
    (step,) = found.validate
    mine = """indexrelid = pg_catalog.to_regclass('"app"."i"') AND indrelid = pg_catalog.to_regclass('"app"."users"')"""
    for query in (step.done, step.broken, found.abort[0].done):
        assert query and mine in query
    (free,) = found.before
    assert "the name app.i is free" in free.name and f"NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index WHERE {mine})" in free.query


def test_what_a_partitioned_table_can_t_have_again_is_refused() -> None:
    index = Index("i", ("name",), False, definition="CREATE INDEX i ON ONLY app.users USING btree (name)")
    for changes in ({"indexes": (PRIMARY, index)}, {"foreign_keys": (dataclasses.replace(KEY, columns=("name",)),)}):
        assert "app.users is partitioned" in refused(PG, RENAME, partitioned=True, **changes)
        assert planned(PG, OTHER, partitioned=True, **changes)
    assert planned(MARIA, RENAME, partitioned=True, indexes=(PRIMARY, dataclasses.replace(index, definition="KEY `i` (`name`)")))


@pytest.mark.parametrize(
    ("type_", "has"),
    [("text", True), ("character varying(9)", True), ("enum('a')", True), ("int", False), ("varchar(9) CHARACTER SET latin1", False), ("nvarchar(9)", False),
     ("json", False), ("varbinary(9)", False), ("bytea", False)],
)  # fmt: skip
def test_types_that_leave_the_collation_open(type_: str, has: bool) -> None:
    assert collated(type_) is has


@pytest.mark.parametrize("to", [{"to": "b"}, {}], ids=["new name", "same name"])
def test_a_change_of_type_keeps_collation_and_comment(to: dict[str, str]) -> None:
    for server, collation, type_ in ((PG, 'pg_catalog."C"', "varchar(80)"), (MARIA, "utf8mb4_bin", "varchar(80)")):
        old = users(server).columns
        columns = (old[0], dataclasses.replace(old[1], collation=collation, comment="who"), *old[2:])
        (found,) = planned(server, on_users("change_type", column="name", type=type_, prepared_statements="none", **to), columns=columns)
        added = texts(found.expand)
        assert any("ADD COLUMN" in text and f"varchar(80) COLLATE {collation}" in text for text in added)
        assert sum("'who'" in text for text in added) == 1
        (number,) = planned(server, on_users("change_type", column="name", type="int", prepared_statements="none", **to), columns=columns)
        assert not any("ADD COLUMN" in text and "COLLATE" in text for text in texts(number.expand))


def test_foreign_keys_stay_deferrable() -> None:
    row = ("fk", "app", "users", ["name"], "app", "notes", ["id"], "a", "c", True, True, True)
    key = catalog_postgresql._foreign_key(row)
    assert (key.deferrable, key.deferred, key.full, key.on_delete) == (True, True, True, "CASCADE")
    (found,) = planned(PG, RENAME, foreign_keys=(key,))
    wanted = '("id") MATCH FULL ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED NOT VALID'
    assert any('FOREIGN KEY ("b")' in text and text.endswith(wanted) for text in texts(found.validate))
    assert any('FOREIGN KEY ("name")' in text and text.endswith(wanted) for text in texts(found.restore_validate))
    (plain,) = planned(PG, RENAME, foreign_keys=(dataclasses.replace(key, deferrable=False, deferred=False, full=False),))
    assert any(text.endswith('("id") ON DELETE CASCADE NOT VALID') for text in texts(plain.validate))


def test_a_deferrable_unique_key_is_refused() -> None:
    row = ("u", ["name"], True, False, True, False, "u", "CREATE UNIQUE INDEX u ON app.users USING btree (name)", True)
    index = catalog_postgresql._index(row)
    assert index.deferrable
    assert "the unique key u of app.users is DEFERRABLE" in refused(PG, RENAME, indexes=(PRIMARY, index))


def test_the_facts_of_an_operation_are_kept_for_the_next_one() -> None:
    table = users(PG)
    tables = registry.evolved(RENAME, server=PG, tables={table.name: table}, default_schema="app")
    tables = registry.evolved(on_users("add_index", columns=["note"]), server=PG, tables=tables, default_schema="app")
    found = tables[table.name]
    assert (found.coming, found.leaving, found.bound) == (("b",), ("name",), ("note",))
    assert registry.plan(OTHER, server=PG, tables={table.name: table}, tag="deadbeef", number=0, options=PlanOptions(default_schema="app"))
