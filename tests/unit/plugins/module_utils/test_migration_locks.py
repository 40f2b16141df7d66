# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._migration import locks
from ansible_collections.seamless.rollout.plugins.module_utils._migration.attempts import Blocker, qualified
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import DatabaseError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.locks import Limits, StepOutcome
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Name, Server, Step

VIEW, USERS = Name("public", "people"), Name("public", "users")
PLAIN = Step("add", ("ALTER one", "ALTER two"), (USERS,))


class FakeDatabase:
    """A server that refuses the statements of *refusals*, each so many times, and shows *held* in pg_locks."""

    backend_id = 1

    def __init__(self, engine: str = "postgresql", refusals: dict[str, list[str]] | None = None, held: list[tuple[t.Any, ...]] | None = None) -> None:
        self.engine = engine
        self.server = Server(engine, (15,) if engine == "postgresql" else (10, 11))
        self.refusals = refusals or {}
        self.held = held or []
        self.done: list[str] = []
        self.answers: dict[str, t.Any] = {}

    def execute(self, sql: str, params: t.Sequence[t.Any] = ()) -> int:
        self.done.append(sql)
        for start, kinds in self.refusals.items():
            if sql.startswith(start) and kinds:
                raise DatabaseError(f"refused: {sql}", kind=kinds.pop(0))
        return 0

    def rows(self, sql: str, params: t.Sequence[t.Any] = ()) -> list[tuple[t.Any, ...]]:
        if "deadlock_timeout" in sql:
            return [(1000, False)]
        if "RECURSIVE wanted" in sql:
            return [({"users": 10, "people": 11}[params[1]],)] if params[1] in ("users", "people") else []
        if "string_agg" in sql:
            return [(42, "app", "psql", "idle in transaction", 12.0, 9.0, "AccessShareLock", "SELECT 1")]
        if "virtualtransaction" in sql:
            return self.held
        if "METADATA_LOCK_INFO" in sql:
            raise DatabaseError("no such plugin", kind="undefined")
        return []

    def value(self, sql: str, params: t.Sequence[t.Any] = ()) -> t.Any:
        return self.answers.get(sql)

    @contextlib.contextmanager
    def transaction(self) -> t.Iterator[None]:
        self.done.append("BEGIN")
        try:
            yield
        except BaseException:
            self.done.append("ROLLBACK")
            raise
        self.done.append("COMMIT")


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only sleeping moves."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(made))
    return made


def run(db: FakeDatabase, step: Step = PLAIN, limits: Limits | None = None) -> StepOutcome:
    return locks.run_step(t.cast("t.Any", db), step, limits or Limits(), lambda outcome: db.done.append("record"))


def test_a_step_is_one_transaction_with_its_record() -> None:
    db = FakeDatabase()
    assert run(db).attempts == 1
    assert db.done == [
        "BEGIN", 'LOCK TABLE "public"."users" IN ACCESS EXCLUSIVE MODE NOWAIT', "SET LOCAL lock_timeout = 20", "ALTER one", "ALTER two", "record", "COMMIT",
    ]  # fmt: skip


def test_tables_are_locked_in_the_order_of_the_step_and_those_that_are_not_there_are_left_out() -> None:
    db = FakeDatabase()
    run(db, Step("rename", ("x",), (VIEW, Name("public", "gone"), USERS)))
    assert [sql.split('"')[3] for sql in db.done if sql.startswith("LOCK")] == ["people", "users"]


def test_the_ladder_is_climbed_and_nothing_is_left_of_a_failed_attempt() -> None:
    db = FakeDatabase(refusals={"LOCK": ["lock"] * 4})
    assert run(db).attempts == 5
    assert [sql for sql, then in zip(db.done, db.done[1:]) if then.startswith("LOCK") and sql != "BEGIN"] == [
        "SET LOCAL lock_timeout = 20",
        "SET LOCAL lock_timeout = 50",
    ]
    assert db.done.count("ROLLBACK") == 4
    assert db.done.count("record") == 1


def test_who_is_in_the_way_is_named_when_time_is_over(naps: list[float]) -> None:
    db = FakeDatabase(refusals={"LOCK": ["lock"] * 1000})
    with pytest.raises(DatabaseError, match=r"public\.users in \d+ s .* session 42 \(user app, psql\): AccessShareLock, idle in transaction for 9 s") as caught:
        run(db, limits=Limits(lock_wait_total=5))
    assert caught.value.kind == "lock"
    assert caught.value.details["blockers"][0]["pid"] == 42
    assert 5 <= sum(naps) < 10
    assert "record" not in db.done


def test_another_error_is_not_tried_again() -> None:
    db = FakeDatabase(refusals={"ALTER two": ["duplicate"]})
    with pytest.raises(DatabaseError) as caught:
        run(db)
    assert (caught.value.kind, db.done.count("BEGIN")) == ("duplicate", 1)


