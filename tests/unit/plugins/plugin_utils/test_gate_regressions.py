# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What went wrong at the gate once: interruptions, late orders, broken hosts in odd places."""

from __future__ import annotations

import time
import typing as t

import pytest
import test_gatekeeper
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import lock
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store
from ansible_collections.seamless.rollout.plugins.plugin_utils._gatekeeper import Go
from ansible_collections.seamless.rollout.plugins.plugin_utils._plan import HostView, make_plan
from ansible_collections.seamless.rollout.plugins.plugin_utils._window import why_not_now
from test_gatekeeper import HOSTS, World
from test_window import window_of

world = test_gatekeeper.world


def test_killed_between_enable_and_free_the_rerun_can_start(world: World) -> None:
    """web1 was enabled, then the controller died before 'free'. The new run finds it done (skipped), but drained=1 stays in the ledger."""
    world.begin(max_unavailable=1, progress_deadline=30)
    assert world.slot("web1") == Go(True)
    world.now += 60
    world.facts["hosts"]["web1"]["state"] = "skipped"
    world.begin(order=list(HOSTS[1:]))
    assert world.slot("web2") == Go(True), world.said


def test_killed_before_the_drain_the_rerun_takes_a_serving_host_for_one_that_is_out(world: World) -> None:
    world.begin(max_unavailable=1, progress_deadline=30)
    assert world.slot("web1") == Go(True)
    world.now += 60
    world.begin()              # web1 pending again, and in rotation: the drain had not come to pass
    world.out = {"web4"}       # the whole budget
    assert world.slot("web1") == Go(False)


def test_a_blocker_that_forbids_still_does_after_again(world: World, tmp_path: t.Any) -> None:
    file = tmp_path / "no-rollout"
    file.write_text("no\n")
    world.begin(blockers=[{"file": str(file)}], max_parallel=3)
    world.ledger.update_host("r", "web1", state="in_flight", drained=1)
    world.ledger.due("r", "blockers", 0)
    world.now += 16
    keeper = world.keeper()              # web2's task begins; web1 takes its time
    world.ledger.update_host("r", "web3", state="in_flight", drained=0)
    world.facts["max_parallel"] = 2
    world.after(9, lambda: world.done("web3"))
    first = keeper.take_slot("web2", HOSTS)          # forbidden from 9 s on; at 10 s it asks again for who is left
    assert first == Go(False, again=True, tries=1) and any("no-rollout" in said or "forbids" in said for said in world.said), (first, world.said)
    world.after(100, file.unlink)
    begun = world.now
    assert world.turn("web2") == Go(True)
    assert world.now - begun >= 99, f"started {world.now - begun} s later although the blocker forbids it"


def test_the_progress_deadline_stands_still_while_paused(world: World) -> None:
    world.begin(progress_deadline=60)
    world.out = {"web3", "web4"}
    world.after(10, lambda: world.order("pause"))
    world.after(110, lambda: world.order("resume"))
    world.after(130, world.out.clear)
    assert world.slot("web1") == Go(True), world.ending()


def test_broken_hosts_that_go_before_the_canary_do_not_wait_for_its_promotion(world: World) -> None:
    # plan: budget used up by web2, which goes first; web1 is the canary and has not started
    world.begin(order=["web2", "web1", "web3", "web4"], canary=["web1"], auto_promote=False)
    world.after(50, lambda: world.order("stop"))
    assert world.slot("web2") == Go(True), world.said


def test_each_tier_has_its_own_budget_in_the_window() -> None:
    hosts = [HostView(f"j{n}", tier="workers") for n in range(4)] + [HostView(f"w{n:02}", tier="web") for n in range(40)]
    made = make_plan(hosts, batch=None, canary=1, max_unavailable="25%", tiers=["workers", "web"])
    states = {**dict.fromkeys(made.order, "done"), "w20": "in_flight", "w21": "pending"}
    assert made.serial[-2] == 10 and why_not_now(window_of(made, hosts), "w21", states, set()) == ""


@pytest.mark.parametrize(("hosts", "limits"), [
    ([HostView("w1"), HostView("w2"), HostView("w3"), HostView("w4", serving=False, late=True)], {"canary": 0}),
    ([HostView(f"j{n}", tier="workers") for n in "1234"] + [HostView(f"w{n}", tier="web", serving=n != "4") for n in "1234"], {"tiers": ["workers", "web"]}),
    ([HostView("w1", weight=2)] + [HostView(f"w{n}", serving=n != 4) for n in range(2, 8)], {}),
    ([HostView(f"{z}{n}", zone=z, serving=(z, n) != ("a", 4)) for z in "ab" for n in (1, 2, 3, 4)], {"zone_min_available": 3}),
], ids=["late", "tiers", "weight", "zone"])
def test_a_broken_host_of_the_plan_is_repaired_and_blocks_nobody_for_ever(hosts: list[HostView], limits: dict[str, t.Any]) -> None:
    made = make_plan(hosts, **{"batch": None, "canary": 1, "max_unavailable": "25%", **limits})
    window, states, out = window_of(made, hosts), dict.fromkeys(made.order, "pending"), {host.name for host in hosts if not host.serving}
    for host in made.order:
        assert (why := why_not_now(window, host, states, out)) == "", why
        states[host] = "done"
        out.discard(host)


def test_an_abort_while_the_last_host_is_under_way_is_followed(world: World) -> None:
    conductor = world.begin(pace="batch")
    for host in HOSTS:
        assert world.keeper().open_batch([host], undo=False)
        if host == "web4":
            world.order("abort", "wrong ticket")
        conductor.close_batch([host], {host: {"finished": True}}, HOSTS, undo=False)
    assert conductor.finish({})["state"] != "succeeded"


def test_a_worker_that_outlives_ansible_playbook_takes_no_slot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.begin(max_parallel=1)
    world.slot("web1")
    keeper = world.keeper()
    world.after(5, lambda: monkeypatch.setattr("os.getppid", lambda: -1))
    world.after(6, lambda: world.done("web1"))
    with pytest.raises(test_gatekeeper.gate.OrphanedError):
        keeper.take_slot("web2", HOSTS)
    assert world.state("web2") == "pending"


def test_wait_waits_for_a_rollout_that_began_less_than_a_minute_ago(tmp_path: t.Any) -> None:
    store = Store(str(tmp_path / "shop"))
    store.create()
    spec = {name: option.get("default") for name, option in lock.ARGUMENT_SPEC.items()}
    lock.hold(store, {**spec, "lock_id": "20261125T010000Z-a"}, False)
    begun = time.monotonic()
    with pytest.raises(SeamlessError):
        lock.take(store, {**spec, "lock_id": "20261125T010030Z-b", "policy": "wait", "wait": 2, "alone": True}, False)
    assert time.monotonic() - begun >= 2


def test_orders_are_heard_although_the_first_host_is_lost(world: World) -> None:
    world.begin()
    heard = world.keep_locks
    world.keep_locks = lambda hosts: heard(hosts) if "web2" in hosts else []   # web1 gives no answer
    world.left("stop")
    world.now += 60
    for host in HOSTS[:2]:
        world.slot(host)
    world.done("web1")
    world.done("web2")
    world.now += 60
    assert world.slot("web3") == Go(False)
