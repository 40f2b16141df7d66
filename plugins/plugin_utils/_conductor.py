# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Record, then gate: what the controller writes down and decides between batches.

Ansible's own stop keywords don't stop a roll reliably once a block has a rescue, and don't count unreachable hosts. So the
planned batch is recorded before anything risky, its outcome afterwards, and the decision is made here from the record.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils import _once as once
from ansible_collections.seamless.rollout.plugins.plugin_utils import _orders as orders
from ansible_collections.seamless.rollout.plugins.plugin_utils import _report as report
from ansible_collections.seamless.rollout.plugins.plugin_utils import _undo as undoing
from ansible_collections.seamless.rollout.plugins.plugin_utils._host_steps import steps_of
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import BAD_STATES, Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import is_unreachable
from ansible_collections.seamless.rollout.plugins.plugin_utils._report_files import write_reports
from ansible_collections.seamless.rollout.plugins.plugin_utils._window import Window

Facts = t.Dict[str, t.Any]

NO_ROOM = "no_room"
HIDDEN = "what it said is hidden (no_log)"


class Conductor:
    """Moves one rollout along, from its facts and its ledger."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.ledger = Ledger(facts["state_dir"])
        self.id = facts["id"]

    def staged(self, outcomes: t.Mapping[str, t.Mapping[str, t.Any]]) -> Facts:
        """Judge the staging: nothing has been touched yet, so one host that can't have the release stops everything."""
        digests: dict[str, list[str]] = {}
        for host, outcome in outcomes.items():
            if outcome.get("failed") or not outcome.get("digest"):
                self._fail(host, f"staging: {outcome.get('msg', 'the host gave no answer')}", outcome, drained=False)
            else:
                digests.setdefault(str(outcome["digest"]), []).append(host)
        if len(digests) > 1:
            for host in (name for names in digests.values() for name in names):
                self._fail(host, "staging: the hosts hold different bytes under one release", {}, drained=False)
        failed = self._failed(outcomes)
        if failed:
            reasons = "; ".join(f"{host}: {row['detail']}" for host, row in self.ledger.hosts(self.id).items() if host in failed)
            self.halt(f"no host was touched, the release could not be staged everywhere. {reasons}", undo=False)
        return {**self.told(), "failed": failed}

    def open_once(self, point: str, host: str) -> list[str]:
        """Return which once-per-rollout actions *host* has to do now, and record that it begins.

        A host that failed and is tolerated changes nothing: the others get the release, and what it needs has to be there.
        """
        if self.halted:
            return []
        actions = once.remaining(self.ledger, self.id, point, self.facts["once"][point])
        if actions:
            self.ledger.event(self.id, "once_begun", host, point=point, actions=actions)
        return actions

    def did_once(self, point: str, host: str, action: str, unseen: t.Sequence[str] = ()) -> None:
        """Record that a once-per-rollout action is done, for this run only where *unseen* hosts have yet to follow."""
        self.ledger.event(self.id, "once_done", host, point=point, action=action, left_out=once.left_out(self.ledger, self.id, point, unseen))

    def close_once(self, point: str, host: str, why: str) -> Facts:
        """Halt when an action is not done, be it that it failed or that its host was lost. Hosts that were updated stay so."""
        left = once.remaining(self.ledger, self.id, point, self.facts["once"][point])
        if left and not self.halted:
            self.halt(f"rollout_once_{point}: {left[0]} is not done: {why or f'{host} was lost while it ran'}", undo=False)
        return self.told()

    @property
    def halted(self) -> str:
        """Why the rollout takes no further host, or an empty string. The ledger knows: several processes decide in the window pace."""
        rollout = self.ledger.rollout(self.id)
        return str((rollout or {}).get("halted") or "")

    def open_batch(self, hosts: t.Sequence[str], *, undo: bool, out: t.AbstractSet[str] = frozenset()) -> list[str]:
        """Record the batch before anything risky happens; return which of its hosts may start. *out* are hosts that serve nobody, for an undo."""
        if not undo and self.halted:
            return []
        hosts = self._with_room(hosts, out) if undo else list(hosts)
        for host in hosts:
            drained = int(bool(self.facts["hosts"][host]["balancers"]))
            self.ledger.update_host(self.id, host, state="rolling_back" if undo else "in_flight", detail="", drained=drained)
        return hosts

    def _with_room(self, hosts: t.Sequence[str], out: t.AbstractSet[str]) -> list[str]:
        """Return the hosts of an undo's batch that may leave rotation; the others follow one by one."""
        drained = {host for host, row in self.ledger.hosts(self.id).items() if row["drained"]}
        going, why = undoing.startable(Window.of(self.facts), hosts, drained, out)
        for host in hosts:
            if host not in going and not self._may_try_again(host):
                self.ledger.update_host(self.id, host, state="rollback_failed", detail=f"Record the batch: {why.replace('waits for', 'no', 1)}")
        return going

    def _may_try_again(self, host: str) -> bool:
        """Say whether a host that an undo found no room for gets one more try, when the others are back; from then on it does not."""
        begun = self.ledger.begun(self.id)
        again = any(event["event"] == NO_ROOM and event["host"] == host and event["at"] >= begun for event in self.ledger.events(self.id))
        if not again:
            self.ledger.event(self.id, NO_ROOM, host)
        return not again

    def not_begun(self, hosts: t.Sequence[str], why: str) -> Facts:
        """Record that *hosts* failed before anything happened to them, and decide. Returns the facts for what follows."""
        for host in hosts:
            self.ledger.update_host(self.id, host, state="failed", detail=f"Record the batch: {why}")
            self.ledger.event(self.id, "unchanged", host)
        self._decide()
        return self.told()

    def failed(self, host: str, step: str, outcome: t.Mapping[str, t.Any], *, undo: bool) -> None:
        """Record why *host* failed, at the moment it does."""
        if undo and self._had_no_room(host, outcome):
            return
        message = HIDDEN if outcome.get("_ansible_no_log") else str(outcome.get("msg") or outcome.get("stderr") or "no message")
        results = outcome.get("results")
        if message != HIDDEN and isinstance(results, list) and message.startswith("One or more items failed"):
            messages = [str(item.get("msg")) for item in results if isinstance(item, dict) and item.get("failed")]
            message = "; ".join(messages) or message
        self._fail_in_the_roll(host, f"{step}: {message}", outcome, undo=undo)

    def _had_no_room(self, host: str, outcome: t.Mapping[str, t.Any]) -> bool:
        """Say whether *host* only has to wait: the floor let no balancer drain it, which it may when the others are back. It gets one more try."""
        results = [item for item in outcome.get("results") or [] if isinstance(item, dict)]
        refused = [item for item in results if item.get("failed")]
        if not refused or not all(item.get("floor") for item in refused):
            return False
        again = self._may_try_again(host)
        self.ledger.update_host(self.id, host, drained=int(len(refused) < len(results)), **({"state": "done"} if again else {}))
        return again

    def _fail(self, host: str, detail: str, outcome: t.Mapping[str, t.Any], *, drained: bool, undo: bool = False) -> None:
        state = "unreachable" if is_unreachable(outcome) else "failed"
        if undo:
            state = "rollback_failed"
        self.ledger.update_host(self.id, host, state=state, detail=detail, **({} if drained else {"drained": 0}))

    def _fail_in_the_roll(self, host: str, detail: str, outcome: t.Mapping[str, t.Any], *, undo: bool) -> None:
        self._fail(host, detail, outcome, drained=True, undo=undo)
        # A batch is judged when it closes; in a window the next host may be about to start.
        if self.facts.get("pace") == "window" and not undo:
            self._decide()

    def restored(self, host: str) -> None:
        """Record that a host which failed before its switch is back in rotation, unchanged."""
        self.ledger.update_host(self.id, host, drained=0)
        self.ledger.event(self.id, "unchanged", host)

    def lost(self, host: str, *, undo: bool = False) -> None:
        """Record that Ansible can't reach *host* any more, in the middle of its update."""
        self._fail_in_the_roll(host, "lost in the middle of its update", {"unreachable": True}, undo=undo)

    def close_batch(
        self, hosts: t.Sequence[str], outcomes: t.Mapping[str, t.Mapping[str, t.Any]], alive: t.Container[str], *, undo: bool
    ) -> Facts:
        """Record the outcome of every planned host, then decide: go on, or halt (and undo). Returns the facts for what follows."""
        self.close(hosts, outcomes, alive, undo=undo)
        if not undo:
            self._obey_abort()
        return self.told()

    def close(self, hosts: t.Sequence[str], outcomes: t.Mapping[str, t.Mapping[str, t.Any]], alive: t.Container[str], *, undo: bool) -> None:
        """As :meth:`close_batch`, for one process of many."""
        recorded = self.ledger.hosts(self.id)
        for host in hosts:
            if recorded[host]["state"] in BAD_STATES or (undo and recorded[host]["state"] != "rolling_back"):
                continue
            outcome = outcomes.get(host) or {}
            if host not in alive or not outcome.get("finished"):
                self.lost(host, undo=undo)
                continue
            self.ledger.update_host(
                self.id, host, state="rolled_back" if undo else "done", detail="", drained=0, seconds_out=outcome.get("seconds_out")
            )
        if not undo:
            self._decide()

    def record_steps(self, hosts: t.Sequence[str], results: t.Callable[[str], t.Mapping[str, t.Any]]) -> None:
        """Record when each of *hosts* went through which step, as the *results* of its tasks tell."""
        self.ledger.add_steps(
            self.id, hosts, lambda host, begun, failed: steps_of(results(host), self.facts["hosts"][host].get("steps") or [], begun, failed, time.time())
        )

    def settle(self) -> Facts:
        """End the window pace, in which several processes decided: whoever is still in flight now was lost. Returns the facts for what follows."""
        for host, row in self.ledger.hosts(self.id).items():
            if row["state"] == "in_flight":
                self.lost(host)
        self._decide()
        self._obey_abort()
        return self.told()

    def _obey_abort(self) -> None:
        """Follow an order to abort that came while the last hosts were under way, when nobody waits at the gate any more."""
        ended = self.ledger.standing(self.id).ended
        if ended and ended["verb"] == "abort" and not self.halted:
            self.halt(orders.worded(ended), undo=True)

    def told(self) -> Facts:
        """Return the facts for the plays that follow, with what the ledger says by now: who failed, whether it is halted, who goes back."""
        rollout = self.ledger.rollout(self.id) or {}
        self.facts["failed"] = self._failed()
        self.facts["halted"] = rollout.get("halted") or ""
        if self.facts["halted"]:
            self.facts.update(roll_hosts=[], window_hosts=[], preview_hosts=[], once_before_hosts=[], once_after_hosts=[])
        if rollout.get("state") == "rolling_back" and not self.facts["undo_hosts"]:
            self._plan_undo()
        rows = self.ledger.hosts(self.id)
        # The play "Undo" goes through all of its hosts first, so what is left of them by then had no room.
        self.facts["undo_rest_hosts"] = [
            host for host in self.facts["undo_hosts"] if rows[host]["state"] not in ("rolling_back", "rolled_back", "rollback_failed")
        ]
        return self.facts

    def _decide(self) -> None:
        """Halt when more hosts failed than may, or one that went first to show what the release does."""
        failed, budget = self._failed(), self.facts["max_fail"]
        canaries = [host for host in failed if host in self.facts.get("canary", ())]
        if self.halted or not canaries and len(failed) <= budget:
            return
        rows = self.ledger.hosts(self.id)
        few = len(failed) <= budget
        reasons = "; ".join(f"{host}: {rows[host]['detail']}" for host in (canaries if few else failed))
        self.halt(f"the canary failed: {reasons}" if few else f"{len(failed)} failed, {budget} may: {reasons}" if budget else reasons, undo=True)

    def _failed(self, among: t.Container[str] | None = None) -> list[str]:
        return [
            host for host, row in self.ledger.hosts(self.id).items() if row["state"] in BAD_STATES and (among is None or host in among)
        ]

    def halt(self, why: str, *, undo: bool, on_failure: str | None = None) -> None:
        """Take no further host. With *undo*, what was touched goes back where that is what the user wants on a failure, or *on_failure* says so."""
        state = {"pause": "paused", "rollback": "rolling_back"}.get(on_failure or self.facts["on_failure"], "running") if undo else "running"
        if state == "rolling_back":
            touched = [row["host"] for row in self._touched()]
            floored = [f"{host}: {reason}" for host in touched if (reason := self._no_way_back(host))]
            if floored:
                why += f". Not undone: {'; '.join(floored)}"
                if len(floored) == len(touched):
                    state = "running"
        self.ledger.set_state(self.id, state, halted=why)

    def _touched(self) -> list[dict[str, t.Any]]:
        """Return the hosts that this rollout has changed: in this run, or in an interrupted one that left them out of rotation or on its release.

        One that this run leaves out is none of them: no task can reach it.
        """
        begun = self._last_word()

        def left_over(row: dict[str, t.Any]) -> bool:
            there = self.facts["hosts"].get(row["host"], {}).get("from") == row["to_release"]
            return row["state"] in ("pending", "skipped") and row["host"] in begun and bool(row["drained"] or there)

        rows = [row for host, row in self.ledger.hosts(self.id).items() if host in self.facts["hosts"]]
        return [row for row in rows if row["state"] in ("done", "failed", "unreachable", "in_flight") or left_over(row)]

    def _last_word(self) -> dict[str, str]:
        """Return of each host with which this rollout has ever begun what was told last: that it is ``in_flight``, or back ``unchanged``."""
        return {event["host"]: event["event"] for event in self.ledger.events(self.id) if event["event"] in ("in_flight", "unchanged")}

    def _no_way_back(self, host: str) -> str:
        """Return why *host* must not go back to where it came from: the database has no place for that release any more."""
        return str(self.facts["hosts"][host].get("no_way_back") or "")

    def _plan_undo(self) -> None:
        """Still-drained hosts first (they give capacity back at once), then the most recently updated ones.

        A host that failed is one of them although nothing was drained for it, where no balancer knows it or an operator had taken it out.
        """
        touched = self._touched()
        unchanged = {host for host, word in self._last_word().items() if word == "unchanged"}
        back = [row for row in touched if row["from_release"] and row["from_release"] != row["to_release"] and not self._no_way_back(row["host"])]
        stuck = [row["host"] for row in touched if row not in back]
        drained = [row["host"] for row in back if row["drained"]]
        updated = sorted((row for row in back if not row["drained"]), key=lambda row: -row["updated_at"])
        self.facts["undo_hosts"] = drained + [row["host"] for row in updated if row["state"] not in BAD_STATES or row["host"] not in unchanged]
        out = {row["host"] for row in self.ledger.hosts(self.id).values() if row["drained"]}
        most = int(self.facts.get("undo_max_parallel") or self.facts["max_unavailable"])
        self.facts["undo_serial"] = [len(batch) for batch in undoing.batches(Window.of(self.facts), self.facts["undo_hosts"], out, most)] or [1]
        for row in back:
            self.facts["hosts"][row["host"]]["target"] = row["from_release"]
        for host in stuck:
            why = self._no_way_back(host) or undoing.NO_EARLIER_RELEASE
            self.ledger.event(self.id, "cannot_undo", host, reason=why)

    def finish(self, cleanup: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
        """Settle the final state, write the report and return it."""
        rows = self.ledger.hosts(self.id)
        for host, outcome in cleanup.items():
            if is_unreachable(outcome):
                if rows[host]["state"] in ("done", "skipped"):
                    self._fail(host, "it could not be reached at the end, so nobody knows whether it still runs", outcome, drained=False)
            elif outcome.get("failed"):
                self.ledger.event(self.id, "cleanup_failed", host, reason=str(outcome.get("msg")))
        rows = self.ledger.hosts(self.id)
        unfinished = [host for host, row in rows.items() if row["state"] in ("pending", "in_flight")]
        for host in unfinished:
            if rows[host]["state"] == "pending" and self.facts["mode"] != "preview":
                self.ledger.update_host(self.id, host, state="untouched")
        bad = [host for host, row in rows.items() if row["state"] in BAD_STATES]
        undone = [host for host, row in rows.items() if row["state"] == "rolled_back"]
        why = self.facts["halted"]
        if self.facts["mode"] == "preview" and not bad and not why or not why and not bad and not unfinished:
            state = "succeeded"
        elif any(rows[host]["state"] == "rollback_failed" for host in rows):
            state = "rollback_failed"
        elif why and undone and not bad:
            state = "rolled_back"
        elif why and self.facts["on_failure"] == "pause":
            state = "paused"
        elif not bad and self.ledger.standing(self.id).ended:
            state = "aborted"
        else:
            state = "failed"
            reasons = [f"{host}: {rows[host]['detail'] or rows[host]['state']}" for host in bad]
            why = why or "; ".join([*reasons, *([f"not updated: {', '.join(unfinished)}"] if unfinished else [])])
        self.ledger.set_state(self.id, state, halted=why or None)
        rollout = self.ledger.rollout(self.id)
        if rollout is None:
            raise KeyError(self.id)
        hosts, events = self.ledger.hosts(self.id), self.ledger.events(self.id)
        data = report.result_data(rollout, hosts, events)
        data["report"], data["report_problems"] = write_reports(self.facts["state_dir"], rollout, hosts, events)
        return data

    def bake(self, host: str, seconds: float, sleep: t.Callable[[float], None] = time.sleep) -> None:
        """Leave *host* in rotation for *seconds* before the batch ends."""
        self.ledger.event(self.id, "baking", host, seconds=seconds)
        sleep(seconds)
