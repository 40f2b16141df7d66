# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The story of a rollout as its ledger tells it: who went through which step, what was planned, who decided what, what was asked of which release. Pure."""

from __future__ import annotations

import dataclasses
import json
import math
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count
from ansible_collections.seamless.rollout.plugins.plugin_utils._host_steps import Step
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import BAD_STATES, BEGUN
from ansible_collections.seamless.rollout.plugins.plugin_utils._orders import VERBS

Row = t.Mapping[str, t.Any]

OLD, NEW = "old", "new"
_DECIDED = {"running": "takes no further host", "paused": "pauses the rollout", "rolling_back": "takes back what was updated"}
# What BEGUN and BAD_STATES name are events and states alike.
_ENDS = ("succeeded", "failed", "aborted", "rolled_back", "rollback_failed")


class Serving(t.NamedTuple):
    """From when until when a host served which release, in seconds since 1970."""

    start: float
    end: float
    release: str


class Span(t.NamedTuple):
    """What was counted in the *seconds* before *at*, of the old release and of the new one."""

    at: float
    seconds: float
    old: Count
    new: Count


@dataclasses.dataclass
class Pass:
    """One way of a host through its steps: the rollout, or its undo."""

    at: float
    undo: bool
    ended: float | None = None
    steps: list[Step] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Host:
    """What became of one host. *group* is the number of its batch (of its stage in the window pace), 0 for one that had no turn."""

    name: str
    row: Row
    group: int
    canary: bool
    passes: list[Pass] = dataclasses.field(default_factory=list)
    failure: str = ""

    @property
    def steps(self) -> list[tuple[Step, bool]]:
        """Its steps, oldest first, each with whether it was of an undo."""
        return [(step, one.undo) for one in self.passes for step in one.steps]

    @property
    def began(self) -> float | None:
        return self.passes[0].at if self.passes else None

    @property
    def ended(self) -> float | None:
        return next((one.ended for one in reversed(self.passes) if one.ended is not None), None)

    @property
    def went_wrong(self) -> bool:
        """Whether it failed, also where it was taken back since. A failure of an earlier run that was made good is none."""
        state = self.row["state"]
        return state in (*BAD_STATES, *BEGUN) or state == "rolled_back" and bool(self.failure)

    def serving(self, balanced: bool) -> list[Serving]:
        """Return which release the host served when, with gaps while it was out of rotation. Who is *balanced* stays out until it was enabled."""
        release = NEW if self.row["state"] == "skipped" or self.row["state"] == "done" and not self.passes else OLD
        found, since = [], -math.inf
        for one in self.passes:
            out, back, moved = _way(one, balanced)
            if out is None:
                continue
            found.append(Serving(since, out, release))
            if moved:
                release = OLD if one.undo else NEW
            since = back
        return [*found, Serving(since, math.inf, release)]


def _way(one: Pass, balanced: bool) -> tuple[float | None, float, bool]:
    """Return when a pass took the host out of rotation, when it brought it back, and whether it has another release since."""
    if not one.steps:
        # Nothing is known but that it came to its end.
        return one.ended, one.ended or math.inf, one.ended is not None
    drains = [step for step in one.steps if step.step == "drain"]
    enables = [step for step in one.steps if step.step == "enable" and step.ok]
    moves = [step for step in one.steps if step.step in ("switch", "restart", "health")] or [step for step in one.steps if step.step == "hook"]
    out = drains[0].ended_at if drains else (moves or one.steps)[0].started_at
    back = enables[-1].started_at if enables else math.inf if balanced else one.steps[-1].ended_at
    return out, max(out, back), bool(moves) and moves[0].ok


@dataclasses.dataclass
class Story:
    """All that the report tells. Times are seconds since 1970, by the controller's clock."""

    rollout: Row
    plan: Row
    hosts: dict[str, Host]
    events: t.Sequence[Row]
    groups: list[list[str]]
    finished: float
    spans: list[Span] = dataclasses.field(default_factory=list)

    @property
    def started(self) -> float:
        return float(self.rollout["started_at"])

    @property
    def window(self) -> bool:
        return self.plan.get("pace") == "window"

    @property
    def drivers(self) -> list[str]:
        """The drivers of the balancers that the hosts are behind."""
        calls = [call for entry in (self.plan.get("hosts") or {}).values() for call in entry.get("balancers") or []]
        return sorted({str(call.get("driver")) for call in calls})

    def states(self, names: t.Iterable[str] | None = None) -> dict[str, int]:
        """Return how many hosts (of *names*) ended in which state."""
        found: dict[str, int] = {}
        for name in self.hosts if names is None else names:
            state = str(self.hosts[name].row["state"])
            found[state] = found.get(state, 0) + 1
        return found

    def absences(self) -> list[tuple[float, int]]:
        """Return when a host went out of rotation (1), or began where it is behind no balancer, and when one was back (-1), oldest first."""
        return sorted(change for host in self.hosts.values() for one in host.passes for change in _absence(one, self.finished))

    def most_out(self) -> int:
        """Return how many hosts were out of rotation, or at work, at the same moment."""
        now = most = 0
        for dummy, step in self.absences():
            now += step
            most = max(most, now)
        return most

    def order_kept(self) -> bool:
        """Say whether the hosts that had a turn had it in the planned order."""
        planned = [name for name in self.plan.get("order") or [] if name in self.hosts and self.hosts[name].began is not None]
        turns = [self.hosts[name].began or 0.0 for name in planned]
        return turns == sorted(turns)


