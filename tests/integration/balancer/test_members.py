# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members of a real HAProxy go out and come back: what is refused, what is kept, what clients see."""

from __future__ import annotations

import concurrent.futures
import socket
import threading
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.runtime_socket import RuntimeSocket
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from fleet.load import Load

from integration.balancer.lab import Lab

MakeLab = t.Callable[..., Lab]


def refused(call: t.Callable[[], t.Any], *words: str) -> SeamlessError:
    with pytest.raises(SeamlessError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), str(caught.value)
    return caught.value


def test_a_drain_lets_the_running_request_end_and_the_member_comes_back(lab: Lab) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(lab.get, "slow/1") for dummy in range(4)]
        lab.wait(lambda: int(lab.info("s1")["sessions"]) > 0)
        drained = lab.drain("s1")
        assert lab.info("s1")["sessions"] == 0
        assert {answer.result() for answer in running} <= {str(port) for port in lab.ports.values()}
    assert drained["changed"] and drained["members"][0]["seconds"] > 0.3
    assert lab.records == ["shop-s1"]
    assert lab.standing()["shop/s1"] == "DRAIN"
    assert not lab.drain("s1")["changed"]
    assert lab.enable("s1")["changed"]
    assert lab.records == []
    assert lab.standing()["shop/s1"] == "UP"
    assert not lab.enable("s1")["changed"]


@pytest.mark.parametrize("checks", ["inter 300ms fall 2 rise 2", "inter 300ms fall 1 rise 1", "inter 300ms fall 3 rise 2 slowstart 1s"])
def test_an_application_that_died_while_it_was_out_gets_no_request(make_lab: MakeLab, checks: str) -> None:
    servers = "".join(f"    server s{number} 127.0.0.1:{{s{number}}} check {checks}\n" for number in (1, 2))
    lab = make_lab(config=f"backend shop\n    option httpchk GET /health\n{servers}")
    with Load([lab.url], rate=300, clients=10) as load:
        for out in (lab.drain, lambda name: lab.call("lb_member", name, state="maintenance")):
            out("s1")
            lab.kill("s1")
            error = refused(lambda: lab.enable("s1", enable_timeout=1.5), "shop/s1", "its checks do not pass")
            assert error.details["members"][0]["admin"] == "drain"
            assert not lab.standing()["shop/s1"].startswith("UP")
            lab.start("s1")
            assert lab.enable("s1")["changed"]
    assert load.summary()["failed"] == 0, load.summary()


def test_a_restart_that_no_check_has_seen_is_proven_by_a_new_check(lab: Lab) -> None:
    lab.drain("s1")
    lab.wait(lambda: lab.info("s1")["health"] == "up")
    begun = time.monotonic()
    assert lab.enable("s1")["changed"]
    assert time.monotonic() - begun < 1.5
    assert lab.standing()["shop/s1"] == "UP"


def test_an_operators_maintenance_over_our_drain_is_not_undone(lab: Lab) -> None:
    lab.drain("s1")
    lab.ask("set server shop/s1 state maint")
    assert lab.info("s1")["operator"]
    again = lab.drain("s1")
    assert not again["changed"] and "into maintenance by somebody else" in again["warnings"][0]
    assert refused(lambda: lab.enable("s1"), "after shop had drained it", "stays out").details["operator"]
    assert lab.standing()["shop/s1"] == "MAINT"
    assert lab.enable("s1", force=True)["changed"]
    assert lab.standing()["shop/s1"] == "UP"


def test_an_operators_maintenance_while_we_wait_for_checks_is_not_undone(lab: Lab) -> None:
    lab.drain("s1")
    lab.say("s1", "503 Not yet")
    lab.wait(lambda: lab.info("s1")["health"] == "down")
    timer = threading.Timer(0.5, lab.ask, ["set server shop/s1 state maint"])
    timer.start()
    refused(lambda: lab.enable("s1", enable_timeout=5), "after shop had drained it")
    timer.join()
    assert lab.standing()["shop/s1"] == "MAINT"


@pytest.mark.parametrize("state", ["drain", "maint"])
def test_what_an_operator_took_out_stays_out(lab: Lab, state: str) -> None:
    lab.ask(f"set server shop/s1 state {state}")
    for call in (lab.drain, lab.enable):
        assert refused(lambda: call("s1"), f"in {state}" if call == lab.drain else f"into {state}").details["operator"]  # noqa: B023
    assert lab.info("s1")["admin"] == state and lab.records == []
    assert lab.drain("s1", force=True)["changed"] is False
    assert lab.enable("s1")["changed"]


