# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The charts of the report: SVG that stretches with the page, all of one time axis. Pure.

Words stay outside of the pictures, where they can be read at any width; each picture has a title that says the same in words.
"""

from __future__ import annotations

import bisect
import math
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._story import NEW, OLD, Host, Span, Story
from markupsafe import Markup, escape

WIDTH = 1000
# Height and place of each step's bar: whoever can't tell the colours tells the shapes.
SHAPES = {"drain": (4, 8), "switch": (0, 16), "restart": (2, 12), "health": (6, 4), "enable": (4, 8), "hook": (10, 6), "bake": (7, 2)}
_ROW = 24
_TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 180, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400, 172800, 604800)
# A wait of more seconds than this, and than all that was done took, is drawn shorter.
_LONG = 300.0
_SHORTENED = 40.0


class Tick(t.NamedTuple):
    """*x* is in percent of the width."""

    x: float
    label: str


class Axis:
    """Maps times (seconds since 1970) to 0 to WIDTH. Long waits, as for an approval or between two runs, are drawn shorter, and ``cuts`` says where."""

    def __init__(self, start: float, end: float, busy: t.Iterable[tuple[float, float]]) -> None:
        end = max(end, start + 1.0)
        spans = _united([(start, start), *((max(a, start), min(b, end)) for a, b in busy), (end, end)])
        done = sum(b - a for a, b in spans)
        gaps = [(a, b) for (dummy, a), (b, dummy) in zip(spans, spans[1:]) if b - a > max(_LONG, done)]
        left = (end - start) - sum(b - a for a, b in gaps)
        unit = (WIDTH - _SHORTENED * len(gaps)) / left if left > 0 and len(gaps) * _SHORTENED < WIDTH else 0.0
        if not unit:
            gaps, unit = [], WIDTH / (end - start)
        self._times, self._places = [start], [0.0]
        self.cuts: list[tuple[float, float]] = []
        for a, b in gaps:
            before = self._places[-1] + (a - self._times[-1]) * unit
            self.cuts.append((before, before + _SHORTENED))
            self._times += [a, b]
            self._places += [before, before + _SHORTENED]
        self._times.append(end)
        self._places.append(float(WIDTH))

    def x(self, at: float) -> float:
        number = min(max(bisect.bisect_right(self._times, at), 1), len(self._times) - 1)
        (a, b), (left, right) = self._times[number - 1:number + 1], self._places[number - 1:number + 1]
        return min(max(left + (at - a) / (b - a) * (right - left) if b > a else left, 0.0), float(WIDTH))

    def ticks(self) -> list[Tick]:
        """Return some moments in UTC, so few that their labels have room on a phone."""
        whole = sum(b - a for a, b in zip(self._times[::2], self._times[1::2]))
        step = next((step for step in _TICKS if whole / step <= 6.5), _TICKS[-1])
        shape = "%H:%M:%S" if step < 60 else "%H:%M" if self._times[-1] - self._times[0] < 86400 else "%d %H:%M"
        found: list[Tick] = []
        for a, b in zip(self._times[::2], self._times[1::2]):
            for number in range(math.ceil(a / step), math.floor(b / step) + 1):
                place = self.x(number * step) / 10
                if place <= 86 and (not found or place - found[-1].x >= 15):
                    found.append(Tick(round(place, 2), time.strftime(shape, time.gmtime(number * step))))
        return found


def _united(spans: t.Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for a, b in sorted(spans):
        if b < a:
            continue
        if found and a <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], b))
        else:
            found.append((a, b))
    return found


def number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def svg(kind: str, height: int, title: str, paths: t.Iterable[tuple[str, str]]) -> Markup:
    """Return a picture with *title* for its words, made of paths, each with its class; empty ones are left out."""
    drawn = Markup("").join(Markup('<path class="{}" d="{}"/>').format(name, Markup(path)) for name, path in paths if path)
    return Markup('<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"><title>{}</title>{}</svg>').format(
        kind, WIDTH, height, title, drawn
    )


def grid(axis: Axis, height: int) -> list[tuple[str, str]]:
    ticks = "".join(f"M{number(tick.x * 10)} 0V{height}" for tick in axis.ticks())
    return [("g", ticks), ("cut", "".join(_box(a, b, 0, height) for a, b in axis.cuts))]


def _box(a: float, b: float, y: float, height: float) -> str:
    return f"M{number(a)} {number(y)}h{number(max(b - a, 0.5))}v{number(height)}h-{number(max(b - a, 0.5))}z"


def host_row(host: Host, axis: Axis, start: float, end: float, balanced: bool, behind: t.Sequence[tuple[str, str]]) -> Markup:
    """Return one host's way: a bar for each step, and below them the release that it served. *behind* is drawn first."""
    paths: dict[str, str] = {}
    for step, undo in host.steps:
        y, height = SHAPES.get(step.step, SHAPES["hook"])
        box = _box(axis.x(step.started_at), axis.x(step.ended_at), y, height)
        paths[step.step] = paths.get(step.step, "") + box
        if not step.ok:
            paths["bad"] = paths.get("bad", "") + f"M{number(axis.x(step.ended_at))} 0V16"
        if undo:
            paths["undo"] = paths.get("undo", "") + _box(axis.x(step.started_at), axis.x(step.ended_at), 16.5, 1.5)
    for one in host.serving(balanced):
        a, b = max(one.start, start), min(one.end, end)
        if b > a:
            paths[one.release] = paths.get(one.release, "") + _box(axis.x(a), axis.x(b), 19, 4)
    return svg("row", _ROW, steps_in_words(host), [*behind, *sorted(paths.items(), key=lambda item: item[0] == "bad")])


