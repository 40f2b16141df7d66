# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollout makes of rollout_migrations, and of the migrations that a release carries, before any host is touched."""

from __future__ import annotations

import os
import pathlib
import types
import typing as t

import pytest
import yaml
from ansible_collections.seamless.rollout.plugins.plugin_utils import _migration_lint, _migrations, _once, _source
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._settings import read_settings

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))
# Tools that have nothing to say.
ALL_TOOLS = _migration_lint.Tools("/bin/echo", types.SimpleNamespace(parse=lambda *args, **more: None))
RIGHT = {"engine": "postgresql", "host": "db1", "login_db": "shop"}


def test_what_is_right_is_left_alone() -> None:
    full = {
        **RIGHT,
        "also_runs": ["workers"],
        "retired": [{"host": "web9", "reason": "sold"}],
        "pinned": [{"release": "1.4", "reason": "audit"}],
        "poolers": [],
        "quiet_period": 0,
        "min_age": 1.5,
        "framework": {"framework": "alembic", "bin_dir": "venv/bin", "contract_when": "same_run"},
    }
    assert _migrations.problems(RIGHT, {"db1"}) == _migrations.problems(full, {"db1"}) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"login_bd": "shop"}, "rollout_migrations.login_bd is not known"),
        ({"login_bd": "shop"}, "Did you mean login_db?"),
        ({"login_db": ""}, "rollout_migrations.login_db is not set: name the application's database"),
        ({"engine": "mysql"}, "use one of postgresql, mariadb (MySQL is mariadb)"),
        ({"host": "bd1"}, "rollout_migrations.host is 'bd1', which is not in the inventory"),
        ({"also_runs": "workers"}, "rollout_migrations.also_runs is 'workers': use a list"),
        ({"retired": ["web9"]}, "rollout_migrations.retired has 'web9': give host and reason, such as {host: web9, reason: why}"),
        ({"pinned": [{"release": "1.4"}]}, "give release and reason, such as {release: 1.4, reason: why}"),
        ({"quiet_period": "10m"}, "rollout_migrations.quiet_period is '10m': use a number of seconds"),
        ({"wait": True}, "rollout_migrations.wait is True"),
        ({"min_age": -1}, "rollout_migrations.min_age is -1"),
        ({"framework": "alembic"}, "rollout_migrations.framework is 'alembic': use the options of migration_framework"),
        ({"framework": {"framework": "alembik"}}, "Did you mean alembic?"),
        ({"framework": {"framework": "django", "bindir": "x"}}, "rollout_migrations.framework.bindir is not known"),
        ({"framework": {"framework": "django", "contract_when": "later"}}, "use manual or same_run"),
        ({"directory": "../migrations"}, "rollout_migrations.directory: "),
    ],
)
def test_what_is_wrong_is_named_with_what_would_do(changes: dict[str, t.Any], message: str) -> None:
    assert any(message in line for line in _migrations.problems({**RIGHT, **changes}, {"db1"}))


def test_no_dictionary() -> None:
    assert _migrations.problems("shop", {"db1"})[0].startswith("rollout_migrations is 'shop': use a dictionary")


def test_the_options_are_those_of_the_role() -> None:
    with open(os.path.join(REPO, "roles", "migration", "meta", "argument_specs.yml"), encoding="utf-8") as file:
        documented = yaml.safe_load(file)["argument_specs"]["main"]["options"]["rollout_migrations"]["options"]
    assert set(documented) == set(_migrations.OPTIONS)


def test_the_framework_options_are_those_that_the_role_hands_on() -> None:
    with open(os.path.join(REPO, "roles", "migration", "tasks", "framework.yml"), encoding="utf-8") as file:
        text = file.read()
    handed = {name for name in _migrations.FRAMEWORK if f"rollout_migrations.framework.{name}" in text}
    assert handed == set(_migrations.FRAMEWORK) - {"contract_when"}


