# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sample of the suite: every operation to one of its ends, and the runner killed in some. MIGRATIONS_SEED draws another sample."""

from __future__ import annotations

import os
import time

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Column, Server
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import PlanOptions, Work
from sampling import full, some

from database import suite
from database.cases import ENGINES, cases, operation_of, operations
from database.protocol import Engine, Protocol, prepare
from database.servers import POSTGRESQL, Servers, Session

SEED = int(os.environ.get("MIGRATIONS_SEED", "1"))
SAMPLE = suite.sample(suite.chosen(suite.arguments([])), SEED)


# What goes one way each: a copy of a value, another type, several columns, another name with a view or a shield.
ALWAYS = ("rename_column", "change_type", "split_column", "rename_table", "drop_column")


@pytest.mark.parametrize("operation", some(operations(), ALWAYS))
def test_nothing_is_lost_by(operation: str, servers: Servers) -> None:
    case, outcome = next(pair for pair in SAMPLE if operation_of(pair[0].name) == operation)
    result = Protocol(servers, case, outcome, "shop").run()
    assert result.ok, f"{suite.line(result)}\n" + "\n".join(result.wrong)


@pytest.mark.full
@pytest.mark.parametrize("engine", ENGINES)
def test_a_backfill_of_one_operation_writes_rows_that_another_one_has_not_filled_yet(engine: str, servers: Servers) -> None:
    """The rename's check that the new column has a value is there before its own backfill is."""
    result = Protocol(servers, cases(engine)["split_column-and_rename"], "contract", "shop").run()
    assert result.ok, f"{suite.line(result)}\n" + "\n".join(result.wrong)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "outcome"), [("split_column", "contract"), full("rename_column", "restore")])
def test_a_killed_runner_loses_nothing(engine: str, name: str, outcome: str, servers: Servers) -> None:
    result = Protocol(servers, cases(engine)[name], outcome, "shop", kills=4, seed=SEED).run()
    assert result.ok, f"{suite.line(result)}\n" + "\n".join(result.wrong)
    assert result.kills


def look(session: Session) -> int:
    """Return how far the canary counts. On MariaDB each look takes a number itself."""
    if session.engine == POSTGRESQL:
        return int(session.rows("SELECT coalesce(max(last_value), 0) FROM pg_sequences WHERE sequencename LIKE '%canary'")[0][0])
    schema, name = session.rows("SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'SEQUENCE'")[0]
    return int(session.rows(f"SELECT NEXTVAL(`{schema}`.`{name}`)")[0][0])


@pytest.mark.parametrize("engine", ENGINES)
def test_the_canary_counts_what_old_code_writes_and_nothing_else(engine: str, servers: Servers) -> None:
    case = cases(engine)["rename_column"]
    place = prepare(servers, case, "canary")
    try:
        work = Engine(place, case)
        work.end(work.begin("backfilled"), "backfilled")
        seen = 0 if engine == POSTGRESQL else 1
        with place.connect("app") as old, place.connect("app") as new, place.connect("owner") as owner:
            before = look(owner)
            for statement in ("UPDATE users SET full_name = 'new' WHERE id = 1", "UPDATE users SET hits = hits + 1 WHERE id = 2"):
                new.run(statement)
                assert (after := look(owner)) == before + seen, statement
                before = after
            # Of several writes in one second a session may count one; a later one it counts again.
            for statement in ("UPDATE users SET name = 'old' WHERE id = 1", "INSERT INTO users (name) VALUES ('old')"):
                old.run(statement)
                assert (after := look(owner)) == before + seen + 1, statement
                before = after
                time.sleep(1.1)
            assert new.rows("SELECT full_name FROM users WHERE id = 1") == [("old",)]
    finally:
        servers.drop(place)


# Of each type two values that differ, and where = says nothing of it, two that are equal for it.
DIFFERENT = (
    ("smallint", "", "1", "2"), ("bigint", "", "1", "2"), ("boolean", "", "t", "f"), ("uuid", "", f"{1:032}", f"{2:032}"),
    ("bytea", "", r"\x00", r"\x0000"), ("text", "", "a", "A"), ("text", "", "a", "a "), ("character varying(9)", "", "a", "a "),
    ("text", "alike", "a", "A"), ("character varying(9)", "alike", "a", "A"), ("character(3)", "alike", "a", "A"), ("date", "", "2026-01-01", "infinity"),
    ("timestamp(3) without time zone", "", "2026-01-01", "2026-01-01 00:00:00.001"), ("timestamp with time zone", "", "2026-01-01", "2026-01-02"),
    ("time without time zone", "", "00:00", "24:00"), ("numeric(9,2)", "", "1", "2"), ("numeric", "", "1.0", "1.00"), ("double precision", "", "0", "-0"),
    ("interval", "", "1 day", "24 hours"), ("jsonb", "", "[1.0]", "[1.00]"), ("json", "", "{}", "{ }"), ("text[]", "alike", "{a}", "{A}"),
)  # fmt: skip


def test_a_change_of_any_type_is_seen_whatever_the_writer_s_search_path_is(servers: Servers) -> None:
    place = servers.make(POSTGRESQL, "changed")
    work = Work("rename_column", {}, Server(POSTGRESQL, (15, 0)), {}, "tag", 0, PlanOptions())
    try:
        with place.connect("root") as session:
            session.script(
                "CREATE COLLATION alike (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
                "CREATE SCHEMA own",
                "CREATE FUNCTION own.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
                "CREATE OPERATOR own.= (LEFTARG = text, RIGHTARG = text, FUNCTION = own.yes)",
                "SET search_path = own, pg_catalog, public",
            )
            assert session.rows("SELECT 'a'::text = 'b'::text") == [(True,)]
            for type_, collation, *values in DIFFERENT:
                condition = work.changed(Column("x", type_, True, collation=f"public.{collation}" if collation else None))
                texts = (f"{value}::{type_}{f' COLLATE public.{collation}' if collation else ''}" for value in (*map(work.literal, values), "NULL"))
                one, other, none = texts
                pairs = [(one, other), (other, one), (one, none), (none, one), (one, one), (none, none)]
                seen = [session.rows(f"SELECT {condition} FROM (SELECT {new} AS x) new, (SELECT {old} AS x) old")[0][0] for new, old in pairs]
                assert seen == [True, True, True, True, False, False], (type_, collation, condition)
    finally:
        servers.drop(place)
