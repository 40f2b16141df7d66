# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The plan as the other plays of a rollout follow it: what becomes of every host, and which hosts each play has."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils import _floors, _once, _traits
from ansible_collections.seamless.rollout.plugins.plugin_utils import _preflight as preflight
from ansible_collections.seamless.rollout.plugins.plugin_utils._history import read_history
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._plan import Plan, estimate
from ansible_collections.seamless.rollout.plugins.plugin_utils._steps import roll_steps
from ansible_collections.seamless.rollout.plugins.plugin_utils._undo import NO_EARLIER_RELEASE

if t.TYPE_CHECKING:
    from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables
    from ansible_collections.seamless.rollout.plugins.plugin_utils._settings import Settings

Facts = t.Dict[str, t.Any]


def fill(
    facts: Facts,
    settings: Settings,
    plan: Plan,
    answers: t.Mapping[str, dict[str, t.Any]],
    rotations: t.Mapping[str, preflight.InRotation],
    *,
    whole: str | None,
    mine: t.Mapping[str, str],
    content: preflight.Content,
    variables: HostVariables,
    dry: bool,
) -> None:
    """Add to *facts* what becomes of every host, and which hosts each of the other plays has: they have none when this is *dry*."""
    known = Ledger(facts["state_dir"]).hosts(facts["id"]) if not dry else {}
    steps = {host: number for number, stage in enumerate(plan.stages) for host in stage}
    bakes = _traits.bakes(facts["traits"], settings, plan)
    for host in facts["targets"]:
        survey = answers.get(host)
        target = mine.get(host, whole)
        current = preflight.current_release(survey or {})
        record = preflight.record_of(survey or {}, target) or {}
        earlier = known.get(host, {}).get("from_release")
        way_back = (earlier or (survey or {}).get("previous")) if current == target else current
        staged = bool(target) and content.is_in(record) and record.get("state") not in (None, "staged")
        state = "unreachable" if survey is None else "skipped" if host in plan.skipped else "pending"
        if state == "skipped" and settings.mode == "release" and record.get("state") != "good":
            # It has the release from a rollout that never came to a good end: an undo takes it back with the others.
            state = "done"
        ramp = facts["traits"][host]["weight_ramp"] if rotations[host].calls else None
        facts["hosts"][host] = {
            "from": way_back,
            "no_way_back": _floors.no_way_back(survey, way_back, facts["floor"]),
            "current": current,
            "target": target,
            "state": state,
            "detail": plan.skipped.get(host, ""),
            "stage": state == "pending" and settings.mode in ("release", "preview") and not staged,
            "balancers": rotations[host].calls,
            "drained": rotations[host].ours,
            "unproven": rotations[host].ours and _is_unproven(survey or {}, settings.mode, current, target),
            **{key: facts["traits"][host][key] for key in ("zone", "tier", "weight", "late")},
            "step": steps.get(host, -1),
            "cap": plan.caps.get(host, 1),
            "allowed": plan.allowed.get(host, plan.max_unavailable),
            "slots": plan.slots.get(host, plan.max_unavailable),
            "bake_seconds": bakes[host],
            "weight_ramp": ramp,
            "ramp_seconds": ramp["interval"] * len(ramp["steps"]) if ramp else 0.0,
            "steps": _steps(variables, host, settings, rotations[host], bakes[host]),
            "releases": [
                {"id": item.get("id"), "digest": item.get("digest"), "state": item.get("state")}
                for item in (survey or {}).get("releases") or []
            ],
            "would_prune": (survey or {}).get("would_prune") or [] if state == "pending" and settings.mode == "release" else [],
        }
        if settings.mode in ("rollback", "promote", "recover"):
            facts["hosts"][host]["health"] = variables.get(host, "rollout_health", rollout_release=target) or []
    del facts["traits"]
    plan.notes.extend(_floors.notes(facts["hosts"], settings.on_failure))
    plan.notes.extend(_without_earlier_release(facts["hosts"], settings))
    facts["release"] = whole
    facts["canary"] = plan.canary
    facts["max_fail"] = plan.max_fail
    # Known before any play judges it: where nothing is left to roll, none does.
    facts["failed"] = [host for host, entry in facts["hosts"].items() if entry["state"] == "unreachable"]
    facts["batches"] = plan.batches
    facts["stages"] = plan.stages
    facts["order"] = plan.order
    facts["max_parallel"] = plan.max_parallel
    facts["estimate"] = _estimate(facts, settings, plan, {host: seconds + facts["hosts"][host]["ramp_seconds"] for host, seconds in bakes.items()})
    facts["max_unavailable"] = plan.max_unavailable
    facts["on_failure"] = _on_failure(settings, facts, plan)
    if dry:
        return
    facts["stage_hosts"] = [host for host in facts["targets"] if facts["hosts"][host]["stage"]]
    facts["roll_hosts"] = plan.order if settings.mode != "preview" and settings.pace == "batch" else []
    facts["window_hosts"] = plan.order if settings.mode != "preview" and settings.pace == "window" else []
    facts["serial"] = plan.serial or [1]
    facts["preview_hosts"] = plan.order if settings.mode == "preview" else []
    facts["finish_hosts"] = [host for host in facts["targets"] if host in answers]
    if settings.mode in ("release", "update", "promote"):
        # Nothing is before a rollout that has nothing left to do, unless it goes on with one whose hosts somebody settled before that was done; what comes
        # after it may have failed last time.
        resumed = facts["id"] in facts["takeover"]
        facts["once_before_hosts"] = (plan.order or (facts["finish_hosts"] if resumed else []))[: _once.WITNESSES] if settings.once_before else []
        facts["once_after_hosts"] = facts["finish_hosts"][:_once.WITNESSES] if settings.once_after else []


