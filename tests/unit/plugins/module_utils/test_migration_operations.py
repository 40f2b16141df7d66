# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import model
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import (
    PHASES,
    Column,
    Dependent,
    ForeignKey,
    Index,
    Name,
    Plan,
    Server,
    Step,
    Table,
)
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import registry
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import PlanOptions, parse_name
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.values import constant

PG, MARIA, MYSQL = Server("postgresql", (15, 18)), Server("mariadb", (10, 11, 19)), Server("mariadb", (8, 0, 36), mysql=True)
SERVERS = {"postgresql": PG, "mariadb": MARIA, "mysql": MYSQL}
PRIMARY = Index("users_pkey", ("id",), True, primary=True, constraint="users_pkey")


def users(server: Server, **changes: t.Any) -> Table:
    text = "text" if server.engine == "postgresql" else "varchar(40)"
    columns = (
        Column("id", "int", False),
        Column("name", text, False, "'void'"),
        Column("note", text, True),
        Column("age", "int", True),
    )
    return dataclasses.replace(Table(Name("app", "users"), columns, (PRIMARY,)), **changes)


def plan(server: Server, kind: str, table: Table | None = None, options: PlanOptions | None = None, **values: t.Any) -> Plan:
    """Return the plan of operation *kind* on the table users; `from_` stands for the key from."""
    values = {key.rstrip("_"): value for key, value in values.items()}
    found = table or users(server)
    if kind != "rename_table":
        values.setdefault("table", "users")
    return registry.plan(
        {kind: values}, server=server, tables={found.name: found}, tag="deadbeef", number=2, options=options or PlanOptions(default_schema="app")
    )


def statements(steps: t.Iterable[Step]) -> list[str]:
    return [statement for step in steps for statement in step.statements]


EVERY: dict[str, dict[str, t.Any]] = {
    "add_column": {"column": "state", "type": "int", "default": 0, "nullable": False},
    "drop_column": {"column": "name", "down": "'none'"},
    "rename_column": {"from_": "name", "to": "full_name"},
    "rename_table": {"from_": "users", "to": "people"},
    "change_type": {"column": "age", "type": "bigint", "to": "years"},
    "split_column": {"from_": "note", "to": {"a": "int", "b": "int"}, "up": {"a": "note", "b": "1"}, "down": {"note": "a"}},
    "merge_columns": {"from_": ["note", "age"], "to": {"both": "int"}, "up": {"both": "age"}, "down": {"note": "both", "age": "both"}},
    "set_not_null": {"column": "note", "value": "'-'"},
    "add_unique": {"columns": ["name", "age"]},
    "add_foreign_key": {"columns": ["age"], "references": {"table": "users", "columns": ["id"]}},
    "add_check": {"name": "adult", "check": "age > 17"},
    "add_index": {"columns": ["age"]},
    "drop_index": {"name": "users_age"},
    "drop_table": {},
    "sql": {"tables": ["users"], "expand": ["CREATE VIEW v AS SELECT 1"], "backfill": {"table": "users", "set": "age = 1", "where": "age IS NULL"}},
}


def every(server: Server, kind: str) -> Plan:
    table = users(server, indexes=(PRIMARY, Index("users_age", ("age",), False, definition="CREATE INDEX users_age ON app.users USING btree (age)")))
    if server.engine == "mariadb":
        table = dataclasses.replace(table, indexes=(PRIMARY, Index("users_age", ("age",), False, definition="KEY `users_age` (`age`)")))
    return plan(server, kind, table, **EVERY[kind])


