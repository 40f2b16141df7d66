# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._planner import Planner
from ansible_collections.seamless.rollout.plugins.plugin_utils._steps import search_places

MODES = ["release", "update", "rollback", "promote", "preview"]


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        dummy, args = self.validate_argument_spec(
            {
                "step": {"type": "str", "required": True, "choices": ["read", "plan"]},
                "mode": {"type": "str", "default": "release", "choices": MODES},
                "balancers": {"type": "list", "elements": "dict", "default": []},
                "show_only": {"type": "bool", "default": False},
            }
        )
        planner = Planner(HostVariables(self, task_vars), check_mode=bool(self._task.check_mode), show_only=args["show_only"])
        try:
            if args["step"] == "read":
                facts = planner.read(
                    args["mode"], targets=[str(name) for name in task_vars["ansible_play_hosts_all"]], groups=task_vars["groups"],
                    places=search_places(task_vars),
                )
            else:
                facts = self._plan(planner, task_vars, plain(args["balancers"]), result)
        except SeamlessError as exc:
            raise AnsibleActionFail(str(exc)) from exc
        result["ansible_facts"] = {"seamless_rollout": facts}
        return result

    def _plan(
        self, planner: Planner, task_vars: dict[str, t.Any], balancers: list[dict[str, t.Any]], result: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        facts = plain(task_vars["hostvars"]["localhost"]["seamless_rollout"])
        try:
            surveys = {host: self._survey(task_vars, host) for host in task_vars["ansible_play_hosts_all"]}
            facts = planner.plan(facts, surveys=surveys, balancers=balancers)
        except SeamlessError as exc:
            # Not a failure yet: every host has to give its lock back first.
            return planner.refuse(facts, str(exc))
        self._display.display(planner.text)
        result["msg"] = planner.text
        result["plan"] = planner.public
        return facts

    @staticmethod
    def _survey(task_vars: dict[str, t.Any], host: str) -> dict[str, t.Any]:
        """Return what the host answered; a host that was lost before it could answer says so itself."""
        answer = task_vars["hostvars"][host].get("__rollout_survey")
        return {"failed": True, "msg": "The host gave no answer."} if answer is None else t.cast("dict[str, t.Any]", plain(answer))
