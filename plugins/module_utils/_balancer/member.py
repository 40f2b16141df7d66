# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import difflib
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Driver, Member, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.records import DEFAULT_DIRECTORY, Records
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.registry import open_drivers
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

ARGUMENT_SPEC: dict[str, t.Any] = {
    "driver": {"type": "str", "choices": ["haproxy", "health_file"], "default": "haproxy"},
    "socket": {"type": "list", "elements": "str", "default": []},
    "backend": {"type": "list", "elements": "str", "default": []},
    "members": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"name": {"type": "str", "required": True}, "address": {"type": "str"}, "port": {"type": "int"}},
    },
    "state": {"type": "str", "choices": ["enabled", "drained", "maintenance"], "default": "enabled"},
    "weight": {"type": "int"},
    "wait": {"type": "bool", "default": True},
    "drain_timeout": {"type": "float", "default": 30},
    "on_timeout": {"type": "str", "choices": ["fail", "maintenance", "shutdown_sessions", "continue"], "default": "fail"},
    "enable_timeout": {"type": "float", "default": 30},
    "min_available": {"type": "str", "default": "1"},
    "poll_interval": {"type": "float", "default": 0.1},
    "settle_polls": {"type": "int", "default": 3},
    "settle_seconds": {"type": "float", "default": 5},
    "sticky": {"type": "str", "choices": ["keep", "move"], "default": "keep"},
    "owner": {"type": "str", "default": "ansible"},
    "rollout_id": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": ""},
    "state_dir": {"type": "path", "default": DEFAULT_DIRECTORY},
    "force": {"type": "bool", "default": False},
    "persist_state": {"type": "path"},
    "path": {"type": "path"},
    "check_url": {"type": "str"},
}


class Target:
    """A member to change, the driver that can, and what is known of who took it out."""

    def __init__(self, driver: Driver, member: Member, record: dict[str, t.Any] | None) -> None:
        self.driver = driver
        self.member = member
        self.before = member.admin
        self.record = record
        self.changed = False
        self.at: float | None = None
        self.seconds = 0.0
        self.note = ""


def find(members: t.Sequence[Member], wanted: t.Mapping[str, t.Any]) -> list[Member]:
    """Return *wanted* in every pool: by server name, or else by address (and port, where one is given)."""
    by_name = [member for member in members if member.ref.name == wanted["name"]]
    if by_name:
        return by_name
    addresses = {wanted.get("address") or wanted["name"]}
    return [member for member in members if member.address in addresses and wanted.get("port") in (None, member.port)]