def steps_in_words(host: Host) -> str:
    words = [f"{'undo ' if undo else ''}{step.step} {number(step.seconds)} s{'' if step.ok else ' FAILED'}" for step, undo in host.steps]
    return ", ".join(words) or "no step is known"


def traffic_rows(spans: t.Sequence[Span], axis: Axis) -> list[dict[str, t.Any]]:
    """Return the two charts of what was counted, requests and errors a second, the old release's at the bottom and the new one's on it."""
    rows = []
    for key, height in (("requests", 100), ("errors", 50)):
        most = max((getattr(span.old, key) + getattr(span.new, key)) / max(span.seconds, 0.001) for span in spans)
        totals = {release: sum(getattr(getattr(span, release), key) for span in spans) for release in (OLD, NEW)}
        below, above = "", ""
        for span in spans:
            a, b = axis.x(span.at - span.seconds), axis.x(span.at)
            scale = (height - 4) / most / max(span.seconds, 0.001) if most else 0.0
            old, new = getattr(span.old, key) * scale, getattr(span.new, key) * scale
            below += _box(a, b, height - old, old) if old else ""
            above += _box(a, b, height - old - new, new) if new else ""
        words = f"{key}: {totals[OLD]} to the old release, {totals[NEW]} to the new one, at most {number(most)} a second"
        told = f"up to {number(most)}" if most else "none"
        rows.append({"name": key, "most": told, "totals": totals, "svg": svg(key, height, words, [*grid(axis, height), (OLD, below), (NEW, above)])})
    return rows


def out_row(story: Story, axis: Axis) -> tuple[Markup, int]:
    """Return how many hosts were out of rotation when, with what the plan allows as a line, and the most there were."""
    most = story.most_out()
    allowed = story.plan.get("max_unavailable") or 0
    top = max(most, allowed if isinstance(allowed, int) else 0, 1)
    line, now = "M0 48", 0
    for at, step in story.absences():
        now += step
        line += f"H{number(axis.x(at))}V{number(48 - 44 * now / top)}"
    limit = f"M0 {number(48 - 44 * allowed / top)}H{WIDTH}" if isinstance(allowed, int) and allowed else ""
    words = f"hosts out of rotation: at most {most} at once, {allowed or 'no number'} planned at most"
    return svg("out", 50, words, [*grid(axis, 50), ("area", f"{line}H{WIDTH}V48z"), ("limit", limit)]), most


def verdict_rows(points: t.Sequence[t.Mapping[str, t.Any]], at: t.Sequence[float], needed: float, axis: Axis) -> list[dict[str, t.Any]]:
    """Return the evidence against the canary over time, on a logarithmic scale, and the shares of failed requests."""
    values = [max(float(point["evidence"]), 0.01) for point in points]
    low, high = math.log10(min([0.1, *values])), math.log10(max([needed * 2, *values]))

    def y(value: float) -> str:
        return number(96 - 92 * (math.log10(value) - low) / (high - low))

    line = "".join(f"{'L' if place else 'M'}{number(axis.x(when))} {y(value)}" for place, (when, value) in enumerate(zip(at, values)))
    words = f"evidence against the canary: {values[-1]:.3g} at the end, {max(values):.3g} at most, {needed:g} are needed to blame it"
    rows = [{"name": "evidence", "svg": svg("evidence", 100, words, [*grid(axis, 100), ("limit", f"M0 {y(needed)}H{WIDTH}"), ("line", line)]), "most": ""}]
    shares = {side: [point[side]["errors"] / max(point[side]["requests"], 1) for point in points] for side in ("canary", "control")}
    most = max(max(found) for found in shares.values())
    scale = 44 / most if most else 0.0
    lines = {
        side: "".join(f"{'L' if place else 'M'}{number(axis.x(when))} {number(48 - scale * value)}" for place, (when, value) in enumerate(zip(at, found)))
        for side, found in shares.items()
    }
    words = f"share of failed requests: {shares['canary'][-1]:.2%} on the canary, {shares['control'][-1]:.2%} on the others"
    pictures = svg("shares", 50, words, [*grid(axis, 50), ("others", lines["control"]), ("line", lines["canary"])])
    return [*rows, {"name": "shares", "svg": pictures, "most": f"{most:.2%}"}]


def swatch(kind: str) -> Markup:
    """Return a small picture of one kind of bar for the legend."""
    paths = {"bad": "M12 2V22", "limit": "M0 12H24", "line": "M0 12H24", "others": "M0 12H24", "undo": "M2 11h20v2h-20z", "mark": "M12 0V24"}
    y, height = SHAPES.get(kind, (2, 12))
    path = paths.get(kind) or f"M2 {y + 4}h20v{height}h-20z"
    return Markup('<svg class="key" viewBox="0 0 24 24" aria-hidden="true"><path class="{}" d="{}"/></svg>').format(escape(kind), path)
