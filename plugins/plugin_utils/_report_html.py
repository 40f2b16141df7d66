# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The report as one HTML page. Pure: the story in, the page out."""

from __future__ import annotations

import calendar
import time
import typing as t

import jinja2
from ansible_collections.seamless.rollout.plugins.plugin_utils import _report_charts as charts
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import BAD_STATES
from ansible_collections.seamless.rollout.plugins.plugin_utils._report_data import times
from ansible_collections.seamless.rollout.plugins.plugin_utils._report_page import PAGE, SCRIPT, STYLE
from ansible_collections.seamless.rollout.plugins.plugin_utils._story import Host, Story, deeds, merged, once
from ansible_collections.seamless.rollout.plugins.plugin_utils._windows import duration
from markupsafe import Markup

_GOOD = ("succeeded", "done", "pass")
_POOR = (*BAD_STATES, "fail")
_SOFT = ("skipped", "untouched", "pending")
# With more hosts than this, those that failed come first of all, and what is long is closed.
_MANY = 60
# So many rows are one group at most, and so few groups of few hosts are put together.
_ROWS = 50
_STEPS = (
    ("drain", "drain"), ("switch", "switch"), ("restart", "restart"), ("health", "health"), ("enable", "enable"), ("bake", "bake (watched in rotation)"),
    ("hook", "hooks, your own tasks"), ("bad", "failed here"), ("undo", "undo"), ("old", "serves the old release"), ("new", "serves the new one"),
    ("mark", "an order or a decision"), ("limit", "what the plan allows"), ("cut", "a long wait, shortened"),
)


