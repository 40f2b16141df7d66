# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _traffic
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._pools import expand_balancers


def traffic_parts(
    balancers: t.Sequence[t.Mapping[str, t.Any]], shares: t.Any, groups: t.Mapping[str, t.Sequence[str]], hostvars: t.Mapping[str, t.Any],
    releases: t.Mapping[str, str | None], by: str = "release",
) -> list[dict[str, t.Any]]:
    groups = plain(groups)
    hosts = [str(host) for host in releases]
    try:
        parts = _traffic.parts_of(plain(shares), by, hosts, plain(releases), groups)
        calls = {host: expand_balancers(host, _own(plain(balancers), hostvars[host]), groups) for host in hosts}
        addresses = {host: plain(hostvars[host].get("ansible_host")) for host in hosts}
        entries = _traffic.calls_of(parts, calls, addresses)
    except SeamlessError as exc:
        raise AnsibleFilterError(str(exc)) from exc
    if not entries:
        raise AnsibleFilterError("traffic_split_balancers is empty: name the balancers whose weights split the requests.")
    return entries


def _own(balancers: list[dict[str, t.Any]], variables: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return *balancers* as the variables of one host have them, where those differ in nothing but the host's name there."""
    for name in ("traffic_split_balancers", "rollout_balancers"):
        own = plain(variables.get(name) or [])
        if [_without_member(entry) for entry in own] == [_without_member(entry) for entry in balancers]:
            return t.cast("list[dict[str, t.Any]]", own)
    return balancers


def _without_member(entry: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {name: value for name, value in entry.items() if name != "member"}


class FilterModule:
    """Filters of seamless.rollout."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"traffic_parts": traffic_parts}
