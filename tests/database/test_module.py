# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules against the real servers: what is told before anything is done, what is refused, what holds a backfill, and what its state says meanwhile."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import advisory, gate_operation, info, migrate, preflight
from ansible_collections.seamless.rollout.plugins.module_utils._migration.connection import CONNECTION_SPEC, opened

from database.cases import ENGINES, Words, cases
from database.protocol import Protocol
from database.servers import MARIADB, PASSWORD, POSTGRESQL, Place, Servers, Session

NAME, ROWS = "2026_11_22_01_name", 1200
RENAME: dict[str, t.Any] = {"rename_column": {"table": "users", "from": "name", "to": "full_name"}}


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, servers: Servers) -> t.Iterator[Place]:
    """A database with a table of users."""
    made = servers.make(request.param, "module")
    words = Words(made.engine)
    with made.connect("owner") as session:
        session.run(f"CREATE TABLE users (id {words.serial} PRIMARY KEY, name {words.text} NOT NULL, n int NOT NULL DEFAULT 0){words.end}")
        source = f"generate_series(1, {ROWS}) AS number" if words.pg else f"(SELECT seq AS number FROM seq_1_to_{ROWS}) AS numbers"
        session.run(f"INSERT INTO users (name, n) SELECT concat('Ada', number, ' Lovelace'), number FROM {source}")
        for statement in words.grants("users"):
            session.run(statement.replace("{app}", made.user("app")))
        session.rows("ANALYZE TABLE users") if not words.pg else session.run("ANALYZE users")
    yield made
    servers.drop(made)


def run(place: Place, operation: t.Any = migrate, *, check: bool = False, role: str = "owner", **params: t.Any) -> dict[str, t.Any]:
    options = operation.ARGUMENT_SPEC
    assert set(params) <= set(options)
    given = {**{name: option.get("default") for name, option in options.items()}, **login(place, role), **params}
    result: dict[str, t.Any] = operation.run(given, check)
    return result


def login(place: Place, role: str = "owner") -> dict[str, t.Any]:
    return {
        "engine": place.engine, "login_host": place.host, "login_port": place.port, "login_user": place.user(role), "login_password": PASSWORD,
        "login_db": place.database,
    }


