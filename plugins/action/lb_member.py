# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._balancer_calls import BalancerAction, machine
from ansible_collections.seamless.rollout.plugins.plugin_utils._host_steps import Watch


class ActionModule(BalancerAction):
    OPERATION = "lb_member"

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        watch = Watch()
        return watch.told(super().run(tmp, task_vars))

    def arguments(self, entry: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if "member" not in entry:
            return super().arguments(entry, task_vars)
        address = None if entry.get("named") else self._templar.template(task_vars.get("ansible_host"))
        member = {"name": entry["member"], **({"address": str(address)} if address else {})}
        return {**super().arguments(entry, task_vars), "members": [member]}

    def together(self, balancers: list[dict[str, t.Any]], results: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        return {
            "changed": any(result.get("changed") for result in results),
            "members": [member for result in results for member in result.get("members") or []],
            "warnings": [f"{machine(entry)}: {warning}" for entry, result in zip(balancers, results) for warning in result.get("warnings") or []],
            "drain_lost": any(result.get("drain_lost") for result in results),
            "diff": [result["diff"] for result in results if result.get("diff")],
        }
