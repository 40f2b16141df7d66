# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Weights that go up in steps, and weights that split the requests, on a real HAProxy."""

from __future__ import annotations

import concurrent.futures
import contextlib
import math
import multiprocessing
import os
import signal
import threading
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.runtime_socket import RuntimeSocket
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


STICKY = """\
backend shop
    balance roundrobin
    cookie SERVER insert indirect nocache
    option httpchk GET /health
    server s1 127.0.0.1:{s1} cookie s1
    server s2 127.0.0.1:{s2} cookie s2
    server s3 127.0.0.1:{s3} cookie s3
backend api
    option httpchk GET /health
    server s2 127.0.0.1:{s2}
    server s3 127.0.0.1:{s3} weight 7
"""


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
def climbing(lab: Lab, name: str = "s1", ramp: t.Mapping[str, t.Any] | None = None) -> t.Iterator[int]:
    """Have a process of its own enable *name* with a ramp, wait for its first step, and return its id. It is killed afterwards."""
    lab.drain(name)
    process = multiprocessing.get_context("fork").Process(target=lambda: lab.enable(name, weight_ramp=ramp or LONG))
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

    def client_asks() -> None:
        while not stop.is_set():
            before, total = lab.info("s1")["weight"], lab.total("shop/s1")
            for dummy in range(42):
                lab.get()
            if lab.info("s1")["weight"] == before and lab.standing()["shop/s1"] == "UP":
                seen.append((before, lab.total("shop/s1") - total))

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        client = executor.submit(client_asks)
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


@pytest.mark.full
def test_what_somebody_takes_out_on_its_way_up_stays_out(lab: Lab) -> None:
    lab.drain("s1")
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        call = executor.submit(lab.enable, "s1", weight_ramp=LONG)
        lab.wait(lambda: lab.standing()["shop/s1"] == "UP")
        lab.ask("set server shop/s1 state maint")
        refused(call.result, "was put into maint by somebody else")
    assert lab.info("s1")["weight"] == 100
    refused(lambda: lab.enable("s1"), "it stays out")


@pytest.mark.full
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


@pytest.mark.full
def test_a_call_that_comes_in_between_ends_a_ramp(lab: Lab) -> None:
    lab.drain("s1")
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        call = executor.submit(lab.enable, "s1", weight_ramp=LONG)
        lab.wait(lambda: lab.standing()["shop/s1"] == "UP")
        assert lab.drain("s1")["changed"]
        refused(call.result, "another call took the member over")
    member = lab.info("s1")
    assert (member["admin"], member["weight"], member["drained_by"]) == ("drain", 100, "shop")


@pytest.mark.full
def test_a_member_on_its_way_up_is_no_capacity(lab: Lab) -> None:
    with climbing(lab):
        refused(lambda: lab.drain("s2", min_available="2"), "2 of 3 members are up and 2 must stay up")
        assert lab.drain("s2", min_available="1")["changed"]
        lab.enable("s2")


@pytest.mark.full
def test_a_reload_on_the_way_up_is_made_good(lab: Lab) -> None:
    lab.drain("s1")
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        call = executor.submit(lab.enable, "s1", weight_ramp={"steps": [10, 50], "interval": 2})
        lab.wait(lambda: lab.standing()["shop/s1"] == "UP")
        lab.balancer()
        assert call.result()["changed"]
    assert weights(lab) == [100, 100, 100] and lab.records == []


def parts(share: float | None = 5, few: t.Sequence[str] = ("s1",), many: t.Sequence[str] = ("s2", "s3")) -> list[dict[str, t.Any]]:
    few_members, many_members = ([{"name": name, "address": None, "port": None} for name in names] for names in (few, many))
    return [{"name": "2.0", "share": share, "members": few_members}, {"name": "the rest", "share": None, "members": many_members}]


def split(lab: Lab, share: float = 5, **params: t.Any) -> dict[str, t.Any]:
    return lab.call("traffic_split", **{"parts": parts(share), **params})


def restore(lab: Lab, **params: t.Any) -> dict[str, t.Any]:
    return lab.call("traffic_split", state="restored", **params)


def split_records(lab: Lab) -> int:
    return len(os.listdir(lab.path("records/splits"))) if os.path.isdir(lab.path("records/splits")) else 0


def ask(lab: Lab, number: int) -> dict[str, int]:
    """Have *number* new clients send one request each, and return how many each application got."""
    names = {str(port): name for name, port in lab.ports.items()}
    counts = dict.fromkeys(lab.ports, 0)
    for dummy in range(number):
        counts[names[lab.get()]] += 1
    return counts


