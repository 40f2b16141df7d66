# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The release floor in the plan: no host goes below it, not even back to where it came from."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._release import floor as floors
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import USABLE_STATES
from ansible_collections.seamless.rollout.plugins.plugin_utils import _source as source
from ansible_collections.seamless.rollout.plugins.plugin_utils._preflight import Findings, record_of

Surveys = t.Mapping[str, t.Mapping[str, t.Any]]
Floor = t.Mapping[str, t.Any]


def fleet_floor(surveys: Surveys) -> floors.Floor:
    """Return the release floor of the application: as high as that of any host, since a new host has none of its own. Empty where there is none."""
    return floors.merged(survey.get("floor") for survey in surveys.values()) or {}


def lacks(survey: t.Mapping[str, t.Any] | None, release: str | None, floor: Floor) -> list[str]:
    """Return the migrations of *floor* that *release* does not carry, as this host has it; none where the host does not have it."""
    record = record_of(survey or {}, release)
    return [] if record is None else floors.lacks(floor, record.get("migrations") or {})


def releases_above(surveys: Surveys, floor: Floor) -> list[str]:
    """Return the releases that all hosts have and *floor* allows, oldest first as the first host has them."""
    everywhere: list[str] | None = None
    for survey in surveys.values():
        here = [
            str(record["id"])
            for record in survey.get("releases") or []
            if record.get("state") in USABLE_STATES and not floors.lacks(floor, record.get("migrations") or {})
        ]
        everywhere = here if everywhere is None else [name for name in everywhere if name in here]
    return everywhere or []


def check_floor(facts: t.Mapping[str, t.Any], wanted: t.Mapping[str, str | None], surveys: Surveys, findings: Findings) -> None:
    """Refuse to bring hosts to the releases *wanted* where those are below the floor, one sentence a release.

    What the controller is about to ship is judged by its manifest; what a host gets by itself, when it is staged, before any host is touched.
    """
    floor = facts["floor"]
    if not floor or facts["mode"] == "update":
        return
    refused: dict[str, set[str]] = {}
    resolved = facts["resolved"]
    if facts["mode"] in ("release", "preview") and resolved.get("tree"):
        missing = floors.lacks(floor, source.carried(facts["state_dir"], resolved["digest"], resolved["tree"], floor["directory"]))
        if missing:
            refused[str(facts["release"])] = set(missing)
    else:
        for host, release in wanted.items():
            missing = lacks(surveys.get(host), release, floor)
            if missing:
                refused.setdefault(str(release), set()).update(missing)
    for name, lacking in refused.items():
        findings.problems.append(floors.refusal(name, floor, sorted(lacking), releases_above(surveys, floor)))


def no_way_back(survey: t.Mapping[str, t.Any] | None, release: str | None, floor: Floor) -> str:
    """Return why a host can't go back to *release*, or an empty string."""
    missing = lacks(survey, release, floor) if floor else []
    return f"release {release} is below the release floor, it does not carry {', '.join(missing)}" if missing else ""


def notes(hosts: t.Mapping[str, t.Mapping[str, t.Any]], on_failure: str) -> list[str]:
    """Return what an operator should know of hosts that an undo would leave where they are."""
    if on_failure != "rollback":
        return []
    stuck: dict[str, list[str]] = {}
    for host, entry in hosts.items():
        if entry["no_way_back"] and entry["state"] in ("pending", "done"):
            stuck.setdefault(entry["no_way_back"], []).append(host)
    return [f"{', '.join(names)} can't be taken back after a failure: {why}." for why, names in stuck.items()]
