# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.seamless.rollout.plugins.module_utils._migration.ladder import LATER, Ladder, Limits
from hypothesis import given
from hypothesis import strategies as st


def waits(ladder: Ladder, elapsed: float, count: int) -> list[int]:
    return [ladder.wait(elapsed) for dummy in range(count)]


def test_first_without_waiting_then_ever_longer_and_never_above_a_tenth_of_a_second_at_first() -> None:
    assert waits(Ladder(Limits(max_stall_ms=500)), 1.0, 10) == [0, 0, 0, 20, 50, 50, 100, 100, 100, 100]


def test_longer_waits_only_later_and_only_where_allowed() -> None:
    ladder = Ladder(Limits(max_stall_ms=500))
    waits(ladder, 1.0, 8)
    assert waits(ladder, LATER, 4) == [200, 200, 470, 470]
    assert waits(Ladder(Limits(), probes=0), LATER, 3) == [120, 120, 120]


def test_tries_between_the_waits() -> None:
    assert waits(Ladder(Limits(), probes=1, between=2), 0.0, 7) == [0, 20, 0, 0, 50, 0, 0]


def test_where_a_failure_costs_work_the_first_wait_is_a_long_one() -> None:
    assert waits(Ladder(Limits(), probes=0, between=3, costly=True), 0.0, 3)[0] == 100


def test_no_stall_allowed_means_never_to_wait() -> None:
    assert set(waits(Ladder(Limits(max_stall_ms=0)), LATER, 20)) == {0}


@given(st.integers(1, 10_000), st.lists(st.floats(0, 1000), min_size=1, max_size=50))
def test_no_wait_is_longer_than_the_stall_that_is_allowed(stall: int, times: list[float]) -> None:
    ladder = Ladder(Limits(max_stall_ms=stall))
    assert all(0 <= ladder.wait(elapsed) <= max(stall, 20) for elapsed in sorted(times))


@given(st.integers(0, 500), st.floats(0, 1))
def test_clients_are_left_alone_for_longer_than_they_were_stalled(waited: int, chance: float) -> None:
    assert Ladder(Limits(), chance=lambda: chance).pause(waited) >= 2 * waited / 1000
