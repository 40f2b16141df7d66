# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.plugin_utils._fleet_evidence import Fleet, Report, check_patterns
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import LightAction

Answer = t.Dict[str, t.Any]

# How long one call to the database host may wait: a connection that says nothing for long may be cut. And for how long what the hosts said counts.
SLICE, FRESH = 60.0, 60.0


class ActionModule(LightAction):
    """Asks every host what it runs, then the database, and again while only time is missing; then has every host refuse older releases."""

    OPERATION = "migration_gate"
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Answer:
        ActionBase.run(self, tmp, task_vars)
        task_vars = task_vars or {}
        params = self.validated(self.OPERATION, self._task.args)
        for name in ("hosts", "floor_failed"):
            if params[name] is not None:
                raise AnsibleActionFail(f"{name} is set: what hosts say is asked of them and can't be given.")
        if params["raise_floor"] and not params["name"]:
            raise AnsibleActionFail("raise_floor is true and name is not set: the floor is made of migrations, so name one.")
        fleet = Fleet(self, params, task_vars)
        check_patterns(fleet)
        params["groups"] = fleet.patterns
        answer, reports = self._asked(fleet, params, task_vars)
        floor: dict[str, Answer] = {}
        if params["raise_floor"] and answer.get("passed") and answer.get("state") != "contracted":
            answer, floor = self._with_floor(answer, reports, fleet, params, task_vars)
        if answer.get("failed"):
            return answer
        answer["changed"] = any(bool(item.get("changed")) for item in floor.values())
        answer["floor"] = sorted(host for host, item in floor.items() if not item.get("failed"))
        if answer["weak"]:
            what = answer["migration"] or f"release {answer['release']}"
            answer["warnings"] = [f"The gate of {what} could not see well: {text}" for text in answer["weak"]] if answer["passed"] else []
        if not answer["passed"] and params["must_pass"]:
            answer["failed"] = True
        return answer

    def _asked(self, fleet: Fleet, params: Answer, task_vars: dict[str, t.Any]) -> tuple[Answer, list[Report]]:
        """Ask until the verdict stands, or more than time is missing, or more of it than there is."""
        until = time.monotonic() + params["wait"]
        reports, asked = fleet.ask(), time.monotonic()
        told = False
        while True:
            left = max(0.0, until - time.monotonic())
            answer = self._judged(params, reports, task_vars, wait=min(left, SLICE), provisional=params["raise_floor"])
            if answer.get("failed"):
                return answer, reports
            left = max(0.0, until - time.monotonic())
            stale = time.monotonic() - asked > FRESH
            if answer["passed"] and not stale:
                return answer, reports
            if not answer["passed"]:
                if answer["pending"] is None or answer["pending"] > left:
                    return answer, reports
                if not told:
                    self._display.display(f"{answer['migration'] or answer['release']}: {'; '.join(answer['missing'])}; waits")
                    told = True
                stale = True
                # For its canaries the module waits by itself.
                ages = [item["pending"] for item in answer["evidence"] if item["id"] == "E6" and item["pending"] is not None]
                time.sleep(min([*ages, SLICE / 4]) if ages else 0.0)
            if stale:
                reports, asked = fleet.ask(), time.monotonic()

    def _judged(self, params: Answer, reports: list[Report], task_vars: dict[str, t.Any], **more: t.Any) -> Answer:
        return self.execute(self.OPERATION, {**params, "hosts": reports, **more}, task_vars)

    def _with_floor(
        self, answer: Answer, reports: list[Report], fleet: Fleet, params: Answer, task_vars: dict[str, t.Any]
    ) -> tuple[Answer, dict[str, Answer]]:
        """Raise the floor on every host and only then let the verdict stand; where it does not come to stand, take the floor back."""
        floor = fleet.set_floor(answer["release"])
        if self._task.check_mode and not any(item.get("failed") for item in floor.values()):
            return answer, floor
        failed = {host: str(item.get("msg") or "no message") for host, item in floor.items() if item.get("failed")}
        answer = self._judged(params, reports, task_vars, wait=0.0, floor_failed=failed)
        raised = [host for host, item in floor.items() if item.get("changed") and not item.get("failed")]
        if raised and not answer.get("passed") and not self._task.check_mode:
            back = fleet.set_floor("", state="absent", hosts=raised)
            left = [host for host, item in back.items() if item.get("failed")]
            floor = {host: floor[host] for host in left}
            if left:
                self._display.warning(f"The release floor stays raised on {', '.join(left)}: they could not be told that the verdict does not stand.")
        return answer, floor
