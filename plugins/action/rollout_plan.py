# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _migrations
from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables, rollout_facts
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import LightAction, plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._notifier import tell
from ansible_collections.seamless.rollout.plugins.plugin_utils._plan_text import refusal_public
from ansible_collections.seamless.rollout.plugins.plugin_utils._planner import Planner
from ansible_collections.seamless.rollout.plugins.plugin_utils._reach import read_logs
from ansible_collections.seamless.rollout.plugins.plugin_utils._steps import search_places

MODES = ["release", "update", "rollback", "promote", "preview", "recover"]


class ActionModule(LightAction):

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = ActionBase.run(self, tmp, task_vars)
        task_vars = task_vars or {}
        dummy, args = self.validate_argument_spec(
            {
                "step": {"type": "str", "required": True, "choices": ["read", "plan", "database"]},
                "mode": {"type": "str", "default": "release", "choices": MODES},
                "balancers": {"type": "list", "elements": "dict", "default": []},
                "show_only": {"type": "bool", "default": False},
            }
        )
        variables = HostVariables(self, task_vars)
        if args["step"] == "database":
            return {**result, **self._database(variables, task_vars)}
        planner = Planner(
            variables, check_mode=bool(self._task.check_mode), show_only=args["show_only"], forks=int(context.CLIARGS.get("forks") or 0),
            read_logs=lambda asked: read_logs(self, asked, task_vars),
        )
        as_json = variables.get(str(task_vars["inventory_hostname"]), "rollout_plan_format") == "json"
        try:
            if args["step"] == "read":
                facts = planner.read(
                    args["mode"], targets=[str(name) for name in task_vars["ansible_play_hosts_all"]], groups=task_vars["groups"],
                    places=search_places(task_vars), loader=self._loader,
                )
            else:
                facts = self._plan(planner, variables, task_vars, plain(args["balancers"]), result, as_json=as_json)
        except SeamlessError as exc:
            if as_json:
                self._show_json(refusal_public({"mode": args["mode"]}, str(exc)))
            raise AnsibleActionFail(str(exc)) from exc
        result["ansible_facts"] = {"seamless_rollout": facts}
        return result

    @staticmethod
    def _database(variables: HostVariables, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Refuse a contract for which the database is not named, or not right."""
        host = str(task_vars["inventory_hostname"])
        problems = [] if variables.get(host, "rollout_app") else ["rollout_app is not set: name the application, such as rollout_app: shop."]
        problems += _migrations.problems(variables.get(host, "rollout_migrations") or {}, set(task_vars["groups"].get("all", [])))
        if problems:
            raise AnsibleActionFail("\n".join(problems))
        return {}

    def _plan(
        self,
        planner: Planner,
        variables: HostVariables,
        task_vars: dict[str, t.Any],
        balancers: list[dict[str, t.Any]],
        result: dict[str, t.Any],
        *,
        as_json: bool,
    ) -> dict[str, t.Any]:
        facts = rollout_facts(task_vars)
        try:
            surveys = {host: self._survey(variables, host) for host in task_vars["ansible_play_hosts_all"]}
            facts = planner.plan(facts, surveys=surveys, balancers=balancers)
        except SeamlessError as exc:
            # Not a failure yet: every host has to give its lock back first.
            if as_json:
                self._show_json(refusal_public(facts, str(exc)))
            return self._refuse(planner, facts, str(exc), task_vars)
        if as_json:
            self._show_json(planner.public)
        else:
            self._display.display(planner.text)
        result["msg"] = planner.text
        result["plan"] = planner.public
        if planner.closed:
            return self._refuse(planner, facts, planner.closed, task_vars)
        tell(self, facts, task_vars, "start")
        return facts

    @staticmethod
    def _refuse(planner: Planner, facts: dict[str, t.Any], why: str, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if facts["dry"]:
            raise AnsibleActionFail(why)
        return {**planner.refuse(facts, why), "refuse_hosts": [str(host) for host in task_vars["ansible_play_hosts"]]}

    def _show_json(self, data: dict[str, t.Any]) -> None:
        """Print *data* from a line ``{`` to a line ``}``: nothing else in Ansible's output is such a line."""
        self._display.display(json.dumps(data, indent=2))

    @staticmethod
    def _survey(variables: HostVariables, host: str) -> dict[str, t.Any]:
        """Return what the host answered; a host that was lost before it could answer says so itself."""
        answer = variables.raw(host).get("__rollout_survey")
        return {"failed": True, "msg": "The host gave no answer."} if answer is None else t.cast("dict[str, t.Any]", plain(answer))
