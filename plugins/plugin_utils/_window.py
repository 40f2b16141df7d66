# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The window pace: which host may start now. Pure: states in, an answer out.

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
    if host in unavailable:
        return ""
    out = set(unavailable) | flying
    tier, zone = here = window.places.get(host, ("", ""))
    out = {name for name in out if window.places.get(name, ("", ""))[0] == tier}
    near = {name for name in out if window.places.get(name, ("", "")) == here}
    most_here = window.allowed.get(host, window.max_unavailable)
    for hosts, most, where in ((out, most_here, ""), (near, window.slots.get(host, most_here), f" in zone {zone}" * bool(zone))):
        # A host that is heavier than the whole budget goes alone.
        if hosts and window.weight(hosts) + window.weight([host]) > most:
            by_weight = " (by weight)" if any(weight != 1 for weight in window.weights.values()) else ""
            return f"waits for capacity: {', '.join(sorted(hosts)[:5])} out of service{where}, {most} may be at once{by_weight}"
    return ""
