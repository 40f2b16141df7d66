# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import math
import secrets
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.pools import endpoint
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

if t.TYPE_CHECKING:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.rotation import Rotation
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.target import Target

SPEC: dict[str, t.Any] = {
    "steps": {"type": "list", "elements": "int", "required": True},
    "interval": {"type": "float", "default": 10},
}
_LOOK = 0.5  # seconds between two looks at a member on its way up
_LONGEST = 86400.0


class Ramp(t.NamedTuple):
    """*steps* are percent of the full weight, each held for *interval* seconds; what follows the last one is the full weight."""

    steps: list[int]
    interval: float

    @property
    def seconds(self) -> float:
        return self.interval * len(self.steps)


def read(value: t.Any, name: str = "weight_ramp") -> Ramp | None:
    """Return the ramp that *value*, of the option *name*, describes, None for none. Raises SeamlessError for one that can't be climbed."""
    if not value:
        return None
    want = "use rising percentages and seconds, such as {steps: [10, 25, 50], interval: 10}."
    if not isinstance(value, dict) or set(value) - set(SPEC) or not isinstance(value.get("steps"), list) or not value["steps"]:
        raise SeamlessError(f"{name} is {value!r}: {want}")
    try:
        steps = [int(str(step).rstrip("%")) for step in value["steps"]]
        interval = float(value.get("interval", SPEC["interval"]["default"]))
    except (TypeError, ValueError) as exc:
        raise SeamlessError(f"{name} is {value!r}: {want}") from exc
    if steps != sorted(set(steps)) or not steps[0] >= 1 or steps[-1] > 99:
        raise SeamlessError(f"{name}.steps is {value['steps']!r}: use rising percentages from 1 to 99, such as [10, 25, 50]; 100 follows by itself.")
    if interval <= 0 or math.isnan(interval) or interval * len(steps) > _LONGEST:
        raise SeamlessError(f"{name}.interval is {value['interval']!r}: use the seconds of a step, more than 0 and less than a day in all.")
    return Ramp(steps, interval)


