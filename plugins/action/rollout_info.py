# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import default_state_dir
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._status import fleet_status, status_text, watch


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        dummy, args = self.validate_argument_spec(
            {
                "app": {"type": "str", "required": True},
                "state_dir": {"type": "path"},
                "balancers": {"type": "list", "elements": "dict", "default": []},
                "watch": {"type": "bool", "default": False},
            }
        )
        state_dir = default_state_dir(args["app"], args["state_dir"])
        if args["watch"]:
            result["watched"] = watch(state_dir, self._display.display)
            return result
        hosts = {
            str(host): plain(task_vars["hostvars"][host].get("__rollout_survey") or {}) for host in task_vars["ansible_play_hosts_all"]
        }
        addresses = {host: task_vars["hostvars"][host].get("ansible_host") for host in hosts}
        status = fleet_status(state_dir, hosts, plain(args["balancers"]), addresses)
        self._display.display(status_text(args["app"], status))
        result["status"] = status
        return result