@pytest.mark.parametrize("kind", registry.kinds())
@pytest.mark.parametrize("name", SERVERS)
def test_every_plan_can_be_kept_and_its_steps_told_apart(name: str, kind: str) -> None:
    if (name, kind) in (("mariadb", "add_check"), ("mysql", "add_check")):
        with pytest.raises(SeamlessError, match="SIGNAL SQLSTATE '45000'"):
            every(SERVERS[name], kind)
        return
    found = every(SERVERS[name], kind)
    assert model.from_json(json.loads(json.dumps(model.to_json(found)))) == found
    for phase in (*PHASES, "abort_validate", "restore_validate"):
        steps = [item for item in getattr(found, phase) if isinstance(item, Step)]
        assert len({step.name for step in steps}) == len(steps), phase
        if name == "postgresql":
            assert not any("CONCURRENTLY" in text or "VALIDATE" in text for step in steps if step.transaction for text in step.statements)
            continue
        for step in steps:
            assert len(step.statements) == 1 and not step.transaction
            text = step.statements[0]
            assert not text.startswith("ALTER TABLE") or ("ALGORITHM=" in text and text.endswith("LOCK=NONE")), text
            assert name == "mariadb" or not ("ALTER TABLE" in text and "EXISTS" in text), text


@pytest.mark.parametrize("kind", [kind for kind in registry.kinds() if kind != "sql"])
def test_nothing_of_an_aborted_operation_stays(kind: str) -> None:
    for server in (PG, MARIA):
        if (server, kind) == (MARIA, "add_check"):
            continue
        found = every(server, kind)
        made = "\n".join(statements([*found.expand, *found.validate]))
        undone = "\n".join(statements(found.abort))
        if "CREATE TRIGGER" in made:
            assert made.count("CREATE TRIGGER") == undone.count("DROP TRIGGER IF EXISTS")
        if "CREATE SEQUENCE" in made:
            assert "DROP SEQUENCE IF EXISTS" in undone and "DROP SEQUENCE IF EXISTS" in "\n".join(statements(found.drop))


def test_new_columns_are_nullable_without_default_until_the_quarantine() -> None:
    for server in (PG, MARIA):
        found = plan(server, "rename_column", from_="name", to="full_name")
        expand, quarantine = "\n".join(statements(found.expand)), "\n".join(statements(found.quarantine))
        assert "DEFAULT 'void'" not in expand
        assert "DEFAULT 'void'" in quarantine


def test_mariadb_gives_the_old_column_a_default_before_its_triggers_go() -> None:
    table = users(MARIA, columns=(Column("id", "int", False), Column("name", "varchar(40)", False)))
    texts = statements(plan(MARIA, "rename_column", table, from_="name", to="full_name").quarantine)
    order = [
        next(place for place, text in enumerate(texts) if part in text)
        for part in ("SET DEFAULT ''", "DROP TRIGGER", "CHANGE COLUMN", "NOT NULL, ALGORITHM=INPLACE")
    ]
    assert order == sorted(order)


def test_texts_are_compared_as_bytes_on_mariadb() -> None:
    body = "\n".join(statements(plan(MARIA, "rename_column", from_="name", to="full_name").expand))
    assert "NOT (CAST(NEW.`name` AS BINARY) <=> CAST(OLD.`name` AS BINARY))" in body


def test_odd_names_are_quoted_and_long_ones_cut() -> None:
    long = "x" * 60
    table = Table(Name("Odd Schema", 'T"able'), (Column("K 1", "text", False), Column(long, "text", False)), (Index("p", ("K 1",), True, primary=True),))
    found = plan(PG, "rename_column", table, table_=["Odd Schema", 'T"able'], from_=long, to="Select")
    texts = "\n".join(statements([*found.expand, *found.quarantine]))
    assert '"Odd Schema"."T""able"' in texts and '"Select"' in texts
    assert found.backfill[0].key == ("K 1",)
    away = next(text for text in statements(found.quarantine) if "RENAME COLUMN" in text).rpartition('"seamless_q_')[2].rstrip('"')
    assert len("seamless_q_" + away) == 63


def test_unique_keys_move_to_the_new_column() -> None:
    key = Index("users_name_key", ("name",), True, constraint="users_name_key", definition="CREATE UNIQUE INDEX users_name_key ON app.users USING btree (name)")
    found = plan(PG, "rename_column", users(PG, indexes=(PRIMARY, key)), from_="name", to="full_name")
    step = next(step for step in found.validate if step.broken)
    assert step.statements == ('CREATE UNIQUE INDEX CONCURRENTLY "seamless_deadbeef_2_users_name_key" ON "app"."users" USING btree ("full_name")',)
    assert step.repair == ('DROP INDEX CONCURRENTLY IF EXISTS "app"."seamless_deadbeef_2_users_name_key"',)
    texts = statements(found.quarantine)
    assert texts.index('ALTER TABLE "app"."users" DROP CONSTRAINT IF EXISTS "users_name_key"') < texts.index(
        'ALTER INDEX "app"."seamless_deadbeef_2_users_name_key" RENAME TO "users_name_key"'
    )


