# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The rollouts of an application so far: what the ledger of this controller says, and of others what the journals of the hosts say."""

from __future__ import annotations

import calendar
import glob
import os
import subprocess
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils import _dora as dora
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import ACTIVE_STATES, Ledger, read_only
from ansible_collections.seamless.rollout.plugins.plugin_utils._report import iso, table

UNCHANGED = ("pending", "skipped", "untouched")
Journals = t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]]
Rollout = t.Dict[str, t.Any]


def seconds_of(moment: t.Any) -> float | None:
    """Return what an ISO moment of a journal, or the start of a rollout's id, is in seconds since 1970."""
    for text, form in ((str(moment)[:19], "%Y-%m-%dT%H:%M:%S"), (str(moment)[:16], "%Y%m%dT%H%M%SZ")):
        try:
            return float(calendar.timegm(time.strptime(text, form)))
        except ValueError:
            continue
    return None


def of_ledger(ledger: Ledger | None, limit: int = 1000) -> list[Rollout]:
    """Return the rollouts that this controller made, newest first. One without a living process that never ended was ``interrupted``."""
    if ledger is None:
        return []
    dead = {row["id"] for row in ledger.unfinished() if not row["alive"] and row["state"] != "paused"}
    begun = _begun(ledger.path)
    found = []
    for row in ledger.rollouts(limit=limit):
        hosts = ledger.hosts(row["id"])
        changed = {host: entry for host, entry in hosts.items() if entry["state"] not in UNCHANGED}
        last = max([row["started_at"], *(entry["updated_at"] for entry in hosts.values())])
        found.append(
            {
                "id": row["id"], "source": "ledger", "controller": row["controller"], "who": row["owner"], "reason": row["reason"], "mode": row["mode"],
                "state": "interrupted" if row["id"] in dead else row["state"], "release": row["release"],
                "from": sorted({str(entry["from_release"]) for entry in hosts.values() if entry["from_release"]}),
                "started_at": row["started_at"], "finished_at": row["finished_at"] or (last if row["id"] in dead else None),
                "hosts": {host: entry["state"] for host, entry in hosts.items()}, "why": row["halted"] or "",
                "touched": bool(begun.get(row["id"], set()) & set(changed)),
            }
        )
    return found


def _begun(path: str) -> dict[str, set[str]]:
    """Return of each rollout the hosts that it began with, in one look at all events: there may be very many."""
    found: dict[str, set[str]] = {}
    with read_only(path, timeout=30) as connection:
        wanted = "SELECT DISTINCT rollout_id, host FROM events WHERE event IN ('in_flight', 'rolling_back') AND host IS NOT NULL"
        for rollout_id, host in connection.execute(wanted):
            found.setdefault(rollout_id, set()).add(host)
    return found


def of_journals(journals: Journals, known: t.Container[str]) -> list[Rollout]:
    """Return the rollouts that hosts tell of and that are not *known*, as far as hosts can tell: one that only drained and failed leaves no trace there."""
    by_rollout: dict[str, list[tuple[str, t.Mapping[str, t.Any]]]] = {}
    for host, entries in journals.items():
        for entry in entries:
            rollout_id = str(entry.get("rollout_id") or "")
            tells = entry.get("event") in ("switching", "switched", "failed") and entry.get("link", "current") == "current"
            if tells and rollout_id and rollout_id not in known:
                by_rollout.setdefault(rollout_id, []).append((host, entry))
    found = [_told(rollout_id, entries) for rollout_id, entries in by_rollout.items()]
    return [one for one in found if one]


def _told(rollout_id: str, entries: t.Sequence[tuple[str, t.Mapping[str, t.Any]]]) -> Rollout | None:
    moments = [at for at in (seconds_of(entry.get("at")) for dummy, entry in entries) if at is not None]
    if not moments:
        return None
    switched = [(host, entry) for host, entry in entries if entry["event"] == "switched"]
    meant = [entry for dummy, entry in entries if entry["event"] == "switching"]
    failed = [(host, entry) for host, entry in entries if entry["event"] == "failed"]
    first: dict[str, t.Mapping[str, t.Any]] = {}
    last: dict[str, str] = {}
    for host, entry in switched:
        first.setdefault(host, entry)
        last[host] = str(entry.get("release"))
    wanted = str((next(iter(first.values()), None) or entries[0][1]).get("release"))
    went_back = bool(first) and all(str(first[host].get("previous")) == release for host, release in last.items())
    only_back = bool(meant) and all(entry.get("reason") == "rollback" for entry in meant)
    state = "rolled_back" if went_back else "failed" if failed else dora.GOOD if switched else "interrupted"
    who = next((str(entry["by"]) for entry in meant if entry.get("by")), None)
    return {
        "id": rollout_id, "source": "journals", "controller": (who or "").partition("@")[2] or None, "who": who,
        "reason": next((str(entry["why"]) for entry in meant if entry.get("why")), ""), "mode": "rollback" if only_back else "release", "state": state,
        "release": wanted, "from": sorted({str(entry.get("previous")) for entry in first.values() if entry.get("previous")}),
        "started_at": min([at for at in (seconds_of(rollout_id), min(moments)) if at is not None]), "finished_at": max(moments),
        "hosts": {host: "failed" if any(name == host for name, dummy in failed) else "done" for host in dict.fromkeys(host for host, dummy in entries)},
        "touched": bool(switched), "why": "; ".join(f"{host}: {entry.get('why')}" for host, entry in failed),
    }


