# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What people read after a rollout: the report, as data, text and Markdown."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import NUMBERS

_MOST_ROWS = 200


def table(rows: t.Sequence[t.Sequence[str]], indent: str = "  ") -> list[str]:
    """Return *rows* as lines with aligned columns, each row on one line whatever its cells say."""
    rows = [[" ".join(cell.split("\n")) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return [(indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths))).rstrip() for row in rows]


def result_data(rollout: t.Mapping[str, t.Any], hosts: t.Mapping[str, t.Mapping[str, t.Any]], events: t.Sequence[t.Any]) -> dict[str, t.Any]:
    """Return the report of a rollout as data."""
    finished = rollout["finished_at"] or time.time()
    return {
        "id": rollout["id"],
        "app": rollout["app"],
        "release": rollout["release"],
        "mode": rollout["mode"],
        "state": rollout["state"],
        "why": rollout["halted"] or "",
        "owner": rollout["owner"],
        "reason": rollout["reason"],
        "started_at": iso(rollout["started_at"]),
        "finished_at": iso(finished),
        "seconds": round(finished - rollout["started_at"], 1),
        "hosts": {
            name: {
                "state": host["state"],
                "from": host["from_release"],
                "to": host["to_release"],
                "detail": host["detail"],
                "drained": bool(host["drained"]),
                "seconds_out": host["seconds_out"],
            }
            for name, host in hosts.items()
        },
        "canary": _canary(events),
        "events": [
            {"at": iso(event["at"]), "host": event["host"], "event": event["event"], "detail": event["detail"]}
            for event in events
            if event["event"] not in NUMBERS
        ],
    }


def _canary(events: t.Sequence[t.Any]) -> dict[str, t.Any] | None:
    """Return the last verdict on the canary, with the numbers that it was decided on; None where nobody judged one."""
    verdicts = [event for event in events if event["event"] == "canary_verdict"]
    return {"at": iso(verdicts[-1]["at"]), **verdicts[-1]["detail"]} if verdicts else None


def iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def result_text(report: t.Mapping[str, t.Any]) -> str:
    """Return the report of a rollout as a few lines."""
    lines = [f"Rollout {report['id']}: {report['app']} {report['release'] or ''} {report['state']} in {report['seconds']} s".replace("  ", " ")]
    if report["why"]:
        lines.append(f"  why: {report['why']}")
    if report["canary"]:
        lines.append(f"  canary: {report['canary']['verdict']}, {report['canary']['why']}")
    rows = [
        [
            name,
            host["state"],
            _ran(host),
            f"{host['seconds_out']:.1f} s out" if host["seconds_out"] is not None else "",
            "still out of rotation" if host["drained"] else "",
            host["detail"].replace("\n", " ")[:300],
        ]
        for name, host in report["hosts"].items()
    ]
    where = [f"  report: {report['report']}"] if report.get("report") else []
    return "\n".join([*lines, *table(rows, "  "), *where])


def _ran(host: t.Mapping[str, t.Any]) -> str:
    """Return what happened to the release of *host*: the way it went, or where it stayed."""
    stayed = {"skipped": "to", "untouched": "from", "rolled_back": "from"}.get(host["state"])
    return str(host[stayed] or "-") if stayed else f"{host['from'] or '-'} -> {host['to'] or '-'}"


def result_markdown(report: t.Mapping[str, t.Any]) -> str:
    """Return the report of a rollout for a merge request."""
    lines = [
        f"## Rollout of {_cell(report['app'])} {_cell(report['release'] or '')}: {report['state']}",
        "",
        f"`{report['id']}` by {_cell(report['owner'])}, {report['started_at']} to {report['finished_at']} ({report['seconds']} s)",
        "",
    ]
    if report["why"]:
        lines += [f"**Why:** {_cell(report['why'])}", ""]
    if report["canary"]:
        lines += [f"**Canary ({_cell(', '.join(report['canary']['canary']))}):** {report['canary']['verdict']}, {_cell(report['canary']['why'])}", ""]
    deeds = report.get("deeds") or []
    if len(deeds) > 2:
        lines += ["| at | who | what | why |", "|---|---|---|---|"]
        lines += [f"| {deed['at']} | {_cell(deed['who'])} | {_cell(deed['what'])} | {_cell(deed['why'])} |" for deed in deeds] + [""]
    lines += ["| host | state | from | to | seconds out | detail |", "|---|---|---|---|---|---|"]
    # A page that nobody would scroll through: who failed comes first, and the rest is in the other files.
    rows = sorted(report["hosts"].items(), key=lambda item: not item[1].get("failure"))
    for name, host in rows[:_MOST_ROWS]:
        out = "" if host["seconds_out"] is None else f"{host['seconds_out']:.1f}"
        detail = _cell(host["detail"] or host.get("failure") or "")
        lines.append(f"| {_cell(name)} | {host['state']} | {_cell(host['from'] or '')} | {_cell(host['to'] or '')} | {out} | {detail} |")
    if len(rows) > _MOST_ROWS:
        lines += ["", f"{len(rows) - _MOST_ROWS} more hosts are in report.html and report.json."]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