REFUSED: list[tuple[str, Server, dict[str, t.Any], dict[str, t.Any], str]] = [
    ("rename_column", PG, {"from_": "id", "to": "key"}, {}, "id is in the primary key"),
    ("rename_column", PG, {"from_": "name", "to": "note"}, {}, "already has a column 'note'"),
    ("rename_column", PG, {"from_": "nam", "to": "b"}, {}, "Its columns are: id, name, note, age"),
    ("rename_column", PG, {"from_": "name", "to": "b"}, {"dependents": (Dependent("view", "app.v", ("name",)),)}, "the view app.v uses name"),
    ("rename_column", PG, {"from_": "name", "to": "b"}, {"dependents": (Dependent("policy", "own", ("name",)),)}, "the policy own uses name"),
    ("rename_column", PG, {"from_": "name", "to": "b"}, {"dependents": (Dependent("partition", "app.all"),)}, "bound by partition"),
    ("rename_column", MARIA, {"from_": "name", "to": "b"}, {"dependents": (Dependent("check", "c", ("name",), "CHECK (x)"),)}, "the check c"),
    ("rename_column", PG, {"from_": "name", "to": "b"}, {"indexes": ()}, "no primary key"),
    ("change_type", PG, {"column": "age", "type": "bigint"}, {}, "prepared_statements: none"),
    ("change_type", MARIA, {"column": "age", "type": "bigint", "up": "age"}, {}, "leave out up and down"),
    ("change_type", PG, {"column": "age", "type": "mood", "to": "b"}, {}, "public.mood"),
    ("change_type", PG, {"column": "age", "type": "int not null", "to": "b"}, {}, "says more than a type"),
    ("add_column", PG, {"column": "b", "type": "int", "nullable": False}, {}, "neither default nor backfill"),
    ("add_column", PG, {"column": "b", "type": "serial"}, {}, "nextval"),
    ("drop_column", PG, {"column": "b"}, {"columns": (Column("id", "int", False), Column("b", "int", False))}, "say by down"),
    ("split_column", PG, {"from_": "note", "to": {"a": "int"}, "up": {"a": "age"}, "down": {"note": "a"}}, {}, "uses age"),
    ("split_column", PG, {"from_": "note", "to": {"a": "int"}, "up": {"b": "1"}, "down": {"note": "a"}}, {}, "up has expressions for b"),
    ("set_not_null", PG, {"column": "name", "value": 1}, {}, "NOT NULL already"),
    ("add_foreign_key", PG, {"columns": ["age"], "references": {"table": "users", "columns": ["age"]}}, {}, "neither its primary key nor a unique key"),
    ("add_index", MARIA, {"columns": ["age"], "where": "age > 1"}, {}, "no partial indexes"),
    ("drop_index", PG, {"name": "users_pkey"}, {}, "is the primary key"),
    ("drop_table", PG, {}, {"triggers": ("audit",)}, "audit"),
    ("drop_table", PG, {}, {"dependents": (Dependent("publication", "p"),)}, "the publication p"),
    ("rename_table", MARIA, {"from_": "users", "to": "people"}, {"dependents": (Dependent("view", "app.v"),)}, "views don't follow"),
    ("rename_table", PG, {"from_": "users", "to": "other.people"}, {}, "another schema"),
]


@pytest.mark.parametrize(("kind", "server", "values", "changes", "message"), REFUSED)
def test_what_cant_be_done_is_refused_with_what_is_in_the_way(
    kind: str, server: Server, values: dict[str, t.Any], changes: dict[str, t.Any], message: str
) -> None:
    with pytest.raises(SeamlessError) as caught:
        plan(server, kind, users(server, **changes), **values)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"operation 3 ({kind}): ")