def problem(ramp: Ramp, weight: int | None, limits: t.Sequence[int] | None, name: str = "weight_ramp") -> str | None:
    """Say why a member of *weight* can't climb *ramp* on a balancer whose weights have the *limits* (least, most), or return None."""
    if limits is None:
        return f"its balancer has no weights that can be set: leave {name} out, or have the balancer do it, as slowstart of HAProxy does"
    if not weight:
        return "it has no weight: give it one, so that there is something to climb to"
    if weight * ramp.steps[0] < 100 * limits[0]:
        least = -(-100 * limits[0] // ramp.steps[0])
        first = -(-100 * limits[0] // weight)
        other = f", or begin at {first} %" if first < 100 else ""
        return f"its weight is {weight}, of which {ramp.steps[0]} % is less than {limits[0]}: give the servers of the pool a weight of {least} or more{other}"
    return None


def weight_at(full: int, percent: int) -> int:
    return (full * percent + 50) // 100


class Climb:
    """The members of one call whose weight goes up in steps, and what their records say meanwhile.

    The record that a drain left stays until the full weight is back, with the mark ``ramp``: whoever finds it later knows what the weight
    was. The mark is this call's own, so that a call which comes in between ends this one.
    """

    def __init__(self, rotation: Rotation, ramp: Ramp | None, targets: t.Sequence[Target]) -> None:
        self.rotation = rotation
        self.ramp = ramp
        self.targets = list(targets)
        self.mark = secrets.token_hex(4)
        self.full: dict[Target, int] = {target: rotation.params["weight"] or target.full_weight or 0 for target in targets}

    @classmethod
    def of(cls, rotation: Rotation) -> Climb:
        """Return the climb that the call asks for, of all members that it changes. Raises SeamlessError where one of them can't."""
        ramp = read(rotation.params["weight_ramp"])
        climb = cls(rotation, ramp, [target for target in rotation.targets if target.changed] if ramp else [])
        for target in rotation.targets if ramp else []:
            weight = climb.full.get(target, target.full_weight)
            why = problem(t.cast(Ramp, ramp), weight, target.driver.weight_range(target.member.ref.backend))
            if why:
                raise SeamlessError(f"{target.member.ref} can't have its weight raised in steps: {why}.", **rotation.details())
        return climb

    def begin(self) -> None:
        """Lower the weights of those that are still out, so that the first request finds them so."""
        if not self.targets:
            return
        first = t.cast(Ramp, self.ramp).steps[0]
        with self.rotation.records.exclusive():
            for target in self.targets:
                self.rotation.record(target, "drain")
                record = t.cast("dict[str, t.Any]", target.record)
                record.update(ramp=self.mark, prior_weight=self.full[target])
                self.rotation.records.put(target.member.ref, record)
                target.begins_with = weight_at(self.full[target], first)
            kept = [target for target in self.targets if target.driver.keeps_weight or target.member.admin == "ready"]
            self.rotation.weigh({target: weight_at(self.full[target], first) for target in kept})

    def go(self) -> None:
        """Raise the weights step by step and watch the members meanwhile. One that goes down, or is taken out by somebody, is left out, with its full
        weight and a record, and so are its servers in other pools; others of the call get their full weight at once."""
        if not self.targets:
            return
        ramp = t.cast(Ramp, self.ramp)
        try:
            for number, percent in enumerate(ramp.steps):
                if number:
                    self._weigh(percent)
                self._watch(ramp.interval)
        except _Down as exc:
            self._give_up(exc.targets)
            raise SeamlessError(str(exc), **self.rotation.details()) from exc
        self._weigh(100)
        self._finish(self.targets)

    def _weigh(self, percent: int) -> None:
        with self.rotation.records.exclusive():
            self._insist()
            self.rotation.weigh({target: weight_at(self.full[target], percent) for target in self.targets})

    def _insist(self) -> None:
        """Raise SeamlessError where another call has changed a member meanwhile: what it does counts."""
        for target in self.targets:
            if not self._mine(target):
                raise SeamlessError(f"the weight of {target.member.ref} was on its way up when another call took the member over.", **self.rotation.details())

    def _mine(self, target: Target) -> bool:
        return (self.rotation.records.get(target.member.ref) or {}).get("ramp") == self.mark

    def _watch(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            self.rotation.refresh()
            self._insist()
            down = [target for target in self.targets if not target.member.serving]
            if down:
                raise _Down(down)
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, max(_LOOK, self.rotation.params["poll_interval"])))

    def _give_up(self, down: t.Sequence[Target]) -> None:
        places = {endpoint(target.member) for target in down} - {None}
        leaving = [target for target in self.targets if target in down or endpoint(target.member) in places]
        with self.rotation.records.exclusive():
            mine = [target for target in self.targets if self._mine(target)]
            for driver in self.rotation.drivers:
                going = [target for target in leaving if target in mine and target.driver is driver and target.member.admin == "ready"]
                driver.set_states([target.order("drain") for target in going])
            self.rotation.refresh()
            with contextlib.suppress(SeamlessError):
                # What can't be told now has its record: the next call gives it its weight back.
                self.rotation.weigh({target: self.full[target] for target in mine if target.driver.keeps_weight or target not in leaving})
                for target in leaving:
                    if target in mine:
                        record = t.cast("dict[str, t.Any]", target.record)
                        record.pop("ramp")
                        self.rotation.records.put(target.member.ref, record)
                self._forget([target for target in mine if target not in leaving])

    def _finish(self, targets: t.Sequence[Target]) -> None:
        with self.rotation.records.exclusive():
            self._insist()
            self._forget(targets)

    def _forget(self, targets: t.Sequence[Target]) -> None:
        for target in targets:
            self.rotation.records.remove(target.member.ref)


class _Down(Exception):  # noqa: N818
    """Members that stopped serving on their way up."""

    def __init__(self, targets: t.Sequence[Target]) -> None:
        self.targets = list(targets)
        what = "; ".join(
            f"{one.member.ref} is {one.member.health} ({one.member.check or 'no check'})" if one.member.admin == "ready"
            else f"{one.member.ref} was put into {one.member.admin} by somebody else"
            for one in targets
        )
        super().__init__(f"{what}: its weight was on its way up, so it was left out of rotation, with the weight that it had before.")
