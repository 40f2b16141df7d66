# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a backfill waits for, and why it says that it does."""

from __future__ import annotations

import pathlib
import types
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import backfill, migrate
from ansible_collections.seamless.rollout.plugins.module_utils._migration.backfill import Throttle
from ansible_collections.seamless.rollout.plugins.module_utils._migration.spec import Limits

QUERY = "SELECT lag FROM heartbeat"


class Fake:
    """A database, and its ledger, of which only what throttles ask for is known."""

    def __init__(self, engine: str = "postgresql", **answers: t.Any) -> None:
        self.engine, self.answers = engine, answers
        self.asked: list[str] = []

    def paused_by(self, migration_id: int) -> str | None:
        assert migration_id == 7
        return t.cast("str | None", self.answers.get("paused_by"))

    def value(self, sql: str) -> t.Any:
        what = "lag" if "replay_lag" in sql else "sessions" if "pg_stat_activity" in sql else "query" if sql == QUERY else sql
        self.asked.append(what)
        return self.answers[what]

    def rows(self, sql: str) -> list[tuple[str, str]]:
        assert sql == "SHOW GLOBAL STATUS LIKE 'Threads_running'"
        return [("Threads_running", str(self.answers["sessions"] + 1))]  # and we


def reason(fake: Fake, **limits: t.Any) -> str | None:
    return Throttle(t.cast("t.Any", fake), t.cast("t.Any", fake), Limits(**{"max_lag": None, **limits}), 7).reason()


@pytest.mark.parametrize(
    ("engine", "answers", "limits", "expected"),
    [
        ("postgresql", {}, {}, None),
        ("postgresql", {"paused_by": "bob"}, {}, "paused by bob"),
        ("postgresql", {"lag": 5.0}, {"max_lag": 5}, None),
        ("postgresql", {"lag": 7.25}, {"max_lag": 5}, "a replica is 7.2 s behind (max_lag 5)"),
        ("mariadb", {}, {"max_lag": 5}, None),
        ("postgresql", {"sessions": 8}, {"max_sessions": 8}, None),
        ("postgresql", {"sessions": 9}, {"max_sessions": 8}, "9 sessions are running (max_sessions 8)"),
        ("mariadb", {"sessions": 8}, {"max_sessions": 8}, None),
        ("mariadb", {"sessions": 9}, {"max_sessions": 8}, "9 sessions are running (max_sessions 8)"),
        ("postgresql", {"query": None}, {"throttle_query": QUERY}, None),
        ("postgresql", {"query": 0}, {"throttle_query": QUERY}, None),
        ("mariadb", {"query": "3"}, {"throttle_query": QUERY}, "throttle_query says 3"),
    ],
)
def test_each_cause_says_itself(engine: str, answers: dict[str, t.Any], limits: dict[str, t.Any], expected: str | None) -> None:
    assert reason(Fake(engine, **answers), **limits) == expected


def test_a_pause_file_holds_as_long_as_it_is_there(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "pause"
    assert reason(Fake(), pause_file=str(path)) is None
    path.touch()
    assert reason(Fake(), pause_file=str(path)) == f"the pause file {path} is there"


def test_the_database_is_asked_once_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(backfill, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    fake = Fake(lag=9.0)
    throttle = Throttle(t.cast("t.Any", fake), t.cast("t.Any", fake), Limits(max_lag=5), 7)
    assert throttle.reason() is not None
    now[0] += 0.9
    assert throttle.reason() is None
    now[0] += 0.1
    assert throttle.reason() is not None
    assert fake.asked == ["lag", "lag"]


def test_what_a_primary_can_not_know_is_refused_with_what_would_do() -> None:
    spec = {"app": "shop", "release": "2", "operations": [{"drop_table": {"table": "t"}}], "limits": {"max_lag": 5}}
    params = {name: option.get("default") for name, option in migrate.ARGUMENT_SPEC.items()}
    params.update(login_db="shop", engine="mariadb", spec=spec, name="m")
    with pytest.raises(SeamlessError, match="limits.max_lag is 5, and a primary of MariaDB or MySQL does not know .* throttle_query"):
        migrate.run(params, False)