def _absence(one: Pass, end: float) -> list[tuple[float, int]]:
    if not one.steps:
        return []
    drains = [step for step in one.steps if step.step == "drain"]
    enables = [step for step in one.steps if step.step == "enable" and step.ok]
    until = enables[-1].started_at if enables else end if drains else one.steps[-1].ended_at
    start = (drains or one.steps)[0].started_at
    return [(start, 1), (until, -1)] if until > start else []


def tell(rollout: Row, hosts: t.Mapping[str, Row], events: t.Sequence[Row]) -> Story:
    """Return the story of a rollout, from what its ledger holds."""
    plan = json.loads(rollout["plan"] or "{}")
    groups = [list(names) for names in plan.get("stages" if plan.get("pace") == "window" else "batches") or []]
    group_of = {name: number for number, names in enumerate(groups, 1) for name in names}
    canary = plan.get("canary") or []
    told = {name: Host(name, row, group_of.get(name, 0), name in canary) for name, row in hosts.items()}
    for event in events:
        host = told.get(event["host"] or "")
        if host is None:
            continue
        if event["event"] in BEGUN:
            host.passes.append(Pass(event["at"], undo=event["event"] == "rolling_back"))
        elif event["event"] == "steps" and host.passes:
            host.passes[-1].steps = list(_steps(event["detail"]))
        elif event["event"] in ("done", "rolled_back") and host.passes:
            host.passes[-1].ended = event["at"]
        elif event["event"] in BAD_STATES:
            host.failure = str(event["detail"].get("detail") or "")
    story = Story(rollout, plan, told, events, groups, float(rollout["finished_at"] or time.time()))
    story.spans = _spans(story)
    return story


def _steps(detail: Row) -> t.Iterator[Step]:
    for item in detail.get("steps") or []:
        yield Step(str(item["step"]), float(item["started_at"]), float(item["seconds"]), bool(item["ok"]))


def _spans(story: Story) -> list[Span]:
    entries = story.plan.get("hosts") or {}
    serving = {name: host.serving(bool((entries.get(name) or {}).get("balancers"))) for name, host in story.hosts.items()}
    spans = []
    for event in story.events:
        if event["event"] == "counted":
            end, seconds = float(event["at"]), float(event["detail"]["seconds"])
            sums = {OLD: [0, 0], NEW: [0, 0]}
            for name, count in event["detail"]["hosts"].items():
                if name in serving:
                    _share(sums, serving[name], end - seconds, end, count)
            spans.append(Span(end, seconds, Count(*sums[OLD]), Count(*sums[NEW])))
    return spans


def _share(sums: dict[str, list[int]], serving: t.Sequence[Serving], start: float, end: float, count: Row) -> None:
    """Add what a host was asked to the releases that it served meanwhile, to each as much as its time in rotation."""
    parts = {OLD: 0.0, NEW: 0.0}
    for one in serving:
        parts[one.release] += max(0.0, min(end, one.end) - max(start, one.start))
    total = parts[OLD] + parts[NEW]
    share = parts[NEW] / total if total else float(serving[-1].release == NEW)
    for number, key in enumerate(("requests", "errors")):
        new = round(count[key] * share)
        sums[NEW][number] += new
        sums[OLD][number] += count[key] - new


def merged(spans: t.Sequence[Span], most: int) -> list[Span]:
    """Return *spans* with neighbours put together, so that there are no more than *most*."""
    size = math.ceil(len(spans) / most) if spans else 1
    found = []
    for start in range(0, len(spans), size):
        part = spans[start:start + size]
        old = new = Count()
        for span in part:
            old, new = old.plus(span.old), new.plus(span.new)
        found.append(Span(part[-1].at, sum(span.seconds for span in part), old, new))
    return found


class Deed(t.NamedTuple):
    """Who did what, when and why."""

    at: float
    who: str
    what: str
    why: str


def deeds(story: Story) -> list[Deed]:
    """Return who started, ordered and decided what, oldest first."""
    rollout = story.rollout
    found = [Deed(story.started, str(rollout["owner"]), "started it", str(rollout["reason"] or ""))]
    for event in story.events:
        name, detail = event["event"], event["detail"]
        if event["host"]:
            continue
        if name in VERBS:
            found.append(Deed(event["at"], str(detail.get("by")), f"ordered {name}", str(detail.get("reason") or "")))
        elif name == "override":
            passed = "; ".join(detail.get("passed") or []) or "what might forbid it"
            found.append(Deed(event["at"], str(rollout["owner"]), f"passed {passed}", str(detail.get("reason"))))
        elif name == "canary_verdict":
            found.append(Deed(event["at"], f"the verdict on {', '.join(detail['canary'])}", f"{detail['verdict']}: {detail.get('action')}", str(detail["why"])))
        elif name in _ENDS:
            found.append(Deed(event["at"], "the rollout", f"ended as {name.replace('_', ' ')}", str(detail.get("halted") or "")))
        elif name in _DECIDED and detail.get("halted"):
            found.append(Deed(event["at"], "the rollout", _DECIDED[name], str(detail["halted"])))
    return found


class Once(t.NamedTuple):
    """An action that was to happen once: *point* is before or after the hosts."""

    point: str
    host: str
    action: str
    at: float
    done: bool


def once(story: Story) -> list[Once]:
    """Return the actions that were to happen once for the rollout, in the order in which they began."""
    found: dict[tuple[str, str], Once] = {}
    for event in story.events:
        detail = event["detail"]
        if event["event"] == "once_begun":
            for action in detail["actions"]:
                found[detail["point"], action] = Once(detail["point"], event["host"], action, event["at"], False)
        elif event["event"] == "once_done":
            found[detail["point"], detail["action"]] = Once(detail["point"], event["host"], detail["action"], event["at"], True)
    return list(found.values())