def staged(journals: Journals) -> dict[str, tuple[float, str | None]]:
    """Return when each release was first put on a host, and its revision where it came from git."""
    found: dict[str, tuple[float, str | None]] = {}
    for entries in journals.values():
        for entry in entries:
            at = seconds_of(entry.get("at"))
            if entry.get("event") == "staged" and at is not None:
                before = found.get(str(entry.get("release")), (at, None))
                found[str(entry.get("release"))] = (min(at, before[0]), before[1] or entry.get("revision"))
    return found


def committed(state_dir: str, revision: str | None) -> float | None:
    """Return when *revision* was committed, from the clones that sources of type git left on this controller."""
    if not revision:
        return None
    for clone in glob.glob(os.path.join(glob.escape(state_dir), "git", "*")):
        command = ["git", "-C", clone, "show", "--no-patch", "--format=%ct", f"{revision}^{{commit}}"]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=10, check=False)
        except (OSError, subprocess.SubprocessError):
            return None
        if done.returncode == 0 and done.stdout.strip().isdigit():
            return float(done.stdout.strip())
    return None


def with_leads(rollouts: t.Iterable[Rollout], journals: Journals, state_dir: str) -> list[Rollout]:
    """Return *rollouts* with what lead time counts from: the commit of their release where that is known, otherwise when it was first staged."""
    put = staged(journals)
    commits = {release: committed(state_dir, revision) for release, (dummy, revision) in put.items()}
    done = []
    for one in rollouts:
        release = one["release"] or ""
        lead, kind = (commits[release], "commit") if commits.get(release) is not None else (put[release][0], "staged") if release in put else (None, None)
        done.append({**one, "lead": lead, "lead_from": kind})
    return done


def past(one: Rollout) -> dora.Past:
    return dora.Past(
        id=one["id"], mode=one["mode"], state=one["state"], release=one["release"], started_at=one["started_at"], finished_at=one["finished_at"],
        touched=one["touched"], left=frozenset(one["from"]), lead=one["lead"], lead_from=one["lead_from"],
    )


def history(ledger: Ledger | None, journals: Journals, state_dir: str, *, limit: int, days: float, now: float) -> dict[str, t.Any]:
    """Return the newest *limit* rollouts and the measures of the last *days*."""
    ours = of_ledger(ledger)
    everything = sorted([*ours, *of_journals(journals, {one["id"] for one in ours})], key=lambda one: -one["started_at"])
    everything = with_leads(everything, journals, state_dir)
    over = [past(one) for one in everything if one["finished_at"] and one["state"] not in ACTIVE_STATES]
    shown = [
        {
            **{key: value for key, value in one.items() if key not in ("lead", "lead_from", "touched")},
            **{key: None if one[key] is None else iso(one[key]) for key in ("started_at", "finished_at")},
            "seconds": None if one["finished_at"] is None else round(one["finished_at"] - one["started_at"], 1),
        }
        for one in everything[:limit]
    ]
    return {"rollouts": shown, "dora": dora.measure(over, now - days * dora.DAY, now)}


def history_text(app: str, data: t.Mapping[str, t.Any]) -> str:
    """Return the history as a table, and the measures below it."""
    rows = [["when", "who", "what", "release", "hosts", "took", "outcome", ""]]
    for one in data["rollouts"]:
        way = f"{', '.join(one['from']) or '-'} -> {one['release'] or '-'}"
        rows.append(
            [
                one["started_at"], one["who"] or "unknown", one["mode"], way, str(len(one["hosts"])), dora.lasted(one["seconds"]), one["state"],
                " ".join((one["why"] or one["reason"]).split())[:200],
            ]
        )
    measured = data["dora"]
    per_day = measured["deployments_per_day"]
    rate = measured["change_fail_rate"]
    since = measured["lead_time_from"]
    counted = ", ".join(f"{count} from {'their commit' if kind == 'commit' else 'when they were staged'}" for kind, count in since.items() if count)
    lines = [f"Rollouts of {app}", *(table(rows) if data["rollouts"] else ["  none yet"]), "", f"Delivery in the last {measured['days']:g} days (dora.dev):"]
    lines += table(
        [
            ["deployment frequency", "-" if per_day is None else f"{per_day:g} a day", f"{measured['succeeded']} succeeded of {measured['deployments']}"],
            ["change lead time", dora.lasted(measured["lead_time_seconds"]), f"median; {counted}" if counted else ""],
            ["change fail rate", "-" if rate is None else f"{100 * rate:g} %", f"{measured['failed']} of {measured['deployments']} failed or were taken back"],
            ["recovery time", dora.lasted(measured["recovery_seconds"]), f"median; not restored yet: {', '.join(measured['not_restored'])}"
             if measured["not_restored"] else "median"],
        ]
    )
    problems = [f"  {host} tells nothing of what other controllers did: {why}" for host, why in data["unread"].items()]
    return "\n".join(lines + problems)