def test_what_another_owner_took_out_is_left_alone_until_forced(lab: Lab) -> None:
    lab.drain("s1", owner="blog")
    refused(lambda: lab.drain("s1"), "taken out by blog")
    refused(lambda: lab.enable("s1"), "by blog")
    assert lab.info("s1")["drained_by"] == "blog"
    lab.drain("s1", force=True)
    assert lab.info("s1")["drained_by"] == "shop"
    assert lab.enable("s1")["changed"]


TWO_POOLS = """\
backend shop
    server s1 127.0.0.1:{s1} check
    server s2 127.0.0.1:{s2} check
backend api
    server first 127.0.0.1:{s1} check
    server second 127.0.0.1:{s2} check
"""


def test_the_same_process_goes_out_under_all_its_names(make_lab: MakeLab) -> None:
    lab = make_lab(config=TWO_POOLS)
    drained = lab.drain("s1")
    assert {(member["backend"], member["name"]) for member in drained["members"]} == {("shop", "s1"), ("api", "first")}
    assert (lab.standing()["shop/s1"], lab.standing()["api/first"]) == ("DRAIN", "DRAIN")
    lab.enable("s1")
    assert lab.standing()["api/first"] == "UP"
    assert len(lab.drain("s1", backend=["shop"])["members"]) == 1


def test_an_address_of_several_servers_is_refused_and_one_with_its_port_is_taken(lab: Lab) -> None:
    refused(lambda: lab.drain("web1", members=[{"name": "web1", "address": "127.0.0.1"}]), "several servers", "s1 (127.0.0.1", "by its name, or with port")
    assert set(lab.standing().values()) == {"UP"}
    drained = lab.drain("web1", members=[{"name": "web1", "address": "127.0.0.1", "port": lab.ports["s2"]}])
    assert [member["name"] for member in drained["members"]] == ["s2"]


def test_a_server_disabled_in_the_configuration_is_an_operators_until_it_is_enabled(make_lab: MakeLab) -> None:
    lab = make_lab(config="backend shop\n    server s1 127.0.0.1:{s1} check disabled\n    server s2 127.0.0.1:{s2} check\n")
    assert (lab.info("s1")["admin"], lab.info("s1")["admin_source"], lab.info("s1")["health"]) == ("maint", "config", "unknown")
    refused(lambda: lab.drain("s1"), "config")
    lab.ask("set server shop/s1 state ready")
    lab.wait(lambda: lab.standing()["shop/s1"] == "UP")
    assert lab.info("s1")["admin"] == "ready" and not lab.info("s1")["operator"]
    assert lab.drain("s1")["changed"]
    assert lab.enable("s1")["changed"]


def test_a_reload_that_forgets_the_drain_is_noticed_and_mended(lab: Lab) -> None:
    lab.drain("s1")
    lab.balancer()
    again = lab.drain("s1")
    assert again["changed"] and again["drain_lost"] and "was the balancer reloaded" in again["warnings"][0]
    lab.balancer()
    back = lab.enable("s1")
    assert not back["changed"] and back["drain_lost"]
    assert lab.records == [] and not lab.enable("s1")["drain_lost"]


@pytest.mark.parametrize("moment", ["before the order", "after the order"])
def test_a_reload_in_the_moment_of_the_drain_does_not_fail_it(lab: Lab, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    order, reloads = RuntimeSocket.order, iter([lab.balancer])

    def reload_once() -> None:
        next(reloads, lambda: None)()

    def disturbed(self: RuntimeSocket, commands: t.Sequence[str]) -> None:
        if moment == "before the order":
            reload_once()
        order(self, commands)
        reload_once()

    monkeypatch.setattr(RuntimeSocket, "order", disturbed)
    assert lab.drain("s1")["changed"]
    assert lab.standing()["shop/s1"] == "DRAIN" and lab.records == ["shop-s1"]
    assert next(reloads, None) is None


def test_a_reload_while_we_wait_for_quiet_is_mended_at_once(lab: Lab) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(lab.get, "slow/2") for dummy in range(4)]
        lab.wait(lambda: int(lab.info("s1")["sessions"]) > 0)
        drain = pool.submit(lab.drain, "s1", settle_polls=20)
        lab.wait(lambda: lab.standing()["shop/s1"] == "DRAIN")
        lab.balancer()
        assert drain.result()["drain_lost"]
        assert lab.standing()["shop/s1"] == "DRAIN"
        assert all(answer.result() for answer in running)


