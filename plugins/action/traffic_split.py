# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.traffic_split import ARGUMENT_SPEC
from ansible_collections.seamless.rollout.plugins.plugin_utils._balancer_calls import BalancerAction, machine


class ActionModule(BalancerAction):
    OPERATION = "traffic_split"

    def arguments(self, entry: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        # The entries are those of rollout_balancers, with options that only lb_member has.
        return {name: value for name, value in super().arguments(entry, task_vars).items() if name in ARGUMENT_SPEC}

    def together(self, balancers: list[dict[str, t.Any]], results: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        return {
            "changed": any(result.get("changed") for result in results),
            "pools": [{**pool, "machine": machine(entry)} for entry, result in zip(balancers, results) for pool in result.get("pools") or []],
            "members": [{**member, "machine": machine(entry)} for entry, result in zip(balancers, results) for member in result.get("members") or []],
            "summary": [f"{machine(entry)}, {line}" for entry, result in zip(balancers, results) for line in result.get("summary") or []],
            "warnings": [f"{machine(entry)}: {warning}" for entry, result in zip(balancers, results) for warning in result.get("warnings") or []],
            "diff": [result["diff"] for result in results if result.get("diff")],
        }