def _is_unproven(survey: t.Mapping[str, t.Any], mode: str, current: str | None, target: str | None) -> bool:
    """Say whether an earlier run may have changed a host that it left out of rotation, without having seen that it works."""
    state = (preflight.record_of(survey, current) or {}).get("state")
    return mode == "update" or (current is not None and current == target) or state in ("failed", "bad")


def _without_earlier_release(hosts: t.Mapping[str, dict[str, t.Any]], settings: Settings) -> list[str]:
    """Write into *hosts* which of those that get a release have no earlier one, and return what an operator should know of that."""
    if settings.mode not in ("release", "promote"):
        return []
    stuck = [host for host, entry in hosts.items() if entry["state"] in ("pending", "done") and not entry["from"]]
    for host in stuck:
        hosts[host]["no_way_back"] = NO_EARLIER_RELEASE
    if settings.on_failure != "rollback" or not stuck:
        return []
    return [f"no earlier release on {'any host' if len(stuck) == len(hosts) else ', '.join(stuck)}: a failure takes nothing back there."]


def _steps(variables: HostVariables, host: str, settings: Settings, rotation: preflight.InRotation, bake: float) -> list[dict[str, str]]:
    return roll_steps(
        settings.mode,
        balancers=bool(rotation.calls),
        hooks=variables.get(host, "rollout_hooks") or {},
        update_role=bool(variables.get(host, "rollout_update_role")),
        health=bool(variables.get(host, "rollout_health")),
        bakes=bake > 0 or bool(variables.get(host, "rollout_bake_health")),
    )


def _estimate(facts: Facts, settings: Settings, plan: Plan, watched: t.Mapping[str, float]) -> dict[str, t.Any] | None:
    history = read_history(facts["state_dir"], facts["mode"])
    if history is None:
        return None
    seconds = estimate(plan, seconds=history.seconds, bake=watched, pace=settings.pace)
    return {"seconds": round(seconds + history.around, 1), "host_seconds": round(history.seconds, 1), "rollouts": history.rollouts}


def _on_failure(settings: Settings, facts: Facts, plan: Plan) -> str:
    if settings.on_failure == "rollback" and settings.mode not in ("release", "promote"):
        plan.notes.append(f"rollout_on_failure is rollback: there is no release to go back to in mode {settings.mode}, a failure stops.")
        return "stop"
    return settings.on_failure
