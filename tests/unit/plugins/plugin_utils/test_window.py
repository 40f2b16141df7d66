# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.plugin_utils._orders import VERBS, standing, worded
from ansible_collections.seamless.rollout.plugins.plugin_utils._plan import HostView, Plan, make_plan
from ansible_collections.seamless.rollout.plugins.plugin_utils._undo import batches
from ansible_collections.seamless.rollout.plugins.plugin_utils._window import IN_FLIGHT, PENDING, Window, why_not_now, with_room
from hypothesis import given
from hypothesis import strategies as st

FOUR = ("a", "b", "c", "d")


def window(*order: str, steps: t.Sequence[int] = (), **changes: t.Any) -> Window:
    hosts = order or FOUR
    made: dict[str, t.Any] = {"caps": dict.fromkeys(hosts, 9), "weights": {}, "max_parallel": 9, "max_unavailable": 9, **changes}
    return Window(order=hosts, steps=dict(zip(hosts, steps or [0] * len(hosts))), **made)


def asked(wanted: Window, host: str, *flying: str, done: t.Container[str] = (), out: t.AbstractSet[str] = frozenset()) -> str:
    states = {name: IN_FLIGHT if name in flying else "done" if name in done else PENDING for name in wanted.order}
    return why_not_now(wanted, host, states, out)


def test_hosts_start_in_the_order_of_the_plan() -> None:
    assert asked(window(), "a") == ""
    assert asked(window(), "c", "a") == "waits for its turn after b"
    assert asked(window(), "b", "a") == ""


def test_no_host_crosses_a_barrier_before_everybody_else_has() -> None:
    wanted = window(steps=(0, 0, 1, 1))
    assert asked(wanted, "c", "a", "b") == "waits until a, b of the step before is finished"
    assert asked(wanted, "c", "b", done="a") == "waits until b of the step before is finished"
    assert asked(wanted, "c", done="ab") == ""


@pytest.mark.parametrize("limit", [{"max_parallel": 2}, {"caps": dict.fromkeys(FOUR, 2)}])
def test_a_window_that_is_full_waits_for_a_slot(limit: dict[str, t.Any]) -> None:
    assert asked(window(**limit), "c", "a", "b") == "waits for a slot: 2 of 2 are in use"
    assert asked(window(**limit), "c", "b", done="a") == ""


def test_whoever_is_out_of_service_for_any_reason_counts_in_the_budget() -> None:
    wanted = window(max_unavailable=2)
    assert asked(wanted, "b", "a", out={"d"}) == "waits for capacity: a, d out of service, 2 may be at once"
    assert asked(wanted, "b", "a", out={"stranger"}) == "waits for capacity: a, stranger out of service, 2 may be at once"
    assert asked(wanted, "b", "a", out={"a"}) == "", "a host that is under way and out of service counts once"


def test_a_host_that_is_out_of_service_already_costs_nothing() -> None:
    assert asked(window(max_unavailable=1), "b", "a", out={"b", "d"}) == ""
    assert asked(window(max_unavailable=1, max_parallel=1), "b", "a", out={"b"}) == "waits for a slot: 1 of 1 are in use"


def test_capacity_is_counted_by_weight_and_a_host_that_is_too_heavy_goes_alone() -> None:
    wanted = window(max_unavailable=3, weights={"b": 2, "c": 5})
    assert asked(wanted, "b", "a") == ""
    assert asked(wanted, "c", "b", done="a") == "waits for capacity: b out of service, 3 may be at once (by weight)"
    assert asked(wanted, "c", done="ab") == ""
    assert asked(wanted, "d", "c", done="ab").startswith("waits for capacity: c out of service")


def test_a_zone_has_a_budget_of_its_own() -> None:
    wanted = window(places={"a": ("", "east"), "b": ("", "east"), "c": ("", "west"), "d": ("", "west")}, slots=dict.fromkeys(FOUR, 1))
    assert asked(wanted, "b", "a") == "waits for capacity: a out of service in zone east, 1 may be at once"
    assert asked(wanted, "c", "b", done="a") == ""


