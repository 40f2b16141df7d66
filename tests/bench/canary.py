# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often the verdict on a canary is right, in simulated rollouts that are looked at every minute."""

from __future__ import annotations

import functools
import math
import random
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count, SequentialTest
from ansible_collections.seamless.rollout.plugins.plugin_utils._verdict import Analysis, Look, judge

from bench.rows import Row, from_tests

RUNS, MINUTES, HOSTS, CANARY = 2000, 30, 10, 2
ALPHA, RATE = 0.05, 0.005
# What finds a regression has to come before the canary passes, so this goes through the verdict, which is slower to reckon.
JUDGED_RUNS, JUDGED = 500, Analysis(bake_max=60.0 * MINUTES, min_requests=1000, alpha=ALPHA)


def _poisson(source: random.Random, mean: float) -> int:
    """Knuth's method; above 30 a rounded normal number, which is near enough."""
    if mean > 30:
        return max(0, round(source.gauss(mean, math.sqrt(mean))))
    number, product, least = 0, source.random(), math.exp(-mean)
    while product >= least:
        number += 1
        product *= source.random()
    return number


class World(t.NamedTuple):
    """*requests* of one host and minute; the canary fails *worse* times as often; for three minutes *outage* hosts fail half of their requests."""

    requests: float
    worse: float = 1.0
    outage: int = 0
    canary: int = CANARY


@functools.lru_cache
def blamed(world: World, runs: int = RUNS) -> float:
    """Return the share of rollouts in which the canary is blamed."""
    source = random.Random(repr(world))
    return sum(_is_blamed(source, world) for dummy in range(runs)) / runs


def _is_blamed(source: random.Random, world: World) -> bool:
    test = SequentialTest([f"h{number}" for number in range(world.canary)])
    burst = source.randrange(1, MINUTES - 3)
    for minute in range(MINUTES):
        test.add(_minute(source, world, outage=burst <= minute < burst + 3))
        if test.evidence >= 1 / ALPHA:
            return True
    return False


def _minute(source: random.Random, world: World, *, outage: bool) -> dict[str, Count]:
    counts = {}
    for number in range(HOSTS):
        rate = RATE * (world.worse if number < world.canary else 1)
        if number < world.outage and outage:
            rate = 0.5
        requests = _poisson(source, world.requests)
        counts[f"h{number}"] = Count(requests, min(requests, _poisson(source, requests * rate)))
    return counts


@functools.lru_cache
def verdicts(world: World, runs: int = JUDGED_RUNS) -> dict[str, float]:
    """Return the share of each verdict."""
    source = random.Random(repr(world))
    found = [_verdict(source, world) for dummy in range(runs)]
    return {verdict: found.count(verdict) / runs for verdict in ("pass", "fail", "inconclusive")}


def _verdict(source: random.Random, world: World) -> str:
    looks = [Look(0.0, {f"h{number}": Count() for number in range(HOSTS)})]
    while True:
        verdict = judge(JUDGED, [f"h{number}" for number in range(world.canary)], {}, looks).verdict
        if verdict:
            return verdict
        minute = _minute(source, world, outage=False)
        looks.append(Look(looks[-1].at + 60, {host: count.plus(minute[host]) for host, count in looks[-1].counts.items()}))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def false_alarms() -> list[Row]:
    """Requests a minute, of a host and of the whole fleet: nothing is different, and the canary is blamed."""
    shares = {f"{name} {number}/min": blamed(World(number / among)) for number in (20, 200) for name, among in (("host", 1), ("fleet", HOSTS))}
    return [Row("canary_false_alarms", ", ".join(f"{name} {_percent(share)}" for name, share in shares.items()), "<= 3 %", max(shares.values()) <= 0.03)]


def found() -> list[Row]:
    """Found before it passes. Beside it, how many of those without a difference do pass."""
    shares = {number: verdicts(World(number, worse=5))["fail"] for number in (20, 200)}
    alike = ", ".join(_percent(verdicts(World(number))["pass"]) for number in shares)
    value = f"{', '.join(f'{number}/min and host {_percent(share)}' for number, share in shares.items())} (without a difference {alike} pass)"
    return [Row("canary_fivefold_found", value, ">= 95 %", min(shares.values()) >= 0.95)]


def outages() -> list[Row]:
    """All hosts fail at once. Beside it, what happens when only one canary has an accident."""
    shares = {number: blamed(World(number, outage=HOSTS)) for number in (20, 200)}
    alone = ", ".join(
        f"{name} {_percent(blamed(World(20, outage=1, canary=canary)))}" for name, canary in (("one of two canaries", 2), ("the only canary", 1))
    )
    value = ", ".join(f"{number}/min and host {_percent(1 - share)}" for number, share in shares.items())
    return [Row("canary_outage_not_blamed", f"{value} (an accident of {alone} is blamed)", ">= 95 %", max(shares.values()) <= 0.05)]


def regression() -> list[Row]:
    return from_tests("canary_regression", "stopped before the second batch, rolled back", 5, ("test_", "tests/integration/test_canary.py"))
