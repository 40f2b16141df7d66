# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Numbers and shares of hosts, as the variables of a rollout give them. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

Amount = t.Union[int, str]


def resolve_amount(amount: Amount, total: int, *, up: bool = False) -> int:
    """Turn "25%" or 3 into a number of hosts out of *total*.

    Integers only: floats lose a host (29 % of 100 is 28 in ansible-core). Percentages round down, or up with *up*,
    as Kubernetes does for maxUnavailable and PodDisruptionBudget.
    """
    text = str(amount).strip()
    if not text.endswith("%"):
        return int(text)
    percent = int(text[:-1])
    return -(-percent * total // 100) if up else percent * total // 100


def at_least_one(amount: Amount, total: int, what: str, notes: list[str]) -> int:
    """Resolve *amount*, rounding down; what rounds to nothing becomes one host, and the plan says so."""
    number = resolve_amount(amount, total)
    if number == 0 and total:
        notes.append(f"{what} {amount} of {total} is less than one host: 1 host at a time ({100 // total} %).")
        return 1
    return number


def budget(max_unavailable: Amount, min_available: Amount | None, total: int, notes: list[str]) -> int:
    """Return how many of *total* hosts may be out of service at once; refuse a floor that leaves none."""
    if min_available is None:
        return min(at_least_one(max_unavailable, total, "rollout_max_unavailable", notes), total)
    floor = resolve_amount(min_available, total, up=True)
    if floor >= total > 0:
        most = total - 1
        raise SeamlessError(
            f"rollout_min_available is {min_available!r}: of {total} hosts {floor} would have to stay up, so none could ever be "
            f"updated. Use at most {most} ({100 * most // total}%)."
        )
    return total - floor


def zone_order(zones: t.Mapping[str, str], listed: t.Sequence[str]) -> list[str]:
    """Return the zones in the order in which they are rolled: as *listed*, or as they first appear. *zones* holds each host's own.

    Raises SeamlessError where only some hosts have a zone, or have one that is not *listed*.
    """
    found = list(dict.fromkeys(zone for zone in zones.values() if zone))
    without = [host for host, zone in zones.items() if not zone]
    if found and without:
        raise SeamlessError(
            f"zone is not set for {', '.join(without)}, but other hosts have one ({', '.join(found)}): set it for every host of the rollout, "
            "or for none."
        )
    if not listed or not found:
        return found
    stray = [f"{host} is in {zone!r}" for host, zone in zones.items() if zone not in listed]
    if stray:
        raise SeamlessError(f"rollout_zones is {list(listed)!r}, but {', '.join(stray)}. Name every zone, or leave rollout_zones out.")
    return [zone for zone in dict.fromkeys(listed) if zone in found]


def zone_budget(amount: Amount, totals: t.Mapping[str, int]) -> dict[str, int]:
    """Return how much of each zone may be out of service at once; *totals* are the zones' sizes. Refuse a floor that leaves nothing."""
    floors = {zone: resolve_amount(amount, total, up=True) for zone, total in totals.items()}
    stuck = [zone for zone, floor in floors.items() if floor >= totals[zone]]
    if stuck:
        smallest = min(totals, key=lambda zone: totals[zone])
        most = totals[smallest] - 1
        raise SeamlessError(
            f"rollout_zone_min_available is {amount!r}: in {', '.join(f'zone {zone} {floors[zone]} of {totals[zone]}' for zone in stuck)} would have "
            f"to stay up, so no host there could ever be updated. Use at most {most} ({100 * most // totals[smallest]}%), for zone {smallest}."
        )
    return {zone: totals[zone] - floor for zone, floor in floors.items()}
