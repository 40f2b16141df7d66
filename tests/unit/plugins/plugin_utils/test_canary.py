# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math
import platform
import random
import time
import types
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.plugin_utils import _canary
from ansible_collections.seamless.rollout.plugins.plugin_utils._analyst import Analyst
from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import RATIOS, Count, SequentialTest, expected_capped, propensities, since
from ansible_collections.seamless.rollout.plugins.plugin_utils._counters import Counted
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from hypothesis import given
from hypothesis import strategies as st


def test_a_counter_that_was_reset_tells_what_came_since() -> None:
    before = {"a": Count(100, 5), "b": Count(100, 5), "gone": Count(7)}
    assert since(before, {"a": Count(130, 6), "b": Count(20, 1), "new": Count(9, 9)}) == {"a": Count(30, 1), "b": Count(20, 1)}
    assert since({"a": Count(100, 5)}, {"a": Count(101, 4)}) == {"a": Count(1, 0)}, "failures never go back"


@pytest.mark.parametrize(("mean", "most"), [(0.02, 1), (0.7, 3), (6.0, 4), (49.0, 40), (60.0, 50), (60.0, 181), (500.0, 100)])
def test_the_expectation_of_a_capped_poisson_number(mean: float, most: int) -> None:
    def weight(number: int) -> float:
        return math.exp(number * math.log(mean) - mean - math.lgamma(number + 1))

    exact = sum(min(number, most) * weight(number) for number in range(int(mean + 20 * math.sqrt(mean) + 30)))
    assert expected_capped(mean, most) == pytest.approx(exact, rel=0.01)


def test_rare_failures_are_judged_as_the_paper_does() -> None:
    """By hand: a fifth of the requests goes to the canary, three failures there and none elsewhere."""
    test = SequentialTest(["c"])
    test._failed, test._asked = 1e-9, 1.0
    for dummy in range(3):
        test.add({"c": Count(20, 1), "k": Count(80, 0)})
        test._failed, test._asked = 1e-9, 1.0
    mixture = sum((ratio * 0.2 / (ratio * 0.2 + 0.8) / 0.2) ** 3 for ratio in RATIOS) / len(RATIOS)
    assert test.evidence == pytest.approx(mixture, rel=1e-3)
    assert mixture > 20


def test_a_minute_that_compares_nothing_says_nothing() -> None:
    test = SequentialTest(["c"])
    test.add({"c": Count(100, 50), "k": Count(0, 0)})
    test.add({"k": Count(100, 50)})
    test.add({})
    assert test.evidence == 1.0 and test.seen == {"canary": Count(100, 50), "control": Count(100, 50)}


def test_a_burst_on_one_host_counts_as_few_failures() -> None:
    test = SequentialTest(["c"])
    test.add({"c": Count(1000, 900), **{f"k{number}": Count(1000, 0) for number in range(4)}})
    assert test.events == {"canary": _canary._most(1000 * 0.5 / 100), "control": 0}


def test_a_host_that_always_failed_more_often_is_not_blamed() -> None:
    past = {"c": Count(10_000, 500), **{f"k{number}": Count(10_000, 50) for number in range(4)}}
    assert propensities(past, "errors")["c"] == pytest.approx(3.55, abs=0.05)
    generator = random.Random(7)
    known, unknown = SequentialTest(["c"], past=past), SequentialTest(["c"])
    for dummy in range(60):
        minute = {host: Count(100, sum(generator.random() < (0.05 if host == "c" else 0.005) for each in range(100))) for host in past}
        known.add(minute)
        unknown.add(minute)
    assert known.evidence < 20 < unknown.evidence


def simulate(generator: random.Random, ratio: float, requests: int = 40, chance: float = 0.005) -> float:
    test = SequentialTest(["h0", "h1"])
    highest = 0.0
    for dummy in range(30):
        test.add({
            f"h{number}": Count(requests, sum(generator.random() < chance * (ratio if number < 2 else 1) for each in range(requests))) for number in range(10)
        })
        highest = max(highest, test.evidence)
    return highest


def test_it_finds_what_is_there_and_little_else() -> None:
    generator = random.Random(1)
    assert sum(simulate(generator, 1.0) >= 20 for dummy in range(60)) <= 5
    assert sum(simulate(generator, 5.0) >= 20 for dummy in range(30)) >= 27


COUNTS = st.builds(lambda requests, errors: Count(requests, min(errors, requests)), st.integers(0, 10**7), st.integers(0, 10**6))


