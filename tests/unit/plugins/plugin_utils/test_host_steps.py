# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import test_gatekeeper
from ansible_collections.seamless.rollout.plugins.plugin_utils import _tally as tally
from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count
from ansible_collections.seamless.rollout.plugins.plugin_utils._conductor import HIDDEN
from ansible_collections.seamless.rollout.plugins.plugin_utils._counters import what_is_counted
from ansible_collections.seamless.rollout.plugins.plugin_utils._host_steps import steps_of
from test_gatekeeper import HOSTS, START, World

world = test_gatekeeper.world
PLAIN = [{"file": "plain.yml", "hook": ""}]


def took(at: float, seconds: float, **more: t.Any) -> dict[str, t.Any]:
    return {"took": {"started_at": at, "seconds": seconds}, **more}


def switched(at: float, seconds: float, **more: t.Any) -> dict[str, t.Any]:
    told = {"timings": {"switch": 0.25, "services": 2.0, "health": 1.0}, "services": [{"name": "shop"}], "health": [{"ok": True}], "switched": True}
    return took(at, seconds, **{**told, **more})


def brief(steps: list[dict[str, t.Any]]) -> list[tuple[t.Any, ...]]:
    return [tuple(step.values()) for step in steps]


def test_a_plain_host_has_its_steps_in_order_and_the_parts_of_the_switch_end_with_its_task() -> None:
    results = {"__rollout_drained": took(10, 1.5), "__rollout_switched": switched(12, 4.0), "__rollout_enabled": took(17, 2.0)}
    assert brief(steps_of(results, PLAIN, 9.0, None, 20.0)) == [
        ("drain", 10.0, 1.5, True), ("switch", 12.75, 0.25, True), ("restart", 13.0, 2.0, True), ("health", 15.0, 1.0, True), ("enable", 17.0, 2.0, True),
    ]


def test_what_failed_is_the_last_part_that_was_begun_and_what_was_not_there_has_no_bar() -> None:
    failed = switched(12, 63.0, failed=True, timings={"switch": 0.25, "services": 2.0, "health": 60.0})
    assert [(step["step"], step["ok"]) for step in steps_of({"__rollout_switched": failed}, PLAIN, 9.0, 75.0, 80.0)] == [
        ("switch", True), ("restart", True), ("health", False),
    ]
    refused = took(12, 1.0, failed=True)
    assert brief(steps_of({"__rollout_switched": refused}, PLAIN, 9.0, 13.0, 14.0)) == [("switch", 12.0, 1.0, False)]
    bare = switched(12, 1.0, services=[], health=[], timings={"switch": 0.5, "services": 0.0, "health": 0.0})
    assert brief(steps_of({"__rollout_switched": bare}, PLAIN, 9.0, None, 14.0)) == [("switch", 12.5, 0.5, True)]


def test_results_that_were_cut_or_hidden_or_are_of_an_earlier_pass_give_no_bar() -> None:
    cut = (None, "censored", {}, {"censored": "hidden"}, {"took": "x"}, {"took": {"started_at": "10", "seconds": 1}}, {"took": {}}, {"skipped": True})
    for result in (*cut, took(8.9, 1)):
        assert steps_of({"__rollout_drained": result}, PLAIN, 9.0, None, 20.0) == [], result
    lying = switched(12, 1.0, timings={"switch": 9.0, "services": True, "health": None})
    assert brief(steps_of({"__rollout_switched": lying}, PLAIN, 9.0, None, 20.0)) == [("switch", 12.0, 1.0, True)]


def test_hooks_fill_the_time_between_what_is_known() -> None:
    names = ("hook", "drain", "hook", "hook", "redrain", "switch_hooks", "enable", "hook", "bake")
    files = [{"file": f"{name}.yml"} for name in names]
    results = {
        "__rollout_drained": took(12, 1.0), "__rollout_redrained": took(20, 1.0),
        "__rollout_linked": switched(21, 1.0, services=[], health=[], timings={"switch": 1.0}),
        "__rollout_switched": switched(30, 3.25, switched=False), "__rollout_enabled": took(34, 1.0), "__rollout_baked": took(40, 60.0),
        "__rollout_rested": {"skipped": True},
    }
    assert brief(steps_of(results, files, 9.0, None, 101.0)) == [
        ("hook", 9.0, 3.0, True), ("drain", 12.0, 1.0, True), ("hook", 13.0, 7.0, True), ("drain", 20.0, 1.0, True), ("switch", 21.0, 1.0, True),
        ("hook", 22.0, 8.0, True), ("restart", 30.25, 2.0, True), ("health", 32.25, 1.0, True), ("enable", 34.0, 1.0, True), ("hook", 35.0, 5.0, True),
        ("bake", 40.0, 60.0, True),
    ]


