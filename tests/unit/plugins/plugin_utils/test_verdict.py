# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import haproxy
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count
from ansible_collections.seamless.rollout.plugins.plugin_utils._counters import of_balancers
from ansible_collections.seamless.rollout.plugins.plugin_utils._verdict import Analysis, Look, judge, read_analysis

HOSTS = ("c", "k1", "k2", "k3")


def looks(minutes: int, errors: t.Mapping[str, int], requests: int = 100, every: float = 60) -> list[Look]:
    """Return readings in which each host gets *requests* a minute, of which *errors* fail."""
    return [
        Look(1000 + every * minute, {f"{host}|lb": Count(50 + requests * minute, errors.get(host, 0) * minute) for host in HOSTS})
        for minute in range(minutes + 1)
    ]


def test_enough_requests_without_a_difference_pass() -> None:
    quick = Analysis(min_requests=200, bake_min=60)
    assert judge(quick, ["c"], {}, looks(1, {})).verdict == ""
    verdict = judge(quick, ["c"], {}, looks(2, {}))
    assert verdict.verdict == "pass" and verdict.numbers["canary"]["requests"] == 200 and verdict.numbers["control"]["requests"] == 600
    assert judge(Analysis(min_requests=200, bake_min=300), ["c"], {}, looks(4, {})).verdict == ""


def test_failures_on_the_canary_alone_fail_at_once() -> None:
    verdict = judge(Analysis(), ["c"], {}, looks(3, {"c": 5}))
    assert verdict.verdict == "fail" and verdict.numbers["evidence"] >= verdict.numbers["needed"] == 20
    assert "15 of 300 failed on the canary, 0 of 900 failed on the others" in verdict.why


@pytest.mark.parametrize("hosts", [2, 3, 10, 30])
@pytest.mark.parametrize("rate", [0.0, 0.001, 0.005, 0.05])
@pytest.mark.parametrize("requests", [50, 200, 600])
def test_a_canary_that_fails_everything_never_passes(hosts: int, rate: float, requests: int) -> None:
    names = ["c", *(f"k{number}" for number in range(1, hosts))]
    seen = [
        Look(60.0 * minute, {name: Count(requests * minute, int(requests * minute * (1 if name == "c" else rate))) for name in names}) for minute in range(12)
    ]
    past = {name: Count(100_000, int(100_000 * rate)) for name in names}
    for before in ({}, past):
        verdict = next(found for found in (judge(Analysis(), ["c"], before, seen[:number]) for number in range(1, 13)) if found.verdict)
        # With half of the requests on the canary, ten readings may be too few to blame it.
        assert verdict.verdict == "fail" or (hosts == 2 and verdict.verdict == "inconclusive"), verdict


def test_a_doubt_that_is_left_is_no_pass() -> None:
    doubt = [Look(60.0 * minute, {"c|lb": Count(300 * minute, min(minute, 2)), "k|lb": Count(900 * minute)}) for minute in range(6)]
    assert judge(Analysis(), ["c"], {}, doubt[:4]).verdict == ""
    verdict = judge(Analysis(bake_max=300), ["c"], {}, doubt)
    assert verdict.verdict == "inconclusive" and "may fail more often" in verdict.why and 2 < verdict.numbers["evidence"] < 20
    short = Analysis(bake_min=2, bake_max=60, interval=2, min_requests=300)
    alike = looks(3, dict.fromkeys(HOSTS, 2), every=2)
    assert judge(short, ["c"], {}, alike[:3]).verdict == "" and judge(short, ["c"], {}, alike).verdict == "pass"


def test_failures_of_all_are_nobodys_fault() -> None:
    assert judge(Analysis(), ["c"], {}, looks(10, dict.fromkeys(HOSTS, 30))).verdict == "pass"


def test_a_gate_that_was_not_kept_fails() -> None:
    seen = looks(1, {})
    verdict = judge(Analysis(), ["c"], {}, [seen[0], seen[1]._replace(broken=("orders is 9, above 5",))])
    assert verdict.verdict == "fail" and verdict.why.startswith("orders is 9, above 5")
    again = Look.of(seen[1]._replace(broken=("x",)).detail())
    assert again.broken == ("x",) and again.counts == seen[1].counts


