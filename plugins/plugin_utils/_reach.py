# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.
"""How the gate of a rollout asks hosts and balancers, from the task that runs it."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import options
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _counters
from ansible_collections.seamless.rollout.plugins.plugin_utils._balancer_calls import secrets_of
from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count
from ansible_collections.seamless.rollout.plugins.plugin_utils._counters import Counted
from ansible_collections.seamless.rollout.plugins.plugin_utils._fanout import Call, fan_out
from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables
from ansible_collections.seamless.rollout.plugins.plugin_utils._pools import balancer_key, is_serving

if t.TYPE_CHECKING:
    from ansible_collections.seamless.rollout.plugins.plugin_utils._light import LightAction


class TaskReach:
    """Asks by the connections that tasks delegated to those machines would use."""

    def __init__(self, action: LightAction, facts: t.Mapping[str, t.Any], task_vars: dict[str, t.Any], variables: HostVariables) -> None:
        self._action, self._facts, self._task_vars, self._variables = action, facts, task_vars, variables
        self.split_by = ""
        self._answers: dict[str, dict[str, t.Any]] = {}

    def unavailable(self) -> set[str]:
        answers = self._answers = self._ask_balancers("how many members are up")
        self.split_by = next(
            (
                str(entry["split_by"]) for answer in answers.values() for pool in answer.get("pools", []) for entry in pool["members"]
                if entry.get("split_by") and [pool["backend"], entry["name"]] in self._servers()
            ),
            "",
        )
        standing = {key: _serving(answer) for key, answer in answers.items()}
        return {host for host, entry in self._facts["hosts"].items() if not _serves(entry, standing)}

    def totals(self) -> dict[str, Count]:
        return _counters.what_is_counted(self._facts["hosts"], self._answers)

    def counters(self, before: Counted) -> Counted:
        return _counters.read(
            self._facts, lambda: self._ask_balancers("what they have counted"), lambda asked: read_logs(self._action, asked, self._task_vars), before
        )

    def _ask_balancers(self, what: str) -> dict[str, dict[str, t.Any]]:
        balancers = list(self._facts["balancers"])
        calls = [
            Call(call["delegate"], self._action.validated("lb_info", {**self._options(call), "owner": self._facts["app"]})) for call in balancers
        ]
        answers = fan_out(self._action, "lb_info", calls, self._task_vars) if calls else []
        for call, answer in zip(balancers, answers):
            if answer.get("failed"):
                raise SeamlessError(f"balancer {call['delegate']} can't be asked {what}: {answer.get('msg')}")
        return {balancer_key(call): answer for call, answer in zip(balancers, answers)}

    def _servers(self) -> list[list[str]]:
        """Return pool and name of every server of the rollout's hosts."""
        return [list(one) for entry in self._facts["hosts"].values() for call in entry["balancers"] for one in call.get("servers") or []]

    def _options(self, call: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        return {**{key: call[key] for key in options.SPEC if key in call}, **secrets_of(call, self._variables)}

    def keep_locks(self, hosts: t.Sequence[str]) -> list[dict[str, t.Any]]:
        params = {"lock_id": self._facts["id"], "renew": True, "ttl": self._facts.get("lock_ttl", 3600)}
        roots = {host: self._variables.get(host, "rollout_root") or self._facts["root"] for host in hosts}
        calls = [Call(host, self._action.validated("rollout_lock", {**params, "root": roots[host]})) for host in hosts]
        answers = fan_out(self._action, "rollout_lock", calls, self._task_vars)
        return [answer["lock"] for answer in answers if not answer.get("failed") and answer.get("lock")]


def read_logs(action: LightAction, asked: t.Mapping[str, t.Mapping[str, t.Any]], task_vars: dict[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return the answers of ``access_log_info`` on each machine of *asked* to its parameters."""
    calls = [Call(machine, action.validated("access_log_info", params)) for machine, params in asked.items()]
    return dict(zip(asked, fan_out(action, "access_log_info", calls, task_vars) if calls else []))


def _serving(answer: t.Mapping[str, t.Any]) -> dict[tuple[str, str], bool]:
    return {(pool["backend"], entry["name"]): is_serving(entry) for pool in answer.get("pools", []) for entry in pool["members"]}


def _serves(entry: t.Mapping[str, t.Any], standing: t.Mapping[str, t.Mapping[tuple[str, str], bool]]) -> bool:
    """Say whether a host serves in every pool of every balancer that told of it; a balancer that can't tell of its pools says nothing against it."""
    for call in entry["balancers"]:
        states = standing.get(balancer_key(call), {})
        if not all(states.get((backend, name), True) for backend, name in call.get("servers") or []):
            return False
    return True