def test_deadlocks_are_tried_again_but_not_for_ever() -> None:
    assert run(FakeDatabase(refusals={"LOCK": ["deadlock"] * 2})).attempts == 3
    with pytest.raises(DatabaseError, match="refused"):
        run(FakeDatabase(refusals={"LOCK": ["deadlock"] * 100}))


def test_autovacuum_is_waited_for_in_its_own_mode_which_stalls_nobody() -> None:
    db = FakeDatabase(held=[(7, "3/1", 10, "ShareUpdateExclusiveLock", 100.0)])
    run(db)
    assert db.done[1:4] == [
        "SET LOCAL lock_timeout = 2000",
        'LOCK TABLE "public"."users" IN SHARE UPDATE EXCLUSIVE MODE',
        'LOCK TABLE "public"."users" IN ACCESS EXCLUSIVE MODE NOWAIT',
    ]


def test_a_holder_that_stays_is_waited_for_outside_the_queue(naps: list[float]) -> None:
    db = FakeDatabase(refusals={"LOCK": ["lock"] * 2}, held=[(7, "3/1", 10, "AccessShareLock", 9.0)])
    assert run(db).attempts == 3
    assert sum(naps) > 5
    assert db.done.count("BEGIN") == 3


def test_a_step_whose_effect_is_there_is_recorded_and_not_run() -> None:
    db = FakeDatabase()
    db.answers["there?"] = 1
    outcome = run(db, Step("add", ("ALTER one",), (USERS,), done="there?"))
    assert outcome.skipped
    assert db.done == ["BEGIN", "record", "COMMIT"]


def test_what_the_session_was_set_to_is_taken_back_when_the_step_fails() -> None:
    db = FakeDatabase(refusals={"ALTER one": ["other"]})
    with pytest.raises(DatabaseError):
        run(db, Step("add", ("ALTER one",), session=("SET x",), unset=("SET back",)))
    assert db.done[-1] == "SET back"


def test_outside_a_transaction_what_is_broken_is_repaired_first_and_after_a_failure() -> None:
    step = Step("index", ("CREATE INDEX CONCURRENTLY",), transaction=False, broken="broken?", repair=("DROP INDEX",))
    db = FakeDatabase(refusals={"CREATE": ["duplicate"]})
    db.answers["broken?"] = True
    with pytest.raises(DatabaseError):
        run(db, step)
    assert db.done == ["SET lock_timeout = 600000", "DROP INDEX", "CREATE INDEX CONCURRENTLY", "DROP INDEX", "SET lock_timeout = 0"]


def test_mariadb_tries_without_waiting_and_records_after_the_last_statement() -> None:
    db = FakeDatabase("mariadb", refusals={"ALTER one": ["lock"] * 3})
    step = Step("add", ("ALTER one, ALGORITHM=INSTANT", "CREATE TRIGGER x"), session=("SET x",), unset=("UNLOCK TABLES",))
    assert run(db, step).attempts == 5
    assert [sql for sql in db.done if "lock_wait_timeout" not in sql] == [
        "SET x", *["ALTER one, ALGORITHM=INSTANT"] * 4, "CREATE TRIGGER x", "UNLOCK TABLES", "BEGIN", "record", "COMMIT",
    ]  # fmt: skip
    assert "SET SESSION lock_wait_timeout = 1" not in db.done
    assert db.done.index("SET SESSION lock_wait_timeout = 0") < db.done.index("ALTER one, ALGORITHM=INSTANT")


def test_mariadb_gives_up_too_and_never_waits_where_no_stall_is_allowed() -> None:
    db = FakeDatabase("mariadb", refusals={"DROP": ["lock"] * 10_000})
    with pytest.raises(DatabaseError, match="did not get the lock on what it changes in 20 s"):
        run(db, Step("drop", ("DROP TRIGGER x",)), Limits(max_stall_ms=0, lock_wait_total=20))
    assert {sql for sql in db.done if "lock_wait_timeout" in sql} == {"SET SESSION lock_wait_timeout = 0", "SET SESSION lock_wait_timeout = 10"}


def test_what_statements_name() -> None:
    assert qualified("mariadb", ["ALTER TABLE `a`.`b``c` ADD `x` int", "DROP TRIGGER `a`.`t`"]) == (Name("a", "b`c"), Name("a", "t"))
    assert qualified("postgresql", ['CREATE INDEX "i" ON "S p"."t" ("x")']) == (Name("S p", "t"),)


def test_a_blocker_in_words() -> None:
    assert str(Blocker(7, mode="X", state="active", age=3.2)) == "session 7: X, active, its transaction is 3 s old"
    assert str(Blocker(0, mode="X")) == "a prepared transaction: X"