def test_what_was_not_seen_is_inconclusive() -> None:
    few = judge(Analysis(bake_max=300), ["c"], {}, looks(5, {}, requests=10))
    assert few.verdict == "inconclusive" and "50 of 500 requests" in few.why
    alone = [Look(look.at, {name: count for name, count in look.counts.items() if name == "c|lb"}) for look in looks(20, {})]
    verdict = judge(Analysis(), ["c"], {}, alone)
    assert verdict.verdict == "inconclusive" and "no other host" in verdict.why


def test_a_source_that_can_not_be_read_is_an_error_and_no_failure() -> None:
    broken = [Look(1180 + 60 * number, {}, "no answer") for number in range(3)]
    assert judge(Analysis(), ["c"], {}, [*looks(2, {}), *broken[:2]]).verdict == ""
    verdict = judge(Analysis(), ["c"], {}, [*looks(2, {}), *broken])
    assert verdict.verdict == "error" and "no answer" in verdict.why
    assert judge(Analysis(), ["c"], {}, broken).verdict == "error"
    again = [Look(look.at + 120, look.counts) for look in looks(9, {})[3:]]
    assert judge(Analysis(), ["c"], {}, [*looks(2, {}), *broken[:2], *again]).verdict == "pass"


def test_slow_requests_count_where_they_are_counted() -> None:
    slow = [
        Look(look.at, {name: Count(count.requests, 0, count.requests // 10 if name == "c|lb" else 0) for name, count in look.counts.items()})
        for look in looks(5, {})
    ]
    verdict = judge(Analysis(), ["c"], {}, slow, slow=True)
    assert verdict.verdict == "fail" and verdict.numbers["metric"] == "slow" and verdict.numbers["needed"] == 40
    assert judge(Analysis(), ["c"], {}, slow).verdict == "pass"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("yes", "use a dictionary"), ({"min_request": 5}, "Did you mean min_requests"), ({"alpha": 2}, "a chance from"), ({"alpha": True}, "a chance from"),
        ({"on_fail": "stop"}, "pause, rollback"), ({"bake_max": 30, "interval": 10}, "below bake_min"), ({"bake_max": 5, "bake_min": 1}, "below interval"),
        ({"interval": "often"}, "such as 60"),
    ],
)
def test_what_can_not_be_read_is_refused_by_its_name(value: t.Any, message: str) -> None:
    analysis, problems = read_analysis(value)
    assert len(problems) == 1 and message in problems[0] and problems[0].startswith("rollout_canary_analysis")
    assert read_analysis({}) == (None, [])
    assert read_analysis({"min_requests": "20", "on_fail": "rollback"}) == (Analysis(min_requests=20, on_fail="rollback"), [])


def test_haproxys_columns() -> None:
    row = {"mode": "http", "hrsp_2xx": "90", "hrsp_5xx": "4", "hrsp_other": "0", "econ": "2", "eresp": "1", "stot": "97", "hrsp_4xx": ""}
    assert haproxy.answered_of(row) == (97, 7)
    assert haproxy.answered_of({**row, "mode": "tcp"}) == (97, 3)


def test_a_host_is_counted_in_every_pool_and_process() -> None:
    call = {"delegate": "lb1", "driver": "haproxy", "socket": "/run/a.sock", "servers": [["shop", "web1"], ["api", "web1"]]}
    member = {"name": "web1", "requests": 10, "errors": 1}
    answer = {
        "pools": [
            {"balancer": "a", "backend": "shop", "members": [member, {**member, "name": "web2"}]}, {"balancer": "b", "backend": "shop", "members": [member]},
            {"balancer": "a", "backend": "api", "members": [member]},
        ]
    }
    key = "lb1|haproxy|/run/a.sock|None|None|None"
    hosts = {"web1": {"balancers": [call]}, "worker": {"balancers": []}}
    assert of_balancers(hosts, {key: answer}) == {f"web1|{key}|{rest}": Count(10, 1) for rest in ("a|shop|web1", "b|shop|web1", "a|api|web1")}
    member["errors"] = None
    with pytest.raises(SeamlessError, match="lb1 .driver haproxy. does not count .*canary_analysis.source"):
        of_balancers(hosts, {key: answer})
