# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a table that gets a column does to clients of PostgreSQL that repeat SELECT *, with psycopg 3 as it is and as the documentation wants it."""

from __future__ import annotations

import typing as t

import psycopg
import pytest

from database.cases import cases
from database.protocol import Engine, prepare
from database.servers import PASSWORD, POSTGRESQL, Place, Servers

BEFORE, AFTER = 10, 50


def client(place: Place, **options: t.Any) -> psycopg.Connection[t.Any]:
    return psycopg.connect(host=place.host, port=place.port, dbname=place.database, user=place.user("app"), password=PASSWORD, autocommit=True, **options)


def repeated(session: psycopg.Connection[t.Any], columns: str, times: int) -> list[str]:
    """Read a row so often, and return what each that failed said."""
    failed = []
    for number in range(times):
        try:
            session.execute(f"SELECT {columns} FROM users WHERE id = %s", (1 + number,)).fetchall()
        except psycopg.Error as exc:
            failed.append(f"{exc.sqlstate}: {exc.diag.message_primary}")
    return failed


@pytest.fixture(scope="module")
def place(servers: Servers) -> t.Iterator[Place]:
    made = prepare(servers, cases(POSTGRESQL)["rename_column"], "prepared")
    yield made
    servers.drop(made)


def test_prepared_statements_fail_until_the_client_connects_anew_unless_they_are_off_or_name_columns(place: Place) -> None:
    case = cases(POSTGRESQL)["rename_column"]
    with client(place) as plain, client(place, prepare_threshold=None) as off, client(place) as naming:
        readers = ((plain, "*"), (off, "*"), (naming, "id, name"))
        assert [repeated(session, columns, BEFORE) for session, columns in readers] == [[], [], []]
        engine = Engine(place, case)
        engine.end(engine.begin("expanded"), "expanded")
        failures = [repeated(session, columns, AFTER) for session, columns in readers]
    assert failures[1:] == [[], []]
    assert failures[0] == ["0A000: cached plan must not change result type"] * AFTER
    with client(place) as anew:
        assert repeated(anew, "*", AFTER) == []
