# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Which host may start now: in the window pace, and of a batch. Pure: states in, an answer out.

A window holds hosts that were started and are not finished; as soon as one is, the next of the plan may start. It is what Nomad calls
max_parallel and what a Kubernetes Deployment does within maxUnavailable: slots = min(max_parallel - in flight, max_unavailable - unavailable now).
"""

from __future__ import annotations

import dataclasses
import typing as t

States = t.Mapping[str, str]

PENDING = "pending"
IN_FLIGHT = "in_flight"


@dataclasses.dataclass(frozen=True)
class Window:
    """What the plan fixed: order, barriers, and how many hosts at once.

    *order* has the hosts in the order in which they start. A host starts only when every host of an earlier *steps* number is finished. *caps*
    bounds the hosts in flight while a host starts, as a batch that it would have been in does. *weights* count in *allowed*,
    the weight that may be out of service in the tier of each host, and in *slots*, that in its zone. *places* are tier and zone.
    """

    order: t.Sequence[str]
    steps: t.Mapping[str, int]
    caps: t.Mapping[str, int]
    weights: t.Mapping[str, int]
    max_parallel: int
    max_unavailable: int
    places: t.Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    allowed: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    slots: t.Mapping[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, facts: t.Mapping[str, t.Any]) -> Window:
        """Return what the facts of a rollout say."""
        hosts, order = facts["hosts"], facts.get("order") or []
        return cls(
            order=order,
            steps={host: int(hosts[host]["step"]) for host in order},
            caps={host: int(hosts[host]["cap"]) for host in order},
            weights={host: int(entry.get("weight", 1)) for host, entry in hosts.items()},
            places={host: (str(entry.get("tier", "")), str(entry.get("zone", ""))) for host, entry in hosts.items()},
            allowed={host: int(entry["allowed"]) for host, entry in hosts.items() if "allowed" in entry},
            slots={host: int(entry["slots"]) for host, entry in hosts.items() if "slots" in entry},
            max_parallel=int(facts.get("max_parallel") or len(hosts)),
            max_unavailable=int(facts["max_unavailable"]),
        )

    @property
    def has_zone_floors(self) -> bool:
        """Whether a zone bears less than the whole budget."""
        return any(slots < self.allowed.get(host, self.max_unavailable) for host, slots in self.slots.items())

    def weight(self, hosts: t.Iterable[str]) -> int:
        return sum(self.weights.get(host, 1) for host in hosts)


def why_not_now(window: Window, host: str, states: States, unavailable: t.AbstractSet[str]) -> str:
    """Return why *host* has to wait, or an empty string when it may start.

    *states* are the recorded states of all hosts, *unavailable* the hosts that serve nobody at the moment, for whatever reason. A host that is
    among them costs no capacity: it may start although the budget is used up, or a broken fleet could never be repaired.
    """
    place = window.order.index(host)
    earlier = [name for name in window.order[:place] if states.get(name) == PENDING]
    if earlier:
        return f"waits for its turn after {earlier[0]}"
    flying = {name for name in window.order if states.get(name) == IN_FLIGHT}
    before = sorted(name for name in flying if window.steps.get(name, 0) < window.steps.get(host, 0))
    if before:
        return f"waits until {', '.join(before[:3])} of the step before is finished"
    most = min(window.max_parallel, window.caps.get(host, window.max_parallel))
    if len(flying) >= most:
        return f"waits for a slot: {len(flying)} of {most} are in use"
    return "" if host in unavailable else why_no_room(window, host, set(unavailable) | flying)


def why_no_room(window: Window, host: str, out: t.AbstractSet[str], *, zone_only: bool = False) -> str:
    """Return why *host* can't leave rotation beside the hosts that are *out* of it, or an empty string."""
    tier, zone = here = window.places.get(host, ("", ""))
    fleet = {name for name in out if window.places.get(name, ("", ""))[0] == tier}
    near = {name for name in fleet if window.places.get(name, ("", "")) == here}
    most_here = window.allowed.get(host, window.max_unavailable)
    for hosts, most, where in ((fleet, most_here, ""), (near, window.slots.get(host, most_here), f" in zone {zone}" * bool(zone)))[int(zone_only):]:
        # A host that is heavier than the whole budget goes alone.
        if hosts and window.weight(hosts) + window.weight([host]) > most:
            by_weight = " (by weight)" if any(weight != 1 for weight in window.weights.values()) else ""
            return f"waits for capacity: {', '.join(sorted(hosts)[:5])} out of service{where}, {most} may be at once{by_weight}"
    return ""


def with_room(window: Window, hosts: t.Sequence[str], out: t.AbstractSet[str]) -> tuple[list[str], str]:
    """Return which of *hosts* can leave rotation together, in their order, beside those that are *out* of it, and why the first other one can't.

    One that is out itself costs nothing.
    """
    gone, going, why = set(out), [], ""
    for host in hosts:
        problem = "" if host in out else why_no_room(window, host, gone)
        if problem:
            why = why or problem
        else:
            going.append(host)
            gone.add(host)
    return going, why