def within(number: int, requests: int, share: float) -> bool:
    """Say whether *number* of *requests* is within five sigma of the *share*: by chance it is not once in a million times."""
    return abs(number - requests * share) <= 5 * math.sqrt(requests * share * (1 - share))


def test_a_release_gets_its_share_of_thousands_of_requests_and_the_weights_come_back(lab: Lab) -> None:
    before = ask(lab, 300)
    assert all(within(number, 300, 1 / 3) for number in before.values()), before
    checked = split(lab, check_mode=True)
    assert checked["changed"] and weights(lab) == [100, 100, 100] and split_records(lab) == 0
    done = split(lab)
    assert done["changed"] and done["pools"] == checked["pools"] and weights(lab) == [2, 19, 19]
    assert [(part["name"], part["share"]) for part in done["pools"][0]["parts"]] == [("2.0", 5.0), ("the rest", 95.0)]
    assert done["diff"] == {
        "before": {f"shop/{name} on {lab.path('admin.sock')}": 100 for name in lab.ports},
        "after": {f"shop/{name} on {lab.path('admin.sock')}": weight for name, weight in zip(lab.ports, (2, 19, 19))},
    }
    seen = ask(lab, 3000)
    assert within(seen["s1"], 3000, 0.05) and within(seen["s2"], 3000, 0.475), seen
    assert not split(lab)["changed"]
    member = lab.info("s1")
    assert (member["weight"], member["weight_before"], member["split_by"]) == (2, 100, "shop")
    # Another share is found from the weights of before the first one.
    assert split(lab, 20)["changed"] and weights(lab) == [1, 2, 2]
    seen = ask(lab, 1000)
    assert within(seen["s1"], 1000, 0.2), seen
    assert restore(lab)["changed"] and weights(lab) == [100, 100, 100] and split_records(lab) == 0
    assert not restore(lab)["changed"]


@pytest.mark.full
def test_weights_that_differ_are_kept_in_proportion_and_come_back_as_they_were(make_lab: MakeLab) -> None:
    lab = make_lab(**pool())
    for name, weight in (("s1", 10), ("s2", 60), ("s3", 30)):
        lab.ask(f"set server shop/{name} weight {weight}")
    split(lab, 10)
    assert weights(lab) == [1, 6, 3]
    restore(lab)
    assert weights(lab) == [10, 60, 30]


def test_clients_with_a_sticky_session_keep_their_server_and_new_ones_go_by_weight(make_lab: MakeLab) -> None:
    """What a split does to sessions: nothing. Its share is one of the clients that come."""
    lab = make_lab(apps=3, config=STICKY)
    names = {str(port): name for name, port in lab.ports.items()}
    stayers = {name: [names[lab.get(cookie=f"SERVER={name}")] for dummy in range(50)] for name in lab.ports}
    assert all(set(seen) == {name} for name, seen in stayers.items())
    result = split(lab)
    assert [pool["backend"] for pool in result["pools"]] == ["shop"]
    assert lab.info("s3", "api")["weight"] == 7
    for name in lab.ports:
        assert {names[lab.get(cookie=f"SERVER={name}")] for dummy in range(200)} == {name}
    seen = ask(lab, 2000)
    assert within(seen["s1"], 2000, 0.05) and within(seen["s2"], 2000, 0.475), seen
    # A drain with sticky: move is what moves them.
    lab.drain("s1", sticky="move")
    assert names[lab.get(cookie="SERVER=s1")] != "s1"
    lab.enable("s1")
    restore(lab)
    assert weights(lab) == [1, 1, 1]


def test_a_share_that_weights_can_not_give_is_refused_with_the_nearest(lab: Lab) -> None:
    refused(
        lambda: split(lab, 0.1), "can't give 2.0 0.1 %", "whole numbers from 1 to 256", "the nearest is 2.0 0.195 %", "how many members",
    )
    refused(lambda: split(lab, 0), "share of 2.0 is 0", "drain it")
    refused(lambda: split(lab, parts=parts(None)), "have no share")
    refused(lambda: split(lab, parts=parts()[:1]), "two or more parts")
    refused(lambda: split(lab, parts=parts(few=["s1", "s2"])), "is in 2.0 and in the rest")
    refused(lambda: split(lab, parts=parts(few=["s9"])), "s9 is not a server", "there are s1, s2, s3")
    only = [{**part, "share": share} for part, share in zip(parts(many=["s2"]), (5, 95))]
    refused(lambda: split(lab, parts=only), "shop/s3", "in none of 2.0, the rest")
    assert weights(lab) == [100, 100, 100] and split_records(lab) == 0


