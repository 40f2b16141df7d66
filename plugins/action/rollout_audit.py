# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _audit
from ansible_collections.seamless.rollout.plugins.plugin_utils._auditor import Auditor
from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        dummy, args = self.validate_argument_spec(
            {
                "step": {"type": "str", "required": True, "choices": ["check", "consent", "report"]},
                "balancers": {"type": "list", "elements": "dict", "default": []},
            }
        )
        auditor = Auditor(HostVariables(self, task_vars), task_vars, [str(host) for host in task_vars["ansible_play_hosts_all"]])
        try:
            if args["step"] == "check":
                result["ansible_facts"] = {"seamless_audit": auditor.check()}
            elif args["step"] == "consent":
                result["ansible_facts"] = {"seamless_audit": auditor.consent(plain(args["balancers"]))}
            else:
                result.update(self._report(auditor, plain(args["balancers"])))
        except SeamlessError as exc:
            raise AnsibleActionFail(str(exc)) from exc
        return result

    def _report(self, auditor: Auditor, balancers: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        data = auditor.report(balancers)
        if auditor.settings.format == "json":
            # From a line "{" to a line "}": nothing else in Ansible's output is such a line.
            self._display.display(json.dumps(data, indent=2))
        else:
            self._display.display(_audit.text(data))
        trouble = auditor.left_out_of_rotation()
        # A task of its own fails: this one's whole result would be shown then.
        return {"audit": data, "msg": trouble or _audit.summary(data), "ends_well": not trouble and not auditor.fails(data)}