def spec(*operations: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    return {"app": "shop", "release": "2", "operations": [*operations], "contract": {"quiet_period": 0}, **more}


def migrated(
    place: Place, state: str, *operations: dict[str, t.Any], name: str = NAME, more: dict[str, t.Any] | None = None, **params: t.Any
) -> dict[str, t.Any]:
    return run(place, name=name, spec=spec(*(operations or (RENAME,)), **(more or {})), state=state, verify_window=0.05, **params)


def columns(session: Session) -> list[str]:
    where = "table_schema = DATABASE()" if session.engine != POSTGRESQL else "table_schema = 'public'"
    return [str(row[0]) for row in session.rows(f"SELECT column_name FROM information_schema.columns WHERE table_name = 'users' AND {where} ORDER BY 1")]


def ledger_is_there(session: Session) -> bool:
    return bool(session.value("SELECT count(*) FROM information_schema.tables WHERE table_name LIKE '%migration' AND table_schema NOT LIKE 'perf%'")
                or session.value("SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'seamless_rollout'"))


def test_a_plan_tells_all_and_writes_nothing(place: Place) -> None:
    with place.connect("owner") as session:
        for told in (migrated(place, "planned"), migrated(place, "backfilled", check=True)):
            text = told["plan_text"]
            if place.engine == POSTGRESQL:
                add, lock = 'ALTER TABLE "public"."users" ADD COLUMN "full_name" text;', "locks public.users (ACCESS EXCLUSIVE, in one transaction)"
            else:
                add = "ADD COLUMN IF NOT EXISTS `full_name` varchar(200) COLLATE utf8mb4_bin NULL INVISIBLE AFTER `name`, ALGORITHM=INSTANT, LOCK=NONE;"
                lock = "lock: metadata lock, each statement by itself"
            assert add in text and lock in text and "CREATE TRIGGER" in text, text
            fill = next(step for step in told["plan"] if step["phase"] == "backfill")
            assert 0.5 * ROWS < fill["rows"] < 2 * ROWS and fill["seconds"] is not None and "about" in text
            assert "in the next batch" in fill["sql"][0] and fill["lock_mode"] == "the rows of a batch (10,000 at most)"
            assert told["state"] == "pending" and not told["preflight"]["problems"]
            assert columns(session) == ["id", "n", "name"] and not ledger_is_there(session)
        assert told["changed"] and "is backfilled, after this:" in told["diff"]["after"]
    done = migrated(place, "backfilled")
    before, after = done["diff"]["before"], done["diff"]["after"]
    assert "column name" in before and "full_name" not in before and "trigger" not in before
    assert "column name" in after and "column full_name" in after, after
    assert f"trigger {'~' if place.engine == POSTGRESQL else ''}seamless_{done['tag']}_0" in after, after


SPLIT = {
    "split_column": {
        "table": "users", "from": "name", "to": {"first": "varchar(200)", "last": "varchar(200)"},
        "up": {"first": "left(name, position(' ' in name) - 1)", "last": "ltrim(substr(name, position(' ' in name) + 1))"},
        "down": {"name": "concat(first, ' ', last)"},
    }
}


def test_rows_that_do_not_survive_the_way_there_and_back_are_named(place: Place) -> None:
    with place.connect("owner") as session:
        session.run("UPDATE users SET name = 'Ada  Lovelace' WHERE id = 777")
        for state in ("planned", "backfilled"):
            if state == "planned":
                said = "\n".join(migrated(place, state, SPLIT)["preflight"]["problems"])
            else:
                with pytest.raises(SeamlessError) as refused:
                    migrated(place, state, SPLIT)
                said = str(refused.value)
            assert "changes the old value of rows: 1. split_column: 1 rows, such as (777, Ada  Lovelace)." in said
        assert columns(session) == ["id", "n", "name"] and not ledger_is_there(session)
        known = {"split_column": {**SPLIT["split_column"], "lossy": "acknowledge"}}
        done = migrated(place, "backfilled", known)
        assert any(notice.startswith("Acknowledged: ") and "(777, Ada  Lovelace)" in notice for notice in done["notices"]), done["notices"]
        assert session.rows("SELECT name, first, last FROM users WHERE id = 777") == [("Ada  Lovelace", "Ada", "Lovelace")], "nobody has changed it yet"
    event = run(place, info, app="shop")["migrations"][0]["events"][-2]
    assert event["what"] == "notices" and "Ada  Lovelace" in str(event["detail"])


@contextlib.contextmanager
def backfilling(place: Place, **more: t.Any) -> t.Iterator[dict[str, t.Any]]:
    """Run the migration in a thread, and give its result when the block has ended."""
    result: dict[str, t.Any] = {}

    def work() -> None:
        try:
            result.update(migrated(place, "backfilled", more=more))
        except SeamlessError as exc:
            result["error"] = str(exc)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield result
    finally:
        thread.join(60)


def waiting(place: Place) -> dict[str, t.Any]:
    """Return what is told of the migration once its backfill waits."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        migrations = run(place, info, app="shop")["migrations"]
        if migrations and migrations[0]["fills"] and migrations[0]["fills"][0]["waits"]:
            return t.cast("dict[str, t.Any]", migrations[0])
        time.sleep(0.05)
    raise AssertionError("the backfill does not wait")


def test_a_pause_file_holds_a_backfill_until_it_is_gone(place: Place, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "pause"
    path.touch()
    with backfilling(place, limits={"pause_file": str(path)}) as result:
        told = waiting(place)
        assert (told["state"], told["unfinished"]) == ("backfilling", True)
        fill = told["fills"][0]
        assert (fill["waits"], fill["rows"], fill["done"]) == (f"the pause file {path} is there", 0, False)
        assert 0.5 * ROWS < fill["rows_estimate"] < 2 * ROWS
        with place.connect("owner") as session:
            time.sleep(1.2)
            assert session.value("SELECT count(*) FROM users WHERE full_name IS NOT NULL") == 0
            assert run(place, info, app="shop")["migrations"][0]["fills"][0]["rows"] == 0
        path.unlink()
    assert result.get("state") == "backfilled" and result["rows"] == ROWS, result


def test_somebody_has_a_backfill_wait_and_lets_it_go_on(place: Place) -> None:
    named: dict[str, t.Any] = {"app": "shop", "name": NAME}
    with pytest.raises(SeamlessError, match="has not begun, so nothing of it can wait"):
        run(place, **named, paused_by="bob")
    migrated(place, "expanded")
    with pytest.raises(SeamlessError, match="pause in a task of its own"):
        run(place, **named, paused_by="bob", state="backfilled")
    assert run(place, **named, paused_by="bob", check=True)["changed"] and run(place, **named, paused_by="bob")["changed"]
    assert not run(place, **named, paused_by="bob")["changed"]
    with backfilling(place) as result:
        told = waiting(place)
        assert (told["paused_by"], told["fills"][0]["waits"], told["fills"][0]["rows"]) == ("bob", "paused by bob", 0)
        assert run(place, **named, paused_by="")["paused_by"] is None
    assert result.get("state") == "backfilled" and result["rows"] == ROWS, result
    assert [event["what"] for event in run(place, info, app="shop")["migrations"][0]["events"] if "paused" in event["what"]] == ["unpaused", "paused"]


@contextlib.contextmanager
def idle_transaction(place: Place) -> t.Iterator[None]:
    with place.connect("app", name="console") as session, session.transaction():
        session.rows("SELECT id FROM users WHERE id = 3 FOR UPDATE")
        time.sleep(0.8)
        yield


def test_old_transactions_are_listed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "LONG_TRANSACTION", 0.5)
    with idle_transaction(place):
        told = migrated(place, "planned", role="root")
        blind = migrated(place, "planned")
    (session,) = told["preflight"]["long_transactions"]
    assert session["user"] == place.user("app") and session["seconds"] >= 0.5
    assert any(notice.startswith("1 transactions are older than 0.5 seconds, and locks may have to wait for them: session ") for notice in told["notices"])
    if place.engine == POSTGRESQL:
        assert session["application"] == "console"
    else:
        assert "Long transactions and replicas can't be seen without the PROCESS privilege." in blind["notices"]


def test_a_table_that_is_not_ours_is_refused(place: Place) -> None:
    if place.engine == POSTGRESQL:
        with place.connect("root") as root:
            root.run("CREATE TABLE theirs (id int PRIMARY KEY, name text)")
        with pytest.raises(SeamlessError, match=f"Table public.theirs belongs to root, and {place.user('owner')} is not that role nor a member"):
            migrated(place, "backfilled", {"rename_column": {"table": "theirs", "from": "name", "to": "full_name"}})
    else:
        with pytest.raises(SeamlessError, match="This user lacks TRIGGER on module: .* This user lacks ALTER on module"):
            migrated(place, "backfilled", role="app")
    with place.connect("owner") as session:
        assert not ledger_is_there(session)


def test_duplicates_are_listed_before_a_unique_key_is_made(place: Place) -> None:
    with place.connect("owner") as session:
        session.run("UPDATE users SET n = 4711 WHERE id IN (5, 6)")
    with pytest.raises(SeamlessError, match=r"can't start: Rows are in the way of 1\. add_unique: .*4711.*Correct them first"):
        migrated(place, "backfilled", {"add_unique": {"table": "users", "columns": ["n"]}})
    with place.connect("owner") as session:
        assert not ledger_is_there(session)


def test_what_has_begun_is_not_changed_and_shares_its_table_with_nobody(place: Place) -> None:
    migrated(place, "backfilled")
    with pytest.raises(SeamlessError, match=r"is not what it was when it began .*changed: operations"):
        migrated(place, "backfilled", {"rename_column": {"table": "users", "from": "name", "to": "whole_name"}})
    assert not migrated(place, "backfilled", more={"limits": {"batch_ms": 20}})["changed"], "limits may"
    with pytest.raises(SeamlessError, match=f"is being migrated by {NAME} of shop: bring that to contracted or aborted first"):
        migrated(place, "backfilled", {"add_index": {"table": "users", "columns": ["n"]}}, name="another")


def ask(place: Place, **params: t.Any) -> dict[str, t.Any]:
    host = {
        "host": "web1", "answered": True, "kind": "link", "release": "2", "state": "good", "releases": ["1", "2"], "carriers": ["2"], "services": [],
        "processes": {}, "switched_ago": 5000.0, "lock": None,
    }
    return run(place, gate_operation, app="shop", name=NAME, hosts=[host], **params)


def test_the_word_of_a_gate_grows_old(place: Place) -> None:
    migrated(place, "backfilled")
    answer = ask(place)
    assert answer["passed"], answer["msg"]
    time.sleep(0.2)
    old = rf"gate: {answer['gate']} passed \d+ seconds ago, and a verdict counts for 0.1 \(gate_ttl\): run migration_gate again"
    with pytest.raises(SeamlessError, match=old):
        run(place, app="shop", name=NAME, state="quarantined", gate=answer["gate"], gate_ttl=0.1)
    assert run(place, app="shop", name=NAME, state="quarantined", gate=answer["gate"])["state"] == "quarantined"


def test_what_the_database_sees_of_old_code(place: Place) -> None:
    migrated(place, "backfilled")
    first = ask(place, quiet_period=0.3)
    assert first["missing"] == ["E3: not yet: the old shape was not written for 0 of 0.3 seconds"], first["msg"]
    with place.connect("app", name="nightly-report") as job:
        job.run("UPDATE users SET full_name = 'new code' WHERE id = 1")
        assert ask(place, quiet_period=0.3, wait=2)["passed"], "what new code writes does not count"
        job.run("UPDATE users SET name = 'old code' WHERE id = 1")
        seen = ask(place, quiet_period=0.3, role="root")
        (missing,) = seen["missing"]
        assert missing.startswith("E3: something still writes the old shape (at least once in the last ")
        assert f"user {place.user('app')}, from " in missing
        assert place.engine != POSTGRESQL or "carries it: nightly-report (session " in missing
        if place.engine != POSTGRESQL:
            assert any("performance_schema is off, so sessions can't tell their release" in text for text in seen["weak"]), seen["weak"]
            time.sleep(1.1)
            job.run("UPDATE users SET name = 'old code again' WHERE id = 1")
            blind = ask(place, quiet_period=0.3)
            assert "this user sees its own sessions only: GRANT PROCESS ON *.* TO it" in blind["missing"][0], blind["missing"]
    assert ask(place, quiet_period=0.3, wait=2)["passed"]


def test_a_look_that_is_not_recorded_is_not_taken_for_a_write(place: Place) -> None:
    migrated(place, "backfilled")
    ask(place, quiet_period=0.1)
    dry = ask(place, check=True, quiet_period=0.1)
    if place.engine != POSTGRESQL:
        assert dry["passed"] and any("counts itself, so in check mode there is none" in text for text in dry["weak"]), dry
    given = {name: option.get("default") for name, option in CONNECTION_SPEC.items()}
    with opened({**given, **login(place)}) as other, advisory.migration_lock(other, "shop", deadline=1.0):
        locked = ask(place, quiet_period=0.1, lock_deadline=0.2)
        assert not locked["passed"] and locked["gate"] is None
    assert ask(place, quiet_period=0.1, wait=1.0)["passed"]


def test_a_value_is_told_from_the_time_of_the_statement_as_a_default(place: Place) -> None:
    fraction = "timestamp(3)" if place.engine == POSTGRESQL else "datetime(3)"
    with place.connect("owner") as owner, place.connect("app") as app:
        words = Words(place.engine)
        owner.run(f"CREATE TABLE visits (id {words.serial} PRIMARY KEY, at {fraction} NOT NULL DEFAULT current_timestamp(3)){words.end}")
        for statement in words.grants("visits"):
            owner.run(statement.replace("{app}", place.user("app")))
        renamed: dict[str, t.Any] = {"rename_column": {"table": "visits", "from": "at", "to": "seen"}}
        assert "is not counted" not in str(migrated(place, "backfilled", renamed))
        ask(place, quiet_period=0.1)
        app.run("INSERT INTO visits (id) VALUES (1)")
        assert ask(place, quiet_period=0.1, wait=1.0)["passed"], "nothing was given"
        app.run("INSERT INTO visits (id, at) VALUES (2, '2026-01-01')")
        assert "still writes the old shape" in str(ask(place, quiet_period=0.1)["missing"])
        assert app.rows("SELECT count(*) FROM visits WHERE seen = at") == [(2,)]


def test_old_code_that_names_no_columns_goes_on(place: Place) -> None:
    """On MariaDB the new column is invisible. On PostgreSQL nothing can hide it, and an INSERT fills what it has values for."""
    with place.connect("app") as old:
        width = len(old.rows("SELECT * FROM users LIMIT 1")[0])
        migrated(place, "backfilled")
        old.run("INSERT INTO users VALUES (9001, 'Old Code', 1)")
        assert old.rows("SELECT name, full_name FROM users WHERE id = 9001") == [("Old Code", "Old Code")]
        assert len(old.rows("SELECT * FROM users LIMIT 1")[0]) == width + (place.engine == POSTGRESQL)


@pytest.mark.parametrize(("engine", "outcome"), [(POSTGRESQL, "contract"), (MARIADB, "abort")])
def test_a_trigger_of_the_users_own_beside_ours(servers: Servers, engine: str, outcome: str) -> None:
    result = Protocol(servers, cases(engine)["rename_column-own_trigger"], outcome, "own_trigger").run()
    assert result.ok, "\n".join(result.wrong)