def page(story: Story, data: t.Mapping[str, t.Any]) -> str:
    """Return the page. *data* is the report as data, which says the same."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    axis = _axis(story)
    marks = "".join(f"M{charts.number(axis.x(deed.at))} 0V24" for deed in deeds(story)[1:-1])
    behind = [*charts.grid(axis, 24), ("mark", marks)]
    entries = story.plan.get("hosts") or {}

    def row(host: Host) -> dict[str, t.Any]:
        balanced = bool((entries.get(host.name) or {}).get("balancers"))
        picture = charts.host_row(host, axis, story.started, story.finished, balanced, behind)
        return {"name": host.name, "canary": host.canary, "state": host.row["state"], "svg": picture}

    out, most_out = charts.out_row(story, axis)
    spans = merged(story.spans, 300)
    course = data["canary_course"]
    points = course["points"] if course else []
    verdict_axis = _verdict_axis(points)
    return environment.from_string(PAGE).render(
        data=data, style=Markup(STYLE), script=Markup(SCRIPT), title=_title(story), facts=_facts(story), look=_look, clock=_clock, swatch=charts.swatch,
        comparison=_comparison(story, data), batches=_batches(story), word="stage" if story.window else "batch",
        notes=story.plan.get("notes") or [],
        legend=_legend(story, {"mark": bool(marks), "cut": bool(axis.cuts)}), axis=axis,
        traffic=charts.traffic_rows(spans, axis) if spans else [], out=out, most_out=most_out,
        uncounted=_uncounted(story), spans=merged(story.spans, 60),
        groups=[{**group, "rows": [row(host) for host in group["hosts"]]} for group in _groups(story)],
        idle=_idle(story), canary=course, verdict=_verdict(points, course, verdict_axis), verdict_axis=verdict_axis,
        points=points[::max(1, len(points) // 40)], deeds=deeds(story), once=once(story), states=_counted(story.states()),
        hosts=[_host(host) for host in sorted(story.hosts.values(), key=lambda host: not host.went_wrong)],
    )


def _axis(story: Story) -> charts.Axis:
    busy = [(step.started_at, step.ended_at) for host in story.hosts.values() for step, dummy in host.steps]
    moments = [(deed.at, deed.at) for deed in deeds(story)]
    return charts.Axis(story.started, story.finished, [*busy, *moments])


def _verdict_axis(points: t.Sequence[t.Mapping[str, t.Any]]) -> charts.Axis:
    at = [_seconds(point["at"]) for point in points] or [0.0]
    return charts.Axis(at[0] - (points[0]["seconds"] if points else 0), at[-1], [(at[0], at[-1])])


def _seconds(stamp: str) -> float:
    """Return a time of the data, in seconds since 1970."""
    return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) + float(stamp[19:-1])


def _verdict(points: t.Sequence[t.Mapping[str, t.Any]], course: t.Mapping[str, t.Any] | None, axis: charts.Axis) -> list[dict[str, t.Any]]:
    if not points or not course:
        return []
    rows = charts.verdict_rows(points, [_seconds(point["at"]) for point in points], course["needed"], axis)
    last = points[-1]
    ends = {"evidence": f"{last['evidence']:.3g} at the end", "shares": f"{last['canary']['errors']} of {last['canary']['requests']} on the canary"}
    return [{**row, "end": ends[row["name"]]} for row in rows]


def _look(state: str) -> str:
    return "good" if state in _GOOD else "poor" if state in _POOR else "soft" if state in _SOFT else "warn"


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _title(story: Story) -> str:
    mode = story.rollout["mode"]
    return " ".join(filter(None, [story.rollout["app"], story.rollout["release"], "" if mode == "release" else f"({mode})"]))


def _facts(story: Story) -> list[tuple[str, str]]:
    rollout = story.rollout
    return [
        ("who", rollout["owner"]), ("reason", rollout["reason"] or "none was given"), ("controller", str(rollout["controller"])), ("mode", rollout["mode"]),
        ("started", f"{_clock(story.started)} UTC"), ("finished", f"{_clock(story.finished)} UTC"), ("took", _took(story.finished - story.started)),
        ("hosts", _counted(story.states())),
    ]


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else duration(round(seconds))


def _counted(states: t.Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in sorted(states.items(), key=lambda item: -item[1])) or "none"


def _comparison(story: Story, data: t.Mapping[str, t.Any]) -> list[tuple[str, str, str]]:
    plan, actual = story.plan, data["actual"]
    estimate = plan.get("estimate")
    order = [name for name in plan.get("order") or [] if name in story.hosts]
    turns = [name for name in order if story.hosts[name].began is not None]
    word = "stages" if story.window else "batches"
    reached = sum(any(name in turns for name in names) for names in story.groups)
    failed = sum(host.went_wrong for host in story.hosts.values())
    about = f"about {_took(estimate['seconds'])}, from {estimate['rollouts']} earlier" if estimate else "no history to learn from"
    kept = ("as planned" if turns == order else f"as planned, as far as it went ({len(turns)})") if actual["order_kept"] else "not as planned"
    return [
        ("time", about, _took(data["seconds"])),
        ("hosts", f"{len(order)} to update, {len(story.hosts) - len(order)} left alone", _counted(actual["states"])),
        (word, f"{len(story.groups)}, pace {plan.get('pace') or 'unknown'}", f"{reached} begun"),
        ("order", ", ".join(order[:6]) + (f", … ({len(order)})" if len(order) > 6 else "") or "nobody", kept),
        ("out of rotation at once", f"at most {plan.get('max_unavailable', 'unknown')}", f"at most {actual['most_out']}"),
        ("may fail", f"{plan.get('max_fail', 'unknown')}; then {plan.get('on_failure', 'unknown')}", f"{failed} failed"),
    ]


def _batches(story: Story) -> list[dict[str, str]]:
    estimate = story.plan.get("estimate") or {}
    entries = story.plan.get("hosts") or {}
    canary = story.plan.get("canary") or []
    found = []
    for place, names in enumerate(story.groups, 1):
        known = [story.hosts[name] for name in names if name in story.hosts]
        start, end = times(known)
        bakes = [float((entries.get(name) or {}).get("bake_seconds") or 0) for name in names]
        about = f", about {_took(estimate['host_seconds'] + max(bakes, default=0.0))}" if estimate and not story.window else ""
        found.append({
            "name": f"{place} (canary)" if names and all(name in canary for name in names) else str(place), "planned": f"{_some(names)}{about}",
            "began": "" if start is None else _clock(start)[11:], "took": "" if start is None or end is None else _took(end - start),
            "became": _counted(story.states(host.name for host in known)),
        })
    return found


def _some(names: t.Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} hosts, {names[0]} to {names[-1]}"


def _legend(story: Story, more: t.Mapping[str, bool]) -> list[tuple[str, str]]:
    steps = [(step, undo) for host in story.hosts.values() for step, undo in host.steps]
    there = {step.step for step, dummy in steps} | {"old", "new", "limit"} | {kind for kind, shown in more.items() if shown}
    there |= ({"undo"} if any(undo for dummy, undo in steps) else set()) | ({"bad"} if any(not step.ok for step, dummy in steps) else set())
    return [(kind, words) for kind, words in _STEPS if kind in there]


def _uncounted(story: Story) -> str:
    if story.spans:
        return ""
    if not story.drivers:
        return "No requests are shown: the hosts are not behind a balancer of this rollout."
    return f"No requests are shown: the balancer ({', '.join(story.drivers)}) counts nothing of the kind, or it was all over before anything was counted."


def _groups(story: Story) -> list[dict[str, t.Any]]:
    """Return the groups of the timeline: those that failed first where there are many hosts, then batch by batch, small ones together and large ones cut."""
    moved = [host for host in story.hosts.values() if host.steps or host.began is not None]
    many = len(moved) > _MANY
    failed = [host for host in moved if host.went_wrong]
    groups = [_group("Failed", failed, True)] if many and failed else []
    word = "Stage" if story.window else "Batch"
    numbers = sorted({host.group for host in moved}, key=lambda number: number or len(story.groups) + 1)
    pending: list[Host] = []
    first = last = 0
    for number in numbers:
        hosts = [host for host in moved if host.group == number and not (many and host.went_wrong)]
        hosts.sort(key=lambda host: (not host.went_wrong, host.began or 0.0))
        if pending and (not many or len(pending) + len(hosts) > _ROWS or not number):
            groups.append(_group(_named(word, first, last), pending, not many))
            pending = []
        if not pending:
            first = number
        pending, last = [*pending, *hosts], number
        while len(pending) > _ROWS + 10:
            groups.append(_group(_named(word, first, last), pending[:_ROWS], not many))
            pending, first = pending[_ROWS:], number
    return [*groups, *([_group(_named(word, first, last), pending, not many)] if pending else [])]


def _named(word: str, first: int, last: int) -> str:
    return "Without a turn of their own" if not first else f"{word} {first}" if first == last else f"{word} {first} to {last}"


def _group(name: str, hosts: list[Host], is_open: bool) -> dict[str, t.Any]:
    start, end = times(hosts)
    states: dict[str, int] = {}
    for host in hosts:
        states[host.row["state"]] = states.get(host.row["state"], 0) + 1
    clock = f", {_clock(start)[11:]} to {_clock(end)[11:]}" if start is not None and end is not None else ""
    return {"name": name, "words": f"{_some([host.name for host in hosts])}: {_counted(states)}{clock}", "hosts": hosts, "open": is_open}


def _idle(story: Story) -> str:
    idle = [host.name for host in story.hosts.values() if not host.steps and host.began is None]
    return f"No turn for {_some(idle)}: {_counted(story.states(idle))}." if idle else ""


def _host(host: Host) -> dict[str, t.Any]:
    row = host.row
    stayed = {"skipped": "to_release", "untouched": "from_release", "rolled_back": "from_release"}.get(row["state"])
    failure = host.failure if host.went_wrong and host.failure != row["detail"] else ""
    said = [row["detail"], failure, "still out of rotation" if row["drained"] else ""]
    return {
        "name": host.name, "state": row["state"],
        "release": str(row[stayed] or "-") if stayed else f"{row['from_release'] or '-'} → {row['to_release']}" if row["to_release"] else "",
        "group": host.group or "", "began": "" if host.began is None else _clock(host.began)[11:],
        "out": "" if row["seconds_out"] is None else f"{row['seconds_out']:.1f}", "said": "; ".join(filter(None, said)),
    }
