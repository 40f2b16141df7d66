# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""A module for one balancer, run for several of them at the same moment by one task."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.plugin_utils._fanout import Call, fan_out
from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import LightAction, plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._pools import SECRETS, secrets_for

# What an entry says for others than the module.
NO_OPTIONS = ("delegate", "member", "named", "servers", "secret_of")


def machine(entry: t.Mapping[str, t.Any]) -> str:
    return str(entry.get("delegate") or "this host")


def secrets_of(entry: t.Mapping[str, t.Any], variables: HostVariables) -> dict[str, t.Any]:
    """Return what is secret of a balancer that a plan names without it, from the variables of the host whose balancer it is."""
    host = entry.get("secret_of")
    return secrets_for(entry, variables.get(host, "rollout_balancers") or []) if host else {}


class BalancerAction(LightAction):
    """Runs :attr:`OPERATION` where the task runs or, with ``balancers``, on each of their machines."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        balancers = plain(self._task.args.get("balancers"))
        # A list that happens to be empty means nobody, unless the members of the task's own host are named.
        if not balancers and (balancers is None or self._task.args.get("members")):
            return super().run(tmp, task_vars)
        ActionBase.run(self, tmp, task_vars)
        if not isinstance(balancers, list) or not all(isinstance(entry, dict) for entry in balancers):
            raise AnsibleActionFail(f"balancers is {balancers!r}: use a list of dictionaries, each with delegate.")
        task_vars = task_vars or {}
        variables = HostVariables(self, task_vars)
        calls = [
            Call(
                str(entry.get("delegate") or task_vars["inventory_hostname"]),
                self.validated(self.OPERATION, self.arguments({**entry, **secrets_of(entry, variables)}, task_vars)),
            )
            for entry in balancers
        ]
        balancers = [{name: value for name, value in entry.items() if name not in SECRETS} for entry in balancers]
        results = fan_out(self, self.OPERATION, calls, task_vars) if calls else []
        together = {**self.together(balancers, results), "results": [{**result, "item": entry} for entry, result in zip(balancers, results)]}
        failed = [f"{machine(entry)}: {result.get('msg', 'no message')}" for entry, result in zip(balancers, results) if result.get("failed")]
        if failed:
            lost = any(result.get("unreachable_host") for result in results)
            together.update(failed=True, msg="; ".join(failed), unreachable_host=lost)
        return together

    def arguments(self, entry: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Return what to run for one entry: the task's own arguments, and over them what the entry says."""
        own = {name: value for name, value in plain(self._task.args).items() if name != "balancers"}
        return {**own, **{name: value for name, value in entry.items() if name not in NO_OPTIONS and value is not None}}

    def together(self, balancers: list[dict[str, t.Any]], results: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        """Return one result of those of all balancers."""
        raise NotImplementedError
