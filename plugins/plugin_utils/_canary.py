# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.
"""Whether the hosts with the new release fail more often than the others do in the same minutes. Pure.

The test may be looked at after every minute without losing its error rate: it is a mixture of likelihood ratios, of which each is a martingale where the
releases are alike, so by Ville's inequality it exceeds ``1 / alpha`` at any time with a chance of at most ``alpha``. Source: Lindon, Sanden and
Shirikian, "Rapid Regression Detection in Software Deployments through Sequential Testing" (2022), arXiv:2205.14762; Lindon and Malek, "Anytime-Valid
Inference for Multinomial Count Data" (2022). Two things are added. Of a host and a minute no more failures count than thrice as many as are usual,
and one: a burst is no proof that each request is worse off. And since a host that often gets there anyway can't do so more often, the share of
failures that is to be expected on the canary is reckoned with that in mind.
"""

from __future__ import annotations

import math
import typing as t

# How many times as often the canary may fail; the test asks each, and takes the mean.
RATIOS = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 50.0)
# Errors after which a host's own past says as much about it as the fleet's does.
_PRIOR = 3.0
_TINY = 1e-9


class Count(t.NamedTuple):
    """What a source has counted: *requests*, those of them that failed, and those that were slow. Totals, or what one minute added."""

    requests: int = 0
    errors: int = 0
    slow: int = 0

    def plus(self, other: Count) -> Count:
        return Count(self.requests + other.requests, self.errors + other.errors, self.slow + other.slow)


Counts = t.Mapping[str, Count]


def since(before: Counts, now: Counts) -> dict[str, Count]:
    """Return what each counter of *now* has counted since *before*. One that has gone down was reset and tells what came since."""
    return {name: _since(before[name], count) for name, count in now.items() if name in before}


def _since(before: Count, now: Count) -> Count:
    if now.requests < before.requests:
        return now
    # Requests and failures are read one after the other, so a failure may be told of a request that comes with the next reading.
    return Count(*(max(0, new - old) for old, new in zip(before, now)))


def propensities(past: Counts, metric: str) -> dict[str, float]:
    """Return how often each host failed before the rollout, as a multiple of the whole fleet's rate, drawn towards 1 where little was seen."""
    requests = sum(count.requests for count in past.values())
    rate = sum(getattr(count, metric) for count in past.values()) / requests if requests else 0.0
    return {host: (getattr(count, metric) + _PRIOR) / (rate * count.requests + _PRIOR) for host, count in past.items()}


class SequentialTest:
    """The sequential test of one metric, ``errors`` or ``slow``: feed it minute by minute."""

    def __init__(self, canary: t.Collection[str], metric: str = "errors", *, past: Counts | None = None, tolerance: float = 1.0) -> None:
        """*canary* are the hosts with the new release; *tolerance* is how many times as often they may fail; *past* is what was counted before the rollout."""
        self.canary, self.metric, self.tolerance = frozenset(canary), metric, tolerance
        self.past = dict(past or {})
        self.propensity = propensities(self.past, metric)
        self.events = {"canary": 0, "control": 0}
        self.seen = {"canary": Count(), "control": Count()}
        self.compared = 0
        self._logs = [0.0] * len(RATIOS)
        # How often the control fails for each request, from what was seen before the minute that is judged by it.
        self._failed = sum(getattr(count, metric) for count in self.past.values()) + 0.5
        self._asked = sum(count.requests for count in self.past.values()) + 100.0

    @property
    def evidence(self) -> float:
        """Return the e-value: how much better the assumption explains what was seen that the canary fails more often, than that it does not."""
        return sum(math.exp(min(log, 700.0)) for log in self._logs) / len(self._logs)

    def add(self, minute: Counts) -> None:
        """Take in what one minute added, of each host in rotation. A minute in which only one side was asked compares nothing."""
        asked = {host: count for host, count in minute.items() if count.requests > 0}
        sides = {side: {host: count for host, count in asked.items() if (host in self.canary) == (side == "canary")} for side in self.seen}
        if all(sides.values()):
            self.compared += 1
            self._judge(sides["canary"], sides["control"])
        for side, counts in sides.items():
            for count in counts.values():
                self.seen[side] = self.seen[side].plus(count)
        for host, count in sides["control"].items():
            self._failed += getattr(count, self.metric)
            self._asked += count.requests * self.propensity.get(host, 1.0)

    def _judge(self, canary: Counts, control: Counts) -> None:
        rate = self._failed / self._asked
        there, elsewhere = self._events(canary, rate), self._events(control, rate)
        self.events["canary"] += there
        self.events["control"] += elsewhere
        usual = self._expected(control, rate, 1.0)
        alike = _share(self._expected(canary, rate, self.tolerance), usual)
        for number, ratio in enumerate(RATIOS):
            worse = _share(self._expected(canary, rate, self.tolerance * ratio), usual)
            self._logs[number] += there * math.log(worse / alike) + elsewhere * math.log((1 - worse) / (1 - alike))

    def _usual(self, host: str, count: Count, rate: float) -> float:
        return rate * count.requests * self.propensity.get(host, 1.0)

    def _events(self, side: Counts, rate: float) -> int:
        return sum(min(getattr(count, self.metric), _most(self._usual(host, count, rate))) for host, count in side.items())

    def _expected(self, side: Counts, rate: float, ratio: float) -> float:
        """Return how many failures of these hosts count in a minute of so many requests, when they fail *ratio* times as often as is usual."""
        usual = [self._usual(host, count, rate) for host, count in side.items()]
        return sum(expected_capped(ratio * one, _most(one)) for one in usual)


def _most(usual: float) -> int:
    return 1 + int(3 * usual)


def expected_capped(mean: float, most: int) -> float:
    """Return the expectation of a Poisson number with that *mean* of which no more than *most* count."""
    if mean > 50:
        spread = math.sqrt(mean)
        z = (most - mean) / spread
        below = 0.5 * math.erfc(-z / math.sqrt(2))
        return mean * below - spread * math.exp(-z * z / 2) / math.sqrt(2 * math.pi) + most * (1 - below)
    term, total, expected = math.exp(-mean), 0.0, 0.0
    for number in range(most):
        total += term
        expected += 1 - total
        term *= mean / (number + 1)
    return expected


def _share(part: float, rest: float) -> float:
    return min(max(part / (part + rest), _TINY), 1 - _TINY)
