# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Where an application is not what somebody left it as: findings of a status, and the verdict that follows from them."""

from __future__ import annotations

import typing as t

OK, WARNING, CRITICAL = "ok", "warning", "critical"

# What may be found, and how bad it is.
SEVERITY: dict[str, str] = {
    "unreachable": CRITICAL,
    "no_release": CRITICAL,
    "service_down": CRITICAL,
    "not_healthy": CRITICAL,
    "stale_process": CRITICAL,
    "bytes_differ": CRITICAL,
    "drain_left": CRITICAL,
    "balancer_unread": CRITICAL,
    "rollout_interrupted": CRITICAL,
    "drained_unknown": WARNING,
    "not_member": WARNING,
    "mixed_releases": WARNING,
    "dead_lock": WARNING,
    "rollout_paused": WARNING,
    "schema_unread": WARNING,
    "schema_stopped": WARNING,
}
# Normal on a host that a rollout works on right now.
PASSING = frozenset({"service_down", "not_healthy", "stale_process", "drain_left"})


def finding(code: str, text: str, host: str | None = None) -> dict[str, t.Any]:
    return {"code": code, "severity": SEVERITY[code], "host": host, "text": text}


def find(status: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return everything of *status* that is not as it should be, the worst first."""
    found: list[dict[str, t.Any]] = []
    rollout = status["last_rollout"]
    if rollout and rollout["state"] == "interrupted":
        found.append(finding("rollout_interrupted", f"rollout {rollout['id']} was interrupted: {rollout['why']}"))
    elif rollout and rollout["state"] == "paused":
        found.append(finding("rollout_paused", f"rollout {rollout['id']} is paused: {rollout['why'] or 'no reason given'}"))
    for host, row in status["hosts"].items():
        found += _of_host(host, row)
    found += _mixed(status)
    found += [finding("balancer_unread", f"balancer {machine} gives no answer: {why}") for machine, why in status["balancer_problems"].items()]
    found += _of_schema(status.get("schema") or {})
    return sorted(found, key=lambda one: one["severity"] != CRITICAL)


def _of_host(host: str, row: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    if not row["reachable"]:
        return [finding("unreachable", f"can't be read: {row['problem']}", host)]
    told: list[tuple[str, str]] = []
    if row["link"] != "link":
        told.append(("no_release", f"current is {row['link']}"))
    for service in row["services"]:
        if not service["active"]:
            told.append(("service_down", f"{service['name']} does not run"))
        elif service["stale"]:
            told.append(("stale_process", f"the link says {row['current']}, and {service['name']} still runs {', '.join(service['releases'])}"))
    if row["healthy"] is False:
        told.append(("not_healthy", row["unhealthy"] or "a health check fails"))
    verified = row["verified"]
    if verified and verified["differ"]:
        more = ", ..." if verified["differ"] > len(verified["paths"]) else ""
        told.append(("bytes_differ", f"{verified['differ']} files of {verified['release']} are not what was staged: {', '.join(verified['paths'])}{more}"))
    for place, standing in row["balancers"].items():
        if standing["operator"]:
            told.append(("drained_unknown", f"{place}: {standing['admin']}, by nobody who left a record"))
        elif standing["drained_by"] and standing["admin"] != "ready" and not standing["ramping"]:
            told.append(("drain_left", f"{place}: {standing['admin']} by {standing['drained_by']}, and no rollout works on it"))
    told += [("not_member", text) for text in row["not_members"]]
    lock = row["lock"]
    if lock and lock["dead"]:
        told.append(("dead_lock", f"locked by {lock['owner']} (rollout {lock['id']}), which is dead"))
    return [finding(code, text, host) for code, text in told if not (row["busy"] and code in PASSING)]


def _mixed(status: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    rows = [(host, row) for host, row in status["hosts"].items() if row["reachable"]]
    by_release: dict[str, list[str]] = {}
    for host, row in rows:
        by_release.setdefault(str(row["current"]), []).append(host)
    if len(by_release) < 2 or any(row["busy"] for dummy, row in rows):
        return []
    most = max(by_release, key=lambda release: len(by_release[release]))
    others = "; ".join(f"{release} on {', '.join(hosts)}" for release, hosts in by_release.items() if release != most)
    return [finding("mixed_releases", f"no rollout is under way, and not all hosts run {most}: {others}")]


def _of_schema(schema: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    if schema.get("problem"):
        return [finding("schema_unread", f"the database can't be read: {schema['problem']}")]
    return [
        finding("schema_stopped", f"migration {one['name']} ({one['state']}) was stopped by: {one['last_error']}")
        for one in schema.get("migrations") or [] if one.get("last_error")
    ]


def verdict(found: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return the worst severity of *found*, ``ok`` where there is nothing."""
    severities = {one["severity"] for one in found}
    return next((severity for severity in (CRITICAL, WARNING) if severity in severities), OK)


def worded(one: t.Mapping[str, t.Any]) -> str:
    return (f"{one['host']}: " if one["host"] else "") + str(one["text"])


def headline(app: str, status: t.Mapping[str, t.Any], found: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return the one line that a monitoring shows."""
    releases = sorted({str(row["current"]) for row in status["hosts"].values() if row["reachable"]})
    hosts = len(status["hosts"])
    runs = f"{app} {', '.join(releases) or 'nothing'} on {hosts} host{'s' if hosts != 1 else ''}"
    busy = sum(bool(row["reachable"] and row["busy"]) for row in status["hosts"].values())
    if not found:
        return f"OK - {runs}" + (f", a rollout works on {busy} of them" if busy else "")
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{verdict(found).upper()} - {runs} - {worded(found[0])}{more}".replace("\n", " ")