@pytest.mark.full
def test_what_no_part_names_belongs_to_the_rest(lab: Lab) -> None:
    split(lab, parts=parts(many=["s2"]))
    assert weights(lab) == [2, 19, 19]
    restore(lab)
    assert weights(lab) == [100, 100, 100]


@pytest.mark.full
def test_members_that_are_out_or_have_no_weight_have_no_share(lab: Lab) -> None:
    lab.ask("set server shop/s2 state maint")
    lab.wait(lambda: lab.info("s2")["admin"] == "maint")
    result = split(lab)
    assert [lab.info(name)["weight"] for name in ("s1", "s3")] == [1, 19] and "shop/s2" in result["warnings"][0]
    restore(lab)
    lab.ask("set server shop/s2 state ready;set server shop/s2 weight 0")
    lab.wait(lambda: lab.info("s2")["weight"] == 0)
    result = split(lab)
    assert weights(lab) == [1, 0, 19] and "without weight" in result["warnings"][0]
    restore(lab)
    assert weights(lab) == [100, 0, 100]
    lab.ask("set server shop/s1 state drain")
    lab.wait(lambda: lab.info("s1")["admin"] == "drain")
    refused(lambda: split(lab), "2.0 has no member in rotation in shop")


@pytest.mark.full
def test_a_member_that_a_rollout_has_taken_out_stops_a_split(lab: Lab) -> None:
    lab.drain("s2")
    refused(lambda: split(lab), "shop/s2", "was taken out by shop", "recover")
    lab.enable("s2")
    with climbing(lab) as pid:
        refused(lambda: split(lab), "shop/s1", "raised in steps by shop")
        os.kill(pid, signal.SIGKILL)
    lab.enable("s1")
    lab.drain("s3", owner="shop (blue/green)")
    assert split(lab, parts=parts(many=["s2"]))["changed"] and weights(lab) == [1, 19, 100]


@pytest.mark.full
def test_a_dead_part_stops_a_split_and_a_dead_member_is_told(lab: Lab) -> None:
    lab.kill("s1")
    lab.wait(lambda: lab.standing()["shop/s1"].startswith("DOWN"))
    refused(lambda: split(lab), "2.0 has no member in shop", "that is up")
    result = split(lab, parts=parts(few=["s1", "s2"], many=["s3"]))
    assert "shop/s1" in result["warnings"][0] and "less than its share" in result["warnings"][0]


@pytest.mark.full
def test_what_is_drained_during_a_split_comes_back_to_its_share_and_then_to_its_weight(lab: Lab) -> None:
    split(lab)
    assert lab.drain("s2")["changed"]
    assert restore(lab)["changed"]
    assert weights(lab) == [100, 100, 100] and lab.info("s2")["admin"] == "drain"
    lab.enable("s2", weight_ramp=RAMP)
    assert weights(lab) == [100, 100, 100] and lab.records == []


@pytest.mark.full
def test_a_split_belongs_to_who_made_it(lab: Lab) -> None:
    split(lab)
    refused(lambda: split(lab, 10, owner="blog"), "part of a traffic split of shop", "restored first")
    assert not restore(lab, owner="blog")["changed"] and weights(lab) == [2, 19, 19]
    restore(lab)


def test_a_split_is_restored_after_a_crash_at_any_point_and_after_a_reload(lab: Lab) -> None:
    """It dies when the weights are recorded and not set, and when the first of them is set; and HAProxy forgets them."""
    for line in (0, 1):
        process = multiprocessing.get_context("fork").Process(target=_split_and_die, args=(lab, line))
        process.start()
        process.join()
        assert split_records(lab) == 3 and weights(lab) == ([2, 100, 100] if line else [100, 100, 100])
        assert restore(lab)["changed"] and weights(lab) == [100, 100, 100] and split_records(lab) == 0
    split(lab)
    lab.balancer()
    assert weights(lab) == [100, 100, 100]
    assert split(lab)["changed"] and weights(lab) == [2, 19, 19]
    lab.balancer()
    assert restore(lab)["changed"] and weights(lab) == [100, 100, 100] and split_records(lab) == 0


def _split_and_die(lab: Lab, commands: int) -> None:
    def order(socket: RuntimeSocket, lines: t.Sequence[str]) -> None:
        for one in lines[:commands]:
            socket.ask(one)
        os._exit(1)

    setattr(RuntimeSocket, "order", order)  # noqa: B010
    split(lab)


@pytest.mark.full
def test_a_weight_that_an_operator_set_meanwhile_is_told_and_goes(lab: Lab) -> None:
    split(lab)
    lab.ask("set server shop/s2 weight 50")
    result = restore(lab)
    assert "which the split did not set" in result["warnings"][0] and weights(lab) == [100, 100, 100]