class Roll:
    """A rollout in which hosts finish, or fail and stay out of service, in any order. It checks every start."""

    def __init__(self, wanted: Window, broken: t.Iterable[str], data: st.DataObject) -> None:
        self.window, self.data = wanted, data
        self.states = dict.fromkeys(wanted.order, PENDING)
        self.out = set(broken)

    def named(self, state: str) -> list[str]:
        return [name for name, its in self.states.items() if its == state]

    def go(self, outcomes: t.Sequence[str] = ("done",)) -> list[str]:
        """Roll until nobody can start or finish; return the hosts that are left."""
        while True:
            ready = [name for name in self.window.order if self.states[name] == PENDING and not why_not_now(self.window, name, self.states, self.out)]
            assert ready in ([], self.named(PENDING)[:1]), "only who is next may start"
            flying = self.named(IN_FLIGHT)
            if ready and (not flying or self.data.draw(st.booleans(), "start another")):
                self.start(ready[0])
            elif flying:
                self.finish(self.data.draw(st.sampled_from(flying), "finishes"), self.data.draw(st.sampled_from(outcomes), "outcome"))
            else:
                return self.named(PENDING)

    def start(self, host: str) -> None:
        steps, flying = self.window.steps, self.named(IN_FLIGHT)
        assert all(self.states[name] in ("done", "failed") for name in self.window.order if steps[name] < steps[host]), "a barrier"
        assert len(flying) < min(self.window.max_parallel, self.window.caps[host])
        others = {name for name in self.out | set(flying) if self.window.places.get(name, ("",))[0] == self.window.places.get(host, ("",))[0]}
        near = {name for name in others if self.window.places.get(name) == self.window.places.get(host)}
        if host not in self.out:
            assert not others or self.window.weight([*others, host]) <= self.window.allowed.get(host, self.window.max_unavailable)
            assert not near or self.window.weight([*near, host]) <= self.window.slots[host]
        self.states[host] = IN_FLIGHT

    def finish(self, host: str, outcome: str) -> None:
        self.states[host] = outcome
        self.out = self.out - {host} if outcome == "done" else self.out | {host}


@st.composite
def windows(draw: t.Any) -> Window:
    order = [f"h{number}" for number in range(draw(st.integers(1, 10)))]
    growth = draw(st.lists(st.sampled_from([0, 0, 0, 1]), min_size=len(order), max_size=len(order)))
    each = {name: draw(st.tuples(st.integers(1, 4), st.sampled_from([1, 1, 2, 5]), st.sampled_from("ab"), st.integers(1, 4))) for name in order}
    return Window(
        order=order,
        steps=dict(zip(order, itertools.accumulate(growth))),
        caps={name: cap for name, (cap, *dummy) in each.items()},
        weights={name: weight for name, (dummy, weight, *dummies) in each.items()},
        places={name: ("", zone) for name, (*dummies, zone, dummy) in each.items()},
        slots={name: slots for name, (*dummies, slots) in each.items()},
        max_parallel=draw(st.integers(1, 5)),
        max_unavailable=draw(st.integers(1, 6)),
    )


@given(wanted=windows(), data=st.data())
def test_whatever_the_plan_and_whoever_finishes_first_all_hosts_are_rolled_within_the_limits(wanted: Window, data: st.DataObject) -> None:
    assert Roll(wanted, (), data).go() == []


@given(wanted=windows(), data=st.data())
def test_with_broken_hosts_the_limits_hold_and_only_what_no_roll_repairs_stops_it(wanted: Window, data: st.DataObject) -> None:
    broken = data.draw(st.sets(st.sampled_from([*wanted.order, "skipped", "unreachable"])), "broken")
    roll = Roll(wanted, broken, data)
    left = roll.go(("done", "done", "failed"))
    if left:
        near = {name for name in roll.out if wanted.places.get(name) == wanted.places.get(left[0])}
        full = wanted.weight([*roll.out, left[0]]) > wanted.max_unavailable, near and wanted.weight([*near, left[0]]) > wanted.slots[left[0]]
        assert left[0] not in roll.out and roll.out and any(full)


HOSTS = st.builds(
    HostView, name=st.just(""), skip=st.sampled_from([None, None, "has it"]), zone=st.sampled_from("ab"), weight=st.sampled_from([1, 1, 2, 5]),
    late=st.booleans(), tier=st.sampled_from(["t1", "t2"]),
)
LIMITS = {
    "batch": st.one_of(st.none(), st.lists(st.one_of(st.integers(1, 9), st.just("30%")), min_size=1, max_size=3)),
    "canary": st.one_of(st.integers(0, 3), st.just("per_zone")),
    "max_unavailable": st.one_of(st.integers(1, 9), st.sampled_from(["10%", "25%", "60%"])),
    "max_parallel": st.one_of(st.none(), st.integers(1, 4)),
    "tiers": st.sampled_from([[], ["t2", "t1"]]),
}


