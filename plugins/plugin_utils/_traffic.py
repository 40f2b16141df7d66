# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Which hosts belong to which part of the traffic, and what each balancer is told of them. Pure."""

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._pools import balancer_key

WAYS = ("release", "group")
REST = "the rest"


class Part(t.NamedTuple):
    """Hosts that get *share* percent of the requests together, or what is left."""

    name: str
    share: float | None
    hosts: list[str]


def read_shares(shares: t.Any) -> dict[str, float]:
    """Return the percentages of ``traffic_split_shares``. Raises SeamlessError for anything else."""
    want = 'use percentages by release or group, such as {"2.0": 5}.'
    if not isinstance(shares, dict) or not shares:
        raise SeamlessError(f"traffic_split_shares is {shares!r}: {want}")
    found: dict[str, float] = {}
    for name, share in shares.items():
        try:
            found[str(name)] = float(str(share).strip().rstrip("%"))
        except ValueError as exc:
            raise SeamlessError(f"traffic_split_shares.{name} is {share!r}: {want}") from exc
        if isinstance(share, bool) or not 0 < found[str(name)] < 100:
            raise SeamlessError(
                f"traffic_split_shares.{name} is {share!r}: use more than 0 and less than 100 percent. To send nothing to a host, drain it."
            )
    total = sum(found.values())
    if total > 100 + 1e-6:
        raise SeamlessError(f"traffic_split_shares are {total:g} percent together, which is more than there is: make it 100 at most.")
    return found


def parts_of(
    shares: t.Any, by: str, hosts: t.Sequence[str], releases: t.Mapping[str, str | None], groups: t.Mapping[str, t.Sequence[str]],
) -> list[Part]:
    """Sort *hosts* into parts: by the release that they run, or *by* group. Hosts without a share are the rest. Raises SeamlessError."""
    if by not in WAYS:
        raise SeamlessError(f"traffic_split_by is {by!r}: use {' or '.join(WAYS)}.")
    wanted = read_shares(shares)
    if by == "release":
        mute = [host for host in hosts if not releases.get(host)]
        if mute:
            raise SeamlessError(f"{', '.join(mute)} did not say which release runs there: the shares of releases need the release of every host.")
        known = sorted({str(releases[host]) for host in hosts})
        member = {host: str(releases[host]) for host in hosts}
    else:
        known = sorted({name for name in groups if name != "all" and any(host in groups[name] for host in hosts)} | set(hosts))
        member = _by_group(wanted, hosts, groups)
    for name in wanted:
        if name not in member.values():
            near = difflib.get_close_matches(name, known, n=1)
            what = "no host runs it" if by == "release" else "no host is in it"
            there = ", ".join(known) if by == "release" else ", ".join(name for name in known if name not in hosts) or "no group"
            raise SeamlessError(f"traffic_split_shares names {name!r}, and {what}: there are {there}." + (f" Did you mean {near[0]}?" if near else ""))
    parts = [Part(name, share, [host for host in hosts if member[host] == name]) for name, share in wanted.items()]
    left = [host for host in hosts if member[host] not in wanted]
    whole = abs(sum(wanted.values()) - 100) <= 1e-6
    if left and whole:
        raise SeamlessError(f"traffic_split_shares are 100 percent together, and {', '.join(left)} would get nothing: give them a share, or drain them.")
    if not left and not whole:
        raise SeamlessError(
            f"traffic_split_shares are {sum(wanted.values()):g} percent together, and every host is in {' or '.join(wanted)}: nobody is there for the rest."
        )
    return [*parts, *([Part(REST, None, left)] if left else [])]


def _by_group(wanted: t.Iterable[str], hosts: t.Sequence[str], groups: t.Mapping[str, t.Sequence[str]]) -> dict[str, str]:
    member: dict[str, str] = {}
    for name in wanted:
        for host in hosts:
            if (host == name or host in groups.get(name, ())) and member.setdefault(host, name) != name:
                raise SeamlessError(f"{host} is in {member[host]} and in {name} of traffic_split_shares: a host has one share.")
    return {host: member.get(host, "") for host in hosts}


def calls_of(
    parts: t.Sequence[Part], calls_by_host: t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]], addresses: t.Mapping[str, str | None],
) -> list[dict[str, t.Any]]:
    """Return one entry for each balancer, with the parts as it knows their members. *calls_by_host* are as ``expand_balancers`` returns them."""
    found: dict[str, dict[str, t.Any]] = {}
    for number, part in enumerate(parts):
        for host in part.hosts:
            for call in calls_by_host[host]:
                entry = found.setdefault(
                    balancer_key(call),
                    {
                        **{name: value for name, value in call.items() if name not in ("member", "named")},
                        "parts": [{"name": one.name, **({} if one.share is None else {"share": one.share}), "members": []} for one in parts],
                    },
                )
                address = None if call["named"] else addresses.get(host)
                entry["parts"][number]["members"].append({"name": call["member"], **({"address": address} if address else {})})
    return list(found.values())
