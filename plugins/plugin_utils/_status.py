# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Where an application stands: what each host runs and serves, how it stands in its balancers, and what the last rollout did."""

from __future__ import annotations

import collections
import platform
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._urls import shown
from ansible_collections.seamless.rollout.plugins.plugin_utils import _drift as drift
from ansible_collections.seamless.rollout.plugins.plugin_utils import _orders as orders
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import ACTIVE_STATES, NUMBERS, Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._pools import TELLING, Pools, balancer_key, servers_of
from ansible_collections.seamless.rollout.plugins.plugin_utils._preflight import current_release
from ansible_collections.seamless.rollout.plugins.plugin_utils._report import result_data, result_text, table


def fleet_status(
    state_dir: str,
    hosts: t.Mapping[str, t.Mapping[str, t.Any]],
    balancers: t.Sequence[t.Mapping[str, t.Any]],
    addresses: t.Mapping[str, str | None],
    schema: t.Mapping[str, t.Any] | None = None,
    calls: t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]] | None = None,
) -> dict[str, t.Any]:
    """Return the status as data: the verdict, what was found, one entry a host, and the last rollout that this controller made.

    *calls* are the balancers of each host, with the member that it is there: it is looked for as a rollout looks for it.
    """
    ledger = Ledger.existing(state_dir)
    known = _known(ledger)
    places = _Places(balancers)
    rows = {host: _row(host, survey, *places.standing((calls or {}).get(host) or [], addresses.get(host)), known) for host, survey in hosts.items()}
    status = {"hosts": rows, "balancer_problems": _problems(balancers), "last_rollout": _last(ledger), "schema": dict(schema) if schema else None}
    found = drift.find(status)
    return {"verdict": drift.verdict(found), "findings": found, **status}


class _Known(t.NamedTuple):
    """What the ledger says of rollouts: which have no living process, and on which hosts one that lives works."""

    dead: t.Collection[str]
    ended: t.Collection[str]
    slots: t.Mapping[str, t.Mapping[str, str]]


def _known(ledger: Ledger | None) -> _Known:
    if ledger is None:
        return _Known((), (), {})
    unfinished = ledger.unfinished()
    slots = {
        host: {"rollout": row["id"], "state": entry["state"]}
        for row in unfinished if row["alive"]
        for host, entry in ledger.hosts(row["id"]).items() if entry["state"] in ("in_flight", "rolling_back")
    }
    dead = [row["id"] for row in unfinished if not row["alive"] and row["state"] != "paused" and row["controller"] == platform.node()]
    return _Known(dead, [row["id"] for row in ledger.rollouts(limit=1000) if row["finished_at"]], slots)


def _row(
    host: str, survey: t.Mapping[str, t.Any], standing: t.Mapping[str, t.Any], missing: t.Sequence[str], known: _Known
) -> dict[str, t.Any]:
    if survey.get("failed") or survey.get("unreachable") or not survey:
        return {"reachable": False, "problem": survey.get("msg", "no answer")}
    records = {record["id"]: record.get("state") for record in survey.get("releases") or [] if record.get("id")}
    current = current_release(survey)
    services = survey.get("services") or []
    lock = _lock(survey.get("lock"), known)
    return {
        "reachable": True,
        "current": current,
        "link": survey["current"]["kind"],
        "state": records.get(current or "", survey["current"]["kind"]),
        "running": sorted({str(service["release"]) for service in services if service.get("release")}),
        "served": survey.get("served_version"),
        "preview": survey.get("preview"),
        "healthy": survey.get("healthy"),
        "unhealthy": "; ".join(str(probe.get("detail")) for probe in survey.get("health") or [] if not probe.get("ok")),
        "last_good": survey.get("last_good"),
        "releases": records,
        "services": [
            {
                "name": service["name"], "active": bool(service.get("active", True)), "stale": bool(service.get("stale")),
                "releases": service.get("releases") or [service["release"]] if service.get("release") else [],
            }
            for service in services
        ],
        "stale": [service["name"] for service in services if service.get("stale")],
        "verified": survey.get("verified"),
        "lock": lock,
        "slot": known.slots.get(host),
        "busy": bool(lock and not lock["dead"]) or host in known.slots,
        "balancers": standing,
        "not_members": list(missing),
    }


def _lock(lock: t.Mapping[str, t.Any] | None, known: _Known) -> dict[str, t.Any] | None:
    """Return who holds the lock, since when, how long ago there was a sign of life (seconds), and whether it is known to be dead."""
    if not lock:
        return None
    dead = bool(lock.get("expired")) or lock.get("id") in known.dead or lock.get("id") in known.ended
    told = {key: lock.get(key) for key in ("id", "owner", "reason", "release", "at", "idle", "ttl")}
    return {**told, "owner": told["owner"] or "unknown", "dead": dead}


