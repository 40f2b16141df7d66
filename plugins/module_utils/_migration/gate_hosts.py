# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""E1: whether code that must be gone still runs on a host of the application: old code before a contract, new code before an abort. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration.gate import ABORT, CONTRACT, HOSTS, SHOWN, Evidence, Report, several


def judge_hosts(reports: t.Sequence[Report], migration: str, where: str = "", purpose: str = CONTRACT) -> Evidence:
    """E1: every host of the application runs a release that carries the migration, from processes that began after the switch to it.

    For an abort: no host runs anything of a release that carries it.
    """
    asked = [report for report in reports if not report.get("retired")]
    retired = [f"{report['host']} ({report['retired']})" for report in reports if report.get("retired")]
    left = f"; named as retired, and not asked: {', '.join(retired)}" if retired else ""
    troubles = _host_needs if purpose == ABORT else _host_troubles
    missing = [trouble for report in asked for trouble in troubles(report, migration)]
    if not asked:
        missing = [f"no host was asked: no host of the inventory is in {where or 'the groups'}"]
    seen = {str(report["host"]): _seen(report) for report in reports}
    if missing:
        wanted = "back to a release that does not carry the migration" if purpose == ABORT else "to a release that carries the migration"
        advice = (
            f"Bring every host of the application {wanted}, without --limit, and see that it is healthy there; a host that is gone for good is "
            "named in retired, with the reason."
        )
        return Evidence(HOSTS, f"{len(asked)} hosts were asked what they run{left}", tuple(missing), advice, seen=seen)
    who = f"none of {len(asked)} hosts runs" if purpose == ABORT else f"all {len(asked)} hosts run"
    return Evidence(HOSTS, f"{who} a release that carries {migration}{left}", weak=_noted(asked), seen=seen)


def _seen(report: Report) -> dict[str, t.Any]:
    if report.get("retired"):
        return {"retired": report["retired"]}
    if not report.get("answered"):
        return {"problem": report.get("msg") or "no answer"}
    return {"release": report.get("release"), "switched_ago": report.get("switched_ago")}


def _named(report: Report) -> str:
    return str(report["host"]) + (" (left out by --limit)" if report.get("left_out") else "")


def _silent(report: Report) -> list[str]:
    """Return the trouble with a host that told nothing."""
    if report.get("answered"):
        return []
    problem = str(report.get("msg") or "it gave no answer")
    lost = f"{_named(report)} can't be reached, so nobody knows what runs there ({problem})"
    return [lost if report.get("unreachable") else f"{_named(report)} can't tell what it runs: {problem}"]


def _host_troubles(report: Report, migration: str) -> list[str]:
    silent, name = _silent(report), _named(report)
    if silent:
        return silent
    release, carrying = report.get("release"), report.get("carriers") or []
    if not release:
        return [f"{name} has no release: its link current is {report.get('kind') or 'missing'}"]
    found = []
    if release not in carrying:
        found.append(f"{name} runs release {release}, which does not carry {migration}")
    if report.get("state") in ("failed", "bad"):
        found.append(f"{name} has release {release}, which is marked {report['state']} there")
    for service in report.get("services") or []:
        found += _service_troubles(name, str(release), service, carrying)
    return found + _strays(report, lambda other: other not in carrying)


def _host_needs(report: Report, migration: str) -> list[str]:
    """Return what a host runs that needs *migration*."""
    silent, name, carrying = _silent(report), _named(report), report.get("carriers") or []
    if silent:
        return silent
    release = report.get("release")
    found = [f"{name} runs release {release}, which carries {migration}"] if release in carrying else []
    for service in report.get("services") or []:
        found += _still_works(name, service, [item for item in service.get("releases") or [] if item in carrying and item != release])
    return found + _strays(report, lambda other: other in carrying)


def _strays(report: Report, gone: t.Callable[[str], bool]) -> list[str]:
    """Return the processes, other than those of the services, that work in a release which must be *gone*."""
    told = {release for service in report.get("services") or [] for release in service.get("releases") or []}
    return [
        f"{_named(report)}: {', '.join(processes)} still work{'s' if len(processes) == 1 else ''} in release {release}"
        for release, processes in (report.get("processes") or {}).items() if gone(release) and release not in told
    ]


def _still_works(name: str, service: t.Mapping[str, t.Any], releases: t.Sequence[str]) -> list[str]:
    return [f"{name}: service {service['name']} still works in release {', '.join(releases)}"] if releases else []


def _service_troubles(name: str, release: str, service: t.Mapping[str, t.Any], carrying: t.Container[str]) -> list[str]:
    old = _still_works(name, service, [item for item in service.get("releases") or [] if item not in carrying])
    if old:
        return old
    if not service.get("active"):
        if service.get("action") == "none":
            return []
        return [f"{name}: service {service['name']} is not running, so release {release} has not shown there that it can"]
    if not service.get("releases") and service.get("action") != "none" and not service.get("since_switch"):
        since = "began before the switch to" if service.get("since_switch") is False else "can't be told to have begun after the switch to"
        return [f"{name}: the process of service {service['name']} {since} {release}, so it may still be old code"]
    return []


def _noted(reports: t.Sequence[Report]) -> str:
    """Return what could not be seen well, each with the hosts that it was so on."""
    notes: dict[str, list[str]] = {}
    for report in reports:
        for note in _host_notes(report):
            notes.setdefault(note, []).append(str(report["host"]))
    more = {note: f" and {len(hosts) - SHOWN} more" if len(hosts) > SHOWN else "" for note, hosts in notes.items()}
    return several([f"{', '.join(hosts[:SHOWN])}{more[note]}: {note}" for note, hosts in notes.items()])


def _host_notes(report: Report) -> list[str]:
    silent = [str(service["name"]) for service in report.get("services") or [] if service.get("action") == "none" and not service.get("releases")]
    notes = [f"nothing shows which release {', '.join(silent)} works in (action: none)"] if silent else []
    return notes if report.get("services") else [*notes, "no service is named, so only its link and its processes tell what it runs"]
