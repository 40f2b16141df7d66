# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sqlite3

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._migration.backfill import after, decoded, encoded, up_to
from ansible_collections.seamless.rollout.plugins.module_utils._migration.pace import LEAST, MOST, START, Pace, progress
from hypothesis import given
from hypothesis import strategies as st


def test_quick_batches_grow_and_slow_ones_shrink() -> None:
    pace = Pace(80)
    assert pace.batch == START
    pace.took(10, START)
    assert pace.batch == 2 * START
    pace.took(70, 2 * START)
    assert pace.batch == 2 * START
    pace.took(150, 2 * START)
    assert pace.batch == START


def test_a_short_batch_at_the_end_says_nothing() -> None:
    pace = Pace(80)
    pace.took(1, 3)
    assert pace.batch == START


def test_a_server_that_is_far_too_slow_gets_a_rest() -> None:
    pace = Pace(80)
    assert pace.took(200, START) == 0
    assert pace.took(1000, START) == 1
    assert pace.took(60_000, START) == 5


@given(st.lists(st.one_of(st.none(), st.floats(0, 10_000)), max_size=60), st.integers(-5, 10**6))
def test_a_batch_keeps_its_bounds(times: list[float | None], start: int) -> None:
    pace = Pace(80, start)
    for time in times:
        if time is None:
            pace.hindered()
        else:
            pace.took(time, pace.batch)
        assert LEAST <= pace.batch <= MOST


def test_progress_tells_rate_and_rest() -> None:
    far = progress(2_000, 10_000, 4.0)
    assert (far.rate, far.eta) == (500.0, 16.0)
    assert progress(12_000, 10_000, 4.0).estimate is None
    assert progress(0, 10_000, 0.0).eta is None
    assert progress(5, None, 1.0).estimate is None
    assert progress(7, 5, 1.0, True).eta == 0


KEYS = st.lists(st.tuples(st.integers(-3, 3), st.text("ab", max_size=2), st.integers(-2, 2)), unique=True, max_size=25)


@pytest.mark.parametrize("width", [1, 2, 3])
@given(rows=KEYS, low=st.tuples(st.integers(-3, 3), st.text("ab", max_size=2), st.integers(-2, 2)), data=st.data())
def test_the_conditions_walk_every_key_once(width: int, rows: list[tuple[int, str, int]], low: tuple[int, str, int], data: st.DataObject) -> None:
    """MariaDB's and PostgreSQL's forms are both what comparing tuples is."""
    high = data.draw(st.tuples(st.integers(-3, 3), st.text("ab", max_size=2), st.integers(-2, 2)))
    columns = ["a", "b", "c"][:width]
    keys = sorted({row[:width] for row in rows})
    db = sqlite3.connect(":memory:")
    db.execute(f"CREATE TABLE t ({', '.join(columns)})")
    db.executemany(f"INSERT INTO t VALUES ({', '.join('?' * width)})", keys)
    for engine in ("postgresql", "mariadb"):
        behind, first = after(engine, columns, list(low[:width]))
        until, second = up_to(engine, columns, list(high[:width]))
        found = db.execute(f"SELECT * FROM t WHERE {behind} AND {until} ORDER BY {', '.join(columns)}".replace("%s", "?"), [*first, *second]).fetchall()
        assert found == [key for key in keys if low[:width] < key <= high[:width]]
    db.close()


@pytest.mark.parametrize("value", [7, -1, "O'Brien", "", b"\x00\xff", 2**70])
def test_keys_survive_the_ledger(value: object) -> None:
    assert decoded(encoded(value)) == value
