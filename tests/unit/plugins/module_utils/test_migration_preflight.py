# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import types
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import described, migrate, preflight, runner
from ansible_collections.seamless.rollout.plugins.module_utils._migration import spec as specs
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import DatabaseError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger_records import FillRecord, Gate
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Check, Column, Fill, Index, Name, Plan, Step, Table

USERS = Name("public", "users")
TABLE = Table(USERS, (Column("id", "bigint", False), Column("name", "text", True, "'x'")), (Index("users_pkey", ("id",), True, True),), rows=100_000)
PLAN = Plan(
    "rename_column",
    (USERS,),
    expand=(Step("columns", ("ALTER TABLE users ADD COLUMN b text",), (USERS,)),),
    backfill=(Fill(USERS, ("id",), "b = a", "b IS NULL"),),
    validate=(Step("validate", ("ALTER TABLE users VALIDATE CONSTRAINT c",), transaction=False),),
)


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        (["GRANT USAGE ON *.* TO `u`@`%`"], False),
        (["GRANT ALL PRIVILEGES ON *.* TO `u`@`%`"], True),
        (["GRANT SELECT, TRIGGER ON *.* TO `u`@`%`"], True),
        (["GRANT USAGE ON *.* TO `u`", "GRANT ALL PRIVILEGES ON `shop`.* TO `u`"], True),
        (["GRANT USAGE ON *.* TO `u`", "GRANT SELECT ON `shop`.* TO `u`"], False),
        (["GRANT USAGE ON *.* TO `u`", "GRANT ALL PRIVILEGES ON `other`.* TO `u`"], False),
        (["GRANT USAGE ON *.* TO `u`", "GRANT ALL PRIVILEGES ON `sh%`.* TO `u`"], True),
        (["GRANT `role` TO `u`", "GRANT USAGE ON *.* TO `u`"], True),
    ],
)
def test_what_a_user_may_is_read_from_its_grants(grants: list[str], expected: bool) -> None:
    db = t.cast("t.Any", types.SimpleNamespace(default_schema="shop"))
    assert preflight._granted(db, grants, "TRIGGER") is expected


class MariaDB:
    """A server of MariaDB of which only the answers to preflight's questions are known."""

    engine, default_schema = "mariadb", "shop"

    def __init__(
        self, *, log_bin: int = 1, trusted: int = 1, binlog_format: str = "MIXED", wsrep: str = "OFF", replicas: int = 0, explicit: int = 1
    ) -> None:
        self.log_bin, self.trusted, self.binlog_format, self.wsrep, self.replicas = log_bin, trusted, binlog_format, wsrep, replicas
        self.explicit = explicit

    def rows(self, sql: str, params: t.Sequence[t.Any] = ()) -> list[tuple[t.Any, ...]]:
        if sql == "SHOW GRANTS":
            return [("GRANT USAGE ON *.* TO `u`@`%`",), ("GRANT ALL PRIVILEGES ON `shop`.* TO `u`@`%`",)]
        if "METADATA_LOCK_INFO" in sql or "metadata_locks" in sql:
            raise DatabaseError("there is no such table", kind="undefined", code="1109", statement=sql)
        if "@@log_bin" in sql:
            return [(self.log_bin, self.trusted)]
        return [("wsrep_on", self.wsrep)] if "wsrep_on" in sql else []

    def value(self, sql: str, params: t.Sequence[t.Any] = ()) -> t.Any:
        if "explicit_defaults" in sql:
            return self.explicit
        return self.binlog_format if "binlog_format" in sql else 0 if "setup_instruments" in sql else self.replicas


def found_on(server: MariaDB, statement: str = "SELECT 1", **spec: t.Any) -> preflight.Findings:
    given = specs.parse({"app": "shop", "release": "2", "operations": [{"drop_table": {"table": "t"}}], **spec}, "m")
    trigger = "CREATE TRIGGER a BEFORE INSERT ON users FOR EACH ROW SET NEW.b = NEW.a"
    plan = dataclasses.replace(PLAN, expand=(Step("trigger", (trigger,)),), quarantine=(Step("away", (statement,)),))
    found = preflight.Findings()
    preflight._mariadb(t.cast("t.Any", server), given, [plan], {}, found)
    return found


