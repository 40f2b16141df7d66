# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The whole report as data: what docs/report.schema.json describes. Pure."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import SequentialTest, since
from ansible_collections.seamless.rollout.plugins.plugin_utils._report import result_data
from ansible_collections.seamless.rollout.plugins.plugin_utils._story import Host, Story, deeds, merged, once
from ansible_collections.seamless.rollout.plugins.plugin_utils._verdict import Analysis, Look, by_host

SCHEMA = 1
_PLAN = ("pace", "batches", "stages", "order", "canary", "estimate", "max_unavailable", "max_parallel", "max_fail", "on_failure", "notes", "override", "closed")
_MOST_SPANS, _MOST_LOOKS = 2000, 500


def report_data(story: Story) -> dict[str, t.Any]:
    """Return the report of a rollout."""
    data = result_data(story.rollout, {name: host.row for name, host in story.hosts.items()}, story.events)
    for name, entry in data["hosts"].items():
        entry.update(_host(story.hosts[name]))
    return {
        "schema": SCHEMA,
        **data,
        "plan": {key: story.plan.get(key) for key in _PLAN},
        "actual": _actual(story),
        "deeds": [{**deed._asdict(), "at": stamp(deed.at)} for deed in deeds(story)],
        "once": [{**item._asdict(), "at": stamp(item.at)} for item in once(story)],
        "traffic": _traffic(story),
        "canary_course": course(story),
    }


def stamp(seconds: float) -> str:
    """Return a time (seconds since 1970) in UTC, to the millisecond."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds * 1000) % 1000:03}Z"


def _host(host: Host) -> dict[str, t.Any]:
    return {
        "group": host.group or None,
        "canary": host.canary,
        "failure": host.failure,
        "started_at": None if host.began is None else stamp(host.began),
        "finished_at": None if host.ended is None else stamp(host.ended),
        "steps": [{**step.data(), "started_at": stamp(step.started_at), "undo": undo} for step, undo in host.steps],
    }


def _actual(story: Story) -> dict[str, t.Any]:
    return {
        "states": story.states(),
        "most_out": story.most_out(),
        "order_kept": story.order_kept(),
        "groups": [
            {"hosts": len(names), "states": story.states(known), **_times([story.hosts[name] for name in known])}
            for names in story.groups
            for known in [[name for name in names if name in story.hosts]]
        ],
    }


def _times(hosts: t.Sequence[Host]) -> dict[str, t.Any]:
    start, end = times(hosts)
    return {
        "started_at": None if start is None else stamp(start),
        "seconds": None if start is None or end is None else round(end - start, 3),
    }


def times(hosts: t.Sequence[Host]) -> tuple[float | None, float | None]:
    """Return when the first of *hosts* began and when the last one was through, its undo left out."""
    begun = [host.began for host in hosts if host.began is not None]
    ended = [one.ended or max(step.ended_at for step in one.steps) for host in hosts for one in host.passes if not one.undo and (one.ended or one.steps)]
    return min(begun, default=None), max(ended, default=None)


def _traffic(story: Story) -> dict[str, t.Any]:
    return {
        "counted": bool(story.spans),
        "drivers": story.drivers,
        "spans": [
            {"at": stamp(span.at), "seconds": round(span.seconds, 3), **{key: {"requests": count.requests, "errors": count.errors} for key, count in
             (("old", span.old), ("new", span.new))}}
            for span in merged(story.spans, _MOST_SPANS)
        ],
    }


def course(story: Story) -> dict[str, t.Any] | None:
    """Return how the evidence against the canary grew with each look; None where nobody looked.

    A run that was taken up again judges its canary anew, so this is the course of the last one.
    """
    verdicts = [event for event in story.events if event["event"] == "canary_verdict"]
    canary = verdicts[-1]["detail"]["canary"] if verdicts else story.plan.get("canary") or []
    # Each tier has a canary of its own.
    told = [event["detail"] for event in story.events if event["event"] == "canary_look"]
    looks = [Look.of(detail) for detail in told if list(detail.get("canary") or canary) == list(canary)]
    good = [look for look in looks if not look.problem]
    if not looks or not canary:
        return None
    chosen = {key: value for key, value in (story.plan.get("canary_analysis") or {}).items() if key in ("alpha", "tolerance")}
    analysis = Analysis(**chosen)
    past = next((Look.of(event["detail"]).counts for event in story.events if event["event"] == "canary_past"), {})
    metrics = ["errors", *(["slow"] if any(count.slow for look in good for count in look.counts.values()) else [])]
    tests = [SequentialTest(canary, metric, past=by_host(past), tolerance=analysis.tolerance) for metric in metrics]
    points = []
    for earlier, later in zip(good, good[1:]):
        minute = by_host(since(earlier.counts, later.counts))
        for test in tests:
            test.add(minute)
        worst = max(tests, key=lambda test: test.evidence)
        sides = {side: {"requests": seen.requests, "errors": seen.errors} for side, seen in worst.seen.items()}
        points.append({"at": stamp(later.at), "seconds": round(later.at - good[0].at, 1), "evidence": round(worst.evidence, 4), **sides})
    step = max(1, len(points) // _MOST_LOOKS)
    needed = round(len(tests) / analysis.alpha, 2)
    return {
        "canary": list(canary),
        "needed": (verdicts[-1]["detail"].get("numbers") or {}).get("needed", needed) if verdicts else needed,
        "problems": [look.problem for look in looks if look.problem][-3:],
        "points": points[::-1][::step][::-1],
    }
