# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import platform
import re
import sqlite3
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _gatekeeper as gate
from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count
from ansible_collections.seamless.rollout.plugins.plugin_utils._conductor import Conductor
from ansible_collections.seamless.rollout.plugins.plugin_utils._counters import Counted
from ansible_collections.seamless.rollout.plugins.plugin_utils._gatekeeper import Gatekeeper, Go
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._orders import VERBS
from ansible_collections.seamless.rollout.plugins.plugin_utils._process import process_start
from ansible_collections.seamless.rollout.plugins.plugin_utils._reader import KNOWN
from ansible_collections.seamless.rollout.plugins.plugin_utils._settings import LOCK_POLICIES
from ansible_collections.seamless.rollout.plugins.plugin_utils._status import watch

HOSTS = ("web1", "web2", "web3", "web4")
START = 1_800_000_000.0


class World:
    """Hosts, balancers and time as one gate sees them, around a real ledger. Nothing takes longer than it takes to say."""

    def __init__(self, directory: str) -> None:
        self.now = START
        self.out: set[str] = set()
        self.locks: list[dict[str, t.Any]] = []
        self.renewed: list[list[str]] = []
        self.said: list[str] = []
        self.reads = 0
        self.dead_balancer = self.uncounted = False
        self.fails: dict[str, float] = {}
        self.split_by = ""
        self.happens: list[tuple[float, t.Callable[[], None]]] = []
        self.facts: dict[str, t.Any] = {
            "id": "r", "app": "shop", "state_dir": directory, "mode": "release", "release": "2.0", "pace": "window", "dry": False, "halted": "", "max_fail": 0,
            "on_failure": "rollback", "max_parallel": 2, "max_unavailable": 2, "order": list(HOSTS), "canary": [], "auto_promote": True,
            "progress_deadline": 600, "lock_ttl": 3600, "windows": [], "blockers": [], "override": "", "finish_hosts": list(HOSTS), "roll_hosts": [],
            "window_hosts": list(HOSTS), "undo_hosts": [],
            "hosts": {
                host: {
                    "from": "1.0", "target": "2.0", "state": "pending", "detail": "", "balancers": [{}], "drained": False,
                    "step": 0, "cap": 2, "weight": 1, "zone": "", "tier": "", "allowed": 2, "slots": 2,
                }
                for host in HOSTS
            },
        }
        self.ledger = Ledger(directory)

    def begin(self, **changes: t.Any) -> Conductor:
        self.facts.update(changes)
        for entry in self.facts["hosts"].values():
            entry["allowed"] = self.facts["max_unavailable"]
        rollout = {key: self.facts[key] for key in ("id", "app", "release", "mode")}
        self.ledger.begin(
            {**rollout, "state": "planned", "reason": "", "owner": "o", "controller": platform.node(), "pid": 1, "process_start": "", "started_at": self.now}
        )
        self.ledger.save_plan("r", self.facts)
        self.now += 1
        return Conductor(self.facts)

    def unavailable(self) -> set[str]:
        self.reads += 1
        if self.dead_balancer:
            raise SeamlessError("balancer lb1 can't be asked how many members are up: no answer")
        return set(self.out)

    def totals(self) -> dict[str, Count]:
        return {f"{host}|lb1": self.counted(host) for host in HOSTS}

    def counters(self, before: Counted) -> Counted:
        if self.uncounted:
            raise SeamlessError("balancer lb1 can't be asked what they have counted: no answer")
        return Counted({f"{host}|lb1": self.counted(host) for host in HOSTS})

    def counted(self, host: str) -> Count:
        """Return the totals of *host*, which gets a request each second; one in two hundred fails, or as many as ``fails`` says."""
        seconds = int(self.now - START)
        return Count(seconds, int(seconds * self.fails.get(host, 0.005)))

    def keep_locks(self, hosts: t.Sequence[str]) -> list[dict[str, t.Any]]:
        self.renewed.append(list(hosts))
        return self.locks

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < START + 20_000, f"the gate waits for ever: {self.said}"
        for event in [event for event in self.happens if event[0] <= self.now]:
            self.happens.remove(event)
            event[1]()

    def after(self, seconds: float, what: t.Callable[[], None]) -> None:
        self.happens.append((self.now + seconds, what))

    def order(self, verb: str, reason: str = "") -> None:
        self.ledger.order("r", verb, "ann@desk", reason, self.now)

    def left(self, verb: str, reason: str = "") -> None:
        """Leave an order in the lock, as another controller does; its clock is wrong."""
        self.locks = [{"id": "r", "orders": [*(self.locks[0]["orders"] if self.locks else []), {"verb": verb, "by": "bob@ci", "reason": reason, "at": 7.0}]}]

    def done(self, host: str) -> None:
        self.ledger.update_host("r", host, state="done", drained=0)

    def keeper(self) -> Gatekeeper:
        return Gatekeeper(Conductor(self.facts), self, self.said.append, sleep=self.sleep, clock=lambda: self.now)

    def slot(self, host: str, alive: t.Container[str] = HOSTS, tries: int = 0) -> Go:
        return self.keeper().take_slot(host, alive, tries)

    def turn(self, host: str) -> Go:
        """Ask for a slot as Ansible does: in a task of its own each time."""
        go = self.slot(host)
        while go.again:
            go = self.slot(host, tries=go.tries)
        return go

    def state(self, host: str) -> str:
        return str(self.ledger.hosts("r")[host]["state"])

    def ending(self) -> tuple[str, str]:
        rollout = self.ledger.rollout("r") or {}
        return rollout["state"], rollout["halted"] or ""


