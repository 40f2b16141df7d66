# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Where an application stands: what each host runs and serves, how it stands in its balancers, and what the last rollout did."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils import _orders as orders
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import ACTIVE_STATES, NUMBERS, Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._pools import find_member
from ansible_collections.seamless.rollout.plugins.plugin_utils._preflight import current_release
from ansible_collections.seamless.rollout.plugins.plugin_utils._report import result_data, result_text, table


def fleet_status(
    state_dir: str,
    hosts: t.Mapping[str, t.Mapping[str, t.Any]],
    balancers: t.Sequence[t.Mapping[str, t.Any]],
    addresses: t.Mapping[str, str | None],
) -> dict[str, t.Any]:
    """Return the status as data: one entry a host, and the last rollout that this controller made."""
    rows = {}
    for host, survey in hosts.items():
        if survey.get("failed") or survey.get("unreachable") or not survey:
            rows[host] = {"reachable": False, "problem": survey.get("msg", "no answer")}
            continue
        records = {record["id"]: record.get("state") for record in survey.get("releases") or [] if record.get("id")}
        current = current_release(survey)
        running = sorted({str(service["release"]) for service in survey.get("services") or [] if service.get("release")})
        rows[host] = {
            "reachable": True,
            "current": current,
            "state": records.get(current or "", survey["current"]["kind"]),
            "running": running,
            "served": survey.get("served_version"),
            "preview": survey.get("preview"),
            "healthy": survey.get("healthy"),
            "last_good": survey.get("last_good"),
            "releases": records,
            "lock": survey.get("lock"),
            "stale": [service["name"] for service in survey.get("services") or [] if service.get("stale")],
            "balancers": _standing(host, balancers, addresses.get(host)),
        }
    return {"hosts": rows, "balancer_problems": _problems(balancers), "last_rollout": _last(state_dir)}


def _standing(host: str, balancers: t.Sequence[t.Mapping[str, t.Any]], address: str | None) -> dict[str, str]:
    found = {}
    for answer in balancers:
        machine = str((answer.get("item") or {}).get("delegate"))
        for pool, member in find_member(answer, host, address):
            by = f" by {member['drained_by']}" if member.get("drained_by") and not member.get("ramping") else ""
            before = member.get("weight_before")
            weight = f", weight {member['weight']} instead of {before}" if before and before != member["weight"] and member["admin"] == "ready" else ""
            found[f"{machine}/{pool['backend']}"] = f"{member['health']}, {member['admin']}{by}{weight}"
    return found


def _problems(balancers: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, str]:
    return {
        str((answer.get("item") or {}).get("delegate")): str(answer.get("msg", "no answer"))
        for answer in balancers
        if answer.get("failed") or answer.get("unreachable")
    }


def _last(state_dir: str) -> dict[str, t.Any] | None:
    ledger = Ledger.existing(state_dir)
    newest = ledger.rollouts(limit=1) if ledger else []
    if ledger is None or not newest:
        return None
    data = result_data(newest[0], ledger.hosts(newest[0]["id"]), ledger.events(newest[0]["id"]))
    if any(row["id"] == data["id"] and not row["alive"] for row in ledger.unfinished()) and data["state"] != "paused":
        data["state"] = "interrupted"
        data["why"] = data["why"] or "its process is gone; run the same command again to finish"
    else:
        paused = ledger.standing(newest[0]["id"]).paused
        data["why"] = data["why"] or (orders.worded(paused) if paused and not newest[0]["finished_at"] else "")
    return data


def watch(state_dir: str, say: t.Callable[[str], None], sleep: t.Callable[[float], None] = time.sleep) -> dict[str, str]:
    """Say every event of the rollout that runs on this controller, until it is finished or its process is gone.

    Returns its id and the state in which it ended, or nothing where none ran.
    """
    ledger = Ledger.existing(state_dir)
    working = ledger.working() if ledger else None
    if ledger is None or working is None:
        say("No rollout runs on this controller.")
        return {}
    running = working["id"]
    seen = 0
    while True:
        lives = any(row["id"] == running for row in ledger.of_this_controller(alive=True))
        events = ledger.events(running)
        for event in (event for event in events[seen:] if event["event"] not in NUMBERS):
            detail = "; ".join(f"{name} {value}" for name, value in event["detail"].items() if value not in ("", None) and name not in ("state", "drained"))
            at = time.strftime("%H:%M:%S", time.localtime(event["at"]))
            say(f"{at}  {event['host'] or 'rollout'}  {event['event']}" + (f"  {detail}" if detail else ""))
        seen = len(events)
        if not lives:
            state = str((ledger.rollout(running) or working)["state"])
            return {"id": running, "state": "interrupted" if state in ACTIVE_STATES and state != "paused" else state}
        sleep(0.5)


def status_text(app: str, status: t.Mapping[str, t.Any]) -> str:
    """Return the status as a table."""
    rows = [["host", "current", "state", "running", "served", "health", "in rotation", ""]]
    for host, row in status["hosts"].items():
        if not row["reachable"]:
            rows.append([host, "?", "unreachable", "?", "?", "?", "?", str(row["problem"])[:120]])
            continue
        notes = [f"stale: {', '.join(row['stale'])}"] if row["stale"] else []
        notes += [f"locked by {row['lock'].get('owner')}"] if row["lock"] else []
        notes += [f"preview {row['preview']}"] if row["preview"] else []
        rows.append(
            [
                host,
                str(row["current"] or "-"),
                str(row["state"]),
                ", ".join(row["running"]) or "-",
                str(row["served"] or "-"),
                {True: "healthy", False: "not healthy", None: "-"}[row["healthy"]],
                "; ".join(f"{where}: {how}" for where, how in row["balancers"].items()) or "-",
                ", ".join(notes),
            ]
        )
    lines = [f"Status of {app}", *table(rows)]
    lines += [f"  balancer {machine}: {problem}" for machine, problem in status["balancer_problems"].items()]
    if status["last_rollout"]:
        lines += ["", "Last rollout from this controller:", result_text(status["last_rollout"])]
    return "\n".join(lines)
