# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What each host's own variables say about its place in the plan: zone, weight, tier, late, bake. Pure."""

from __future__ import annotations

import difflib
import itertools
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._amounts import budget, zone_order

if t.TYPE_CHECKING:
    from ansible_collections.seamless.rollout.plugins.plugin_utils._plan import Plan
    from ansible_collections.seamless.rollout.plugins.plugin_utils._settings import Settings

Traits = t.Dict[str, t.Any]


def host_traits(settings: Settings, zone: t.Any) -> Traits:
    """Return what *settings*, as one host has them, and its variable ``zone`` say of it. Raises SeamlessError for a zone that is no name."""
    if zone is not None and (isinstance(zone, bool) or not isinstance(zone, (str, int))):
        raise SeamlessError(f"zone is {zone!r}: use a name such as a, or no such variable.")
    return {
        "zone": "" if zone is None else str(zone), "weight": settings.weight, "late": settings.late, "bake_seconds": settings.bake_seconds, "tier": "",
        "weight_ramp": settings.weight_ramp,
    }


def sort_into_tiers(traits: t.Mapping[str, Traits], tiers: t.Sequence[str], groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Write the tier of every host into *traits*; return what is wrong with groups and hosts."""
    problems = []
    for tier in tiers:
        if tier not in groups:
            near = difflib.get_close_matches(tier, list(groups), n=1)
            problems.append(f"rollout_tiers names {tier!r}, which is no group of the inventory." + (f" Did you mean {near[0]}?" if near else ""))
    members = {tier: set(groups.get(tier, ())) for tier in tiers}
    strays: dict[str, list[str]] = {}
    for host, entry in traits.items():
        found = [tier for tier in tiers if host in members[tier]]
        entry["tier"] = found[0] if found else ""
        if tiers and len(found) != 1:
            strays.setdefault(f"in {' and '.join(found)}" if found else f"in none of {', '.join(tiers)}", []).append(host)
    if not problems:
        problems = [
            f"rollout_tiers: {', '.join(hosts)} {'is' if len(hosts) == 1 else 'are'} {where}. Each host of the rollout must be in exactly one of the groups."
            for where, hosts in strays.items()
        ]
    return problems


def most_at_once(traits: t.Mapping[str, Traits], settings: Settings) -> dict[str, int | None]:
    """Return for each tier how many hosts the budget of weight lets go at once at most, or None where no host has a weight."""
    most: dict[str, int | None] = {}
    for tier in {entry["tier"] for entry in traits.values()}:
        weights = sorted(int(entry["weight"]) for entry in traits.values() if entry["tier"] == tier)
        most[tier] = None
        if weights[-1] > 1:
            left = budget(settings.max_unavailable, settings.min_available, sum(weights), [])
            most[tier] = max(1, sum(1 for total in itertools.accumulate(weights) if total <= left))
    return most


def bakes(traits: t.Mapping[str, Traits], settings: Settings, plan: Plan) -> dict[str, float]:
    """Return how long each host is watched in rotation: longer in the first zone of its tier, and as a canary."""
    longer = settings.first_zone_bake_seconds
    seconds = {host: float(entry["bake_seconds"]) for host, entry in traits.items()}
    if longer is None:
        return seconds
    first = set()
    for tier in {entry["tier"] for entry in traits.values()}:
        order = zone_order({host: entry["zone"] for host, entry in traits.items() if entry["tier"] == tier}, settings.zones)
        first |= {(tier, zone) for zone in order[:1]}
    for host, entry in traits.items():
        if (entry["tier"], entry["zone"]) in first:
            seconds[host] = longer
        if host in plan.canary:
            seconds[host] = max(longer, float(entry["bake_seconds"]))
    return seconds
