# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""When a host went through which step, by the controller's clock: those of the hosts may be hours off. From the results of the tasks, by pure functions."""

from __future__ import annotations

import time
import typing as t

# What a host's tasks register, and nothing else is looked at.
RESULTS = (
    "__rollout_drained", "__rollout_redrained", "__rollout_linked", "__rollout_switched", "__rollout_checked", "__rollout_enabled", "__rollout_baked",
    "__rollout_rested",
)
_ANCHORS: dict[str, tuple[str, ...]] = {
    "drain.yml": ("__rollout_drained",),
    "redrain.yml": ("__rollout_redrained",),
    "switch.yml": ("__rollout_switched",),
    "switch_hooks.yml": ("__rollout_linked", "__rollout_switched"),
    "update_health.yml": ("__rollout_checked",),
    "enable.yml": ("__rollout_enabled",),
    "bake.yml": ("__rollout_baked", "__rollout_rested"),
    "plain.yml": ("__rollout_drained", "__rollout_switched", "__rollout_enabled"),
}
# Nobody but the user knows how long these take: they fill the time between what is known.
_OWN = ("hook.yml", "update_role.yml", "update_tasks.yml")
_NAMES = {
    "__rollout_drained": "drain", "__rollout_redrained": "drain", "__rollout_linked": "switch", "__rollout_checked": "health",
    "__rollout_enabled": "enable", "__rollout_baked": "bake", "__rollout_rested": "bake",
}
# The parts of a switch, by the names that release_switch gives them.
_PARTS = (("switch", "switch"), ("services", "restart"), ("health", "health"))

Result = t.Mapping[str, t.Any]


class Watch:
    """Notes when a task began, by this machine's clock."""

    def __init__(self) -> None:
        self._at, self._begun = time.time(), time.monotonic()

    def told(self, result: dict[str, t.Any]) -> dict[str, t.Any]:
        """Return *result* with ``took``: when the task began (``started_at``, seconds since 1970) and how many ``seconds`` it took."""
        return {**result, "took": {"started_at": round(self._at, 3), "seconds": round(time.monotonic() - self._begun, 3)}}


class Step(t.NamedTuple):
    """One bar: *step* is drain, switch, restart, health, enable, hook (whatever the user's own tasks did) or bake. Seconds, by the controller's clock."""

    step: str
    started_at: float
    seconds: float
    ok: bool

    @property
    def ended_at(self) -> float:
        return self.started_at + self.seconds

    def data(self) -> dict[str, t.Any]:
        return {"step": self.step, "started_at": round(self.started_at, 3), "seconds": round(self.seconds, 3), "ok": self.ok}


def steps_of(results: t.Mapping[str, t.Any], files: t.Sequence[Result], begun: float, failed: float | None, closed: float) -> list[dict[str, t.Any]]:
    """Return the steps of one host, oldest first. What a result does not tell, as it was cut or hidden, has none.

    *results* are those named in RESULTS, *files* the task files that the host goes through. It *begun* then, *failed* then where it did, and was
    *closed* then: seconds since 1970. A result from before *begun* is one of an earlier pass, such as that which an undo takes back.
    """
    steps: list[Step] = []
    edge, own = begun, False
    for file in (str(item.get("file")) for item in files):
        if file in _OWN:
            own = True
            continue
        for number, name in enumerate(_ANCHORS.get(file, ())):
            bars = _bars(name, results, begun)
            if not bars:
                continue
            # Between the switch of the link and the restart come the after_switch hooks.
            if own or number and file == "switch_hooks.yml":
                steps += _own(edge, float(results[name]["took"]["started_at"]), failed)
            own = False
            steps += bars
            edge = bars[-1].ended_at
    if own:
        steps += _own(edge, closed if failed is None else failed, failed)
    return [step.data() for step in sorted(steps, key=lambda step: step.started_at)]


def _own(start: float, end: float, failed: float | None) -> list[Step]:
    """Return the bar of the user's own tasks between two steps; where the host failed meanwhile, it was they that did."""
    here = failed is not None and start <= failed <= end
    end = failed if here and failed is not None else end
    return [Step("hook", start, end - start, not here)] if end > start else []


def _bars(name: str, results: t.Mapping[str, t.Any], begun: float) -> list[Step]:
    result = results.get(name)
    took = result.get("took") if isinstance(result, dict) else None
    started, seconds = (_number(took.get(key)) for key in ("started_at", "seconds")) if isinstance(took, dict) else (None, None)
    if started is None or seconds is None or started < begun or not isinstance(result, dict):
        return []
    if name == "__rollout_switched":
        return _switch_bars(result, started, seconds, linked=bool(results.get("__rollout_linked")))
    return [Step(_NAMES[name], started, seconds, not result.get("failed"))]


def _switch_bars(result: Result, started: float, seconds: float, *, linked: bool) -> list[Step]:
    """Return the parts of a switch. The host tells how long each took; they end with the task, for what comes before them is the way to the host."""
    failed = bool(result.get("failed"))
    told = result.get("timings")
    timings = told if isinstance(told, dict) else {}
    parts = [(key, step, value) for key, step in _PARTS if (value := _number(timings.get(key))) is not None]
    if not parts:
        return [Step("switch", started, seconds, not failed)]
    last = parts[-1][0]
    at = started + max(0.0, seconds - sum(value for dummy, dummy, value in parts))
    bars = []
    for key, step, value in parts:
        length = max(0.0, min(value, started + seconds - at))
        nothing = key == "switch" and linked and not result.get("switched") or key != "switch" and not result.get(key)
        if not nothing or failed and key == last:
            bars.append(Step(step, at, length, not (failed and key == last)))
        at += length
    return bars


def _number(value: t.Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
