# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _cutover
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain


def cutover_options(floating_ip: t.Any) -> dict[str, t.Any]:
    try:
        return _cutover.check_options(plain(floating_ip))
    except SeamlessError as exc:
        raise AnsibleFilterError(str(exc)) from exc


def cutover_choice(
    answers: t.Mapping[str, t.Any], floating_ip: t.Mapping[str, t.Any], to: t.Any, groups: t.Mapping[str, t.Sequence[str]],
    servers: t.Mapping[str, str] | None = None, takeover: bool = False,
) -> dict[str, t.Any]:
    try:
        hosts = _cutover.expand(plain(to), plain(groups))
        return _cutover.choose(plain(answers), plain(floating_ip), hosts, servers=plain(servers or {}), takeover=takeover)._asdict()
    except SeamlessError as exc:
        raise AnsibleFilterError(str(exc)) from exc


def cutover_holders(answers: t.Mapping[str, t.Any], floating_ip: t.Mapping[str, t.Any], servers: t.Mapping[str, str] | None = None) -> list[str]:
    known = plain(answers)
    silent = next((host for host, answer in known.items() if answer.get("failed")), None)
    if silent:
        raise AnsibleFilterError(f"{silent}: {known[silent].get('msg')}")
    return _cutover.holders(known, str(floating_ip.get("method") or "arp"), plain(servers or {}))


def cutover_checks(
    probes: t.Sequence[t.Mapping[str, t.Any]], address: str = "", asked: str = "", current: str = ""
) -> list[dict[str, t.Any]]:
    found = _cutover.for_release(plain(probes), str(asked), str(current))
    return _cutover.checks_through(found, str(address)) if address else t.cast("list[dict[str, t.Any]]", found)


class FilterModule:
    """Filters of seamless.rollout."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "cutover_options": cutover_options, "cutover_choice": cutover_choice, "cutover_holders": cutover_holders, "cutover_checks": cutover_checks,
        }