@pytest.mark.parametrize(
    ("definition", "sets_itself"),
    [
        ("timestamp NOT NULL", True), ("timestamp(6) NOT NULL COMMENT 'x'", True), ("timestamp NOT NULL DEFAULT current_timestamp()", False),
        ("timestamp NULL", False), ("datetime NOT NULL", False),
    ],
)  # fmt: skip
def test_a_timestamp_that_would_set_itself_on_every_update_is_refused(definition: str, sets_itself: bool) -> None:
    statement = f"ALTER TABLE `shop`.`users` MODIFY COLUMN IF EXISTS `seen` {definition}, ALGORITHM=INPLACE, LOCK=NONE"
    assert [text[:38] for text in found_on(MariaDB(explicit=0), statement).problems] == ["explicit_defaults_for_timestamp is OFF"] * sets_itself
    assert not found_on(MariaDB(), statement).problems


def test_what_a_server_of_mariadb_is_refused_for() -> None:
    assert not found_on(MariaDB()).problems
    assert not found_on(MariaDB(log_bin=0, binlog_format="STATEMENT", trusted=0)).problems
    (format_,) = found_on(MariaDB(binlog_format="STATEMENT")).problems
    assert format_.startswith("binlog_format is STATEMENT, with which no row can be changed in READ COMMITTED")
    assert "SET GLOBAL binlog_format = MIXED" in format_
    (trusted,) = found_on(MariaDB(trusted=0)).problems
    assert "triggers need SUPER or log_bin_trust_function_creators=1, and this user has neither" in trusted
    (galera,) = found_on(MariaDB(wsrep="ON")).problems
    assert "This is a Galera cluster" in galera and "acknowledge: [galera]" in galera
    assert not found_on(MariaDB(wsrep="ON"), acknowledge=["galera"]).problems
    (idle,) = found_on(MariaDB(), limits={"kill_blockers": 30}).warnings
    assert idle.startswith("kill_blockers ends nobody here") and "INSTALL SONAME 'metadata_lock_info'" in idle
    (lag,) = found_on(MariaDB(replicas=2)).warnings
    assert lag.startswith("2 replicas run the migration's statements one after another") and "throttle_query" in lag


@pytest.mark.parametrize(("free", "problems"), [(None, 0), (300_000_000, 0), (100_000_000, 1)])
def test_a_disk_that_a_backfill_would_fill_is_refused(monkeypatch: pytest.MonkeyPatch, free: int | None, problems: int) -> None:
    monkeypatch.setattr(preflight, "_free", lambda db: free)
    found = preflight.Findings()
    preflight._size(t.cast("t.Any", None), [PLAN], {USERS: dataclasses.replace(TABLE, bytes=50_000_000)}, found)
    assert (len(found.problems), found.facts["disk_estimate"], found.facts["disk_free"]) == (problems, 100_000_000, free)
    if problems:
        assert found.problems[0].startswith("The backfill writes about 100 MB to the server's disk, and 100 MB are free there: free some")


class PostgreSQL:
    """A server of PostgreSQL with two standbys, whose details the user may not see when *hidden*."""

    def __init__(self, hidden: int) -> None:
        self.hidden = hidden

    def rows(self, sql: str, params: t.Sequence[t.Any] = ()) -> list[tuple[t.Any, ...]]:
        return [("shop_owner", True)] if "has_database_privilege" in sql else [(2, self.hidden)] if "pg_stat_replication" in sql else []

    def value(self, sql: str, params: t.Sequence[t.Any] = ()) -> t.Any:
        return True


