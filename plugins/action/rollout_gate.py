# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._conductor import Conductor
from ansible_collections.seamless.rollout.plugins.plugin_utils._gatekeeper import Gatekeeper, Go
from ansible_collections.seamless.rollout.plugins.plugin_utils._host_steps import RESULTS
from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables, rollout_facts
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import LightAction, plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._notifier import tell
from ansible_collections.seamless.rollout.plugins.plugin_utils._reach import TaskReach
from ansible_collections.seamless.rollout.plugins.plugin_utils._withheld import whole

Outcomes = t.Dict[str, t.Dict[str, t.Any]]


class ActionModule(LightAction):

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = self._step(tmp, task_vars)
        if task_vars and task_vars.get("rollout_notify"):
            tell(self, rollout_facts(task_vars), task_vars)
        return result

    def _step(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = ActionBase.run(self, tmp, task_vars)
        task_vars = task_vars or {}
        self._variables: dict[str, t.Mapping[str, t.Any]] = {}
        dummy, args = self.validate_argument_spec(
            {
                "step": {"type": "str", "required": True, "choices": ["staged", "open", "close", "slot", "free", "settle", "once_open", "once_close"]},
                "hosts": {"type": "list", "elements": "str", "required": True},
                "undo": {"type": "bool", "default": False},
                "tries": {"type": "int", "default": 0},
                "point": {"type": "str", "choices": ["before", "after"]},
            }
        )
        step, hosts, undo = args["step"], [str(host) for host in args["hosts"]], args["undo"]
        facts = rollout_facts(task_vars)
        conductor = Conductor(facts)
        alive = {str(host) for host in task_vars["ansible_play_hosts"]}
        if step in ("close", "settle") and not undo:
            self._gatekeeper(conductor, task_vars, hosts).hear()
        if step == "slot":
            return {**result, **self._slot(conductor, task_vars, hosts[0], alive, args["tries"])}
        if step == "free":
            conductor.close(hosts, self._outcomes(task_vars, hosts, facts), alive, undo=undo)
            self._tell_of_lost_drains(conductor, task_vars, hosts)
            self._record_steps(conductor, task_vars, hosts)
            return result
        if step == "once_open":
            host = next(host for host in hosts if host in alive)
            return {**result, "host": host, "actions": conductor.open_once(args["point"], host)}
        if step == "open":
            started = self._open(conductor, task_vars, hosts, undo=undo)
            # Who finds no room in an undo is asked for again at its end, by a play of its own.
            result.update(hosts=started, proceed=bool(started), left=[host for host in hosts if host not in started and not undo])
            if started:
                return result
            facts = conductor.told()
        elif step == "staged":
            facts = conductor.staged(self._answers(task_vars, hosts, "__rollout_staged"))
        elif step == "settle":
            facts = conductor.settle()
            self._record_steps(conductor, task_vars, facts["failed"])
            if not facts["undo_hosts"]:
                self._gatekeeper(conductor, task_vars, hosts).count()
        elif step == "once_close":
            problem = task_vars["hostvars"][hosts[0]].get("__rollout_once_problem") or {}
            facts = conductor.close_once(args["point"], hosts[0], str(problem.get("msg") or "") if hosts[0] in alive else "")
        else:
            facts = conductor.close_batch(hosts, self._outcomes(task_vars, hosts, facts), alive, undo=undo)
            self._tell_of_lost_drains(conductor, task_vars, hosts)
            self._record_steps(conductor, task_vars, hosts)
            # Whoever is next reads the balancers at the gate; an undo is not to be held up by that.
            last = facts["undo_hosts"] if undo else facts["order"]
            if set(last[-1:]) & set(hosts) or facts["halted"] and not facts["undo_hosts"]:
                self._gatekeeper(conductor, task_vars, hosts).count()
        if not undo:
            self._expect_the_old_release(facts, task_vars)
        result["halted"] = facts["halted"]
        result["ansible_facts"] = {"seamless_rollout": facts}
        if facts["halted"] and step != "open" and not undo:
            self._display.warning(f"The rollout is halted. {facts['halted']}")
        return result

    def _gatekeeper(self, conductor: Conductor, task_vars: dict[str, t.Any], hosts: list[str]) -> Gatekeeper:
        who = ", ".join(hosts)

        def say(why: str) -> None:
            self._display.display(f"{who}: {why}")
            tell(self, conductor.facts, task_vars, "pause", why)

        variables = HostVariables(self, task_vars)
        asked = whole(conductor.facts, variables.get)
        return Gatekeeper(conductor, TaskReach(self, asked, task_vars, variables), say, asked=asked)

    def _open(self, conductor: Conductor, task_vars: dict[str, t.Any], hosts: list[str], *, undo: bool) -> list[str]:
        try:
            return self._gatekeeper(conductor, task_vars, hosts).open_batch(hosts, undo=undo)
        except SeamlessError as exc:
            # As for a slot.
            conductor.not_begun(hosts, str(exc))
            self._display.warning(f"{', '.join(hosts)}: {exc}")
            return []

    def _slot(self, conductor: Conductor, task_vars: dict[str, t.Any], host: str, alive: set[str], tries: int) -> dict[str, t.Any]:
        try:
            go = self._gatekeeper(conductor, task_vars, [host]).take_slot(host, alive, tries)
        except SeamlessError as exc:
            # No failure of the task: without any host left the playbook would end here, without a report.
            conductor.failed(host, "Wait for a slot", {"msg": str(exc)}, undo=False)
            conductor.restored(host)
            self._display.warning(f"{host}: {exc}")
            go = Go(False)
        return {"proceed": go.proceed, "again": go.again, "tries": go.tries}

    def _expect_the_old_release(self, facts: dict[str, t.Any], task_vars: dict[str, t.Any]) -> None:
        """Health checks of an undo must expect the release it goes back to, not the one that failed."""
        variables = HostVariables(self, task_vars)
        for host in facts["undo_hosts"]:
            target = facts["hosts"][host]["target"]
            facts["hosts"][host]["health"] = variables.get(host, "rollout_health", rollout_release=target) or []

    def _tell_of_lost_drains(self, conductor: Conductor, task_vars: dict[str, t.Any], hosts: list[str]) -> None:
        """Record which balancers had hosts back in rotation before their time: requests may have failed meanwhile, and nothing else tells why."""
        calls = [(name, self._answers(task_vars, hosts, name)) for name in ("__rollout_drained", "__rollout_redrained", "__rollout_enabled")]
        for host in hosts:
            steps = {str(step["file"]) for step in conductor.facts["hosts"][host].get("steps") or []}
            told = [answers[host] for name, answers in calls if name != "__rollout_redrained" or "redrain.yml" in steps]
            lost = sorted({machine for answer in told for machine in _forgetful(answer)})
            if lost:
                conductor.ledger.drain_lost(conductor.id, host, lost)

    def _record_steps(self, conductor: Conductor, task_vars: dict[str, t.Any], hosts: list[str]) -> None:
        def results(host: str) -> dict[str, t.Any]:
            known = self._known(task_vars, host)
            return {name: plain(known[name]) for name in RESULTS if name in known}

        conductor.record_steps(hosts, results)

    def _answers(self, task_vars: dict[str, t.Any], hosts: list[str], name: str) -> Outcomes:
        return {host: plain(self._known(task_vars, host).get(name) or {}) for host in hosts}

    def _known(self, task_vars: dict[str, t.Any], host: str) -> t.Mapping[str, t.Any]:
        """Return the variables of *host*, collected once. What a task has registered holds no template, and to look for one takes a while."""
        if host not in self._variables:
            self._variables[host] = task_vars["hostvars"].raw_get(host)
        return self._variables[host]

    def _outcomes(self, task_vars: dict[str, t.Any], hosts: list[str], facts: dict[str, t.Any]) -> Outcomes:
        """Say of each host whether it got as far as it must, and how long it was out of rotation by the balancers' own clocks."""
        outcomes: Outcomes = {}
        drained = self._answers(task_vars, hosts, "__rollout_drained")
        enabled = self._answers(task_vars, hosts, "__rollout_enabled")
        switched = self._answers(task_vars, hosts, "__rollout_switched")
        for host in hosts:
            out = _times(drained[host])
            back = _times(enabled[host])
            seconds = [back[key] - out[key] for key in out if key in back]
            behind = facts["hosts"][host]["balancers"]
            finished = bool(enabled[host]) if behind else facts["mode"] == "update" or bool(switched[host])
            outcomes[host] = {"finished": finished, "seconds_out": max(seconds) if seconds else None, "at": time.time()}
        return outcomes


def _forgetful(looped: dict[str, t.Any]) -> list[str]:
    """Return the balancers that had forgotten that the host was out, as after a reload."""
    return [str((result.get("item") or {}).get("delegate")) for result in looped.get("results") or [] if result.get("drain_lost")]


def _times(looped: dict[str, t.Any]) -> dict[str, float]:
    """Return when each balancer changed the member's state: drained members by the first, enabled ones by the last."""
    found: dict[str, float] = {}
    for result in looped.get("results") or []:
        item = result.get("item") or {}
        for member in result.get("members") or []:
            if member.get("at") and member.get("changed"):
                found[f"{item.get('delegate')}|{member.get('backend')}|{member.get('name')}"] = float(member["at"])
    return found
