# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import database, driver_mariadb, driver_postgresql
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import ConnectSettings, Database, DatabaseError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.driver import Fault, Refused, Result


class Broken(Exception):
    pass


class FakeDriver:
    """A connection that answers what a session is set up with, and keeps what it was asked."""

    wire_id = 7
    errors = (Broken,)

    def __init__(self, backend: int = 7) -> None:
        self.backend = backend
        self.asked: list[tuple[str, t.Any]] = []
        self.failing: dict[str, Fault] = {}
        self.tag = ""
        self.closed = False

    def run(self, sql: str, params: t.Sequence[t.Any] | None) -> Result:
        self.asked.append((sql, params))
        for start, fault in self.failing.items():
            if sql.startswith(start):
                raise Broken(fault)
        if "pg_backend_pid()" in sql or "CONNECTION_ID()" in sql:
            return Result([(self.backend,)], 1, "")
        if "server_version_num" in sql:
            return Result([(150018, "app")], 1, "")
        if "VERSION()" in sql:
            return Result([("10.11.19-MariaDB-0+deb12u1",)], 1, "")
        return Result([("shop",)], 3, self.tag)

    def fault(self, exc: BaseException) -> Fault:
        fault: Fault = exc.args[0]
        return fault

    def close(self) -> None:
        self.closed = True


def opened(engine: str = "postgresql", backend: int = 7) -> tuple[Database, FakeDriver]:
    driver = FakeDriver(backend)
    db = Database(ConnectSettings(engine), driver)
    return db, driver


def statements(driver: FakeDriver) -> list[str]:
    return [sql for sql, dummy in driver.asked]


def test_what_server_it_is() -> None:
    assert opened()[0].server.version == (15, 18, 0)
    assert opened()[0].default_schema == "app"
    maria = opened("mariadb")[0]
    assert (maria.server.version, maria.server.mysql, maria.default_schema) == ((10, 11, 19), False, "shop")


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_behind_a_pooler_nothing_is_set(engine: str) -> None:
    db, driver = opened(engine, backend=8)
    assert db.is_pooled()
    assert not [sql for sql in statements(driver) if "SET" in sql or "set_config" in sql]
    assert not opened(engine)[0].is_pooled()


def test_without_parameters_the_driver_gets_none_so_that_a_percent_sign_is_one() -> None:
    db, driver = opened()
    db.execute("SELECT '50%'")
    assert driver.asked[-1] == ("SELECT '50%'", None)


def test_a_transaction_commits_or_rolls_back() -> None:
    db, driver = opened()
    with db.transaction():
        db.execute("a")
    assert statements(driver)[-3:] == ["BEGIN ISOLATION LEVEL READ COMMITTED", "a", "COMMIT"]
    with pytest.raises(ZeroDivisionError), db.transaction():
        raise ZeroDivisionError
    assert statements(driver)[-1] == "ROLLBACK"
    with db.transaction(), pytest.raises(RuntimeError, match="open already"), db.transaction():
        pass


def test_a_commit_that_the_server_answers_with_a_rollback_is_an_error() -> None:
    db, driver = opened()
    driver.tag = "ROLLBACK"
    with pytest.raises(DatabaseError, match="rolled back"), db.transaction():
        pass
    assert not db.in_transaction


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("55P03", "lock"),
        ("1205", "lock"),
        ("40P01", "deadlock"),
        ("1213", "deadlock"),
        ("57014", "cancelled"),
        ("1969", "cancelled"),
        ("23505", "duplicate"),
        ("1062", "duplicate"),
        ("42501", "privilege"),
        ("1142", "privilege"),
        ("08006", "connection"),
        ("2013", "connection"),
        ("42P01", "undefined"),
        ("1146", "undefined"),
        ("22012", "other"),
    ],
)
def test_kinds_of_errors(code: str, kind: str) -> None:
    db, driver = opened()
    driver.failing["x"] = Fault(code, "it says no", False)
    with pytest.raises(DatabaseError, match="it says no") as caught:
        db.execute("x   y")
    assert (caught.value.kind, caught.value.code) == (kind, code)
    assert "The statement: x y" in str(caught.value)


def test_a_lost_connection_is_told_whatever_the_code_is() -> None:
    db, driver = opened()
    driver.failing["x"] = Fault("", "gone", True)
    with pytest.raises(DatabaseError) as caught:
        db.execute("x")
    assert caught.value.kind == "connection"


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(SeamlessError, match="'oracle'"):
        database.connect(ConnectSettings("oracle"))


def test_who_is_not_let_in_is_told_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(settings: ConnectSettings) -> t.NoReturn:
        raise Refused("", "password authentication failed for user x")

    monkeypatch.setattr(driver_postgresql, "connect", refuse)
    with pytest.raises(DatabaseError, match="login_password") as caught:
        database.connect(ConnectSettings("postgresql", user="x", password="secret"))
    assert caught.value.kind == "privilege"
    assert "secret" not in str(caught.value)


def test_a_session_that_can_not_be_set_up_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver()
    driver.failing["SELECT current_setting"] = Fault("42501", "no", False)
    monkeypatch.setattr(driver_postgresql, "connect", lambda settings: driver)
    with pytest.raises(DatabaseError):
        database.connect(ConnectSettings("postgresql"))
    assert driver.closed


@pytest.mark.parametrize("module", [driver_postgresql, driver_mariadb])
def test_a_missing_driver_is_named_with_its_packages(module: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> t.NoReturn:
        raise ImportError(name)

    monkeypatch.setattr(module.importlib, "import_module", absent)
    with pytest.raises(SeamlessError, match="python3-p.* of the distribution"):
        module.connect(ConnectSettings("postgresql"))


def test_settings_do_not_show_the_password() -> None:
    settings = ConnectSettings("postgresql", database="shop", host="db", port=5432, user="app", password="secret")
    assert str(settings) == "database shop at db:5432 as app"
    assert "secret" not in repr(settings)
