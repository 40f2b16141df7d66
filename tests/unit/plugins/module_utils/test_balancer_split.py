# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import ramp
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.split import Part, divide
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from hypothesis import given, settings
from hypothesis import strategies as st


def members(name: str, *weights: int) -> dict[str, int]:
    return {f"{name}{number}": weight for number, weight in enumerate(weights, 1)}


def two(share: float, few: dict[str, int], many: dict[str, int]) -> list[Part]:
    return [Part(share / 100, few), Part(1 - share / 100, many)]


@pytest.mark.parametrize(
    ("share", "few", "many", "weights"),
    [
        (5, (1,), (1, 1), [2, 19, 19]),
        (5, (100,), (100, 100), [2, 19, 19]),
        (50, (1,), (1, 1, 1), [3, 1, 1, 1]),
        (5, (100,), (100, 100, 100, 100, 100), [5, 19, 19, 19, 19, 19]),
        (10, (100, 200), (100, 200), [1, 2, 9, 18]),
        (99, (1,), (1,), [99, 1]),
        (1, (1, 1), (1, 1), [1, 1, 99, 99]),
    ],
)
def test_weights_are_the_smallest_that_meet_the_shares(share: float, few: tuple[int, ...], many: tuple[int, ...], weights: list[int]) -> None:
    division = divide(two(share, members("few", *few), members("many", *many)), 1, 256)
    assert list(division.weights.values()) == weights
    assert division.shares[0] == pytest.approx(share / 100, rel=0.001) and division.off < 0.001


def test_a_share_that_whole_weights_can_not_give_comes_with_the_nearest() -> None:
    division = divide(two(0.1, members("few", 1, 1), members("many", 1, 1)), 1, 256)
    assert division.weights == {"few1": 1, "few2": 1, "many1": 256, "many2": 256}
    assert division.shares[0] == pytest.approx(2 / 514) and division.off > 1


def test_a_share_of_several_parts() -> None:
    parts = [Part(0.05, members("a", 1)), Part(0.15, members("b", 1, 1)), Part(0.8, members("c", 10, 30))]
    division = divide(parts, 1, 256)
    assert division.shares == pytest.approx([0.05, 0.15, 0.8], abs=0.001)
    assert division.weights["c2"] == pytest.approx(3 * division.weights["c1"], rel=0.01)
    assert division.weights["b1"] == pytest.approx(division.weights["b2"], rel=0.01)


weights_of = st.lists(st.integers(1, 300), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(share=st.floats(0.5, 99.5), few=weights_of, many=weights_of, most=st.sampled_from([100, 255, 256, 65535]))
def test_whatever_is_asked_weights_are_whole_and_within_limits_and_told_truly(share: float, few: list[int], many: list[int], most: int) -> None:
    parts = two(share, members("few", *few), members("many", *many))
    division = divide(parts, 1, most)
    assert set(division.weights) == {*parts[0].weights, *parts[1].weights}
    assert all(isinstance(weight, int) and 1 <= weight <= most for weight in division.weights.values())
    total = sum(division.weights.values())
    for part, got in zip(parts, division.shares):
        assert got == pytest.approx(sum(division.weights[name] for name in part.weights) / total)
        for one, other in itertools.permutations(part.weights, 2):
            if part.weights[one] > part.weights[other]:
                assert division.weights[one] >= division.weights[other]
    assert division.off == pytest.approx(max(abs(got - part.share) / min(part.share, 1 - part.share) for part, got in zip(parts, division.shares)))


@settings(max_examples=60, deadline=None)
@given(share=st.floats(1, 99), few=st.integers(1, 3), many=st.integers(1, 3), most=st.integers(2, 12))
def test_nothing_meets_a_share_better_than_what_is_found(share: float, few: int, many: int, most: int) -> None:
    """Against every pair of sums that equal members can have."""
    parts = two(share, members("few", *[1] * few), members("many", *[1] * many))
    found = divide(parts, 1, most).off
    least = min(
        abs(one / (one + other) - share / 100) / min(share / 100, 1 - share / 100)
        for one in range(few, few * most + 1) for other in range(many, many * most + 1)
    )
    assert found <= max(least, 0.005) + 1e-9


@settings(max_examples=25, deadline=None)
@given(share=st.integers(1, 99), few=weights_of, many=weights_of)
def test_proportions_within_a_part_are_kept(share: int, few: list[int], many: list[int]) -> None:
    """As well as weights to a thousand can."""
    parts = two(share, members("few", *few), members("many", *many))
    division = divide(parts, 1, 65535)
    for part in parts:
        total, whole = sum(division.weights[name] for name in part.weights), sum(part.weights.values())
        quotas = {name: total * weight / whole for name, weight in part.weights.items()}
        # Who would have less than the least weight takes from the others.
        if min(quotas.values()) >= 1:
            assert all(abs(division.weights[name] - quota) < 1 for name, quota in quotas.items())


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"steps": []}, "rising percentages and seconds"),
        ({"steps": [50, 10]}, "rising percentages from 1 to 99"),
        ({"steps": [10, 100]}, "100 follows by itself"),
        ({"steps": [0, 10]}, "from 1 to 99"),
        ({"steps": ["x"]}, "rising percentages and seconds"),
        ({"steps": [10], "interval": 0}, "interval is 0"),
        ({"steps": [10, 20], "interval": 50000}, "less than a day"),
        ({"steps": [10], "intervall": 5}, "rising percentages and seconds"),
        ([10, 20], "rising percentages and seconds"),
    ],
)
def test_a_ramp_that_can_not_be_climbed_is_refused(value: object, problem: str) -> None:
    with pytest.raises(SeamlessError, match=problem):
        ramp.read(value, "rollout_weight_ramp")


def test_a_ramp_and_its_weights() -> None:
    assert ramp.read({}) is None and ramp.read(None) is None
    read = ramp.read({"steps": ["10%", 25, 50]})
    assert read == ramp.Ramp([10, 25, 50], 10.0) and read.seconds == 30
    assert [ramp.weight_at(100, step) for step in (*read.steps, 100)] == [10, 25, 50, 100]
    assert [ramp.weight_at(10, step) for step in (*read.steps, 100)] == [1, 3, 5, 10]
    assert ramp.problem(read, 10, (1, 256)) is None
    assert "a weight of 10 or more, or begin at 12 %" in str(ramp.problem(read, 9, (1, 256)))
    assert str(ramp.problem(read, 1, (1, 256))).endswith("a weight of 10 or more")
    assert "no weights" in str(ramp.problem(read, 100, None)) and "no weight" in str(ramp.problem(read, 0, (1, 256)))
