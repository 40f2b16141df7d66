# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The plan for people and for machines. Pure: plan in, text or data out."""

from __future__ import annotations

import itertools
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._report import table
from ansible_collections.seamless.rollout.plugins.plugin_utils._windows import duration

if t.TYPE_CHECKING:
    from ansible_collections.seamless.rollout.plugins.plugin_utils._plan import Plan
    from ansible_collections.seamless.rollout.plugins.plugin_utils._settings import Settings

Facts = t.Mapping[str, t.Any]

REFUSED = "The rollout was refused, nothing was touched:"
# What the ledger keeps of the facts, and of the plan as data, for the report.
KEPT = ("release", "hosts", "batches", "stages", "canary", "override", "closed", "order")
KEPT_PUBLIC = ("pace", "estimate", "notes", "max_unavailable", "max_parallel", "max_fail", "on_failure", "canary_analysis")


def plan_text(facts: Facts, plan: Plan, settings: Settings, *, dry: bool) -> str:
    """Return the plan as text: batches, canary, from and to a host, roundings, what is skipped and why, and whether it may run now."""
    what = {
        "update": "update with your own tasks",
        "rollback": f"roll back to {facts['release']}",
        "recover": f"settle on {facts['release'] or 'what works'}",
    }.get(facts["mode"], f"{facts['mode']} {facts['release']}")
    lines = [f"Rollout {facts['id']}: {facts['app']}, {what}" + (" (plan only, nothing is changed)" if dry else "")]
    resolved = facts["resolved"]
    if resolved.get("checksum"):
        lines.append(f"  source: an archive that each host gets by itself, {resolved['checksum'][:19]}…")
    elif resolved:
        revision = f", revision {resolved['revision']}" if resolved.get("revision") else ""
        lines.append(f"  source: {resolved['files']} files, {resolved['bytes']} bytes, digest {resolved['digest'][:12]}{revision}")
    hosts = facts["hosts"]
    weighed = any(hosts[name]["weight"] > 1 for name in hosts)
    for number, batch in enumerate(plan.batches, 1):
        label = "canary" if batch and all(name in plan.canary for name in batch) else f"batch {number}"
        lines.append(f"  {label}{_place(hosts[batch[0]])}:")
        lines += table(
            [[name, _movement(hosts[name]), *([f"weight {hosts[name]['weight']}"] if weighed else []), _where(hosts[name])] for name in batch], "    "
        )
    if plan.skipped:
        lines.append("  left alone:")
        lines += table([[name, reason] for name, reason in plan.skipped.items()], "    ")
    if plan.unreachable:
        lines.append(f"  can't be reached: {', '.join(plan.unreachable)}")
    if not plan.batches:
        lines.append("  nothing to do")
    lines.append(f"  {_limits(facts, plan)}; {plan.max_fail} may fail; on failure: {facts['on_failure']}; keeps {settings.keep_releases} releases")
    if plan.unavailable:
        lines.append(f"  out of service now: {', '.join(plan.unavailable)}")
    if settings.pace == "window" and plan.batches:
        lines.append(f"  pace: window, the next host starts when one is finished, {len(plan.stages)} stages after one another")
    lines += _ramp_lines(facts, plan) + _bake_lines(facts, plan)
    lines += _analysis_lines(facts, plan)
    if plan.batches:
        lines.append(f"  estimated time: {_estimated(facts['estimate'])}")
    lines += _gate_lines(facts)
    lines += [f"  note: {note}" for note in plan.notes]
    return "\n".join(lines)


def _place(entry: t.Mapping[str, t.Any]) -> str:
    words = [*([f"tier {entry['tier']}"] if entry["tier"] else []), *([f"zone {entry['zone']}"] if entry["zone"] else []), *(["late"] if entry["late"] else [])]
    return f" ({', '.join(words)})" if words else ""


def _movement(entry: t.Mapping[str, t.Any]) -> str:
    target = entry["target"]
    return "your own tasks" if target is None else f"{entry['current'] or 'nothing'} -> {target}"


def _where(entry: t.Mapping[str, t.Any]) -> str:
    machines = dict.fromkeys(call["delegate"] for call in entry["balancers"])
    text = f"drained on {', '.join(machines)}" if machines else "not behind a balancer of this rollout"
    prune = entry.get("would_prune")
    return text + (f"; prunes {', '.join(prune)}" if prune else "")


def _limits(facts: Facts, plan: Plan) -> str:
    total = sum(entry["weight"] for entry in facts["hosts"].values())
    if len({entry["tier"] for entry in facts["hosts"].values()}) > 1:
        most: dict[str, int] = {}
        for name in plan.order:
            most[facts["hosts"][name]["tier"]] = max(most.get(facts["hosts"][name]["tier"], 0), plan.slots[name])
        return f"at most {', '.join(f'{number} of {tier}' for tier, number in most.items()) or 'none'} out of service at once"
    what = "hosts" if total == len(facts["hosts"]) else "(weight)"
    return f"at most {plan.max_unavailable} of {total} {what} out of service at once"


