# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.plugin_utils._identity import whoami
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger, default_state_dir
from ansible_collections.seamless.rollout.plugins.plugin_utils._notifier import tell
from ansible_collections.seamless.rollout.plugins.plugin_utils._orders import VERBS, worded


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        if not self._task.args.get("order"):
            raise AnsibleActionFail(f"rollout_order is not set: say what the running rollout shall do, one of {', '.join(VERBS)}.")
        dummy, args = self.validate_argument_spec(
            {
                "app": {"type": "str", "required": True},
                "order": {"type": "str", "required": True, "choices": list(VERBS)},
                "by": {"type": "str"},
                "reason": {"type": "str", "default": ""},
                "state_dir": {"type": "path"},
            }
        )
        by = args["by"] or whoami()
        result.update(found=False, rollout_id=None, changed=False, by=by, paused=[], given_up=[])
        state_dir = default_state_dir(args["app"], args["state_dir"])
        ledger = Ledger.existing(state_dir)
        if ledger is None:
            return result
        working = ledger.working()
        result["paused"] = paused = [] if working else [row["id"] for row in ledger.paused()]
        if working:
            if not self._task.check_mode:
                ledger.order(working["id"], args["order"], by, args["reason"], time.time())
            self._display.display(f"{args['order']}: rollout {working['id']} of {args['app']} was told")
            result.update(found=True, rollout_id=working["id"], changed=True)
        elif paused and args["order"] == "abort":
            for rollout_id in paused:
                if not self._task.check_mode:
                    self._give_up(ledger, rollout_id, by, args["reason"])
                    tell(self, {"id": rollout_id, "state_dir": state_dir, "targets": [str((task_vars or {})["inventory_hostname"])]}, task_vars or {}, "end")
                self._display.display(f"abort: rollout {rollout_id} of {args['app']}, which was paused, is given up; nothing is undone")
            result.update(found=True, rollout_id=paused[0], changed=True, given_up=paused)
        return result

    @staticmethod
    def _give_up(ledger: Ledger, rollout_id: str, by: str, reason: str) -> None:
        """End a paused rollout: no process is there any more that could hear the order."""
        ledger.order(rollout_id, "abort", by, reason, time.time())
        why = (ledger.rollout(rollout_id) or {}).get("halted")
        ledger.set_state(rollout_id, "aborted", halted="; ".join(filter(None, [why, worded({"verb": "abort", "by": by, "reason": reason})])))