class _Places:
    """What the balancers answered, by what asks for it, and how a pool is named: more exactly where several on one machine have its name."""

    def __init__(self, balancers: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        answered = [answer for answer in balancers if not answer.get("failed") and not answer.get("unreachable")]
        self._answers = {balancer_key(answer.get("item") or {}): Pools(answer) for answer in answered}
        self._balancers: dict[tuple[str, str], set[str]] = {}
        for answer in balancers:
            for pool in answer.get("pools") or []:
                self._balancers.setdefault((_machine(answer), str(pool["backend"])), set()).add(str(pool.get("balancer")))

    def standing(self, calls: t.Sequence[t.Mapping[str, t.Any]], address: str | None) -> tuple[dict[str, dict[str, t.Any]], list[str]]:
        """Return how the host with these *calls* stands in each pool, and which balancers gave an answer in which it is no server."""
        found: dict[tuple[str, str], dict[str, t.Any]] = {}
        missing = []
        for call in calls:
            answer = self._answers.get(balancer_key(call))
            servers = servers_of(answer, call, address) if answer is not None else []
            if answer is not None and not servers:
                missing.append(f"{call['member']} is no server on {call['delegate']}")
            for pool, member in servers:
                known = {key: member.get(key) for key in ("health", "admin", "sessions", "queued", "weight", "weight_before", "drained_by")}
                standing = {**known, "ramping": bool(member.get("ramping")), "operator": bool(member.get("operator"))}
                found[self._place(str(call["delegate"]), pool), str(member["name"])] = standing
        several = collections.Counter(place for place, dummy in found)
        return {place if several[place] == 1 else f"{place}/{name}": standing for (place, name), standing in found.items()}, missing

    def _place(self, machine: str, pool: t.Mapping[str, t.Any]) -> str:
        several = len(self._balancers[machine, str(pool["backend"])]) > 1
        return f"{machine} ({_told(pool.get('balancer'))})/{pool['backend']}" if several else f"{machine}/{pool['backend']}"


def _machine(answer: t.Mapping[str, t.Any]) -> str:
    return str((answer.get("item") or {}).get("delegate"))


def _standing_text(standing: t.Mapping[str, t.Any]) -> str:
    by = f" by {standing['drained_by']}" if standing["drained_by"] and not standing["ramping"] else ""
    before = standing["weight_before"]
    weight = f", weight {standing['weight']} instead of {before}" if before and before != standing["weight"] and standing["admin"] == "ready" else ""
    sessions = "" if standing["sessions"] is None else f", {standing['sessions']} sessions"
    return f"{standing['health']}, {standing['admin']}{by}{sessions}{weight}"


def _problems(balancers: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, str]:
    silent = [answer for answer in balancers if answer.get("failed") or answer.get("unreachable")]
    machines = collections.Counter(_machine(answer) for answer in silent)
    return {
        _machine(answer) if machines[_machine(answer)] == 1 else f"{_machine(answer)} ({_reached(answer['item'])})": str(answer.get("msg", "no answer"))
        for answer in silent
    }


def _reached(item: t.Mapping[str, t.Any]) -> str:
    """Return by what a balancer is told from others on its machine."""
    told = [value for name, value in ((name, item.get(name)) for name in TELLING) if value]
    values = [one for value in told for one in (value if isinstance(value, (list, tuple)) else [value])]
    return " ".join(_told(one) for one in values)


def _told(place: t.Any) -> str:
    return shown(str(place)) if "://" in str(place) else str(place)


def _last(ledger: Ledger | None) -> dict[str, t.Any] | None:
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
    """Return the status as a table, with one line before it that says how things are."""
    rows = [["host", "current", "state", "running", "served", "health", "in rotation", ""]]
    for host, row in status["hosts"].items():
        if not row["reachable"]:
            rows.append([host, "?", "unreachable", "?", "?", "?", "?", str(row["problem"])[:120]])
            continue
        rows.append(
            [
                host,
                str(row["current"] or "-"),
                str(row["state"]),
                ", ".join(row["running"]) or "-",
                str(row["served"] or "-"),
                {True: "healthy", False: "not healthy", None: "-"}[row["healthy"]],
                "; ".join(f"{where}: {_standing_text(how)}" for where, how in row["balancers"].items()) or "-",
                ", ".join(_notes(row)),
            ]
        )
    lines = [drift.headline(app, status, status["findings"]), f"Status of {app}", *table(rows)]
    lines += [f"  balancer {machine}: {problem}" for machine, problem in status["balancer_problems"].items()]
    if status["findings"]:
        lines += ["", "What is not as it should be:"]
        lines += table([[one["severity"], one["code"], drift.worded(one)[:300]] for one in status["findings"]])
    if status["last_rollout"]:
        lines += ["", "Last rollout from this controller:", result_text(status["last_rollout"])]
    return "\n".join(lines)


def _notes(row: t.Mapping[str, t.Any]) -> list[str]:
    notes = [f"stale: {', '.join(row['stale'])}"] if row["stale"] else []
    if row["lock"]:
        idle = row["lock"]["idle"]
        notes.append(f"locked by {row['lock']['owner']}" + (f", {idle:.0f} s ago" if idle is not None and idle >= 1 else ""))
    notes += [row["slot"]["state"].replace("_", " ")] if row["slot"] else []
    return notes + ([f"preview {row['preview']}"] if row["preview"] else [])
