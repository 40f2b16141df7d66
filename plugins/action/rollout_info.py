# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._drift import headline
from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import default_state_dir
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import ANY_PYTHON, LightAction, plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._status import status_text, watch
from ansible_collections.seamless.rollout.plugins.plugin_utils._status_reader import StatusReader


class ActionModule(LightAction):

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = ActionBase.run(self, tmp, task_vars)
        task_vars = task_vars or {}
        dummy, args = self.validate_argument_spec(
            {
                "step": {"type": "str", "required": True, "choices": ["watch", "read", "show"]},
                "app": {"type": "str"},
                "state_dir": {"type": "path"},
            }
        )
        if args["step"] == "watch":
            result["watched"] = watch(default_state_dir(args["app"], args["state_dir"]), self._display.display)
            return result
        known = plain(task_vars["hostvars"].raw_get("localhost").get("seamless_status")) if args["step"] == "show" else None
        hosts = known["hosts"] if known else [str(host) for host in task_vars["ansible_play_hosts_all"]]
        try:
            reader = StatusReader(self, HostVariables(self, task_vars), task_vars, hosts)
            facts = known or reader.read()
            if facts["rest_hosts"] and not known:
                return {**result, "ansible_facts": {"seamless_status": facts}, "ends_well": True, "msg": ""}
            result.update(self._show(reader, facts))
        except SeamlessError as exc:
            raise AnsibleActionFail(str(exc)) from exc
        result["ansible_facts"] = {"seamless_status": {"rest_hosts": []}}
        return result

    def _show(self, reader: StatusReader, facts: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        status = reader.status(facts)
        app = reader.settings.app
        if reader.settings.format == "json":
            # From a line "{" to a line "}": nothing else in Ansible's output is such a line.
            self._display.display(json.dumps({"app": app, "headline": headline(app, status, status["findings"]), **status}, indent=2))
        else:
            self._display.display(status_text(app, status))
        # A task of its own fails: this one's whole result would be shown then.
        return {"status": status, "msg": headline(app, status, status["findings"]), "ends_well": not reader.fails(status)}

    def _interpreter(self, task_vars: dict[str, t.Any]) -> str | None:
        return super()._interpreter(task_vars) or ANY_PYTHON
