# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Weights that go up in steps, on a real HAProxy."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

from integration.balancer.conftest import MakeLab
from integration.balancer.lab import Lab

POOL = """\
backend shop
    balance {balance}
    option httpchk GET /health
    server s1 127.0.0.1:{{s1}} weight {weight}
    server s2 127.0.0.1:{{s2}} weight {weight}
    server s3 127.0.0.1:{{s3}} weight {weight}
"""
RAMP = {"steps": [10, 50], "interval": 1}
LONG = {"steps": [10, 50], "interval": 30}


def pool(weight: int = 100, balance: str = "roundrobin") -> dict[str, t.Any]:
    return {"apps": 3, "config": POOL.format(weight=weight, balance=balance)}


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    return make_lab(**pool())


def weights(lab: Lab) -> list[int]:
    return [lab.info(name)["weight"] for name in ("s1", "s2", "s3")]


def refused(call: t.Callable[[], object], *words: str) -> SeamlessError:
    with pytest.raises(SeamlessError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), str(caught.value)
    return caught.value


@contextlib.contextmanager
def climbing(lab: Lab, name: str = "s1", ramp: t.Mapping[str, t.Any] = LONG) -> t.Iterator[int]:
    """Have a process of its own enable *name* with a ramp, wait for its first step, and return its id. It is killed afterwards."""
    lab.drain(name)
    process = multiprocessing.get_context("fork").Process(target=lambda: lab.enable(name, weight_ramp=ramp))
    process.start()
    try:
        lab.wait(lambda: lab.info(name)["weight"] == 10 and lab.standing()[f"shop/{name}"] == "UP")
        yield t.cast(int, process.pid)
    finally:
        process.kill()
        process.join()


def test_a_member_comes_back_with_a_part_of_its_weight_and_gets_its_share_of_requests(lab: Lab) -> None:
    lab.drain("s1")
    seen: list[tuple[int, int]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            before, total = lab.info("s1")["weight"], lab.total("shop/s1")
            for dummy in range(42):
                lab.get()
            if lab.info("s1")["weight"] == before and lab.standing()["shop/s1"] == "UP":
                seen.append((before, lab.total("shop/s1") - total))

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        client = executor.submit(ask)
        begun = time.monotonic()
        result = lab.enable("s1", weight_ramp={"steps": [10, 50], "interval": 2})
        assert time.monotonic() - begun >= 4
        stop.set()
        client.result()
    assert result["changed"] and [member["weight"] for member in result["members"]] == [100]
    assert lab.info("s1")["weight"] == 100 and lab.records == []
    # HAProxy's round robin is exact: of 42 requests 2 for a weight of 10 among 210, one more or less for where it began.
    for weight, number in seen:
        assert abs(number - 42 * weight / (200 + weight)) <= 1.5, seen
    assert {10, 50} <= {weight for weight, dummy in seen}, seen
    assert not lab.enable("s1", weight_ramp=RAMP)["changed"]


def test_what_can_not_be_raised_in_steps_is_refused_before_anything_is_touched(make_lab: MakeLab) -> None:
    lab = make_lab(**pool(weight=1))
    lab.drain("s1")
    refused(lambda: lab.enable("s1", weight_ramp=RAMP), "shop/s1", "its weight is 1, of which 10 % is less than 1", "a weight of 10 or more")
    refused(lambda: lab.enable("s1", weight_ramp={"steps": [50, 20]}), "rising percentages")
    refused(lambda: lab.enable("s1", weight_ramp={"steps": [20], "interval": 0}), "weight_ramp.interval")
    refused(lambda: lab.drain("s1", weight_ramp=RAMP), "state: enabled")
    assert lab.info("s1")["admin"] == "drain" and weights(lab) == [1, 1, 1]
    static = make_lab(**pool(balance="static-rr"))
    assert static.call("lb_info")["pools"][0]["weights"] is None
    static.drain("s1")
    refused(lambda: static.enable("s1", weight_ramp=RAMP, check_mode=True), "no weights that can be set", "slowstart")


def test_check_mode_says_what_would_be(lab: Lab) -> None:
    lab.drain("s1")
    assert lab.enable("s1", weight_ramp=RAMP, check_mode=True)["changed"]
    assert (lab.info("s1")["admin"], lab.info("s1")["weight"]) == ("drain", 100)


def test_a_member_that_dies_on_its_way_up_is_left_out_with_its_weight(lab: Lab) -> None:
    lab.drain("s1")
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        call = executor.submit(lab.enable, "s1", weight_ramp=LONG)
        lab.wait(lambda: lab.standing()["shop/s1"] == "UP")
        lab.kill("s1")
        refused(call.result, "shop/s1", "is down", "left out of rotation", "the weight that it had before")
    member = lab.info("s1")
    assert (member["admin"], member["weight"], member["drained_by"], member["ramping"]) == ("drain", 100, "shop", False)
    lab.start("s1")
    assert lab.enable("s1")["changed"] and weights(lab) == [100, 100, 100] and lab.records == []


def test_what_somebody_takes_out_on_its_way_up_stays_out(lab: Lab) -> None:
    lab.drain("s1")
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        call = executor.submit(lab.enable, "s1", weight_ramp=LONG)
        lab.wait(lambda: lab.standing()["shop/s1"] == "UP")
        lab.ask("set server shop/s1 state maint")
        refused(call.result, "was put into maint by somebody else")
    assert lab.info("s1")["weight"] == 100
    refused(lambda: lab.enable("s1"), "it stays out")


@pytest.mark.parametrize("way", ["enabled", "enabled in steps", "drained"])
def test_the_next_call_gives_back_the_weight_that_a_killed_one_left_low(lab: Lab, way: str) -> None:
    with climbing(lab) as pid:
        os.kill(pid, signal.SIGKILL)
    member = lab.info("s1")
    assert (member["weight"], member["weight_before"], member["ramping"]) == (10, 100, True)
    refused(lambda: lab.drain("s1", owner="blog"), "by shop")
    if way == "drained":
        result = lab.drain("s1")
        assert lab.info("s1")["weight"] == 100 and not lab.info("s1")["ramping"]
        assert not result["drain_lost"] and "interrupted" in result["warnings"][0]
    assert lab.enable("s1", **({"weight_ramp": RAMP} if way == "enabled in steps" else {}))["changed"]
    assert weights(lab) == [100, 100, 100] and lab.records == [] and lab.standing()["shop/s1"] == "UP"


def test_a_call_that_comes_in_between_ends_a_ramp(lab: Lab) -> None:
    lab.drain("s1")
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        call = executor.submit(lab.enable, "s1", weight_ramp=LONG)
        lab.wait(lambda: lab.standing()["shop/s1"] == "UP")
        assert lab.drain("s1")["changed"]
        refused(call.result, "another call took the member over")
    member = lab.info("s1")
    assert (member["admin"], member["weight"], member["drained_by"]) == ("drain", 100, "shop")


def test_a_member_on_its_way_up_is_no_capacity(lab: Lab) -> None:
    with climbing(lab):
        refused(lambda: lab.drain("s2", min_available="2"), "2 of 3 members are up and 2 must stay up")
        assert lab.drain("s2", min_available="1")["changed"]
        lab.enable("s2")


def test_a_reload_on_the_way_up_is_made_good(lab: Lab) -> None:
    lab.drain("s1")
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        call = executor.submit(lab.enable, "s1", weight_ramp={"steps": [10, 50], "interval": 2})
        lab.wait(lambda: lab.standing()["shop/s1"] == "UP")
        lab.balancer()
        assert call.result()["changed"]
    assert weights(lab) == [100, 100, 100] and lab.records == []