def test_a_state_file_keeps_the_drain_over_a_reload(make_lab: MakeLab) -> None:
    lab = make_lab(defaults="load-server-state-from-file global")
    lab.drain("s1", persist_state=lab.path("state"))
    lab.balancer()
    assert lab.info("s1")["admin"] == "drain" and not lab.drain("s1")["drain_lost"]
    lab.enable("s1", persist_state=lab.path("state"))
    lab.balancer()
    assert lab.info("s1")["admin"] == "ready"


def test_the_floor_holds_when_two_callers_want_the_last_but_one(lab: Lab) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(lab.drain, name, owner=name) for name in ("s1", "s2")]
        errors = [call.exception() for call in calls]
    assert sorted(error is None for error in errors) == [False, True]
    assert "1 of 2 members are up and 1 must stay up" in str([error for error in errors if error][0])
    assert sorted(lab.standing().values()) == ["DRAIN", "UP"]
    assert len(lab.records) == 1


def test_a_member_that_answers_404_on_purpose_is_no_capacity(make_lab: MakeLab) -> None:
    servers = "    server s1 127.0.0.1:{s1} check\n    server s2 127.0.0.1:{s2} check\n"
    lab = make_lab(config="backend shop\n    option httpchk GET /health\n    http-check disable-on-404\n" + servers)
    lab.say("s2", "404 Leaving")
    lab.wait(lambda: lab.info("s2")["health"] == "stopping")
    refused(lambda: lab.drain("s1"), "1 of 2 members are up")
    assert lab.drain("s2")["changed"]
    refused(lambda: lab.enable("s2", enable_timeout=1), "s2", "stopping")


def test_sticky_clients_move_when_asked_to(make_lab: MakeLab) -> None:
    servers = "".join(f"    server s{number} 127.0.0.1:{{s{number}}} check cookie s{number}\n" for number in (1, 2))
    lab = make_lab(config="backend shop\n    option redispatch\n    cookie S insert\n" + servers)
    stop = threading.Event()
    answers: list[str] = []

    def come_back() -> None:
        while not stop.is_set():
            answers.append(lab.get(cookie="S=s1"))

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        client = pool.submit(come_back)
        lab.wait(lambda: len(answers) > 5)
        assert set(answers) == {str(lab.ports["s1"])}
        refused(lambda: lab.drain("s1", drain_timeout=1), "not quiet after 1 s", "on_timeout")
        assert lab.drain("s1", sticky="move")["changed"]
        total = lab.total("shop/s1")
        seen = len(answers)
        lab.wait(lambda: len(answers) > seen + 20)
        assert lab.total("shop/s1") == total
        assert not lab.drain("s1", sticky="move")["changed"]
        assert lab.enable("s1")["changed"]
        stop.set()
        client.result()


@pytest.mark.parametrize(("action", "standing"), [("maintenance", "MAINT"), ("shutdown_sessions", "DRAIN"), ("continue", "DRAIN")])
def test_what_happens_to_members_that_do_not_get_quiet_is_a_choice(lab: Lab, action: str, standing: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(lab.get, "slow/1.5") for dummy in range(4)]
        lab.wait(lambda: int(lab.info("s1")["sessions"]) > 0)
        result = lab.drain("s1", drain_timeout=0.4, on_timeout=action)
        assert action in result["warnings"][0] and lab.standing()["shop/s1"] == standing
        cut = sum(answer.exception() is not None for answer in running)
    assert (cut > 0) == (action == "shutdown_sessions")
    assert lab.enable("s1")["changed"]


def test_a_server_without_checks_is_drained_and_enabled_and_its_weight_set(make_lab: MakeLab) -> None:
    lab = make_lab(config="backend shop\n    server s1 127.0.0.1:{s1} no-check weight 100\n    server s2 127.0.0.1:{s2} no-check weight 100\n")
    assert lab.info("s1")["health"] == "nocheck" and "without check" in lab.call("lb_info")["hints"][0]
    assert lab.drain("s1")["changed"]
    assert lab.enable("s1", weight=30)["changed"]
    assert lab.info("s1")["weight"] == 30 and not lab.enable("s1", weight=30)["changed"]


