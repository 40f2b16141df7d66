# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The plan of a rollout: which hosts, in which order, how many at once. Pure: hosts in, plan out."""

from __future__ import annotations

import dataclasses
import heapq
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._amounts import Amount, at_least_one, budget, resolve_amount, zone_budget, zone_order

DEFAULT_BATCH: tuple[Amount, ...] = (1, "25%", "50%")
PER_ZONE = "per_zone"


@dataclasses.dataclass(frozen=True)
class HostView:
    """What the plan knows of one host. ``serving`` is the balancer's word, or the probe's where there is none."""

    name: str
    current: str | None = None
    skip: str | None = None
    serving: bool = True
    drained_by_us: bool = False
    outdated: bool = False
    reachable: bool = True
    zone: str = ""
    weight: int = 1
    late: bool = False
    tier: str = ""
    pools: t.Mapping[str, bool] = dataclasses.field(default_factory=dict)
    """Whether it serves in each of its pools."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """``stages`` are the hosts between two barriers; ``batches`` subdivide them. ``caps`` says of each host how many may be under way
    with it, ``allowed`` and ``slots`` how much weight may be out of service in its tier and in its zone."""

    order: list[str]
    batches: list[list[str]]
    canary: list[str]
    skipped: dict[str, str]
    notes: list[str]
    unavailable: list[str]
    max_unavailable: int
    max_fail: int
    stages: list[list[str]]
    max_parallel: int
    caps: dict[str, int]
    slots: dict[str, int]
    allowed: dict[str, int]
    unreachable: list[str]

    @property
    def serial(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def choose_canaries(canary: int | str | list[str], candidates: t.Sequence[HostView], notes: list[str]) -> list[str]:
    """Return the canary hosts: the named ones, one a zone, or the first ones. A host that is out of service or late never is one, and one
    that runs an older release than others only when it is named, or when there is no other: it says little of what the release does to most.

    Inventory order, not chance: the operator knows which host it will be, and a new run chooses the same.
    """
    fit = sorted((host for host in candidates if host.serving and not host.late), key=lambda host: host.outdated)
    if canary == PER_ZONE:
        first: dict[str, str] = {}
        for host in fit:
            first.setdefault(host.zone, host.name)
        return [host.name for host in candidates if host.name in first.values()]
    if not isinstance(canary, list):
        return [host.name for host in fit][:resolve_amount(canary, len(candidates), up=True)]
    pending = {host.name: host for host in candidates}
    named = [pending[name] for name in canary if name in pending]
    chosen = [host.name for host in named if host.serving]
    broken = [host.name for host in named if not host.serving]
    if broken:
        chosen = chosen or [host.name for host in fit][:1]
        notes.append(f"rollout_canary names {', '.join(broken)}, out of service now: {', '.join(chosen) or 'no host'} is the canary instead.")
    return chosen


def _check_canary(canary: int | str | list[str], hosts: t.Sequence[HostView]) -> None:
    if canary == PER_ZONE and not any(host.zone for host in hosts):
        raise SeamlessError("rollout_canary is 'per_zone', but no host has a zone: set the variable zone for every host, or use a number such as 1.")
    if not isinstance(canary, list):
        return
    names = {host.name: host for host in hosts}
    unknown = [name for name in canary if name not in names]
    if unknown:
        raise SeamlessError(f"rollout_canary names {', '.join(unknown)}: not among the hosts of this rollout. Name hosts of rollout_hosts.")
    late = [name for name in canary if names[name].late]
    if late:
        raise SeamlessError(f"rollout_canary names {', '.join(late)}, where rollout_late is true: a canary goes first. Name another host.")


def make_plan(
    hosts: t.Sequence[HostView],
    *,
    batch: t.Sequence[Amount] | None,
    canary: int | str | list[str],
    max_unavailable: Amount,
    min_available: Amount | None = None,
    max_parallel: int | None = None,
    max_fail: Amount = 0,
    zones: t.Sequence[str] = (),
    zone_min_available: Amount | None = None,
    tiers: t.Sequence[str] = (),
    room: t.Mapping[str, int] | None = None,
) -> Plan:
    """Order the hosts and cut them into stages and batches.

    Each of the *tiers* is rolled like a fleet of its own, after the one before. In a tier: canaries, then hosts that are out of service
    already (they cost no capacity), then the rest zone by zone as in the inventory, in each zone those that run an older release than others
    first, then the late ones. The exception: when the hosts already out use up the whole budget, they go first, since no canary could be drained.
    Batch sizes are read from left to right, the last one repeats, percentages are of all hosts (of the tier); no batch exceeds
    *max_parallel* or the availability budget. Without sizes, batches double from one zone to the next where there are zones.
    Raises SeamlessError for amounts that can't work.
    """
    notes: list[str] = []
    _check_canary(canary, hosts)
    zone_order({host.name: host.zone for host in hosts}, zones)
    if zone_min_available is not None and not any(host.zone for host in hosts):
        raise SeamlessError(
            f"rollout_zone_min_available is {zone_min_available!r}, but no host has a zone: set the variable zone for every host, or use rollout_min_available."
        )
    parts = []
    for tier in tiers or [""]:
        members = [host for host in hosts if not tiers or host.tier == tier]
        if members:
            parts.append(_Tier(members, notes, batch, canary, zones).plan(max_unavailable, min_available, max_parallel, zone_min_available, room or {}))
    stages = [stage for part in parts for stage in part.stages]
    batches = [names for stage in stages for names in stage]
    return Plan(
        order=[name for names in batches for name in names],
        batches=batches,
        canary=[name for part in parts for name in part.canaries],
        skipped={host.name: host.skip for host in hosts if host.skip},
        notes=list(dict.fromkeys(notes)),
        unavailable=[host.name for host in hosts if not host.serving or not host.reachable],
        max_unavailable=min((part.allowed for part in parts), default=0),
        max_fail=resolve_amount(max_fail, len(hosts)),
        stages=[[name for names in stage for name in names] for stage in stages],
        max_parallel=max((part.cap for part in parts), default=0),
        caps={name: cap for part in parts for name, cap in part.caps.items()},
        slots={name: slots for part in parts for name, slots in part.slots.items()},
        allowed={host.name: part.allowed for part in parts for host in part.hosts},
        unreachable=[host.name for host in hosts if not host.reachable],
    )


def repair_order(hosts: t.Sequence[HostView], room: t.Mapping[str, int]) -> list[HostView]:
    """Order hosts that are out of some of their pools so that each can leave the others when its turn comes, and is back before the next.

    *room* is how many members may leave each pool now. Greedy: a host that can go only ever makes room. Who can't go at all comes last.
    """
    left, order, now = list(hosts), [], dict(room)
    while left:
        able = [host for host in left if all(now.get(pool, 1) > 0 for pool, serves in host.pools.items() if serves)]
        host = (able or left)[0]
        left.remove(host)
        order.append(host)
        for pool, serves in host.pools.items():
            if not serves:
                now[pool] = now.get(pool, 0) + 1
    return order


class _Tier:
    """Orders and cuts the hosts of one tier."""

    def __init__(
        self, hosts: t.Sequence[HostView], notes: list[str], batch: t.Sequence[Amount] | None, canary: int | str | list[str], zones: t.Sequence[str]
    ) -> None:
        self.hosts = hosts
        self.notes = notes
        self.zones = zone_order({host.name: host.zone for host in hosts}, zones) or [""]
        self.sizes = batch or (None if self.zones != [""] else DEFAULT_BATCH)
        self.pending = [host for zone in self.zones for host in hosts if host.zone == zone and not host.skip and host.reachable]
        self.canaries = choose_canaries(canary, self.pending, notes)
        self.stages: list[list[list[str]]] = []
        self.caps: dict[str, int] = {}
        self.slots: dict[str, int] = {}

    def plan(
        self, max_unavailable: Amount, min_available: Amount | None, max_parallel: int | None, zone_min_available: Amount | None, room: t.Mapping[str, int]
    ) -> _Tier:
        total = sum(host.weight for host in self.hosts)
        self.allowed = budget(max_unavailable, min_available, total, self.notes)
        self.cap = min(self.allowed, max_parallel or self.allowed)
        sizes = {zone: sum(host.weight for host in self.hosts if host.zone == zone) for zone in dict.fromkeys(host.zone for host in self.pending)}
        self.per_zone = {} if zone_min_available is None else zone_budget(zone_min_available, sizes)
        by_name = {host.name: host for host in self.pending}
        canaries = [by_name[name] for name in self.canaries]
        broken = [host for host in self.pending if not host.serving]
        down = [host for host in self.hosts if not host.serving or not host.reachable]
        first: list[HostView] = []
        # Without a canary the broken ones go before the others anyway, but for the late ones.
        next_up = canaries or [host for host in self.pending if host.serving and any(other.late for other in broken)][:1]
        if broken and any(self._crowded(host, down) for host in next_up):
            self.notes.append(
                f"{len(down)} of {len(self.hosts)} hosts are out of service, as many as may be at once: they are updated before the canary."
            )
            first = broken
        gone = {host.name for host in [*canaries, *first]}
        rest = [host for host in self.pending if host.name not in gone]
        usual = sorted((host for host in rest if not host.late), key=lambda host: not host.outdated)
        if any(any(host.pools.values()) for host in first):
            # They are out of some pools and serve in others: each that comes back makes room for the next.
            self._cut([[host] for host in repair_order(first, room)], _Sizes([1], len(self.hosts)))
        else:
            self._cut(self._by_zone(first), _Sizes(self.sizes, len(self.hosts)))
        self._cut(self._by_zone(canaries), _Sizes([len(canaries)], len(self.hosts)))
        sizes_left = _Sizes(self.sizes, len(self.hosts), canary=bool(canaries))
        self._cut(
            self._merged(self._by_zone([host for host in usual if not host.serving]), self._by_zone([host for host in usual if host.serving])), sizes_left
        )
        self._cut(self._by_zone([host for host in rest if host.late]), sizes_left)
        for host in self.hosts:
            # An undo may come to hosts that this plan leaves alone.
            self.slots.setdefault(host.name, min(self.allowed, self._bearable(host.zone, zone_min_available)))
        return self

    def _bearable(self, zone: str, zone_min_available: Amount | None) -> int:
        """Return how much of a zone may be out of service, also of one in which no host is updated."""
        total = sum(host.weight for host in self.hosts if host.zone == zone)
        return self.allowed if zone_min_available is None else total - resolve_amount(zone_min_available, total, up=True)

    def _crowded(self, host: HostView, down: t.Sequence[HostView]) -> bool:
        """Say whether *host* can't leave rotation beside what is *down* already."""
        near = [other for other in down if other.zone == host.zone]
        return (
            sum(other.weight for other in down) + host.weight > self.allowed
            or host.zone in self.per_zone and sum(other.weight for other in near) + host.weight > self.per_zone[host.zone]
        )

    def _by_zone(self, hosts: t.Sequence[HostView]) -> list[list[HostView]]:
        groups = ([host for host in hosts if host.zone == zone] for zone in self.zones)
        return [group for group in groups if group]

    @staticmethod
    def _merged(broken: list[list[HostView]], rest: list[list[HostView]]) -> list[list[HostView]]:
        if broken and rest and broken[-1][0].zone == rest[0][0].zone:
            return [*broken[:-1], broken[-1] + rest[0], *rest[1:]]
        return broken + rest

    def _cut(self, groups: list[list[HostView]], sizes: _Sizes) -> None:
        """Make a stage of each of *groups*, and cut it into batches that stay within the limits."""
        for group in groups:
            slots = min(self.allowed, self.per_zone.get(group[0].zone, self.allowed))
            stage = []
            position = 0
            while position < len(group):
                size = self._held(sizes, slots)
                names: list[str] = []
                weight = 0
                for host in group[position:position + size]:
                    if names and weight + host.weight > slots:
                        size = len(names)
                        break
                    names.append(host.name)
                    weight += host.weight
                if weight > slots:
                    self.notes.append(f"{names[0]} weighs {weight}, and {slots} may be out of service at once: it goes alone.")
                self.caps.update(dict.fromkeys(names, size))
                self.slots.update(dict.fromkeys(names, slots))
                stage.append(names)
                position += len(names)
                sizes.next(full=len(names) == size)
            self.stages.append(stage)

    def _held(self, sizes: _Sizes, slots: int) -> int:
        size, written = sizes.now(self.notes)
        most = min(self.cap, slots)
        if size > most and written is not None:
            by = "rollout_max_unavailable and rollout_max_parallel" if most == self.cap else "rollout_zone_min_available"
            self.notes.append(f"rollout_batch {written} means {size} hosts: held to {most} by {by}.")
        sizes.limit(most)
        return min(size, most)