def floor_of(amount: str, total: int) -> int:
    """Return how many of *total* members must stay up: a number, or a percentage that rounds up (as PodDisruptionBudget does)."""
    text = str(amount).strip()
    number = text[:-1] if text.endswith("%") else text
    if not number.isdigit() or (text.endswith("%") and int(number) > 100):
        raise SeamlessError(f'min_available is {amount!r}: use a number of members such as 2, or a percentage such as "50%".')
    return -(-int(number) * total // 100) if text.endswith("%") else int(number)


def check_floor(members: t.Sequence[Member], leaving: t.Collection[MemberRef], amount: str) -> None:
    """Refuse to take out *leaving* where a pool would fall below its floor. Members that don't serve now cost nothing, and backup
    servers are no capacity: they get no requests while another one is up."""
    pools: dict[tuple[str, str], list[Member]] = {}
    for member in members:
        if not member.backup:
            pools.setdefault((member.ref.balancer, member.ref.backend), []).append(member)
    for (balancer, backend), pool in pools.items():
        serving = [member for member in pool if member.serving]
        going = [member for member in serving if member.ref in leaving]
        floor = floor_of(amount, len(pool))
        if going and len(serving) - len(going) < floor:
            names = ", ".join(member.ref.name for member in going)
            raise SeamlessError(
                f"{names} can't be taken out of {backend} on {balancer}: {len(serving)} of {len(pool)} members are up and {floor} must stay up. "
                "Repair the others first, take out fewer at once, or lower min_available.",
                floor={"backend": backend, "up": len(serving), "total": len(pool), "min_available": floor},
            )


class Session:
    """One call: all its members on all its balancers."""

    def __init__(self, params: dict[str, t.Any], check_mode: bool) -> None:
        self.params = params
        self.check_mode = check_mode
        self.records = Records(params["state_dir"])
        self.drivers = open_drivers(params)
        self.targets: list[Target] = []
        self.everyone: list[Member] = []
        self.warnings: list[str] = []
        self.drain_lost = False

    def read(self) -> None:
        """Read the balancers and find every wanted member on each of them."""
        self.targets, self.everyone = [], []
        for driver in self.drivers:
            members = driver.members()
            self.everyone += members
            for wanted in self.params["members"]:
                found = members if not driver.knows_pools else find(members, wanted)
                if not found:
                    self._unknown(wanted, members)
                self.targets += [Target(driver, member, self.records.get(member.ref)) for member in found]

    def _unknown(self, wanted: t.Mapping[str, t.Any], members: t.Sequence[Member]) -> None:
        names = sorted({member.ref.name for member in members})
        pools = ", ".join(sorted({f"{member.ref.backend} on {member.ref.balancer}" for member in members})) or "the balancer"
        near = difflib.get_close_matches(str(wanted["name"]), names, n=1)
        raise SeamlessError(
            f"{wanted['name']} is not a server of {pools}; there are {', '.join(names) or 'none'}." + (f" Did you mean {near[0]}?" if near else "")
        )

    def refresh(self) -> None:
        fresh = {member.ref: member for driver in self.drivers for member in driver.members()}
        for target in self.targets:
            target.member = fresh[target.member.ref]

    def take_out(self, admin: str) -> None:
        """Judge and set under one lock, then wait until nothing is left on any of them."""
        if self.check_mode:
            self.read()
            self._claim(admin)
            return
        with self.records.exclusive():
            self.read()
            claimed = self._claim(admin)
            fresh = [target for target in claimed if target.record is None]
            for target in fresh:
                self.records.put(target.member.ref, self._record(target))
            try:
                self._set([(target, admin) for target in claimed if target.member.admin != admin])
            except SeamlessError:
                self._forget_untouched(fresh)
                raise
        if self.params["wait"]:
            self._wait_quiet()
            if self.params["sticky"] == "move" and admin == "drain" and any(target.driver.counts_sessions for target in self.targets):
                self._set([(target, "maint") for target in self.targets])
                self._wait_quiet()

    def _forget_untouched(self, targets: t.Sequence[Target]) -> None:
        """Drop the records of members that the balancer did not let us take out; keep those of which nothing is known."""
        with contextlib.suppress(SeamlessError):
            self.refresh()
            for target in targets:
                if target.member.admin == "ready":
                    self.records.remove(target.member.ref)

    def _record(self, target: Target) -> dict[str, t.Any]:
        return {
            "owner": self.params["owner"],
            "rollout_id": self.params["rollout_id"],
            "reason": self.params["reason"],
            "prior": target.before,
            "prior_weight": target.member.weight,
        }

    def _claim(self, admin: str) -> list[Target]:
        """Refuse members that are somebody else's, and any step below the floor; return those to be ours."""
        for target in self.targets:
            owner = (target.record or {}).get("owner")
            if target.record is None and target.before != "ready" and not self.params["force"]:
                raise SeamlessError(
                    f"{target.member.ref} is in {target.before} already ({target.member.admin_source}), and not by us: it was left alone. Leave it "
                    "out of this call, or use force: true to take it over.",
                    operator=True,
                )
            if owner not in (None, self.params["owner"]) and not self.params["force"]:
                raise SeamlessError(f"{target.member.ref} was taken out by {owner} ({(target.record or {}).get('at')}): it was left alone.", operator=True)
            if target.record and target.before == "ready":
                self.warnings.append(f"{target.member.ref} was back in rotation although {owner} had taken it out: was the balancer reloaded?")
                self.drain_lost = True
            target.changed = target.before == "ready" or (admin == "maint" and target.before != "maint")
        if all(target.driver.knows_pools for target in self.targets):
            check_floor(self.everyone, {target.member.ref for target in self.targets}, self.params["min_available"])
        return self.targets

    def _set(self, changes: t.Sequence[tuple[Target, str]]) -> None:
        """Set on every balancer and pool first; waiting comes afterwards."""
        for driver in self.drivers:
            mine = [(target, state) for target, state in changes if target.driver is driver and target.member.admin != state]
            driver.set_states([(target.member.ref, state) for target, state in mine])
            for target, dummy in mine:
                target.at = time.time()
            if mine and self.params["persist_state"]:
                driver.persist(self.params["persist_state"])

    def _wait_quiet(self) -> None:
        """Wait until no session and no queue is left and the total stands still: no session alone does not mean drained."""
        started = time.monotonic()
        deadline = started + self.params["drain_timeout"]
        silent = [target for target in self.targets if not target.driver.counts_sessions and target.changed]
        if silent:
            self._wait_marked_down(silent)
        waiting = [target for target in self.targets if target.driver.counts_sessions]
        totals: dict[MemberRef, int | None] = {}
        still: dict[MemberRef, int] = {}
        while waiting:
            self.refresh()
            for target in list(waiting):
                member = target.member
                idle = not member.sessions and not member.queued and totals.get(member.ref, member.total) == member.total
                still[member.ref] = still.get(member.ref, 0) + 1 if idle else 0
                totals[member.ref] = member.total
                if still[member.ref] >= self.params["settle_polls"]:
                    target.seconds = round(time.monotonic() - started, 3)
                    waiting.remove(target)
            if not waiting:
                return
            if time.monotonic() >= deadline:
                self._not_quiet(waiting)
                return
            time.sleep(self.params["poll_interval"])

    def _wait_marked_down(self, targets: t.Sequence[Target]) -> None:
        """Give every balancer time to see the health check fail; where the endpoint can be asked, make sure that it does."""
        deadline = time.monotonic() + max(1.0, self.params["drain_timeout"])
        while any(target.member.health == "up" for target in targets):
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
        busy = ", ".join(f"{target.member.ref} ({target.member.sessions} sessions, {target.member.queued} queued)" for target in waiting)
        text = f"{busy} not quiet after {self.params['drain_timeout']:g} s"
        action = self.params["on_timeout"]
        if action == "fail":
            raise SeamlessError(
                f"{text}. It stays drained. Raise drain_timeout, or choose what on_timeout shall do: maintenance, shutdown_sessions or continue.",
                **self.details(),
            )
        if action == "maintenance":
            self._set([(target, "maint") for target in waiting])
        elif action == "shutdown_sessions":
            for target in waiting:
                target.driver.shutdown_sessions(target.member.ref)
        self.warnings.append(f"{text}: {action}")

    def put_back(self) -> None:
        """Let the balancer see the members healthy while they are drained, then make them ready, everywhere."""
        self.read()
        for target in self.targets:
            owner = (target.record or {}).get("owner")
            ours = owner == self.params["owner"] or self.params["force"]
            if target.before != "ready" and not ours:
                who = f"by {owner}" if owner else f"by somebody who left no record ({target.member.admin_source})"
                raise SeamlessError(
                    f"{target.member.ref} was put into {target.before} {who}: it stays out. Use force: true to enable it all the same.", operator=True
                )
            if target.record and ours and target.before == "ready":
                self.drain_lost = True
                self.warnings.append(f"{target.member.ref} was back in rotation before it was enabled: was the balancer reloaded?")
            target.changed = target.before != "ready"
        if self.check_mode:
            return
        deadline = time.monotonic() + self.params["enable_timeout"]
        started = time.monotonic()
        from_maint = [target for target in self.targets if target.before == "maint"]
        if from_maint:
            self._set([(target, "drain") for target in from_maint if target.driver.checks_while_drained])
            time.sleep(1.0)
        pending = [target for target in self.targets if target.changed]
        self._wait_until(lambda target: target.member.fully_up, pending, deadline, "its checks do not pass, so it was not enabled")
        self._set([(target, "ready") for target in pending])
        if self.params["wait"]:
            counted = [target for target in self.targets if target.driver.knows_pools]
            self._wait_until(lambda target: target.member.serving, counted, deadline, "it was enabled but is not up")
        for target in self.targets:
            target.seconds = round(time.monotonic() - started, 3)
            if target.record and (target.record.get("owner") == self.params["owner"] or self.params["force"]):
                self.records.remove(target.member.ref)

    def _wait_until(self, ready: t.Callable[[Target], bool], targets: t.Sequence[Target], deadline: float, problem: str) -> None:
        if not targets:
            return
        while True:
            self.refresh()
            waiting = [target for target in targets if not ready(target)]
            if not waiting:
                return
            if time.monotonic() >= deadline:
                last = "; ".join(f"{target.member.ref} is {target.member.health} ({target.member.check or 'no check'})" for target in waiting)
                raise SeamlessError(f"{last}: {problem} within {self.params['enable_timeout']:g} s.", **self.details())
            time.sleep(self.params["poll_interval"])

    def set_weights(self) -> bool:
        changed = False
        for target in self.targets:
            if self.params["weight"] is not None and target.member.weight != self.params["weight"]:
                changed = True
                if not self.check_mode:
                    target.driver.set_weight(target.member.ref, self.params["weight"])
        return changed

    def details(self) -> dict[str, t.Any]:
        return {"members": [self._describe(target) for target in self.targets], "warnings": self.warnings, "drain_lost": self.drain_lost}

    @staticmethod
    def _describe(target: Target) -> dict[str, t.Any]:
        member = target.member
        return {
            "name": member.ref.name,
            "backend": member.ref.backend,
            "balancer": member.ref.balancer,
            "address": member.address,
            "admin_before": target.before,
            "admin": member.admin,
            "health": member.health,
            "sessions": member.sessions,
            "changed": target.changed,
            "at": target.at,
            "seconds": target.seconds,
        }


WANTED = {"enabled": "ready", "drained": "drain", "maintenance": "maint"}


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Bring members to a state on every balancer process named, and verify it. ``changed`` speaks of admin states and weights."""
    if params["driver"] == "haproxy" and not params["owner"]:
        raise SeamlessError("owner is empty: name who takes members out, for example the application.")
    session = Session(params, check_mode)
    if params["state"] == "enabled":
        session.put_back()
    else:
        session.take_out(WANTED[params["state"]])
    weights = session.set_weights()
    wanted = WANTED[params["state"]]
    return {
        "changed": weights or any(target.changed for target in session.targets),
        "state": params["state"],
        **session.details(),
        "diff": {
            "before": {str(target.member.ref): target.before for target in session.targets},
            "after": {str(target.member.ref): wanted if target.changed else target.before for target in session.targets},
        },
    }
