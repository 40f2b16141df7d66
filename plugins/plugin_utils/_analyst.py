# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.
"""Watches the canary at the gate of a rollout until there is a verdict. What it has counted is in the ledger, so another process can go on with it."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _queries
from ansible_collections.seamless.rollout.plugins.plugin_utils._conductor import Conductor
from ansible_collections.seamless.rollout.plugins.plugin_utils._counters import Counted
from ansible_collections.seamless.rollout.plugins.plugin_utils._verdict import Analysis, Look, Verdict, judge

JUDGE = "the canary's verdict"


def canary_before(facts: t.Mapping[str, t.Any], host: str) -> list[str]:
    """Return the canaries that go before *host*: none where it is one itself."""
    canary, order = facts.get("canary") or [], facts["order"]
    return [] if host in canary else [name for name in order[:order.index(host)] if name in canary]


def _tier(facts: t.Mapping[str, t.Any], host: str) -> str:
    return str((facts["hosts"].get(host) or {}).get("tier") or "")


def _only(look: Look, hosts: t.Collection[str]) -> Look:
    return look._replace(counts={name: count for name, count in look.counts.items() if name.partition("|")[0] in hosts})


class Analyst:
    """One process that judges the canary by *analysis*, the fields of an Analysis; None for no judgement.

    *count* reads every counter, from what it was the last time on; it raises SeamlessError where that can't be done.
    """

    def __init__(self, conductor: Conductor, count: t.Callable[[Counted], Counted], analysis: t.Mapping[str, t.Any] | None) -> None:
        self.conductor, self.ledger, self.id = conductor, conductor.ledger, conductor.id
        self.count = count
        self.analysis = Analysis(**analysis) if analysis else None
        self._why = ""
        self._next = 0.0
        self._canary: list[str] = []

    def hold(self, host: str) -> str:
        """Return why *host* must wait for the verdict on the canary, "" when it need not. With the verdict, the rollout goes on, is paused or ends."""
        analysis, facts = self.analysis, self.conductor.facts
        tier = _tier(facts, host)
        canary = [name for name in canary_before(facts, host) if _tier(facts, name) == tier] if analysis else []
        if analysis is None or not canary:
            return ""
        now = time.time()
        if now < self._next and canary == self._canary:
            return self._why
        events = self._events()
        mine = [event for event in events if list(event["detail"].get("canary") or canary) == canary]
        if any(event["event"] == "canary_verdict" for event in mine):
            return ""
        # The others compare with the canary only while they have the release before.
        old = [name for name, row in self.ledger.hosts(self.id).items() if row["state"] == "pending" and _tier(facts, name) == tier]
        compared = {*canary, *old}
        looks = [Look.of(event["detail"]) for event in mine if event["event"] == "canary_look"]
        past = next((Look.of(event["detail"]) for event in events if event["event"] == "canary_past"), Look(now, {}))
        if not looks or now - looks[-1].at >= analysis.interval:
            before = next((look for look in reversed(looks) if not look.problem), past)
            look = self._look(analysis, now, Counted(before.counts, before.places))
            self.ledger.event(self.id, "canary_look", canary=canary, **look.detail())
            looks.append(look)
        looks = [_only(look, compared) for look in looks]
        verdict = judge(analysis, canary, _only(past, compared).counts, looks, slow=any(count.slow for look in looks for count in look.counts.values()))
        self._why = f"the canary ({', '.join(canary)}) is being judged: {verdict.why}"
        if not verdict.verdict:
            self._next, self._canary = looks[-1].at + analysis.interval, canary
            return self._why
        return self._conclude(analysis, verdict, canary)

    def _events(self) -> list[dict[str, t.Any]]:
        """Return what was seen of the canary since this run of the rollout began, and before it."""
        begun = self.ledger.begun(self.id)
        return [event for event in self.ledger.events(self.id) if event["event"] == "canary_past" or event["at"] >= begun]

    def _look(self, analysis: Analysis, now: float, before: Counted) -> Look:
        try:
            found = self.count(before)
            return Look(now, dict(found.counts), broken=tuple(_queries.gates(analysis.gates)), places=found.places)
        except SeamlessError as exc:
            return Look(now, {}, str(exc))

    def _conclude(self, analysis: Analysis, verdict: Verdict, canary: t.Sequence[str]) -> str:
        policy = {"fail": analysis.on_fail, "inconclusive": analysis.on_inconclusive, "error": analysis.on_error}
        action = policy.get(verdict.verdict, "continue")
        self.ledger.event(self.id, "canary_verdict", verdict=verdict.verdict, why=verdict.why, canary=list(canary), action=action, numbers=verdict.numbers)
        said = f"the verdict on the canary ({', '.join(canary)}) is {verdict.verdict}: {verdict.why}"
        if action == "rollback":
            self.conductor.halt(said, undo=True, on_failure="rollback")
            return said
        if action == "pause":
            self.ledger.order(self.id, "pause", JUDGE, said, time.time())
            return said
        return ""