def test_a_cascade_on_a_synced_column_is_refused_where_it_fires_no_triggers() -> None:
    key = ForeignKey("fk", Name("app", "users"), ("note",), Name("app", "notes"), ("id",), on_update="CASCADE")
    with pytest.raises(SeamlessError, match="InnoDB fires no triggers"):
        plan(MARIA, "rename_column", users(MARIA, foreign_keys=(key,)), from_="note", to="b")
    found = plan(PG, "rename_column", users(PG, foreign_keys=(key,)), from_="note", to="b")
    assert any("ON UPDATE CASCADE NOT VALID" in text for text in statements(found.validate))
    assert found.tables == (Name("app", "users"), Name("app", "notes"))


def test_a_view_is_locked_before_its_table() -> None:
    found = plan(PG, "rename_table", from_="users", to="people")
    assert found.quarantine[0].locks == (Name("app", "people"), Name("app", "users"))


def test_the_canary_can_be_switched_off() -> None:
    quiet = PlanOptions(canary=False, default_schema="app")
    for server in (PG, MARIA):
        assert plan(server, "rename_column", from_="name", to="b").canary is not None
        found = plan(server, "rename_column", options=quiet, from_="name", to="b")
        assert found.canary is None and "canary" not in "\n".join(statements(found.expand))
    assert plan(MYSQL, "rename_column", from_="name", to="b").canary is None


@pytest.mark.parametrize("kind", ["rename_column", "drop_column"])
def test_the_canary_says_which_inserts_it_can_not_tell(kind: str) -> None:
    def of(server: Server, type_: str, default: str | None, **more: t.Any) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
        columns = (*users(server).columns, Column("state", type_, True, default, **more))
        values = {"from_": "state", "to": "b"} if kind == "rename_column" else {"column": "state"}
        found = plan(server, kind, users(server, columns=columns), **values)
        assert found.canary is not None
        return found.canary.blind, "\n".join(statements(found.expand)), tuple(note for note in found.notes if "not counted" in note)

    blind, dummy, notes = of(PG, "uuid", "gen_random_uuid()")
    assert blind == ("state",) and "no old column but state is not counted" in notes[0]
    assert of(MARIA, "char(36)", "uuid()")[0] == ("state",)
    # A type that only the reader's search_path has can't be named in a trigger, a label of it can.
    blind, text, notes = of(PG, "mood", "'so so'::mood", enum=True)
    assert (blind, notes) == ((), ()) and "(NEW.\"state\")::pg_catalog.text IS DISTINCT FROM 'so so'" in text and "::mood" not in text
    assert of(PG, "citext", "'x'::citext")[0] == ("state",)
    for server, type_, default in ((PG, "text", None), (PG, "int", "7"), (PG, "timestamptz", "now()"), (MARIA, "timestamp", "current_timestamp()")):
        blind, text, notes = of(server, type_, default)
        assert (blind, notes) == ((), ()) and ("NEXTVAL" in text.upper())
    assert "current_timestamp(6))" in of(MARIA, "datetime(6)", "current_timestamp(6)")[1]


@pytest.mark.parametrize("server", [PG, MARIA])
def test_a_restore_tells_rows_apart_by_what_they_have_a_value_in(server: Server) -> None:
    unique = "CREATE UNIQUE INDEX users_name ON app.users USING btree (name)" if server == PG else "UNIQUE KEY `users_name` (`name`)"
    by_name = Index("users_name", ("name",), True, definition=unique)
    both = users(server, indexes=(PRIMARY, by_name))
    alone = users(server, indexes=(by_name,))
    assert plan(server, "rename_column", both, from_="name", to="b").reverse_backfill[0].key == ("id",)
    found = plan(server, "rename_column", alone, from_="name", to="b")
    assert (found.backfill[0].key, found.reverse_backfill[0].key) == (("name",), ("b",))
    split = {"from_": "name", "to": {"a": "text", "b": "text"}, "up": {"a": "name", "b": "'x'"}, "down": {"name": "a"}, "lossy": "acknowledge"}
    assert plan(server, "split_column", both, **split).reverse_backfill[0].key == ("id",)
    with pytest.raises(SeamlessError, match="the rows of app.users are told apart by name alone, .* add a primary key first"):
        plan(server, "split_column", alone, **split)
    if server == PG:
        needed = users(server, indexes=(), columns=(Column("id", "int", False), Column("name", "text", False)))
        with pytest.raises(SeamlessError, match="has no primary key and no unique key"):
            plan(server, "drop_column", needed, column="name", down="'x'")