def _ramp_lines(facts: Facts, plan: Plan) -> list[str]:
    ramps: dict[str, list[str]] = {}
    for name in plan.order:
        ramp = facts["hosts"][name]["weight_ramp"]
        if ramp:
            words = f"{', '.join(str(step) for step in ramp['steps'])} %, then as before ({duration(facts['hosts'][name]['ramp_seconds'])} more a host)"
            ramps.setdefault(words, []).append(name)
    of = {words: "" if len(names) == len(plan.order) else f" of {', '.join(names)}" for words, names in ramps.items()}
    return [f"  weight{of[words]} after the enable: {words}" for words in ramps]


def _bake_lines(facts: Facts, plan: Plan) -> list[str]:
    seconds = [number for number, dummy in itertools.groupby(facts["hosts"][name]["bake_seconds"] for name in plan.order)]
    return [f"  watched in rotation: {', then '.join(duration(number) for number in seconds)}"] if any(seconds) else []


def _analysis_lines(facts: Facts, plan: Plan) -> list[str]:
    analysis = facts["analysis"]
    if not analysis or not plan.canary:
        return []
    ends = f"after {analysis['min_requests']} requests and {duration(analysis['bake_min'])}, {duration(analysis['bake_max'])} at most"
    lines = [f"  the canary is judged {ends}; fail: {analysis['on_fail']}, inconclusive: {analysis['on_inconclusive']}, error: {analysis['on_error']}"]
    if analysis["on_fail"] == "rollback" and len(plan.canary) == 1:
        lines.append("  note: with one canary, what befalls it alone is taken for the release's fault: rollout_canary: 2 is safer with on_fail: rollback")
    return lines


def _estimated(estimate: t.Mapping[str, t.Any] | None) -> str:
    if not estimate:
        return "no history yet"
    rollouts = "rollout" if estimate["rollouts"] == 1 else f"{estimate['rollouts']} rollouts"
    return f"about {duration(estimate['seconds'])} ({duration(estimate['host_seconds'])} a host, as in the last {rollouts})"


def _gate_lines(facts: Facts) -> list[str]:
    closed = facts["closed"]
    if closed and facts["override"]:
        return [f"  forbidden now, passed by rollout_override ({facts['override']}):", *(f"    {reason}" for reason in closed)]
    if closed:
        return ["  forbidden now:", *(f"    {reason}" for reason in closed)]
    lines = [f"  rollout_override ({facts['override']}): nothing forbids it now"] if facts["override"] else []
    lines += [f"  change windows: {facts['windows_now']}"] if facts["windows"] else []
    return lines + ([f"  blockers: none of {len(facts['blockers'])} forbids it"] if facts["blockers"] else [])


def plan_public(facts: Facts, plan: Plan) -> dict[str, t.Any]:
    """Return the plan as data, for machines."""
    keys = ("from", "no_way_back", "current", "target", "state", "detail", "zone", "tier", "weight", "late", "step", "cap", "bake_seconds", "ramp_seconds")
    return {
        "canary_analysis": facts["analysis"],
        "id": facts["id"],
        "app": facts["app"],
        "release": facts["release"],
        "mode": facts["mode"],
        "can_run": not facts["closed"] or bool(facts["override"]),
        "refused": [] if facts["override"] else facts["closed"],
        "override": facts["override"],
        "passed": facts["closed"] if facts["override"] else [],
        "windows": facts["windows_now"],
        "locks": facts["locks"],
        "pace": facts["pace"],
        "stages": plan.stages,
        "batches": plan.batches,
        "canary": plan.canary,
        "skipped": plan.skipped,
        "unavailable": plan.unavailable,
        "unreachable": plan.unreachable,
        "max_unavailable": plan.max_unavailable,
        "max_parallel": plan.max_parallel,
        "max_fail": plan.max_fail,
        "on_failure": facts["on_failure"],
        "estimate": facts["estimate"],
        "notes": plan.notes,
        "hosts": {name: {key: entry[key] for key in keys} for name, entry in facts["hosts"].items()},
    }


def refusal_public(facts: Facts, why: str) -> dict[str, t.Any]:
    """Return what is known of a rollout that was refused before there was a plan, as data."""
    lines = [line[2:] if line.startswith("- ") else line for line in why.splitlines() if line != REFUSED]
    return {**{key: facts.get(key) for key in ("id", "app", "release", "mode")}, "can_run": False, "refused": lines, "locks": facts.get("locks") or {}}


def refusal(problems: t.Sequence[str]) -> str:
    """Return the text of a refusal."""
    return "\n".join([REFUSED, *(f"- {problem}" for problem in problems)])
