# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.
"""Whole weights that give each part of a pool its share of the requests. Pure: weights and shares in, weights out."""

from __future__ import annotations

import typing as t

# Where a balancer knows no limit, this many steps are fine enough: a share is met to a thousandth.
ENOUGH = 1000
# Shares, and proportions within a part, that are this close (of themselves) are taken for the same: smaller weights are then the better ones.
_CLOSE = 0.005

Weights = t.Dict[str, int]


class Part(t.NamedTuple):
    """Members that share *share* (more than 0, less than 1) of the requests among themselves as their *weights* (1 and above) say."""

    share: float
    weights: t.Mapping[str, int]


class Division(t.NamedTuple):
    """*weights* by member, what each part gets with them (*shares*, of 1), and how far the worst of them is from what was wanted: *off*, as a part of
    the share itself or of what is left beside it, whichever is smaller."""

    weights: Weights
    shares: list[float]
    off: float


def divide(parts: t.Sequence[Part], least: int, most: int) -> Division:
    """Return weights from *least* to *most* with which each of *parts* gets its share.

    Of all weights that meet the shares equally well, those come first that keep the proportions within each part, and then the smallest.
    The sums that are tried are all those in which one part has its exact share, as near as whole numbers allow for the others.
    """
    most = min(most, max(ENOUGH, least))
    bounds = [_bounds(part, least, most) for part in parts]
    tried: dict[tuple[int, ...], float] = {}
    for number, (low, high) in enumerate(bounds):
        for own in range(low, high + 1):
            sums = tuple(
                own if other == number else min(max(round(part.share * own / parts[number].share), bounds[other][0]), bounds[other][1])
                for other, part in enumerate(parts)
            )
            if sums not in tried:
                tried[sums] = _off(parts, sums)
    best = min(tried.values())
    division: Division | None = None
    least_uneven = 0.0
    for sums in sorted((sums for sums, off in tried.items() if off <= max(best, _CLOSE)), key=sum):
        spread = [_spread(part.weights, total, least, most) for part, total in zip(parts, sums)]
        uneven = max(_uneven(part.weights, given) for part, given in zip(parts, spread))
        if division is None or uneven < least_uneven:
            weights = {name: weight for given in spread for name, weight in given.items()}
            division, least_uneven = Division(weights, [total / sum(sums) for total in sums], tried[sums]), uneven
        if uneven <= _CLOSE:
            break
    return t.cast(Division, division)


def _bounds(part: Part, least: int, most: int) -> tuple[int, int]:
    """Return the smallest and the largest sum of a part's weights: the largest is where its heaviest member has the most."""
    low = least * len(part.weights)
    return low, max(low, most * sum(part.weights.values()) // max(part.weights.values()))


def _off(parts: t.Sequence[Part], sums: t.Sequence[int]) -> float:
    total = sum(sums)
    return max(abs(own / total - part.share) / min(part.share, 1 - part.share) for part, own in zip(parts, sums))


def _spread(weights: t.Mapping[str, int], total: int, least: int, most: int) -> Weights:
    """Return *total* in the proportions of *weights*, rounded by the largest remainder, none below *least* or above *most*."""
    whole = sum(weights.values())
    given = {name: min(max(total * weight // whole, least), most) for name, weight in weights.items()}

    def lacks(name: str) -> tuple[int, int]:
        """Return how much the member is short of its proportion. One that was given more than that, for it is the least, is short of nothing."""
        return total * weights[name] - given[name] * whole, weights[name]

    for dummy in range(total - sum(given.values())):
        fitting = [name for name in given if given[name] < most]
        if not fitting:
            break
        given[max(fitting, key=lacks)] += 1
    # The least is more than the proportion of some: who is furthest above its own gives it.
    for dummy in range(sum(given.values()) - total):
        given[min((name for name in given if given[name] > least), key=lacks)] -= 1
    return given


def _uneven(weights: t.Mapping[str, int], given: t.Mapping[str, int]) -> float:
    """Return by how much the member that is worst off misses its proportion, as a part of it."""
    whole, total = sum(weights.values()), sum(given.values())
    return max(abs(given[name] * whole / (total * weight) - 1) for name, weight in weights.items())