@given(st.lists(st.dictionaries(st.sampled_from(["c", "k1", "k2"]), COUNTS), max_size=8), st.floats(1, 10))
def test_whatever_is_counted_the_evidence_is_a_number(minutes: list[dict[str, Count]], tolerance: float) -> None:
    test = SequentialTest(["c"], tolerance=tolerance)
    for minute in minutes:
        test.add(minute)
    assert 0 <= test.evidence < math.inf


class Watched:
    """A real ledger of a rollout whose hosts get 300 requests in each reading; *fails* are the shares of them that fail."""

    def __init__(self, directory: str, monkeypatch: pytest.MonkeyPatch, tiers: t.Mapping[str, str], canary: t.Sequence[str]) -> None:
        self.now, self.readings, self.fails = 1000.0, 0, dict.fromkeys(tiers, 0.0)
        monkeypatch.setattr(time, "time", lambda: self.now)
        entry = {"from": "1.0", "target": "2.0", "state": "pending", "detail": ""}
        self.hosts = {host: {**entry, "tier": tier} for host, tier in tiers.items()}
        self.ledger = Ledger(directory)
        row = {"id": "r", "app": "shop", "release": "2.0", "mode": "release", "state": "planned", "reason": "", "owner": "o", "controller": platform.node()}
        self.ledger.begin({**row, "pid": 1, "process_start": "", "started_at": self.now})
        self.ledger.save_plan("r", {"release": "2.0", "hosts": self.hosts})
        facts = {"order": list(tiers), "canary": list(canary), "hosts": self.hosts, "analysis": {"min_requests": 500}}
        self.analyst = Analyst(t.cast(t.Any, types.SimpleNamespace(facts=facts, ledger=self.ledger, id="r")), self.count, facts["analysis"])

    def count(self, before: Counted) -> Counted:
        self.readings += 1
        return Counted({f"{host}|lb": Count(300 * self.readings, int(300 * self.readings * self.fails[host])) for host in self.hosts})

    def judge(self, host: str) -> dict[str, t.Any]:
        """Ask for *host* until there is a verdict more than before, and return it."""
        known = len(self.verdicts())
        for dummy in range(15):
            self.analyst.hold(host)
            if len(self.verdicts()) > known:
                return self.verdicts()[-1]
            self.now += 60
        raise AssertionError("no verdict")

    def verdicts(self) -> list[dict[str, t.Any]]:
        return [event["detail"] for event in self.ledger.events("r") if event["event"] == "canary_verdict"]


@pytest.mark.parametrize("state", ["done", "skipped"])
def test_hosts_that_have_the_new_release_are_nobody_to_compare_with(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    watched = Watched(str(tmp_path), monkeypatch, dict.fromkeys(["c", "n1", "n2", "n3", "k"], ""), ["c"])
    watched.fails.update(dict.fromkeys(["c", "n1", "n2", "n3"], 0.05))
    for host in ("n1", "n2", "n3"):
        watched.ledger.update_host("r", host, state=state)
    watched.ledger.event("r", "canary_past", at=1.0, counts={f"{host}|lb": [1000, 300 if host[0] == "n" else 0, 0] for host in watched.hosts})
    verdict = watched.judge("k")
    assert verdict["verdict"] == "fail" and verdict["numbers"]["control"]["errors"] == 0, verdict
    assert verdict["numbers"]["control"]["requests"] == verdict["numbers"]["canary"]["requests"]


def test_each_tier_has_its_own_canary_and_verdict(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tiers = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b", "b3": "b"}
    watched = Watched(str(tmp_path), monkeypatch, tiers, ["a1", "b1"])
    watched.fails.update({"b1": 0.2, "b2": 0.1, "b3": 0.1})
    first = watched.judge("a2")
    assert (first["verdict"], first["canary"]) == ("pass", ["a1"]) and first["numbers"]["control"]["errors"] == 0
    for host in ("a1", "a2", "a3", "b1"):
        watched.ledger.update_host("r", host, state="done")
    assert watched.analyst.hold("a3") == "", "it is judged already"
    watched.fails.update({"b1": 0.5, "b2": 0.0, "b3": 0.0})
    second = watched.judge("b2")
    assert (second["verdict"], second["canary"]) == ("fail", ["b1"])
    assert second["numbers"]["control"]["requests"] == 2 * second["numbers"]["canary"]["requests"]
    assert len(watched.verdicts()) == 2