class _Sizes:
    """The sizes of the batches, as written or doubling."""

    def __init__(self, written: t.Sequence[Amount] | None, total: int, *, canary: bool = False) -> None:
        # A list that starts with 1 means the canary by it: don't send a second host alone after the canary.
        self._written = written[1:] if written and canary and len(written) > 1 and str(written[0]) == "1" else written
        self._total = total
        self._index = 0
        self._size = 2 if canary else 1

    def now(self, notes: list[str]) -> tuple[int, Amount | None]:
        """Return the size of the next batch, and how it is written."""
        if self._written is None:
            return self._size, None
        written = self._written[min(self._index, len(self._written) - 1)]
        return at_least_one(written, self._total, "rollout_batch", notes), written

    def limit(self, most: int) -> None:
        self._size = max(1, min(self._size, most))

    def next(self, *, full: bool) -> None:
        """Go on to the next size. A batch that ended for want of hosts proves nothing about a larger one."""
        self._index += 1
        if full:
            self._size *= 2


def estimate(plan: Plan, *, seconds: float, bake: t.Mapping[str, float], pace: str) -> float:
    """Return how many seconds the hosts of *plan* take when each takes *seconds* and then stays under watch for its *bake*."""
    if pace != "window":
        return sum(seconds + max(bake.get(name, 0.0) for name in names) for names in plan.batches)
    clock = 0.0
    for stage in plan.stages:
        running: list[float] = []
        for name in stage:
            while len(running) >= plan.caps[name]:
                clock = max(clock, heapq.heappop(running))
            heapq.heappush(running, clock + seconds + bake.get(name, 0.0))
        clock = max(running)
    return clock
