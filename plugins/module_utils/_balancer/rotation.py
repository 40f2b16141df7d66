# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import asking, pools, quiet, ramp
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Driver, Member, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.records import Records, ref_of
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.registry import open_drivers
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.target import Target, describe
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


class Rotation:
    """One call: all its members on all its balancers."""

    def __init__(self, params: dict[str, t.Any], check_mode: bool) -> None:
        self.params = params
        self.check_mode = check_mode
        self.records = Records(params["state_dir"])
        self.drivers = open_drivers(params)
        self.targets: list[Target] = []
        self.pools: list[tuple[Driver, list[Member]]] = []
        self.warnings: list[str] = []
        self.drain_lost = False

    def read(self) -> None:
        """Read the balancers and find every wanted member on each of them."""
        self.warnings = []
        self.pools = [(driver, driver.members()) for driver in self.drivers]
        self.targets = self.find(self.params["members"])

    @property
    def everyone(self) -> list[Member]:
        return [member for dummy, members in self.pools for member in members]

    def find(self, wanted: t.Sequence[t.Mapping[str, t.Any]]) -> list[Target]:
        """Return what is *wanted* in every pool of every balancer. Raises SeamlessError where one has it nowhere."""
        targets = []
        for driver, members in self.pools:
            found: list[Member] = []
            for one in wanted:
                hits = pools.find(members, one) if driver.knows_pools else members
                if not hits and driver.knows_pools:
                    raise pools.unknown(one, members)
                found += [member for member in hits if member not in found]
            targets += [Target(driver, member, self.records.get(member.ref)) for member in found]
        return targets

    def refresh(self) -> None:
        fresh = {member.ref: member for driver in self.drivers for member in driver.members()}
        for target in self.targets:
            if target.member.ref not in fresh:
                raise gone(target.member.ref, **self.details())
            target.member = fresh[target.member.ref]

    def take_out(self, admin: str) -> None:
        """Judge and set under one lock, then wait until nothing is left on any of them."""
        if not self.drivers[0].maintains:
            admin = "drain"
        if self.check_mode:
            self.read()
            self._claim(admin)
            return
        with self.records.exclusive():
            self.read()
            self._claim(admin)
            # What is in maintenance is out of rotation, whoever put it there: a drain would be a step back.
            leaving = [target for target in self.targets if target.member.admin not in (admin, "maint")]
            fresh = [target for target in self.targets if target.record is None]
            for target in fresh:
                self.record(target, admin if target in leaving else target.before)
            try:
                self._set(leaving, admin)
            except SeamlessError:
                self._forget_untouched(fresh)
                raise
            self._level([target for target in self.targets if target.ramping])
        if self.params["wait"]:
            self.wait_quiet(admin)

    def _claim(self, admin: str) -> None:
        """Refuse members that are somebody else's, and any step below the floor."""
        self.claim(self.targets, admin)
        if all(target.driver.knows_pools for target in self.targets):
            self.check_floor(self.everyone, self.targets)

    def check_floor(self, members: t.Sequence[Member], leaving: t.Sequence[Target]) -> None:
        refs = {target.member.ref for target in leaving}
        pools.check_floor(members, refs, self.params["min_available"], self.ramping(), self.params["pool_min_available"])

    def claim(self, targets: t.Sequence[Target], admin: str) -> None:
        """Refuse members that are somebody else's, and say of the others whether they change."""
        for target in targets:
            owner = (target.record or {}).get("owner")
            if target.record is None and target.before != "ready" and not self.params["force"]:
                raise SeamlessError(
                    f"{target.member.ref} is in {target.before} already ({target.member.admin_source}), and not by us: it was left alone. Leave it "
                    "out of this call, or use force: true to take it over.",
                    operator=True,
                )
            if owner not in (None, self.params["owner"]):
                if not self.params["force"]:
                    at = (target.record or {}).get("at")
                    raise SeamlessError(f"{target.member.ref} was taken out by {owner} ({at}): it was left alone.", operator=True)
                target.record = {**t.cast("dict[str, t.Any]", target.record), "owner": self.params["owner"]} if target.ramping else None
            if target.escalated:
                self.warnings.append(f"{target.member.ref} was put into maintenance by somebody else after {owner} had drained it")
            if target.record and target.before == "ready" and not target.ramping:
                self._lost(target)
            target.changed = target.before == "ready" or (admin == "maint" and target.before != "maint")

    def _lost(self, target: Target) -> None:
        owner = (target.record or {}).get("owner")
        self.warnings.append(f"{target.member.ref} was back in rotation although {owner} had taken it out: was the balancer reloaded?")
        self.drain_lost = True

    def record(self, target: Target, state: str) -> None:
        """Write down what is about to be set, so that what somebody else sets later can be told from it."""
        target.record = target.record or {
            "owner": self.params["owner"],
            "rollout_id": self.params["rollout_id"],
            "reason": self.params["reason"],
            "prior": target.before,
            "prior_weight": target.member.weight,
        }
        target.record["state"] = state
        self.records.put(target.member.ref, target.record)

    def _forget_untouched(self, targets: t.Sequence[Target]) -> None:
        """Drop the records of members that the balancer did not let us take out; keep those of which nothing is known."""
        with contextlib.suppress(SeamlessError):
            self.refresh()
            for target in targets:
                if target.member.admin == "ready":
                    self.records.remove(target.member.ref)

    def ramping(self) -> set[str]:
        """Return the keys of the members whose weight is on its way up, whoever put them back."""
        return {ref_of(one).key for one in self.records.all() if one.get("ramp")}

    def weigh(self, weights: t.Mapping[Target, int]) -> None:
        """Set weights, on one balancer after the other, and see that each has taken them."""
        if not weights:
            return
        for driver in self.drivers:
            mine = {target.member.ref: weight for target, weight in weights.items() if target.driver is driver}
            if mine:
                driver.set_weights(mine)
                if self.params["persist_state"]:
                    driver.persist(self.params["persist_state"])
        self.refresh()
        for target, weight in weights.items():
            if target.member.weight != weight:
                raise SeamlessError(
                    f"{target.member.ref} has the weight {target.member.weight} right after it was set to {weight}: something else sets it, too, such "
                    "as an agent check.",
                    **self.details(),
                )

    def _level(self, targets: t.Sequence[Target]) -> None:
        """Give members whose ramp was interrupted the weight that they had before it, while their record still says so."""
        for target in targets:
            self.warnings.append(f"{target.member.ref} was left with the weight {target.member.weight} of {target.full_weight} by a ramp that was interrupted")
        self.weigh({target: t.cast(int, target.full_weight) for target in targets if target.member.admin == "ready" or target.driver.keeps_weight})
        for target in targets:
            record = t.cast("dict[str, t.Any]", target.record)
            record.pop("ramp")
            self.records.put(target.member.ref, record)

    def _set(self, targets: t.Sequence[Target], state: str) -> None:
        """Set on every balancer and pool first; waiting comes afterwards."""
        for driver in self.drivers:
            mine = [target for target in targets if target.driver is driver and target.member.admin != state]
            for target in mine:
                if state != "ready" and (target.record or {}).get("state") != state:
                    self.record(target, state)
            driver.set_states([target.order(state) for target in mine])
            for target in mine:
                target.at = time.time()
                if state == "ready" and not target.ramping:
                    self.records.remove(target.member.ref)
            if mine and self.params["persist_state"]:
                driver.persist(self.params["persist_state"])

    def wait_quiet(self, admin: str) -> None:
        silent = [target for target in self.targets if not target.driver.counts_sessions and target.changed]
        if silent:
            self._wait_marked_down(silent)
        counted = [target for target in self.targets if target.driver.counts_sessions]
        started = time.monotonic()
        stillness = quiet.Stillness(self.params["settle_polls"])
        waiting = list(counted)
        while waiting:
            self.refresh()
            for target in [target for target in waiting if target.member.admin == "ready"]:
                self._lost(target)
                self._set([target], admin)
            for target in [target for target in waiting if stillness.look(target.member)]:
                target.seconds = round(time.monotonic() - started, 3)
                waiting.remove(target)
            if waiting and time.monotonic() >= started + self.params["drain_timeout"]:
                self._not_quiet(waiting)
                return
            if waiting:
                time.sleep(self.params["poll_interval"])

    def _wait_marked_down(self, targets: t.Sequence[Target]) -> None:
        """Give every balancer time to see the health check fail, where that is what it goes by; where the endpoint can be asked, make sure
        that it does. One that takes orders has to let requests end that nobody counts."""
        deadline = time.monotonic() + max(1.0, self.params["drain_timeout"])
        while any(target.member.health == "up" and not target.driver.knows_pools for target in targets):
            if time.monotonic() >= deadline:
                raise SeamlessError(
                    f"{self.params['check_url']} still answers as healthy although {self.params['path'] or 'the health file'} is there: make the "
                    "health endpoint answer 503 while the file exists.",
                    **self.details(),
                )
            time.sleep(0.2)
            self.refresh()
        time.sleep(self.params["settle_seconds"])

    def _not_quiet(self, waiting: t.Sequence[Target]) -> None:
        text = f"{quiet.describe_busy(target.member for target in waiting)} not quiet after {self.params['drain_timeout']:g} s"
        action = self.params["on_timeout"]
        if action == "fail":
            raise SeamlessError(
                f"{text}. It stays out. Raise drain_timeout, or choose what on_timeout shall do: maintenance, shutdown_sessions or continue.",
                **self.details(),
            )
        if action == "maintenance":
            self._set(waiting, "maint")
        elif action == "shutdown_sessions":
            for target in waiting:
                target.driver.shutdown_sessions(target.member.ref)
        self.warnings.append(f"{text}: {action}")

    def put_back(self) -> None:
        """Let the balancer see the members healthy while they are drained, then make them ready, everywhere."""
        self.read()
        for target in self.targets:
            self.may_return(target)
            if self._ours(target) and target.before == "ready" and not target.ramping:
                self._lost(target)
            target.changed = target.before != "ready" or (self._ours(target) and target.ramping)
        climb = ramp.Climb.of(self)
        if self.check_mode:
            return
        started = time.monotonic()
        deadline = started + self.params["enable_timeout"]
        pending = [target for target in self.targets if target.before != "ready"]
        self._level([target for target in self.targets if target.ramping and self._ours(target) and target not in climb.targets])
        self.prove(pending, deadline)
        for target in pending:
            self.may_return(target)
        climb.begin()
        self._set(pending, "ready")
        for target in filter(self._ours, self.targets):
            if not target.ramping:
                self.records.remove(target.member.ref)
        if self.params["wait"]:
            try:
                self.wait_until(lambda target: target.member.serving, self.targets, deadline, "it was enabled but is not up")
            except SeamlessError:
                self._take_back([target for target in pending if not target.driver.checks_while_drained and not target.member.serving])
                raise
            if any(target.changed and not target.driver.knows_pools for target in self.targets):
                # Nobody says when the balancers have seen enough good checks, and until then the next host must not leave.
                time.sleep(self.params["settle_seconds"])
        for target in self.targets:
            target.seconds = round(time.monotonic() - started, 3)
        climb.go()

    def _take_back(self, targets: t.Sequence[Target]) -> None:
        """Take out again what could be checked only when it was in: by now it is known to be dead."""
        for target in targets:
            target.record = None
            target.before = "ready"
        self._set(targets, "drain")

    def _ours(self, target: Target) -> bool:
        return target.record is not None and (target.record.get("owner") == self.params["owner"] or self.params["force"])

    def may_return(self, target: Target) -> None:
        """Refuse what is somebody else's, be it taken out by them or put into maintenance by them over our drain."""
        owner = (target.record or {}).get("owner")
        if target.member.admin == "ready" or self.params["force"]:
            return
        if owner != self.params["owner"] or target.escalated:
            who = f"by {owner}" if owner and not target.escalated else f"by somebody who left no record ({target.member.admin_source})"
            when = f" after {owner} had drained it" if target.escalated else ""
            raise SeamlessError(
                f"{target.member.ref} was put into {target.member.admin} {who}{when}: it stays out. Use force: true to enable it all the same.",
                operator=True,
                **self.details(),
            )

    def prove(self, pending: t.Sequence[Target], deadline: float) -> None:
        """Wait until a health check that began while the members were out of rotation has passed on every balancer.

        "Up" may be an old answer: of before the restart, or, after maintenance, of before the checks were paused. So a member that looks
        healthy at once is asked for a new proof; one that becomes healthy under our eyes has given it.
        """
        checked = [target for target in pending if target.driver.checks_while_drained]
        paused = [target for target in checked if target.member.admin == "maint"]
        if paused:
            for driver in self.drivers:
                driver.set_states([target.order("drain") for target in paused if target.driver is driver])
            self.refresh()
            for target in paused:
                if target.record:
                    self.record(target, "drain")
        for driver in self.drivers:
            driver.ask_for_proof(
                [target.member.ref for target in checked if target.driver is driver and target.member.fully_up and target.member.health != "nocheck"]
            )
        self.wait_until(
            lambda target: target.member.fully_up or target.member.admin == "ready" or target.escalated,
            checked, deadline, "its checks do not pass, so it was not enabled",
        )
        unproven = [target for target in pending if target.member.health == "nocheck" or not target.driver.proves]
        try:
            asking.wait_for_answers(
                [(target.member, asking.probe_of(target.member, target.driver, self.params["check_url"])) for target in unproven],
                deadline, self.params["poll_interval"],
            )
        except SeamlessError as exc:
            raise SeamlessError(f"{exc} It was not enabled within {self.params['enable_timeout']:g} s.", **self.details()) from exc

    def wait_until(self, ready: t.Callable[[Target], bool], targets: t.Sequence[Target], deadline: float, problem: str) -> None:
        while targets:
            self.refresh()
            waiting = [target for target in targets if not ready(target)]
            if not waiting:
                return
            if time.monotonic() >= deadline:
                last = "; ".join(f"{target.member.ref} is {target.member.health} ({target.member.check or 'no check'})" for target in waiting)
                raise SeamlessError(f"{last}: {problem} within {self.params['enable_timeout']:g} s.", **self.details())
            time.sleep(self.params["poll_interval"])

    def set_weights(self) -> bool:
        weight = self.params["weight"]
        wrong = [target for target in self.targets if weight is not None and target.member.weight != weight]
        if not self.check_mode:
            self.weigh(dict.fromkeys(wrong, weight))
        return bool(wrong)

    def details(self) -> dict[str, t.Any]:
        return {"members": [describe(target) for target in self.targets], "warnings": self.warnings, "drain_lost": self.drain_lost}
