# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Which of two pools is live. Pure: what the balancers say in, the answer out."""

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


class Choice(t.NamedTuple):
    """The pool that gets the traffic, and the one that gets the next release, each with its hosts."""

    live: str
    idle: str
    live_hosts: list[str]
    idle_hosts: list[str]


def choose(pools: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], serving: t.Collection[str], live: str | None) -> Choice:
    """Return the pools' parts. *pools* has two names, each with a group or a list of groups and hosts; *serving* are the hosts that a balancer
    sends requests to; *live* is what the user says, which is needed where that does not tell. Raises SeamlessError."""
    if not isinstance(pools, dict) or len(pools) != 2:
        raise SeamlessError(f"blue_green_pools is {pools!r}: use two pools, such as {{blue: blue, green: green}}, each a group of the inventory or a list.")
    hosts = {str(name): _expand(str(name), wanted, groups) for name, wanted in pools.items()}
    one, other = hosts
    both = [host for host in hosts[one] if host in hosts[other]]
    if both:
        raise SeamlessError(f"{both[0]} is in both pools of blue_green_pools: a host serves with one release at a time.")
    if live and live not in hosts:
        near = difflib.get_close_matches(live, hosts, n=1)
        raise SeamlessError(f"blue_green_live is {live!r}: the pools are {one} and {other}." + (f" Did you mean {near[0]}?" if near else ""))
    if not live:
        found = [name for name, members in hosts.items() if any(host in serving for host in members)]
        if len(found) != 1:
            what = f"{one} and {other} both get requests" if found else f"neither {one} nor {other} gets requests"
            raise SeamlessError(f"{what}, so it does not show which is live: say it once, with -e blue_green_live={one}.")
        live = found[0]
    idle = other if live == one else one
    return Choice(live, idle, hosts[live], hosts[idle])


def _expand(name: str, wanted: t.Any, groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    known = set(groups.get("all", []))
    found: list[str] = []
    for item in [wanted] if isinstance(wanted, str) else list(wanted or []):
        if item not in groups and item not in known:
            near = difflib.get_close_matches(str(item), [*groups, *known], n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise SeamlessError(f"blue_green_pools.{name} has {item!r}, which is neither a group nor a host of the inventory.{hint}")
        found += [host for host in groups.get(item, [item]) if host not in found]
    if not found:
        raise SeamlessError(f"blue_green_pools.{name} has no host.")
    return found


def serving_hosts(answers: t.Sequence[t.Mapping[str, t.Any]], addresses: t.Mapping[str, str]) -> set[str]:
    """Return the hosts that are in rotation by what :mod:`lb_info` returned, found by name or address. Raises SeamlessError where one gave no answer."""
    silent = next((answer for answer in answers if answer.get("failed")), None)
    if silent:
        raise SeamlessError(f"a balancer can't be asked which pool is live: {silent.get('msg')}")
    ready = [member for answer in answers for pool in answer.get("pools") or [] for member in pool["members"] if member["admin"] == "ready"]
    places = {str(member["name"]) for member in ready} | {str(member["address"]) for member in ready}
    return {host for host, address in addresses.items() if host in places or address in places}
