# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.
"""Lets a host or a batch start when nothing speaks against it, and has it wait while something does."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _blockers, _windows
from ansible_collections.seamless.rollout.plugins.plugin_utils import _orders as orders
from ansible_collections.seamless.rollout.plugins.plugin_utils import _tally as tally
from ansible_collections.seamless.rollout.plugins.plugin_utils import _window as window
from ansible_collections.seamless.rollout.plugins.plugin_utils._analyst import Analyst, canary_before
from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count
from ansible_collections.seamless.rollout.plugins.plugin_utils._conductor import Conductor
from ansible_collections.seamless.rollout.plugins.plugin_utils._counters import Counted
from ansible_collections.seamless.rollout.plugins.plugin_utils._preflight import RESTORE, SPLITTING

# How often whoever waits looks again, the balancers are read, blockers are asked, and one host is asked for orders of another controller.
LOOK, READ, ASK, LISTEN, LISTEN_PAUSED = 0.2, 1.0, 15.0, 30.0, 3.0
# Hosts that Ansible lost are seen by a fresh task only: who is next in line starts one when another's slot is this old, then twice that, and so on.
PATIENCE = 10.0
# And nobody takes a slot beside others under way on what a task knows that is older than this.
FRESH = 2.0
STALE = "a host under way may have been lost since"


Rows = t.Dict[str, t.Dict[str, t.Any]]


class Reach(t.Protocol):
    """What the gatekeeper asks of hosts and balancers."""

    def unavailable(self) -> set[str]:
        """Return the hosts that some balancer sends nothing to now. Raises SeamlessError when a balancer gives no answer."""

    @property
    def split_by(self) -> str:
        """Return whose traffic split the last answers told of, an empty string for none."""

    def totals(self) -> dict[str, Count]:
        """Return what the last answers said was counted of every host, of those balancers that count."""

    def counters(self, before: Counted) -> Counted:
        """Return what was counted of every host so far, *before* being what it was the last time. Raises SeamlessError when the source gives no answer."""

    def keep_locks(self, hosts: t.Sequence[str]) -> list[dict[str, t.Any]]:
        """Renew the locks of *hosts* and return those that are ours, with the orders that others left in them."""


class Go(t.NamedTuple):
    """Whether to start, or to ask *again* with a fresh view of the hosts that are left, after so many *tries* in which nobody came back."""

    proceed: bool
    again: bool = False
    tries: int = 0


class OrphanedError(Exception):
    """ansible-playbook is gone, and this worker of it must decide nothing any more: a new run of the same rollout may be at work."""


class Gatekeeper:
    """One process that waits at the gate of a rollout."""

    def __init__(
        self, conductor: Conductor, reach: Reach, say: t.Callable[[str], None], *, asked: t.Mapping[str, t.Any] | None = None,
        sleep: t.Callable[[float], None] = time.sleep, clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        """*asked* are the facts with what is secret of blockers and of the canary's analysis, the conductor's own where nothing is."""
        self.conductor = conductor
        self.ledger, self.id, self.facts = conductor.ledger, conductor.id, conductor.facts
        self.reach, self.say, self.sleep, self.clock = reach, say, sleep, clock
        self._begun = self.ledger.begun(self.id)
        self._parent = os.getppid()
        # What Ansible knew of lost hosts when this task began says nothing of a host that started later.
        self._started = time.time()
        self._said = ""
        self._read_at: float | None = None
        self._unavailable: set[str] = set()
        self._counted_at: float | None = None
        self._asked_at: float | None = None
        self._blockers = ""
        self._asked = conductor.facts if asked is None else asked
        self._analyst = Analyst(conductor, reach.counters, self._asked.get("analysis"))

    def open_batch(self, hosts: t.Sequence[str], *, undo: bool) -> list[str]:
        """Wait until the batch may start and record it; return its hosts that start, which are none when the rollout is halted.

        Those for which there is no room beside the others are not among them: ask for them again when the others are back.
        """
        plan = window.Window.of(self.facts)
        if undo:
            return self.conductor.open_batch(hosts, undo=True, out=self._out_of_zones() if plan.has_zone_floors else frozenset())
        blocked_since: float | None = None
        while not self.conductor.halted:
            self._insist_on_a_parent()
            why = self._held_back(hosts[0])
            if not why:
                rows = self.ledger.hosts(self.id)
                going, why = window.with_room(plan, hosts, self._out_now(rows))
                if going:
                    return self.conductor.open_batch(going, undo=False)
                blocked_since = self._blocked(blocked_since, {name: row["state"] for name, row in rows.items()}, why)
            else:
                blocked_since = None
            self._wait(why)
        return []

    def _out_of_zones(self) -> frozenset[str]:
        """Return the hosts that serve nobody. What an undo takes back matters more than a balancer that gives no answer."""
        try:
            return frozenset(self.reach.unavailable())
        except SeamlessError:
            return frozenset()

    def take_slot(self, host: str, alive: t.Container[str], tries: int = 0) -> Go:
        """Wait until *host* may start and record that it does; *alive* are the hosts that Ansible has not lost."""
        plan = window.Window.of(self.facts)
        blocked_since: float | None = None
        while not self.conductor.halted:
            self._insist_on_a_parent()
            rows = self.ledger.hosts(self.id)
            if self._record_lost(rows, alive):
                continue
            states = {name: row["state"] for name, row in rows.items()}
            why = window.why_not_now(plan, host, states, set()) or self._held_back(host)
            if not why:
                why = self._try_slot(plan, host, rows)
                if not why:
                    return Go(True)
                if why == STALE:
                    return Go(False, again=True, tries=tries)
                blocked_since = self._blocked(blocked_since, states, why)
            else:
                blocked_since = None
            is_next = next((name for name in plan.order if states.get(name) == window.PENDING), None) == host
            # The others look too, if later: who is next may never come back, where its play is over.
            if self._overdue(rows, tries if is_next else tries + 1):
                return Go(False, again=True, tries=tries + 1)
            self._wait(why, told=is_next)
        return Go(False)

    def hear(self) -> None:
        """Hear at once what another controller ordered, when no host is left that would wait at the gate and hear it there."""
        if not any(row["state"] == window.PENDING for row in self.ledger.hosts(self.id).values()):
            self._listen(0)

    def count(self) -> None:
        """Have the requests counted that came since anybody looked, when nobody would look any more. What nobody tells is no harm."""
        if self.ledger.is_counted(self.id):
            with contextlib.suppress(SeamlessError):
                self.reach.unavailable()
                tally.tally(self.ledger, self.id, self.reach.totals, 0.0)

    def _insist_on_a_parent(self) -> None:
        """Raise OrphanedError when the process that forked this one has died: workers outlive it."""
        if os.getppid() != self._parent:
            raise OrphanedError("ansible-playbook is gone")

    def _try_slot(self, plan: window.Window, host: str, known: Rows) -> str:
        unavailable = self._out_now(known)

        def judge(rows: Rows) -> str:
            self._insist_on_a_parent()
            return window.why_not_now(plan, host, {name: row["state"] for name, row in rows.items()}, unavailable) or (STALE if self._is_stale(rows) else "")

        return self.ledger.take_slot(self.id, host, judge, drained=bool(self.facts["hosts"][host]["balancers"]))

    def _record_lost(self, rows: Rows, alive: t.Container[str]) -> bool:
        """Record those in flight that Ansible has lost, which may halt the rollout. Returns whether there were any."""
        lost = [
            name for name, row in rows.items() if row["state"] == window.IN_FLIGHT and name not in alive and row["updated_at"] < self._started
        ]
        for name in lost:
            self.conductor.lost(name)
        return bool(lost)

    def _is_stale(self, rows: Rows) -> bool:
        """Say whether a host under way may have been lost since this task began, of which it would know nothing."""
        return time.time() - self._started > FRESH and any(row["state"] == window.IN_FLIGHT for row in rows.values())

    def _overdue(self, rows: Rows, tries: int) -> bool:
        oldest = min((row["updated_at"] for row in rows.values() if row["state"] == window.IN_FLIGHT), default=None)
        return oldest is not None and time.time() - max(oldest, self._started) > PATIENCE * 2**tries

    def _blocked(self, since: float | None, states: window.States, why: str) -> float | None:
        """Halt when nothing is in flight and capacity doesn't come back: nobody but an operator could help then."""
        if window.IN_FLIGHT in states.values():
            return None
        since = self.clock() if since is None else since
        deadline = float(self.facts.get("progress_deadline", 600))
        if self.clock() - since > deadline:
            self.conductor.halt(f"no host could start for {deadline:g} s (rollout_progress_deadline): {why}", undo=False)
        return since

    def _read(self) -> None:
        if self._read_at is None or self.clock() - self._read_at >= READ:
            self._unavailable = self.reach.unavailable()
            self._read_at = self.clock()
            every = tally.pause(len(self.facts["hosts"]))
            if self._counted_at is None or self.clock() - self._counted_at >= every:
                self._counted_at = self.clock()
                tally.tally(self.ledger, self.id, self.reach.totals, every)

    def _out_now(self, rows: Rows) -> set[str]:
        self._read()
        recorded = {name for name, row in rows.items() if row["drained"] or row["state"] == "unreachable"}
        return self._unavailable | recorded

    def _held_back(self, host: str) -> str:
        """Return what keeps a host that has its turn from starting; carry out an order to end the rollout."""
        self._listen(LISTEN)
        standing = orders.standing(self.ledger.orders(self.id), self._begun)
        if standing.ended:
            self.conductor.halt(orders.worded(standing.ended), undo=standing.ended["verb"] == "abort")
            return "the rollout ends"
        if standing.paused:
            return f"{orders.worded(standing.paused)}; the rollout keeps its lock and waits for resume or abort"
        judged = "" if standing.promoted else self._analyst.hold(host)
        if judged:
            return judged
        if not standing.promoted and self._needs_approval(host):
            return "the canary is done; waits for promote (or abort)"
        return self._forbidden() or self._split()

    def _split(self) -> str:
        """Return what holds back a rollout whose hosts became part of a traffic split, as they may while it waits for an approval."""
        if self.facts["mode"] not in SPLITTING:
            self._read()
            if self.reach.split_by:
                return f"a traffic split of {self.reach.split_by} is in force: waits until the weights are given back ({RESTORE})"
        return ""

    def _needs_approval(self, host: str) -> bool:
        return not self.facts.get("auto_promote", True) and bool(canary_before(self.facts, host))

    def _forbidden(self) -> str:
        """Return which change window or blocker forbids to start another host now."""
        if self.facts.get("override"):
            return ""
        if self.facts.get("windows"):
            verdict = _windows.judge(self.facts["windows"], datetime.datetime.now(datetime.timezone.utc))
            if not verdict.open:
                return verdict.why
        if self._asked.get("blockers"):
            # Only who is next in line asks, and goes on asking while it is held back: so its own last answer is the last there is.
            asked = self._asked_at
            if self.ledger.due(self.id, "blockers", ASK) if asked is None else self.clock() - asked >= ASK:
                self._asked_at = self.clock()
                self._blockers = "; ".join(_blockers.check(self._asked["blockers"]))
                if self._blockers:
                    # Should this task end before the answer changes, the next one has to ask for itself.
                    self.ledger.forget_beat(self.id, "blockers")
        return self._blockers

    def _listen(self, every: float) -> None:
        """Show the hosts that we live, and hear what another controller ordered: it writes into the locks."""
        hosts = self.facts["finish_hosts"]
        if not hosts or self.facts["dry"]:
            return
        ttl = float(self.facts.get("lock_ttl", 3600))
        if self.ledger.due(self.id, "locks", ttl / 4):
            locks = self.reach.keep_locks(hosts)
        elif self.ledger.due(self.id, "listen", min(every, ttl / 4)):
            # An order is left on all hosts; one that is lost can't tell of it.
            locks = next(filter(None, (self.reach.keep_locks([host]) for host in hosts[:3])), [])
        else:
            return
        for order in (order for lock in locks for order in lock.get("orders") or []):
            self.ledger.order(self.id, order["verb"], order["by"], order["reason"], order["at"])

    def _wait(self, why: str, *, told: bool = True) -> None:
        self.sleep(LOOK)
        if told:
            if why != self._said:
                self.say(why)
            self._said = why
            self._listen(LISTEN_PAUSED)
