# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Which balancers a host has, how they are asked, and where a host is found in what they answer. Pure."""

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import options
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.registry import find_driver

SECRETS = tuple(name for name, option in options.SPEC.items() if option.get("no_log"))
# What tells one balancer of a machine from another.
TELLING = ("driver", "socket", "url", "path", "backend")


def expand_balancers(host: str, balancers: t.Sequence[t.Mapping[str, t.Any]], groups: t.Mapping[str, t.Sequence[str]]) -> list[dict[str, t.Any]]:
    """Return one call a balancer machine: where the module runs for *host*, and with what."""
    calls = []
    for balancer in balancers:
        hosts = balancer.get("hosts")
        names = [hosts] if isinstance(hosts, str) else list(hosts or [])
        machines = [machine for name in names for machine in groups.get(name, [name])] or [host]
        for machine in dict.fromkeys(machines):
            call = {key: value for key, value in balancer.items() if key not in ("hosts", "member")}
            named = bool(balancer.get("member"))
            calls.append({**call, "delegate": machine, "member": str(balancer.get("member") or host), "named": named})
    return calls


# What is secret stays out of the facts, which Ansible may show and keep. A call is given it at the moment when it is made.


def without_secrets(host: str, calls: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return *calls* of *host* without what is secret, but with where it is: in its entry of ``rollout_balancers``."""
    return [
        {**{key: value for key, value in call.items() if key not in SECRETS}, **({"secret_of": host} if any(call.get(key) for key in SECRETS) else {})}
        for call in calls
    ]


def secrets_for(call: t.Mapping[str, t.Any], balancers: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Return what is secret of *call*, from the entry in *balancers* that is the same in all that tells balancers apart."""
    for entry in balancers:
        if all(str(entry.get(key)) == str(call.get(key)) for key in TELLING):
            return {key: entry[key] for key in SECRETS if entry.get(key)}
    return {}


def balancer_key(call: t.Mapping[str, t.Any]) -> str:
    return "|".join(str(call.get(key)) for key in ("delegate", *TELLING))


def distinct_balancers(calls_by_host: t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]]) -> list[dict[str, t.Any]]:
    """Return every balancer that can be asked for its pools, once."""
    found: dict[str, dict[str, t.Any]] = {}
    for calls in calls_by_host.values():
        for call in calls:
            if find_driver(call["driver"]).knows_pools:
                found.setdefault(balancer_key(call), {key: value for key, value in call.items() if key not in ("member", "named")})
    return list(found.values())


def unknown_machines(calls_by_host: t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]], inventory: t.Collection[str]) -> list[str]:
    """Return a sentence for every ``hosts`` of a balancer that is neither a group nor a host of the inventory."""
    sentences = []
    machines = dict.fromkeys(call["delegate"] for calls in calls_by_host.values() for call in calls)
    for machine in machines:
        if machine not in inventory and machine not in ("localhost", "127.0.0.1"):
            near = difflib.get_close_matches(machine, list(inventory), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            sentences.append(f"rollout_balancers: hosts is {machine!r}, which is neither a group nor a host of the inventory.{hint}")
    return sentences


class Pools(t.Dict[str, t.Any]):
    """A balancer's answer, with its members found by name, address and endpoint: each host of a large pool is looked for once."""

    def __init__(self, info: t.Mapping[str, t.Any]) -> None:
        super().__init__(info)
        self.pairs = [(pool, entry) for pool in info.get("pools", []) for entry in pool["members"]]
        self.names: dict[str, list[int]] = {}
        self.addresses: dict[str, list[int]] = {}
        self.endpoints: dict[tuple[str, int], list[int]] = {}
        for number, (dummy, entry) in enumerate(self.pairs):
            self.names.setdefault(entry["name"], []).append(number)
            self.addresses.setdefault(str(entry.get("address")), []).append(number)
            endpoint = _endpoint(entry)
            if endpoint:
                self.endpoints.setdefault(endpoint, []).append(number)


def _endpoint(entry: t.Mapping[str, t.Any]) -> tuple[str, int] | None:
    known = entry.get("address") not in (None, "", "-", "0.0.0.0", "::") and entry.get("port")
    return (str(entry["address"]), int(entry["port"])) if known else None


def find_member(info: t.Mapping[str, t.Any], member: str, address: str | None) -> list[tuple[dict[str, t.Any], dict[str, t.Any]]]:
    """Return (pool, member) for every pool in *info* that holds *member*, as ``lb_member`` finds it: by its name, or else by the host's
    address; and servers of other names at the same address and port."""
    pools = info if isinstance(info, Pools) else Pools(info)
    found = pools.names.get(member) or (pools.addresses.get(address, []) if address else [])
    numbers = set(found)
    for number in found:
        endpoint = _endpoint(pools.pairs[number][1])
        numbers.update(pools.endpoints[endpoint] if endpoint else ())
    return [pools.pairs[number] for number in sorted(numbers)]


def servers_of(
    info: t.Mapping[str, t.Any], call: t.Mapping[str, t.Any], address: str | None
) -> list[tuple[dict[str, t.Any], dict[str, t.Any]]]:
    """Return (pool, member) for every server that *call* means of a host with *address*. One that the user named is looked for by that name alone: an
    address must not hide a typing mistake."""
    return find_member(info, str(call["member"]), None if call.get("named") else address)


def several_servers(found: t.Sequence[tuple[t.Mapping[str, t.Any], t.Mapping[str, t.Any]]], member: str) -> list[str]:
    """Return the names of the servers where an address alone does not say which one is meant."""
    entries = [entry for dummy, entry in found]
    names = list(dict.fromkeys(str(entry["name"]) for entry in entries))
    return names if member not in names and len({_endpoint(entry) for entry in entries}) > 1 and len(names) > 1 else []


def is_serving(entry: t.Mapping[str, t.Any]) -> bool:
    """Say whether a member takes its full share of requests: one whose weight is on its way up does not."""
    return bool(entry["admin"] == "ready" and entry["health"] in ("up", "nocheck") and not entry.get("ramping"))