@pytest.fixture
def world(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(str(tmp_path))
    monkeypatch.setattr(time, "time", lambda: made.now)
    monkeypatch.setattr(gate, "LOOK", 0.5)
    connect = sqlite3.connect

    def without_a_disk(*args: t.Any, **options: t.Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    monkeypatch.setattr(sqlite3, "connect", without_a_disk)
    return made


def test_a_slot_is_taken_and_recorded_before_anything_happens_to_the_host(world: World) -> None:
    world.begin()
    assert world.slot("web1") == Go(True)
    row = world.ledger.hosts("r")["web1"]
    assert (row["state"], row["drained"], world.said) == ("in_flight", 1, [])


def test_whoever_is_next_waits_for_a_slot_says_so_once_and_goes_when_one_is_free(world: World) -> None:
    world.begin()
    world.slot("web1")
    world.slot("web2")
    world.after(5, lambda: world.done("web2"))
    begun = world.now
    assert world.turn("web3") == Go(True)
    assert 5 <= world.now - begun < 6
    assert world.said == ["waits for a slot: 2 of 2 are in use"]


def test_whoever_is_not_next_waits_in_silence(world: World) -> None:
    world.begin()
    world.slot("web1")
    world.after(3, lambda: world.ledger.update_host("r", "web2", state="in_flight"))
    world.after(4, lambda: world.done("web1"))
    assert world.turn("web3") == Go(True)
    assert world.said == ["waits for a slot: 2 of 2 are in use"]


def test_a_halt_sends_those_who_wait_away(world: World) -> None:
    conductor = world.begin()
    world.slot("web1")
    world.slot("web2")
    world.after(2, lambda: conductor.failed("web1", "Switch", {"msg": "not healthy"}, undo=False))
    assert world.slot("web3") == Go(False)
    assert world.state("web3") == "pending"
    assert world.ending() == ("rolling_back", "web1: Switch: not healthy")


def test_a_paused_rollout_waits_and_goes_on(world: World) -> None:
    world.begin()
    world.order("pause", "the phone rang")
    world.after(200, lambda: world.order("resume"))
    begun = world.now
    assert world.slot("web1") == Go(True)
    assert 200 <= world.now - begun < 201
    assert world.said == ["paused by ann@desk (the phone rang); the rollout keeps its lock and waits for resume or abort"]


def test_a_batch_waits_while_the_rollout_is_paused_and_an_undo_does_not(world: World) -> None:
    world.begin(pace="batch")
    world.order("pause")
    assert world.keeper().open_batch(["web1"], undo=True) == ["web1"]
    assert world.state("web1") == "rolling_back"
    world.ledger.update_host("r", "web1", state="rolled_back", drained=0)
    world.after(60, lambda: world.order("resume"))
    begun = world.now
    assert world.keeper().open_batch(["web2", "web3"], undo=False)
    assert world.now - begun >= 60
    assert [world.state(host) for host in HOSTS] == ["rolled_back", "in_flight", "in_flight", "pending"]


def zoned(world: World, slots: int = 1, **changes: t.Any) -> Conductor:
    """Two zones of two hosts, of which *slots* may be out of service in each, and 2 in all."""
    for host, zone in zip(HOSTS, "aabb"):
        world.facts["hosts"][host].update(zone=zone, slots=slots)
    return world.begin(**{"pace": "batch", **changes})


def opened(world: World, *hosts: str, undo: bool = False) -> list[str]:
    return world.keeper().open_batch(hosts, undo=undo)


def test_a_batch_waits_while_its_zone_would_go_below_its_floor(world: World) -> None:
    zoned(world)
    world.out = {"web1"}
    world.after(30, world.out.clear)
    begun = world.now
    assert opened(world, "web3") == ["web3"] and world.now == begun, "another zone's hosts are none of its business"
    world.done("web3")
    assert opened(world, "web2") == ["web2"]
    assert 30 <= world.now - begun < 32
    assert world.said == ["waits for capacity: web1 out of service in zone a, 1 may be at once"]


def test_a_batch_goes_in_parts_where_there_is_no_room_for_all(world: World) -> None:
    zoned(world, slots=2)
    world.ledger.update_host("r", "web4", state="failed", drained=1)
    assert opened(world, "web1", "web2", "web3") == ["web1"]
    assert [world.state(host) for host in HOSTS] == ["in_flight", "pending", "pending", "failed"]
    world.done("web1")
    assert opened(world, "web2", "web3") == ["web2"]


def test_a_host_of_a_batch_that_serves_nobody_costs_nothing(world: World) -> None:
    zoned(world)
    world.out = {"web1"}
    assert opened(world, "web2", "web1") == ["web1"]
    world.done("web1")
    world.out = {"web1", "web2"}
    assert opened(world, "web1", "web2") == ["web1", "web2"]


def test_without_capacity_for_too_long_a_batch_ends_the_rollout_and_undoes_nothing(world: World) -> None:
    zoned(world, progress_deadline=60)
    world.out = {"web1"}
    world.after(10, lambda: world.order("pause"))
    world.after(110, lambda: world.order("resume"))
    begun = world.now
    assert opened(world, "web2") == []
    assert 170 <= world.now - begun < 173, "the deadline stands still while paused"
    state, why = world.ending()
    assert state == "running" and why.startswith("no host could start for 60 s (rollout_progress_deadline): waits for capacity: web1")


def test_a_batch_that_waits_obeys_an_order_to_end(world: World) -> None:
    zoned(world)
    world.out = {"web1"}
    world.after(5, lambda: world.order("stop"))
    assert opened(world, "web2") == [] and world.state("web2") == "pending"


def test_a_batch_without_an_answer_of_a_balancer_has_failed_unchanged(world: World) -> None:
    conductor = zoned(world)
    opened(world, "web3")
    world.done("web3")
    world.dead_balancer = True
    with pytest.raises(SeamlessError, match="lb1 can't be asked"):
        opened(world, "web1", "web2")
    after = conductor.not_begun(["web1", "web2"], "balancer lb1 can't be asked")
    assert (after["undo_hosts"], after["halted"].split("; ")[0]) == (["web3"], "web1: Record the batch: balancer lb1 can't be asked")


def test_an_undo_takes_no_more_out_of_a_zone_than_it_can_bear(world: World) -> None:
    conductor = zoned(world)
    for host in HOSTS:
        world.now += 1
        world.done(host)
    conductor.halt("it is broken", undo=True)
    after = conductor.told()
    assert (after["undo_hosts"], after["undo_serial"]) == (["web4", "web3", "web2", "web1"], [1, 2, 1]), "web4 and web3 are of one zone"
    world.out = {"web1"}
    assert opened(world, "web4", undo=True) == ["web4"]
    world.ledger.update_host("r", "web4", state="rolled_back", drained=0)
    assert opened(world, "web3", "web2", undo=True) == ["web3"], "nobody serves from zone a while web2 is out"
    world.ledger.update_host("r", "web3", state="rolled_back", drained=0)
    assert opened(world, "web1", undo=True) == ["web1"], "it serves nobody"
    world.ledger.update_host("r", "web1", state="rolled_back", drained=0)
    assert conductor.told()["undo_rest_hosts"] == ["web2"]
    world.out = set()
    assert opened(world, "web2", undo=True) == ["web2"]


def test_an_undo_for_which_its_zone_has_no_room_is_tried_once_more(world: World) -> None:
    conductor = zoned(world)
    for host in HOSTS[:2]:
        world.done(host)
    conductor.halt("it is broken", undo=True)
    conductor.told()
    world.out = {"web1"}
    assert (opened(world, "web2", undo=True), world.state("web2")) == ([], "done")
    assert (opened(world, "web2", undo=True), world.state("web2")) == ([], "rollback_failed")
    assert world.ledger.hosts("r")["web2"]["detail"] == "Record the batch: no capacity: web1 out of service in zone a, 1 may be at once"
    world.dead_balancer = True
    assert opened(world, "web1", undo=True) == ["web1"], "a balancer that gives no answer does not hold up an undo"


def test_a_traffic_split_that_was_made_meanwhile_holds_hosts_back_until_it_is_restored(world: World) -> None:
    """As one that compares the canary with the others while the rollout waits for promotion."""
    world.begin()
    world.split_by = "shop"
    world.after(1500, lambda: setattr(world, "split_by", ""))
    begun = world.now
    assert world.slot("web1") == Go(True)
    assert world.now - begun >= 1500
    assert len(world.said) == 1 and "a traffic split of shop is in force" in world.said[0] and "traffic_split_state=restored" in world.said[0]
    world.split_by = "shop"
    world.done("web1")
    world.facts["mode"] = "rollback"
    assert world.slot("web2") == Go(True), "the way out of trouble is not held up"


def test_hosts_after_the_canary_wait_for_promotion(world: World) -> None:
    world.begin(canary=["web1"], auto_promote=False)
    assert world.slot("web1") == Go(True)
    world.done("web1")
    world.after(40, lambda: world.order("promote"))
    begun = world.now
    assert world.slot("web2") == Go(True)
    assert world.now - begun >= 40
    assert world.said == ["the canary is done; waits for promote (or abort)"]
    assert world.slot("web3") == Go(True), "one promotion is enough"


def test_a_promotion_outlives_a_new_run_of_the_same_rollout(world: World) -> None:
    world.begin(canary=["web1"], auto_promote=False)
    world.order("promote")
    world.now += 10
    world.begin(canary=["web2"])
    world.done("web1")
    world.done("web2")
    assert world.slot("web3") == Go(True)


@pytest.mark.parametrize("on_failure", ["rollback", "pause", "continue", "stop"])
@pytest.mark.parametrize("verb", ["stop", "abort"])
def test_stop_undoes_nothing_and_abort_does_what_a_failure_does(world: World, verb: str, on_failure: str) -> None:
    conductor = world.begin(on_failure=on_failure)
    world.slot("web1")
    world.done("web1")
    world.order(verb, "wrong ticket")
    assert world.slot("web2") == Go(False)
    state = {"rollback": "rolling_back", "pause": "paused"}.get(on_failure, "running") if verb == "abort" else "running"
    assert world.ending() == (state, f"{'stopped' if verb == 'stop' else 'aborted'} by ann@desk (wrong ticket)")
    undone = verb == "abort" and on_failure == "rollback"
    assert conductor.told()["undo_hosts"] == (["web1"] if undone else [])
    if undone:
        world.ledger.update_host("r", "web1", state="rolled_back")
    expected = "rolled_back" if undone else "paused" if on_failure == "pause" else "aborted"
    assert conductor.finish({})["state"] == expected
    assert world.state("web2") == "untouched"


def test_orders_to_the_run_before_do_not_bind_the_new_one(world: World) -> None:
    world.begin()
    world.order("pause")
    world.order("stop")
    world.now += 10
    world.begin()
    assert world.slot("web1") == Go(True)


def test_outside_its_change_window_nobody_starts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.seamless.rollout.plugins.plugin_utils import _windows

    opens = world.now + 50
    monkeypatch.setattr(_windows, "judge", lambda windows, now: _windows.Verdict(world.now >= opens, "closed until the freeze is over", None))
    world.begin(windows=[{"kind": "deny"}])
    assert world.slot("web1") == Go(True)
    assert world.now >= opens and world.said == ["closed until the freeze is over"]
    opens = world.now + 50
    world.begin(override="INC-42")
    assert world.slot("web1") == Go(True)
    assert world.now < opens


def test_blockers_are_asked_by_whoever_is_next_and_not_all_the_time(world: World, tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.seamless.rollout.plugins.plugin_utils import _blockers

    file = tmp_path / "no-rollout"
    file.write_text("the database is slow\n")
    asked: list[float] = []
    check = _blockers.check
    monkeypatch.setattr(_blockers, "check", lambda blockers: asked.append(world.now) or check(blockers))
    world.begin(blockers=[{"file": str(file)}])
    world.after(40, file.unlink)
    begun = world.now
    assert world.slot("web1") == Go(True)
    assert gate.ASK > world.now - begun - 40 >= 0
    assert len(asked) == 4 and "the database is slow" in world.said[0]
    assert (world.slot("web2"), len(asked)) == (Go(True), 5)
    world.done("web1")
    assert (world.slot("web3"), len(asked)) == (Go(True), 5), "what was asked a moment ago holds"


def test_capacity_is_what_the_balancers_say_now(world: World) -> None:
    world.begin()
    world.out = {"web3", "web4"}
    world.after(30, world.out.clear)
    begun = world.now
    assert world.slot("web1") == Go(True)
    assert world.now - begun < 32 and world.reads <= 32, "balancers are asked once a second"
    assert world.said == ["waits for capacity: web3, web4 out of service, 2 may be at once"]


def test_a_host_that_serves_nobody_starts_although_the_budget_is_used_up(world: World) -> None:
    world.begin()
    world.out = {"web1", "web4"}
    assert world.slot("web1") == Go(True)


def test_what_was_drained_by_the_record_counts_before_the_balancers_say_so(world: World) -> None:
    world.begin(max_unavailable=1)
    world.slot("web1")
    world.after(10, lambda: world.done("web1"))
    begun = world.now
    assert world.slot("web2") == Go(True)
    assert world.now - begun >= 10


def test_without_capacity_for_too_long_the_rollout_ends_and_undoes_nothing(world: World) -> None:
    world.begin(progress_deadline=30)
    world.out = {"web3", "web4"}
    begun = world.now
    assert world.slot("web1") == Go(False)
    assert 30 <= world.now - begun < 32
    state, why = world.ending()
    assert state == "running" and why.startswith("no host could start for 30 s (rollout_progress_deadline): waits for capacity: web3, web4")


def test_the_deadline_does_not_run_while_a_host_is_under_way(world: World) -> None:
    world.begin(progress_deadline=5)
    world.slot("web1")
    world.out = {"web3", "web4"}
    world.after(8, lambda: world.done("web1"))
    world.after(9, world.out.clear)
    assert world.slot("web2") == Go(True)


def test_a_balancer_that_gives_no_answer_is_an_error_and_no_capacity(world: World) -> None:
    world.begin()
    world.dead_balancer = True
    with pytest.raises(SeamlessError, match="lb1 can't be asked"):
        world.slot("web1")
    assert world.state("web1") == "pending"


def test_hosts_that_ansible_lost_are_recorded_and_stop_the_roll(world: World) -> None:
    world.begin(on_failure="stop")
    world.slot("web1")
    world.slot("web2")
    world.now += 1
    assert world.slot("web3", alive=("web2", "web3", "web4")) == Go(False)
    assert [world.state(host) for host in HOSTS] == ["unreachable", "in_flight", "pending", "pending"]
    assert world.ending()[1] == "web1: lost in the middle of its update"


def test_a_host_that_was_lost_stays_out_of_the_capacity_where_the_roll_goes_on(world: World) -> None:
    world.begin(on_failure="continue", max_fail=1, max_unavailable=1, progress_deadline=10)
    world.slot("web1")
    world.now += 1
    assert world.slot("web2", alive=("web2",)) == Go(False)
    assert "waits for capacity: web1 out of service" in world.ending()[1]


def test_a_host_that_started_after_this_task_is_not_taken_for_a_lost_one(world: World) -> None:
    world.begin()
    keeper = world.keeper()
    world.now += 1
    world.slot("web1")
    assert keeper.take_slot("web2", alive=("web2",)) == Go(True)
    assert world.state("web1") == "in_flight"


@pytest.mark.parametrize("tries", [0, 1])
def test_whoever_is_next_asks_for_a_fresh_view_with_more_and_more_patience(world: World, tries: int) -> None:
    world.begin(max_parallel=1)
    world.slot("web1")
    begun = world.now
    assert world.slot("web2", tries=tries) == Go(False, again=True, tries=tries + 1)
    assert 0 <= world.now - begun - gate.PATIENCE * 2**tries < 1
    assert world.state("web2") == "pending"


def test_who_is_not_next_asks_for_a_fresh_view_later_for_whoever_is_may_never_come_back(world: World) -> None:
    world.begin(max_parallel=1)
    world.slot("web1")
    begun = world.now
    assert world.slot("web3") == Go(False, again=True, tries=1)
    assert 0 <= world.now - begun - gate.PATIENCE * 2 < 1


def test_nobody_starts_beside_a_host_that_may_have_been_lost_since_the_task_began(world: World) -> None:
    world.begin(on_failure="stop")
    world.slot("web1")
    world.slot("web2")
    world.after(4, lambda: world.done("web2"))
    assert world.slot("web3") == Go(False, again=True)
    assert world.state("web3") == "pending"
    assert world.slot("web3", alive=("web2", "web3", "web4")) == Go(False)
    assert world.ending()[1] == "web1: lost in the middle of its update"


def test_without_capacity_no_fresh_view_is_asked_for(world: World) -> None:
    world.begin(max_parallel=3)
    world.slot("web1")
    world.out = {"web3", "web4"}
    world.after(8, world.out.clear)
    assert world.slot("web2") == Go(False, again=True)
    assert world.now >= START + 9


def test_an_order_of_another_controller_comes_with_the_lock_and_is_heard_once(world: World) -> None:
    world.begin()
    world.left("pause", "from afar")
    world.after(gate.LISTEN + 20, lambda: world.left("resume"))
    world.now += gate.LISTEN
    begun = world.now
    assert world.slot("web1") == Go(True)
    assert 20 <= world.now - begun <= 20 + gate.LISTEN_PAUSED + 1, "while it is paused it listens more often"
    assert [(order["verb"], order["by"], order["reason"]) for order in world.ledger.orders("r")] == [
        ("pause", "bob@ci", "from afar"), ("resume", "bob@ci", ""),
    ]
    assert {tuple(hosts) for hosts in world.renewed} == {("web1",)}, "one host is enough to listen to"


def test_no_host_is_asked_for_orders_more_often_than_needed(world: World) -> None:
    world.begin()
    for host in HOSTS[:2]:
        world.slot(host)
    assert world.renewed == []
    world.now += gate.LISTEN
    world.slot("web3")
    assert len(world.renewed) >= 1


def test_when_nobody_waits_at_the_gate_any_more_an_order_of_another_controller_is_heard_at_once(world: World) -> None:
    world.begin()
    world.left("abort", "too late")
    for host in HOSTS[:3]:
        world.done(host)
    world.keeper().hear()
    assert (world.renewed, world.ledger.orders("r")) == ([], []), "web4 will wait at the gate"
    assert world.slot("web4") == Go(True)
    world.keeper().hear()
    assert [order["verb"] for order in world.ledger.orders("r")] == ["abort"]
    world.done("web4")
    facts = Conductor(world.facts).settle()
    assert facts["halted"] == "aborted by bob@ci (too late)" and sorted(facts["undo_hosts"]) == list(HOSTS)


def test_all_locks_are_renewed_long_before_they_run_out(world: World) -> None:
    world.begin(lock_ttl=20)
    world.order("pause")
    world.after(80, lambda: world.order("resume"))
    world.slot("web1")
    assert 14 <= len([hosts for hosts in world.renewed if hosts == list(HOSTS)]) <= 16


def test_a_dry_run_and_a_rollout_without_locks_renew_nothing(world: World) -> None:
    world.begin(finish_hosts=[])
    world.now += 10_000
    world.slot("web1")
    assert world.renewed == []


def test_those_in_flight_at_the_end_of_the_window_were_lost(world: World) -> None:
    conductor = world.begin(on_failure="stop")
    world.slot("web1")
    world.slot("web2")
    world.done("web1")
    conductor.settle()
    assert [world.state(host) for host in HOSTS[:3]] == ["done", "unreachable", "pending"]
    assert world.ending()[1] == "web2: lost in the middle of its update"


def test_two_at_the_gate_never_share_the_last_slot(world: World) -> None:
    world.begin(max_parallel=1)
    first, second = world.keeper(), world.keeper()
    assert first.take_slot("web1", HOSTS) == Go(True)
    assert second.take_slot("web2", HOSTS) == Go(False, again=True, tries=1)


def test_beats_come_due_once_for_all_processes(world: World) -> None:
    world.begin()
    assert [world.ledger.due("r", "kind", 10) for dummy in range(3)] == [True, False, False]
    world.now += 10
    assert world.ledger.due("r", "kind", 10)
    world.now -= 3600
    assert world.ledger.due("r", "kind", 10), "a clock that was set back doesn't silence it"


def test_watching_says_every_event_and_ends_with_the_rollout(world: World) -> None:
    said: list[str] = []
    assert watch(str(world.facts["state_dir"]), said.append) == {}
    assert said == ["No rollout runs on this controller."]
    conductor = world.begin()
    pid = os.getpid()
    rollout = {**(world.ledger.rollout("r") or {}), "state": "running", "pid": pid, "process_start": process_start(pid)}
    world.ledger.begin(rollout)
    world.slot("web1")
    steps = iter([lambda: world.order("pause", "the phone rang"), lambda: world.done("web1"), lambda: conductor.finish({})])
    watched = watch(str(world.facts["state_dir"]), said.append, sleep=lambda dummy: next(steps, lambda: None)() and None)
    assert watched == {"id": "r", "state": "failed"}
    text = "\n".join(said)
    for words in ("web1  in_flight", "rollout  pause  by ann@desk; reason the phone rang", "web1  done", "rollout  failed"):
        assert words in text, text


def test_the_guide_names_what_there_is_and_quotes_what_is_said(world: World) -> None:
    repo = os.path.abspath(os.path.join(__file__, *[os.pardir] * 5))
    with open(os.path.join(repo, "docs", "docsite", "rst", "control.rst"), encoding="utf-8") as file:
        guide = file.read()
    assert set(re.findall(r"rollout_\w+", guide)) <= KNOWN
    playbooks = set(re.findall(r"seamless\.rollout\.(\w+) -e", guide))
    assert playbooks and all(os.path.exists(os.path.join(repo, "playbooks", f"{name}.yml")) for name in playbooks)
    assert re.findall(r"^(\w+)\n   \w", guide, re.MULTILINE) == ["batch", "window", *VERBS, *LOCK_POLICIES]
    world.begin(canary=["web1"], auto_promote=False)
    world.done("web1")
    world.after(1, lambda: world.order("pause", "the phone rang"))
    world.after(2, lambda: world.order("stop"))
    world.slot("web2")
    assert all(said in guide for said in world.said[:2]), world.said


def canary_done(world: World, **analysis: t.Any) -> None:
    """web1 went first, serves, and is to be judged before web2 may start."""
    world.begin(canary=["web1"], analysis={"bake_min": 10.0, "bake_max": 60.0, "min_requests": 15, "interval": 10.0, **analysis})
    assert world.turn("web1").proceed
    world.done("web1")


def verdicts(world: World) -> list[tuple[str, str]]:
    return [(event["detail"]["verdict"], event["detail"]["action"]) for event in world.ledger.events("r") if event["event"] == "canary_verdict"]


def test_nobody_starts_before_the_canary_is_judged(world: World) -> None:
    canary_done(world)
    assert world.turn("web2").proceed
    assert 20 <= world.now - START < 40 and verdicts(world) == [("pass", "continue")]
    assert any("is being judged: 10 of 15 requests" in said for said in world.said)
    world.done("web2")
    assert world.turn("web3").proceed and len(verdicts(world)) == 1


def test_a_canary_that_fails_more_often_pauses_the_rollout_until_somebody_decides(world: World) -> None:
    world.fails = {"web1": 0.5}
    canary_done(world, min_requests=10_000)
    world.after(50, lambda: world.order("resume", "we have seen it"))
    assert world.turn("web2").proceed
    assert world.now - START >= 50 and verdicts(world) == [("fail", "pause")]
    assert any("paused by the canary's verdict (the verdict on the canary (web1) is fail" in said for said in world.said)


def test_a_canary_that_fails_more_often_is_undone_where_that_is_wanted(world: World) -> None:
    world.fails = {"web1": 0.5}
    canary_done(world, min_requests=10_000, on_fail="rollback")
    world.facts["on_failure"] = "stop"
    assert not world.turn("web2").proceed
    assert world.ending()[0] == "rolling_back" and "the canary fails more often" in world.ending()[1]
    assert world.keeper().conductor.settle()["undo_hosts"] == ["web1"]


def test_a_balancer_that_gives_no_answer_is_an_error_of_the_analysis(world: World) -> None:
    canary_done(world, on_error="continue")
    world.uncounted = True
    assert world.turn("web2").proceed
    assert verdicts(world) == [("error", "continue")]


def test_too_few_requests_are_inconclusive(world: World) -> None:
    canary_done(world, min_requests=10_000, on_inconclusive="continue")
    assert world.turn("web2").proceed
    assert verdicts(world) == [("inconclusive", "continue")] and world.now - START >= 60


def test_who_promotes_needs_no_verdict(world: World) -> None:
    canary_done(world)
    world.order("promote")
    assert world.turn("web2").proceed and not verdicts(world) and world.now - START < 10


def test_another_process_goes_on_with_what_was_counted(world: World) -> None:
    canary_done(world)
    assert "being judged" in world.keeper()._held_back("web2")
    world.now += 11
    assert "11 of 15" in world.keeper()._held_back("web2")
    world.now += 10
    assert world.keeper()._held_back("web2") == ""
    assert verdicts(world) == [("pass", "continue")]