def test_a_server_that_follows_another_comes_back_with_it(make_lab: MakeLab) -> None:
    config = TWO_POOLS.replace("first 127.0.0.1:{s1} check", "first 127.0.0.1:{s1} no-check track shop/s1")
    lab = make_lab(config=config)
    lab.drain("s1")
    assert lab.info("first", "api")["admin"] == "drain"
    lab.kill("s1")
    refused(lambda: lab.enable("s1", enable_timeout=1.5), "do not pass")
    lab.start("s1")
    lab.enable("s1")
    assert (lab.standing()["shop/s1"], lab.info("first", "api")["admin"]) == ("UP", "ready")


def test_a_balancer_that_overrules_what_is_set_is_told_at_once(make_lab: MakeLab) -> None:
    config = TWO_POOLS.replace("first 127.0.0.1:{s1} check", "first 127.0.0.1:{s1} no-check track shop/s1")
    lab = make_lab(config=config)
    lab.drain("first", backend=["api"])
    lab.ask("set server shop/s1 state maint")
    lab.wait(lambda: lab.info("first", "api")["admin"] == "maint")
    error = refused(lambda: lab.enable("first", backend=["api"], force=True), "api/first", "is maint (tracked) right after it was set to", "a tracked server")
    assert "overrules the runtime socket" in str(error)
    assert lab.records == ["api-first"] and not lab.standing()["api/first"].startswith("UP")
    lab.ask("set server shop/s1 state ready")
    lab.wait(lambda: lab.standing()["shop/s1"] == "UP")
    assert lab.enable("first", backend=["api"])["changed"] and lab.records == []


def test_check_mode_says_what_would_be_and_does_nothing(lab: Lab) -> None:
    would = lab.drain("s1", check_mode=True)
    assert would["changed"] and would["diff"]["after"] == {f"shop/s1 on {lab.path('admin.sock')}": "drain"}
    assert lab.standing()["shop/s1"] == "UP" and lab.records == []
    lab.drain("s1")
    assert lab.enable("s1", check_mode=True)["changed"]
    assert lab.standing()["shop/s1"] == "DRAIN" and lab.records == ["shop-s1"]


def test_hundreds_of_members_fit_into_one_call(make_lab: MakeLab) -> None:
    names = [f"a-server-with-quite-a-long-name-{number}" for number in range(300)]
    with socket.create_server(("0.0.0.0", 0), backlog=400) as everywhere:
        port = everywhere.getsockname()[1]
        servers = "".join(f"    server {name} 127.1.{number // 250}.{number % 250 + 1}:{port} no-check\n" for number, name in enumerate(names))
        lab = make_lab(config="backend shop\n    server s1 127.0.0.1:{s1} check\n    server s2 127.0.0.1:{s2} check\nbackend many\n" + servers)
        assert lab.drain(*names[1:])["changed"]
        assert sum(status == "DRAIN" for status in lab.standing().values()) == 299
        assert lab.enable(*names[1:])["changed"]


def test_servers_without_checks_whose_applications_are_dead_stay_out(make_lab: MakeLab) -> None:
    servers = "".join(f"    server a{number} 127.1.0.{number}:9 no-check\n" for number in range(1, 7))
    lab = make_lab(config="backend shop\n    server s1 127.0.0.1:{s1} check\n    server s2 127.0.0.1:{s2} check\nbackend many\n" + servers)
    names = [f"a{number}" for number in range(2, 7)]
    lab.drain(*names)
    refused(lambda: lab.enable(*names, enable_timeout=1), "a2 on", "nothing listens there", "and 2 more", "not enabled within 1 s")
    assert sum(status == "DRAIN" for status in lab.standing().values()) == 5


def test_two_processes_are_changed_in_one_call(make_lab: MakeLab) -> None:
    one, two = make_lab(), make_lab()
    sockets = [one.path("admin.sock"), f"127.0.0.1:{two.tcp}"]
    assert {member["balancer"] for member in one.drain("s1", socket=sockets)["members"]} == set(sockets)
    assert one.standing()["shop/s1"] == two.standing()["shop/s1"] == "DRAIN"
    two.kill("s1")
    refused(lambda: one.enable("s1", socket=sockets, enable_timeout=1.5), sockets[1], "do not pass")
    assert one.standing()["shop/s1"] == two.standing()["shop/s1"].replace("DOWN", "DRAIN")
