# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._pools import distinct_balancers, expand_balancers


def balancer_machines(balancers: t.Sequence[t.Mapping[str, t.Any]], groups: t.Mapping[str, t.Sequence[str]]) -> list[dict[str, t.Any]]:
    return distinct_balancers({"": expand_balancers("", plain(balancers), plain(groups))})


def balancer_calls(
    balancers: t.Sequence[t.Mapping[str, t.Any]], groups: t.Mapping[str, t.Sequence[str]], host: str
) -> list[dict[str, t.Any]]:
    return expand_balancers(host, plain(balancers), plain(groups))


def balancer_members(hosts: t.Sequence[str], hostvars: t.Mapping[str, t.Any]) -> list[dict[str, str]]:
    found = []
    for host in hosts:
        address = hostvars[host].get("ansible_host") if host in hostvars else None
        found.append({"name": str(host), **({"address": str(plain(address))} if address else {})})
    return found


class FilterModule:
    """Filters of seamless.rollout."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"balancer_machines": balancer_machines, "balancer_calls": balancer_calls, "balancer_members": balancer_members}
