# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.plugin_utils import _report as report
from ansible_collections.seamless.rollout.plugins.plugin_utils._conductor import Conductor
from ansible_collections.seamless.rollout.plugins.plugin_utils._host_steps import Watch
from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import rollout_facts
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._notifier import tell, unfinished_business


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        dummy, args = self.validate_argument_spec(
            {
                "step": {"type": "str", "required": True, "choices": ["failed", "restored", "bake", "once", "finish"]},
                "task": {"type": "str", "default": ""},
                "outcome": {"type": "dict", "default": {}},
                "hidden": {"type": "bool", "default": False},
                "undo": {"type": "bool", "default": False},
                "point": {"type": "str", "choices": ["before", "after"]},
                "action": {"type": "str", "default": ""},
                "unseen": {"type": "list", "elements": "str", "default": []},
                "seconds": {"type": "float", "default": 0},
            }
        )
        conductor = Conductor(rollout_facts(task_vars))
        host = str(task_vars["inventory_hostname"])
        if args["step"] == "failed":
            hidden = {"_ansible_no_log": True} if args["hidden"] or _is_hidden(task_vars) else {}
            conductor.failed(host, args["task"], {**plain(args["outcome"]), **hidden}, undo=args["undo"])
        elif args["step"] == "restored":
            conductor.restored(host)
        elif args["step"] == "once":
            conductor.did_once(args["point"], host, args["action"], args["unseen"])
        elif args["step"] == "bake":
            watch = Watch()
            conductor.bake(host, args["seconds"])
            result = watch.told(result)
        else:
            data = conductor.finish(self._cleanup(task_vars, conductor.facts["finish_hosts"]))
            conductor.ledger.leave(conductor.id)
            self._display.display(report.result_text(data))
            tell(self, conductor.facts, task_vars, "end")
            for problem in [*data.pop("report_problems"), *unfinished_business(conductor.facts)]:
                self._display.warning(problem)
            result["report"] = os.path.dirname(data["report"])
            if data["state"] == "succeeded":
                result["rollout"] = {key: value for key, value in data.items() if key != "events"}
            else:
                result.update(failed=True, msg=f"The rollout did not succeed ({data['state']}): {data['why']}")
        tell(self, conductor.facts, task_vars)
        return result

    @staticmethod
    def _cleanup(task_vars: dict[str, t.Any], hosts: list[str]) -> dict[str, dict[str, t.Any]]:
        return {host: plain(task_vars["hostvars"][host].get("__rollout_cleanup") or {}) for host in hosts}


def _is_hidden(task_vars: t.Mapping[str, t.Any]) -> bool:
    """Say whether the task that failed has ``no_log``: ansible-core 2.21 does not tell it of the result. A template that is still one here is that of
    a loop, and what it was for an item can't be known any more."""
    return dict(task_vars.get("ansible_failed_task") or {}).get("no_log") not in (None, False)
