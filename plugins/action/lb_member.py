# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.plugin_utils._fanout import Call, fan_out
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import LightAction, plain


class ActionModule(LightAction):
    OPERATION = "lb_member"

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        balancers = plain(self._task.args.get("balancers"))
        if not balancers:
            return super().run(tmp, task_vars)
        ActionBase.run(self, tmp, task_vars)
        if not isinstance(balancers, list) or not all(isinstance(entry, dict) for entry in balancers):
            raise AnsibleActionFail(f"balancers is {balancers!r}: use a list of dictionaries, each with delegate.")
        task_vars = task_vars or {}
        calls = [self._call(entry, task_vars) for entry in balancers]
        return _together(balancers, fan_out(self, self.OPERATION, calls, task_vars))

    def _call(self, entry: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Call:
        """Return what to run for one entry: the task's own arguments, and over them what the entry says."""
        own = {name: value for name, value in plain(self._task.args).items() if name != "balancers"}
        said = {name: value for name, value in entry.items() if name not in ("delegate", "member", "named", "servers") and value is not None}
        machine = str(entry.get("delegate") or task_vars["inventory_hostname"])
        if "member" in entry:
            address = None if entry.get("named") else task_vars.get("ansible_host")
            said["members"] = [{"name": entry["member"], **({"address": str(address)} if address else {})}]
        return Call(machine, self.validated(self.OPERATION, {**own, **said}))


def _machine(entry: dict[str, t.Any]) -> str:
    return str(entry.get("delegate") or "this host")


def _together(balancers: list[dict[str, t.Any]], results: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """Make one result of those of all balancers, as the result of a loop that names what failed."""
    failed = [f"{_machine(entry)}: {result.get('msg', 'no message')}" for entry, result in zip(balancers, results) if result.get("failed")]
    together: dict[str, t.Any] = {
        "changed": any(result.get("changed") for result in results),
        "results": [{**result, "item": entry} for entry, result in zip(balancers, results)],
        "members": [member for result in results for member in result.get("members") or []],
        "warnings": [f"{_machine(entry)}: {warning}" for entry, result in zip(balancers, results) for warning in result.get("warnings") or []],
        "drain_lost": any(result.get("drain_lost") for result in results),
        "diff": [result["diff"] for result in results if result.get("diff")],
    }
    if failed:
        together.update(failed=True, msg="; ".join(failed), unreachable_host=any(result.get("unreachable_host") for result in results))
    return together
