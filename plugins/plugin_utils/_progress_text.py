# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The progress of a rollout as plain lines, failures as a whole, and the end of a run. Pure: happenings and views in, text out."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import BAD_STATES
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_model import Failure, Happening, Model, View
from ansible_collections.seamless.rollout.plugins.plugin_utils._windows import duration

# What a failed task may have to say besides its message, and how that is called.
_PARTS = (("module_stdout", "stdout of the module"), ("module_stderr", "stderr of the module"), ("stdout", "stdout"), ("stderr", "stderr"))


def clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration(round(seconds))


def left_text(left: float | None, now: float) -> str:
    """Return when a rollout is over, or that nobody knows."""
    if left is None:
        return ""
    return f"about {duration(max(1, round(left)))} left, until {time.strftime('%H:%M', time.localtime(now + left))}" if left > 0 else "about to end"


def whole_message(result: t.Mapping[str, t.Any]) -> str:
    """Return all that a failed task says: its message, what it wrote, and the traceback of a module that broke; nothing is cut off."""
    if result.get("censored"):
        return str(result["censored"])
    message = str(result.get("msg") or result.get("reason") or "").rstrip()
    if "rc" in result and result["rc"] not in (0, None):
        message += f" (exit code {result['rc']})" if message else f"exit code {result['rc']}"
    lines = [message] if message else []
    for key, name in _PARTS:
        text = str(result.get(key) or "").strip("\n")
        if text.strip() and text.strip() not in message:
            lines += [f"{name}:", *(f"  {line}" for line in text.splitlines())]
    for item in result.get("results") or []:
        if isinstance(item, dict) and (item.get("failed") or item.get("unreachable")) and not message.startswith(str(item.get("msg"))):
            lines += whole_message(item).splitlines()
    exception = str(result.get("exception") or "").strip()
    if "Traceback" in exception:
        lines += exception.splitlines()
    return "\n".join(lines) or "it failed without a message"


def backfill_text(migration: str, fill: t.Mapping[str, t.Any]) -> str:
    """Return how far a backfill is, as the view shows it in place; *fill* is as ``migration_info`` tells it."""
    rows, whole = int(fill["rows"]), int(fill["rows_estimate"] or 0)
    far = f"{min(100, 100 * rows // whole)} % ({rows} of about {whole} rows)" if whole else f"{rows} rows"
    rate = f", {fill['rate']:.0f} rows/s" if fill.get("rate") else ""
    left = f", about {duration(fill['eta'])} left" if fill.get("eta") else ""
    waits = f", waits for {fill['waits']}" if fill.get("waits") else ""
    return f"backfill of {migration}: {far}{rate}{left}{waits}"


def reason_of(result: t.Mapping[str, t.Any]) -> str:
    """Return why a task failed, without anything that it wrote."""
    return str(result.get("censored") or result.get("msg") or result.get("reason") or "it failed without a message")


def failure_text(failure: Failure, status: str) -> str:
    """Return a failure as a block of lines."""
    head = f"fatal: [{failure.host}]: {'UNREACHABLE' if status == 'unreachable' else 'FAILED'}! {failure.task}"
    return "\n".join([head + (" (ignored)" if failure.ignored else ""), *(f"    {line}" for line in failure.message.splitlines())])


def first_line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), "")


class PlainLines:
    """Turns happenings into lines. *steps* says whether every step of every host gets one."""

    def __init__(self, model: Model, *, steps: bool = True) -> None:
        self.model, self.steps = model, steps

    def line(self, happening: Happening) -> str:
        """Return the line for *happening*, or an empty string."""
        event = happening["event"]
        text = getattr(self, f"_{event}", lambda told: "")(happening)
        return f"{clock(happening['at'])}  {text}" if text else ""

    def _phase(self, told: Happening) -> str:
        return str(told["phase"])

    def _step_started(self, told: Happening) -> str:
        return f"{told['host']}: {told['words']}" if self.steps else ""

    def _host_started(self, told: Happening) -> str:
        return f"{told['host']}: goes back" if told["status"] == "rolling_back" else ""

    def _host_ended(self, told: Happening) -> str:
        model = self.model
        host = model.hosts[told["host"]]
        parts = [f"{name} {short(seconds)}" for name, seconds in host.steps.items()]
        took = f" in {short(told['seconds'])}" if told["seconds"] is not None else ""
        detail = f" ({', '.join(parts)})" if parts and told["status"] not in BAD_STATES else ""
        why = f": {first_line(told['message'])}" if told["message"] else ""
        text = f"{host.name}: {told['status'].replace('_', ' ')}{took}{detail}{why}"
        if told["status"] in ("rolled_back", "rollback_failed"):
            return text
        left = left_text(model.left(told["at"]), told["at"]) if model.done < len(model.to_do) else ""
        return f"{text}; {model.done} of {len(model.to_do)} hosts{', ' if left else ''}{left}"

    def _halted(self, told: Happening) -> str:
        return f"halted: {first_line(told['message'])}"

    def _order(self, told: Happening) -> str:
        return f"order to {told['order']}{': ' if told['message'] else ''}{told['message']}"


def traffic_line(view: View) -> str:
    """Return what the balancers counted lately of each release, an empty string where nobody counts."""
    parts = [f"{part.release}: {part.rate:.0f} requests/s, {part.errors} error{'' if part.errors == 1 else 's'}" for part in view.traffic]
    return "   ".join(parts)


def heartbeat(view: View, now: float) -> str:
    """Return one line that says that something still goes on, and what."""
    lines = [f"{line.host}: {line.words} for {short(line.seconds)}{f', {line.note}' if line.note else ''}" for line in view.lines[:3]]
    more = max(0, len(view.lines) - 3) + view.more + view.waiting
    if more > 0:
        lines.append(f"{more} more")
    left = left_text(view.left, now) if view.total else ""
    done = [f"{view.done} of {view.total} hosts done" + (f", {left}" if left else "")] if view.total else [view.phase]
    traffic = traffic_line(view)
    return f"{clock(now)}  " + "; ".join([*done, *lines, *([traffic] if traffic else [])])


def recap(model: Model, now: float) -> list[str]:
    """Return the last lines of a run: what became of it, and each failure again in one line."""
    lines = []
    if model.planned and model.state:
        states: dict[str, int] = {}
        for name in model.to_do:
            state = model.hosts[name].state if name in model.hosts else ""
            state = "untouched" if state == "pending" else state
            states[state] = states.get(state, 0) + 1
        told = ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in states.items() if state)
        took = f" after {duration(round(now - model.begun))}" if model.begun else ""
        what = f"{model.facts.get('app')} {model.facts.get('release') or ''}".strip()
        lines.append(f"{what}: {model.state.replace('_', ' ')}{took}; {told or 'nothing to do'}")
    counted = [failure for failure in model.failures if not failure.ignored]
    if counted:
        lines.append("Failed:")
        lines += [f"  {failure.host}: {failure.task}: {first_line(failure.message)}" for failure in counted]
    return lines
