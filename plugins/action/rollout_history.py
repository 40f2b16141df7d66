# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._fanout import Call, fan_out
from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger, default_state_dir
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import ANY_PYTHON, LightAction
from ansible_collections.seamless.rollout.plugins.plugin_utils._past import history, history_text
from ansible_collections.seamless.rollout.plugins.plugin_utils._reader import FORMATS, Reader, unknown_names

WANTED = ("app", "state_dir", "history_format", "history_limit", "history_days")


class ActionModule(LightAction):

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = ActionBase.run(self, tmp, task_vars)
        task_vars = task_vars or {}
        self.validate_argument_spec({})
        variables = HostVariables(self, task_vars)
        hosts = [str(host) for host in task_vars["ansible_play_hosts_all"]]
        reader = Reader({f"rollout_{name}": variables.get(hosts[0], f"rollout_{name}") for name in WANTED})
        reader.errors += unknown_names(variables.variables(hosts[0]))
        if reader.get("app") is None:
            reader.errors.append("rollout_app is not set: name the application, for example rollout_app: shop.")
        form = reader.choice("history_format", FORMATS)
        limit, days = reader.integer("history_limit", 1) or 20, reader.integer("history_days", 1) or 90
        if reader.errors:
            raise AnsibleActionFail("\n".join(reader.errors))
        app = str(reader.get("app"))
        state_dir = default_state_dir(app, reader.get("state_dir"))
        try:
            journals, unread = self._journals(variables, task_vars, hosts, app, days)
        except SeamlessError as exc:
            raise AnsibleActionFail(str(exc)) from exc
        data = {"app": app, **history(Ledger.existing(state_dir), journals, state_dir, limit=limit, days=days, now=time.time()), "unread": unread}
        if form == "json":
            # From a line "{" to a line "}": nothing else in Ansible's output is such a line.
            self._display.display(json.dumps(data, indent=2))
        else:
            self._display.display(history_text(app, data))
        return {**result, "history": data}

    def _journals(
        self, variables: HostVariables, task_vars: dict[str, t.Any], hosts: t.Sequence[str], app: str, days: float
    ) -> tuple[dict[str, list[dict[str, t.Any]]], dict[str, str]]:
        """Return the journals of the hosts, and why some could not be read: the ledger of this controller is there without them."""
        calls = [
            Call(host, self.validated("release_info", {"root": variables.get(host, "rollout_root") or f"/srv/{app}", "journal_days": days})) for host in hosts
        ]
        answers = dict(zip(hosts, fan_out(self, "release_info", calls, task_vars)))
        unread = {host: str(answer.get("msg", "no answer")) for host, answer in answers.items() if answer.get("failed") or answer.get("unreachable")}
        return {host: list(answer.get("journal") or []) for host, answer in answers.items() if host not in unread}, unread

    def _interpreter(self, task_vars: dict[str, t.Any]) -> str | None:
        return super()._interpreter(task_vars) or ANY_PYTHON