def window_of(made: Plan, hosts: t.Sequence[HostView]) -> Window:
    return Window(
        order=made.order,
        steps={name: number for number, stage in enumerate(made.stages) for name in stage},
        caps=made.caps,
        weights={host.name: host.weight for host in hosts},
        places={host.name: (host.tier, host.zone) for host in hosts},
        allowed=made.allowed,
        slots=made.slots,
        max_parallel=made.max_parallel,
        max_unavailable=made.max_unavailable,
    )


@given(hosts=st.lists(HOSTS, min_size=1, max_size=12), limits=st.fixed_dictionaries(LIMITS), data=st.data())
def test_every_plan_can_be_rolled_in_a_window(hosts: list[HostView], limits: dict[str, t.Any], data: st.DataObject) -> None:
    named = [HostView(**{**vars(host), "name": f"h{number}"}) for number, host in enumerate(hosts)]
    assert Roll(window_of(make_plan(named, **limits), named), (), data).go() == []


def order(verb: str, at: float, **changes: t.Any) -> dict[str, t.Any]:
    return {"verb": verb, "at": at, "by": "ann@desk", "reason": "", **changes}


@pytest.mark.parametrize(
    ("verbs", "paused", "ended"),
    [
        ((), None, None),
        (("pause",), "pause", None),
        (("pause", "resume"), None, None),
        (("pause", "resume", "pause"), "pause", None),
        (("pause", "promote"), None, None),
        (("promote", "pause"), "pause", None),
        (("pause", "stop"), "pause", "stop"),
        (("stop", "abort"), None, "abort"),
        (("stop", "resume"), None, "stop"),
    ],
)
def test_the_last_order_stands_and_an_end_is_an_end(verbs: tuple[str, ...], paused: str | None, ended: str | None) -> None:
    found = standing([order(verb, number) for number, verb in enumerate(verbs)])
    assert ((found.paused or {}).get("verb"), (found.ended or {}).get("verb"), found.promoted) == (paused, ended, "promote" in verbs)


def test_orders_to_an_earlier_run_are_forgotten_but_for_the_promotion() -> None:
    earlier = [order("promote", 1), order("pause", 2), order("stop", 3)]
    assert standing(earlier, since=4) == standing([order("promote", 5)])
    assert standing([*earlier, order("pause", 5)], since=4).paused


def test_an_order_is_worded_for_people() -> None:
    assert worded(order("pause", 1, reason="the phone rang")) == "paused by ann@desk (the phone rang)"
    assert {worded(order(verb, 1)).split()[0] for verb in VERBS} == {"paused", "resumed", "promoted", "stopped", "aborted"}


def test_a_host_that_failed_in_one_zone_does_not_hold_the_next_one_back() -> None:
    zones = {"a": ("", "x"), "b": ("", "x"), "c": ("", "y"), "d": ("", "y")}
    wanted = window(steps=(0, 0, 1, 1), places=zones, max_unavailable=2, slots=dict.fromkeys(FOUR, 1))
    states = {"a": "done", "b": "failed", "c": PENDING, "d": PENDING}
    assert why_not_now(wanted, "c", states, {"b"}) == ""
    assert with_room(wanted, ["c", "d"], {"b"}) == (["c"], "waits for capacity: b, c out of service, 2 may be at once")


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(1, 3), st.booleans()), min_size=1, max_size=12),
    st.integers(1, 6), st.integers(1, 6), st.integers(1, 5),
)
def test_an_undo_never_lacks_a_tier_or_a_zone_more_than_it_bears(hosts: list[tuple[str, str, int, bool]], allowed: int, slots: int, most: int) -> None:
    """A host that leaves rotation has room, by weight, beside all that are out then, or goes alone."""
    names = [f"h{number}" for number in range(len(hosts))]
    plan = window(
        *names, weights={name: host[2] for name, host in zip(names, hosts)}, places={name: host[:2] for name, host in zip(names, hosts)},
        max_unavailable=allowed, allowed=dict.fromkeys(names, allowed), slots=dict.fromkeys(names, min(allowed, slots)),
    )
    drained = {name for name, host in zip(names, hosts) if host[3]}
    order = sorted(names, key=lambda name: name not in drained)
    cut = batches(plan, order, drained, most)
    assert [name for batch in cut for name in batch] == order and max(map(len, cut)) <= most
    out = set(drained)
    for batch in cut:
        assert not set(batch) - out or len(batch) == 1 or with_room(plan, batch, out) == (batch, "")
        out -= set(batch)