def test_a_hook_that_fails_ends_when_the_host_failed_also_when_the_host_was_put_back_after_it() -> None:
    files = [{"file": name} for name in ("drain.yml", "hook.yml", "redrain.yml", "switch.yml", "enable.yml")]
    results = {"__rollout_drained": took(10, 1.0), "__rollout_enabled": took(20, 1.0)}
    assert brief(steps_of(results, files, 9.0, 15.0, 22.0)) == [("drain", 10.0, 1.0, True), ("hook", 11.0, 4.0, False), ("enable", 20.0, 1.0, True)]
    own = [{"file": "update_tasks.yml"}]
    assert brief(steps_of({}, own, 9.0, 15.0, 22.0)) == [("hook", 9.0, 6.0, False)]
    assert brief(steps_of({}, own, 9.0, None, 22.0)) == [("hook", 9.0, 13.0, True)]


def test_each_pass_of_a_host_is_recorded_once(world: World) -> None:
    conductor = world.begin()
    world.facts["hosts"]["web1"]["steps"] = PLAIN
    conductor.open_batch(["web1"], undo=False)
    results = {"__rollout_drained": took(world.now + 1, 1.0)}
    world.now += 3
    for dummy in range(2):
        conductor.record_steps(["web1", "web2"], lambda host: results)
    world.now += 3
    conductor.open_batch(["web1"], undo=True)
    conductor.record_steps(["web1"], lambda host: results)
    results = {"__rollout_drained": took(world.now + 1, 2.0)}
    conductor.record_steps(["web1"], lambda host: results)
    told = [event for event in world.ledger.events("r") if event["event"] == "steps"]
    assert [(event["host"], event["detail"]["steps"][0]["seconds"]) for event in told] == [("web1", 1.0), ("web1", 2.0)]


def counted(world: World) -> list[dict[str, t.Any]]:
    return [event["detail"] for event in world.ledger.events("r") if event["event"] == "counted" and event["host"] is None]


def test_the_gate_counts_when_it_reads_the_balancers_and_resets_are_no_loss(world: World) -> None:
    world.begin(max_parallel=1, max_unavailable=1)
    assert world.slot("web1").proceed
    assert counted(world) == []
    world.after(20, lambda: world.done("web1"))
    world.out = {"web3"}
    world.after(32, world.out.clear)
    assert world.turn("web2").proceed
    found = counted(world)
    assert [round(item["seconds"]) for item in found] == [20, 5, 5], found
    assert set(found[0]["hosts"]) == set(HOSTS)
    total = sum(item["hosts"]["web1"]["requests"] for item in found)
    assert abs(total - sum(item["seconds"] for item in found)) <= 2
    world.fails["web1"] = 1.0
    world.now += 1
    world.keeper().count()
    assert counted(world)[-1]["hosts"]["web1"]["errors"] > counted(world)[-1]["hosts"]["web2"]["errors"] == 0


def test_deltas_by_host_over_several_counters() -> None:
    before = {"web1|lb1": [100, 1], "web1|lb2": [50, 0], "web2|lb1": [10, 0]}
    now = {"web1|lb1": [130, 2], "web1|lb2": [4, 1], "web2|lb1": [10, 0], "web3|lb1": [7, 0]}
    assert tally.added(before, now) == {"web1": {"requests": 34, "errors": 2}, "web2": {"requests": 0, "errors": 0}}


def test_a_run_that_goes_on_with_a_rollout_counts_anew(world: World) -> None:
    world.begin()
    tally.tally(world.ledger, "r", world.totals, 0.0)
    world.now += 3600
    assert world.ledger.is_counted("r")
    world.begin()
    assert not world.ledger.is_counted("r")
    world.keeper().count()
    tally.tally(world.ledger, "r", world.totals, 0.0)
    assert counted(world) == []


def test_balancers_that_count_nothing_are_no_harm(world: World) -> None:
    call = {"delegate": "lb1", "driver": "caddy", "servers": [["shop", "web1"]]}
    answers = {key: {"pools": [{"balancer": "b", "backend": "shop", "members": [{"name": "web1", "requests": None, "errors": None}]}]} for key in ("x",)}
    assert what_is_counted({"web1": {"balancers": [call]}}, answers) == {}
    world.begin()
    tally.tally(world.ledger, "r", dict[str, Count], 0.0)
    assert not world.ledger.is_counted("r") and world.now > START


def test_the_interval_grows_with_the_fleet() -> None:
    assert tally.pause(6) == tally.pause(250) == 5.0
    assert tally.pause(1000) == 20.0


def test_what_a_task_hides_is_not_in_the_ledger(world: World) -> None:
    conductor = world.begin()
    results = [{"failed": True, "msg": "hunter2"}]
    conductor.failed("web1", "Log in", {"_ansible_no_log": True, "failed": True, "msg": "One or more items failed: hunter2", "results": results}, undo=False)
    assert world.ledger.hosts("r")["web1"]["detail"] == f"Log in: {HIDDEN}"
    assert "hunter2" not in str(world.ledger.events("r"))