@pytest.mark.parametrize(("hidden", "limits", "told"), [(0, {}, False), (2, {}, True), (2, {"max_lag": None}, False)])
def test_a_user_who_can_not_see_the_lag_of_standbys_is_told(hidden: int, limits: dict[str, t.Any], told: bool) -> None:
    given = specs.parse({"app": "shop", "release": "2", "operations": [{"drop_table": {"table": "t"}}], "limits": limits}, "m")
    found = preflight.Findings()
    preflight._postgresql(t.cast("t.Any", PostgreSQL(hidden)), given, [], {}, found)
    assert found.warnings[0].startswith("2 standbys replay")
    assert any("max_lag can't hold the backfill: GRANT pg_read_all_stats TO shop_owner" in text for text in found.warnings) is told


def test_all_problems_are_told_at_once() -> None:
    found = preflight.Findings(problems=["One.", "Two."])
    with pytest.raises(SeamlessError, match="Migration m can't start: One. Two.") as refused:
        found.insist("m")
    assert refused.value.details["problems"] == ["One.", "Two."]
    preflight.Findings(warnings=["Three."]).insist("m")


def test_a_check_is_prepared_counted_and_sampled() -> None:
    said: list[str] = []
    db = t.cast(
        "t.Any",
        types.SimpleNamespace(execute=said.append, value=lambda sql: said.append(sql) or 2, rows=lambda sql: said.append(sql) or [(1, None)]),
    )
    found = runner.failing(db, [("keys", Check("keys", "SELECT 2", "SELECT id", ("CREATE f",)))])
    assert said == ["CREATE f", "SELECT 2", "SELECT id LIMIT 5"]
    assert runner.told(found) == "keys: 2 rows, such as (1, None)"


def test_a_plan_is_shown_with_sql_locks_rows_and_time() -> None:
    steps = described.described([PLAN], {USERS: TABLE}, "postgresql")
    assert [(step["phase"], step["lock_mode"].split(",")[0]) for step in steps] == [
        ("expand", "ACCESS EXCLUSIVE"),
        ("backfill", "the rows of a batch (10"),
        ("validate", "SHARE UPDATE EXCLUSIVE"),
    ]
    assert (steps[1]["rows"], steps[1]["seconds"]) == (100_000, 2.0)
    text = described.text(steps)
    assert text.startswith("-- expand\n--   1. rename_column: columns, locks public.users (ACCESS EXCLUSIVE, in one transaction)\n")
    assert "ALTER TABLE users ADD COLUMN b text;\n" in text


def test_the_catalog_is_shown_for_a_diff() -> None:
    assert described.catalog([TABLE]) == (
        "table public.users\n  column id bigint NOT NULL\n  column name text DEFAULT 'x'\n  unique index users_pkey (id)\n"
    )


def test_rows_of_the_ledger_are_read_as_they_were_written() -> None:
    record = FillRecord("backfill", 1, [7, {"hex": "00ff"}], False, 500, 400, 9000, 1000, 1.5, "paused by bob")
    assert FillRecord.read((*record.written(), 12.5)) == dataclasses.replace(record, updated_at=12.5)
    assert Gate.read((3, 1, 1, '{"hosts": 2}', "10.5", 4)) == Gate(3, 1, True, {"hosts": 2}, 10.5, 4.0)


DROP = {"app": "shop", "release": "1", "operations": [{"drop_table": {"table": "t"}}]}


def params(**changes: t.Any) -> dict[str, t.Any]:
    return {**{name: option.get("default") for name, option in migrate.ARGUMENT_SPEC.items()}, "login_db": "shop", **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Neither src nor spec is set"),
        ({"app": "shop"}, "Neither src nor spec is set"),
        ({"src": "m.yml"}, "src: m.yml was not read"),
        ({"spec": {"app": "shop"}}, "name is ''"),
        ({"spec": DROP, "name": "m", "app": "blog"}, "app is blog, and migration m is of shop"),
        ({"spec": DROP, "name": "m", "config_file": "x"}, "config_file is 'x'"),
    ],
)
def test_what_can_not_be_is_refused_before_the_database_is_asked(changes: dict[str, t.Any], said: str) -> None:
    with pytest.raises(SeamlessError, match=said):
        migrate.run(params(**changes), False)