@pytest.fixture
def tree(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A release on the controller; what it carries are the files that a test puts there."""
    monkeypatch.setattr(_source, "carried", lambda *args: sorted(path.stem for path in (tmp_path / "migrations").iterdir()))
    monkeypatch.setattr(_migration_lint, "installed", lambda *args: ALL_TOOLS)
    (tmp_path / "migrations").mkdir()
    return tmp_path


def look(tree: pathlib.Path, settings: dict[str, t.Any] | None = None, **files: str) -> _migrations.Seen:
    for name, text in files.items():
        (tree / "migrations" / f"{name}.yml").write_text(text, encoding="utf-8")
    return _migrations.look({**RIGHT, **(settings or {})}, app="shop", state_dir="/nowhere", resolved={"tree": str(tree), "digest": "d"})


def test_the_plan_tells_what_a_release_does_to_the_database(tree: pathlib.Path) -> None:
    seen = look(tree, m1='{app: shop, release: "2.0", operations: [{rename_column: {table: users, from: name, to: full_name}}], contract: {when: manual}}')
    assert seen == _migrations.Seen([], ["database: m1 (rename_column), contract: manual"])


def test_migrations_that_can_not_work_refuse_the_release(tree: pathlib.Path) -> None:
    good = "operations: [{rename_column: {table: users, from: name, to: full_name}}]"
    seen = look(tree, m1=f'{{app: shoop, release: "2.0", {good}}}', m2="a: [", m3=f"{{app: shop, release: 1.10, {good}}}")
    assert len(seen.problems) == 3
    assert seen.problems[0] == "migrations/m1.yml: app is 'shoop', and this rollout is of 'shop': correct one of them."
    assert seen.problems[1].startswith("migrations/m2.yml: ")
    assert 'release: "1.10"' in seen.problems[2]


def own(*statements: str) -> str:
    return yaml.safe_dump({"app": "shop", "release": "2.0", "operations": [{"sql": {"expand": [*statements]}}]})


def test_the_plan_tells_what_the_linter_says_and_what_would_tell_more(tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_migration_lint, "installed", lambda *args: _migration_lint.NO_TOOLS)
    seen = look(tree, m1=own("CREATE TRIGGER x BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f()"), m2=own("SELECT 1"))
    assert not seen.problems
    assert seen.notes[1].startswith("migrations/m1.yml:5: warning: create-trigger: a trigger changes what the writes of old code do. Would do: make sure")
    assert seen.notes[3:] == ["database: squawk-cli and sqlglot are not installed on the controller, and would see more"]


def test_what_the_linter_refuses_refuses_the_release_unless_it_is_allowed(tree: pathlib.Path) -> None:
    seen = look(tree, m1=own("ALTER TABLE users DROP COLUMN name"))
    assert seen.problems[0].startswith("migrations/m1.yml:5: error: drop-column: ")
    assert seen.problems[1] == "Nothing of migrations/m1.yml is run. Where it is meant, name the rules in rollout_migrations.allow."
    meant = look(tree, {"allow": ["drop-column"]})
    assert not meant.problems and "drop-column" in meant.notes[1]


def test_the_plan_tells_what_the_linter_says_of_files_of_sql(tree: pathlib.Path) -> None:
    settings = {"framework": {"framework": "sql", "directory": "sql"}}
    (tree / "sql").mkdir()
    assert look(tree, settings) == _migrations.Seen([], []), "a release that has none"
    (tree / "sql" / "001_name.expand.sql").write_text("SELECT 1;\nALTER TABLE users DROP COLUMN name")
    seen = look(tree, settings)
    assert not seen.problems, "the host refuses: it knows what has begun"
    assert seen.notes[0].startswith("sql/001_name.expand.sql:2: error: drop-column: ")
    (tree / "sql" / "names.sql").write_text("SELECT 1")
    assert look(tree, settings).problems[0].startswith("sql/names.sql is no name of a migration")


def test_what_hosts_fetch_by_themselves_is_read_there() -> None:
    assert _migrations.look(RIGHT, app="shop", state_dir="/nowhere", resolved={"checksum": "sha256:0"}) == _migrations.Seen([], [])


@pytest.mark.parametrize(("mode", "there"), [("release", True), ("promote", True), ("update", False), ("rollback", False), ("recover", False)])
def test_the_role_goes_first_and_last(mode: str, there: bool) -> None:
    values = {
        "rollout_app": "shop", "rollout_release": "2.0", "rollout_migrations": RIGHT, "rollout_once_before": ["a.yml"], "rollout_once_after": ["b.yml"],
        "rollout_source": {"type": "directory", "path": "/"}, **({"rollout_update_role": "patch"} if mode == "update" else {}),
    }
    settings = read_settings(values, mode)
    role = [_migrations.ROLE] if there else []
    assert (settings.once_before, settings.once_after) == ([*role, "a.yml"], ["b.yml", *role])


def test_a_run_before_says_nothing_of_where_the_database_stands(tmp_path: pathlib.Path) -> None:
    """What else happens once is done by an earlier run of the same rollout; the role looks for itself."""
    ledger = Ledger(str(tmp_path))
    wanted = [_migrations.ROLE, "a.yml"]
    for number, state in enumerate(("halted", "running")):
        rollout = {"id": f"r{number}", "app": "shop", "release": "2.0", "mode": "release", "state": state, "reason": "", "owner": "o"}
        ledger.begin({**rollout, "controller": "c", "pid": 1, "process_start": "", "started_at": float(number)})
    for action in wanted:
        ledger.event("r0", "once_done", "web1", point="before", action=action)
    assert _once.remaining(ledger, "r0", "before", wanted) == []
    assert _once.remaining(ledger, "r1", "before", wanted) == [_migrations.ROLE]
    ledger.event("r1", "once_done", "web1", point="before", action=_migrations.ROLE)
    assert _once.remaining(ledger, "r1", "before", wanted) == []
