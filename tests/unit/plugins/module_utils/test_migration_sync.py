# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the sync trigger makes of every update there can be, on a PostgreSQL of its own, against the rules said in Python."""

from __future__ import annotations

import contextlib
import itertools
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._migration import gate_operation, migrate
from own_postgresql import Server, host, needed, run, started

pytestmark = needed

Row = t.Tuple[t.Optional[str], t.Optional[str]]
OPERATIONS: dict[str, dict[str, t.Any]] = {
    "text": {"rename_column": {"table": "things", "from": "old", "to": "new"}},
    'text COLLATE "C"': {"rename_column": {"table": "things", "from": "old", "to": "new"}},
    # Its = says less than that every byte is the same: the rules hold without the quick way, too.
    "json": {"rename_column": {"table": "things", "from": "old", "to": "new"}},
    "varchar(9)": {"change_type": {"table": "things", "column": "old", "to": "new", "type": "integer", "up": "old::integer", "down": "new::varchar"}},
}


@pytest.fixture(scope="module")
def server() -> t.Iterator[Server]:
    with started() as made:
        yield made


def by_the_rules(before: Row, after: Row, *, marked: bool, quick: bool) -> tuple[Row, int]:
    """Return the row as it has to be after an update from *before* to *after*, and how many writes of old code that is."""
    (old_was, new_was), (old, new) = before, after
    if new != new_was:
        if not marked:
            return (new, new), 0
        return (old, old if old != old_was else new), 0
    # A marked write of the old columns alone is the reverse backfill's, and there is none before a restore: the quick way doesn't ask.
    if old != old_was and (not marked or (quick and None not in (old_was, old, new))):
        return (old, old), 1
    return (old, old if new is None else new), 0


@contextlib.contextmanager
def synced(server: Server, type_: str, state: str) -> t.Iterator[t.Any]:
    """Return a session in a database where the operation of *type_* is in *state*, with its triggers on the table things."""
    server.renew()
    with server.connect("test") as session:
        session.execute(f"CREATE TABLE things (id int PRIMARY KEY, other int NOT NULL DEFAULT 0, old {type_})")
        spec = {"app": "shop", "release": "2", "operations": [OPERATIONS[type_]], "contract": {"quiet_period": 0.0}}
        if state == "expanded":
            run(migrate, server, name="m", spec=spec, state=state)
        else:
            run(migrate, server, name="m", spec=spec, state="backfilled", verify_window=0.01)
            hosts = [host(release="2", releases=["2"], carriers=["2"])]
            gate = run(gate_operation, server, app="shop", name="m", hosts=hosts, wait=3.0)
            run(migrate, server, app="shop", name="m", state="quarantined", gate=gate["gate"])
            run(migrate, server, app="shop", name="m", state=state, verify_window=0.01)
        yield session


def counted(session: t.Any) -> int:
    """Return how many writes of old code the canary has counted."""
    (sequence,) = session.execute("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S' AND relname LIKE '%canary'").fetchone()
    count: int = session.execute(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}").fetchone()[0]
    return count


def follow(session: t.Any, new: str, before: Row, after: Row, *, marked: bool) -> tuple[Row, int]:
    """Make the row be as *before* behind the trigger's back and update it to *after*; return what it is then, and what was counted."""
    session.execute("SET session_replication_role = replica")
    session.execute(f"INSERT INTO things (id, old, {new}) VALUES (1, %s, %s) ON CONFLICT (id) DO UPDATE SET old = EXCLUDED.old, {new} = EXCLUDED.{new}", before)
    session.execute("RESET session_replication_role")
    count = counted(session)
    with session.transaction():
        if marked:
            session.execute("SET LOCAL seamless_rollout.backfill = 'on'")
        session.execute(f"UPDATE things SET other = other + 1, old = %s, {new} = %s WHERE id = 1", after)
    return session.execute(f"SELECT old::text, {new}::text FROM things").fetchone(), counted(session) - count


@pytest.mark.parametrize("type_", OPERATIONS)
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("state", ["expanded", "restored"])
def test_every_update_is_followed_and_counted_by_the_rules(server: Server, type_: str, marked: bool, state: str) -> None:
    ((dummy, operation),) = OPERATIONS[type_].items()
    with synced(server, type_, state) as session:
        rows = list(itertools.product([None, "1", "2"], repeat=2))
        for before, after in itertools.product(rows, repeat=2):
            # up and down make no other text of these values.
            wanted = by_the_rules(before, after, marked=marked, quick=state == "expanded" and type_ != "json")
            assert (before, after, *follow(session, operation["to"], before, after, marked=marked)) == (before, after, *wanted)


@pytest.mark.parametrize("type_", OPERATIONS)
@pytest.mark.parametrize("state", ["expanded", "restored"])
def test_every_insert_is_followed_and_only_those_of_old_code_are_counted(server: Server, type_: str, state: str) -> None:
    ((dummy, operation),) = OPERATIONS[type_].items()
    new = operation["to"]
    with synced(server, type_, state) as session:
        for number, (old, given) in enumerate(itertools.product([None, "1", "2"], repeat=2)):
            count = counted(session)
            session.execute(f"INSERT INTO things (id, old, {new}) VALUES (%s, %s, %s)", (number, old, given))
            row = session.execute(f"SELECT old::text, {new}::text FROM things WHERE id = %s", (number,)).fetchone()
            value, of_old_code = (old, old is not None) if given is None else (given, False)
            assert (old, given, row, counted(session) - count) == (old, given, (value, value), int(of_old_code))