def test_columns_that_the_server_sets_by_itself_are_pinned_in_the_backfill() -> None:
    columns = (*users(MARIA).columns, Column("changed", "timestamp", True, "current_timestamp()", on_update=True))
    found = plan(MARIA, "rename_column", users(MARIA, columns=columns), from_="name", to="b")
    assert found.backfill[0].assignments == "`b` = `name`, `changed` = `changed`"


def test_later_operations_see_the_columns_of_earlier_ones() -> None:
    table = users(PG)
    tables = registry.evolved({"rename_column": {"table": "users", "from": "name", "to": "b"}}, server=PG, tables={table.name: table}, default_schema="app")
    assert tables[table.name].coming == ("b",)
    found = plan(PG, "add_unique", tables[table.name], columns=["b"])
    assert ["is free in its schema" in check.name for check in found.before] == [True] and found.verify
    with pytest.raises(SeamlessError, match="made by an earlier operation"):
        plan(PG, "rename_column", tables[table.name], from_="b", to="c")


def test_json_of_mariadb_is_taken_for_json() -> None:
    column = Column("doc", "longtext", False, collation="utf8mb4_bin")
    table = users(MARIA, columns=(Column("id", "int", False), column), dependents=(Dependent("check", "doc", ("doc",), "CHECK (json_valid(`doc`))"),))
    texts = statements(plan(MARIA, "rename_column", table, from_="doc", to="content").expand)
    assert any("ADD COLUMN IF NOT EXISTS `content` json NULL INVISIBLE AFTER `doc`, ALGORITHM=INSTANT" in text for text in texts)


def test_tables_that_are_needed() -> None:
    assert registry.needs({"rename_table": {"from": "a.users", "to": "people"}}, "postgresql", "public") == (Name("a", "users"), Name("a", "people"))
    needed = registry.needs({"add_foreign_key": {"table": "t", "references": {"table": "x.u"}}}, "postgresql", "public")
    assert needed == (Name("public", "t"), Name("x", "u"))
    assert registry.needs({"sql": {"backfill": [{"table": ["a.b", "c"]}, "SELECT 1"]}}, "mariadb", "shop") == (Name("a.b", "c"),)
    with pytest.raises(SeamlessError, match="write users, app.users"):
        registry.needs({"drop_table": {"table": "a.b.c"}}, "mariadb", "shop")
    assert parse_name(["a", ""]) is None


@pytest.mark.parametrize(
    ("expression", "same"),
    [("'new'", True), ("-1.5", True), ("'x'::text", True), ("NULL", True), ("now()", True), ("CURRENT_TIMESTAMP(3)", True), ("random()", False),
     ("'a' || random()", False), ("'a'::text || random()", False), ("nextval('s')", False), ("'1'::numeric(3, 1)", True)],
)  # fmt: skip
def test_what_is_provably_constant(expression: str, same: bool) -> None:
    from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work

    work = Work("add_column", {}, PG, {}, "deadbeef", 0, PlanOptions())
    assert constant(work, expression) is same


def test_a_volatile_default_is_filled_in_batches() -> None:
    found = plan(PG, "add_column", column="token", type_="uuid", default="gen_random_uuid()", nullable=False)
    first = statements(found.expand)[:2]
    assert first == [
        'ALTER TABLE "app"."users" ADD COLUMN "token" uuid',
        'ALTER TABLE "app"."users" ALTER COLUMN "token" SET DEFAULT gen_random_uuid()',
    ]
    assert found.backfill[0].assignments == '"token" = gen_random_uuid()'


def test_a_shield_is_refused() -> None:
    with pytest.raises(SeamlessError, match="hides them from new code as well"):
        plan(PG, "rename_column", options=PlanOptions(shield=True, default_schema="app"), from_="name", to="b")
