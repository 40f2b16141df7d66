# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Tells people of a rollout without ever holding it up: each message is handed to a process of its own, and whatever goes wrong here is a warning."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import typing as t

from ansible.utils.display import Display
from ansible_collections.seamless.rollout.plugins.plugin_utils import _notify, _notify_sender
from ansible_collections.seamless.rollout.plugins.plugin_utils import _report as report
from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

# So long is waited, when all is over, for what has not been delivered yet (seconds).
PATIENCE = 2.0
# How the gate words that it waits for somebody.
WAITS_FOR_SOMEBODY = ("waits for resume", "waits for promote")
_ONCE = float(10**12)

Facts = t.Mapping[str, t.Any]


def tell(action: ActionBase, facts: Facts, task_vars: dict[str, t.Any], event: str = "", why: str = "") -> None:
    """Tell whoever wants to know that *event* happened, once; without one, look whether the rollout was halted since somebody looked last.

    Never raises, and takes as long as it takes to start a process for each receiver.
    """
    if facts.get("dry") or not task_vars.get("rollout_notify"):
        return
    try:
        entries = HostVariables(action, task_vars).get(str(facts["targets"][0]), "rollout_notify") or []
        if event == "pause" and not any(word in why for word in WAITS_FOR_SOMEBODY):
            return
        ledger = Ledger(facts["state_dir"])
        news = _news(ledger, facts["id"], event or "failure", why)
        if news is None or not _first(ledger, facts["id"], news):
            return
        for index, entry in enumerate(entries):
            if _notify.wanted(entry, news["event"]):
                hand_over(_order(entry, index, news, os.path.join(facts["state_dir"], "notifications.jsonl")))
    except Exception as exc:
        Display().warning(f"Nobody could be told that the rollout is at its {event or 'failure'} ({type(exc).__name__}). The rollout goes on.")


def _news(ledger: Ledger, rollout_id: str, event: str, why: str) -> dict[str, t.Any] | None:
    """Return what there is to tell, None for nothing."""
    rollout, hosts = ledger.rollout(rollout_id), ledger.hosts(rollout_id)
    # A run that finds everything done is no news.
    if rollout is None or (event in ("start", "end") and not rollout["halted"] and all(host["state"] == "skipped" for host in hosts.values())):
        return None
    if event == "failure" and (not rollout["halted"] or rollout["finished_at"] or ledger.standing(rollout_id).ended):
        return None
    data = report.result_data(rollout, hosts, ledger.events(rollout_id))
    data = {key: value for key, value in data.items() if key != "events"}
    if event == "pause":
        data["state"] = "paused"
    if event in ("start", "pause", "failure"):
        data["finished_at"] = None
    return {"event": event, **data, "why": why or data["why"]}


def _first(ledger: Ledger, rollout_id: str, news: Facts) -> bool:
    """Say to one of all processes of this run of the rollout that this is news. A second pause is."""
    which = f"{len(ledger.orders(rollout_id))}" if news["event"] == "pause" else ""
    return ledger.due(rollout_id, f"told_{news['event']}{which}_{ledger.begun(rollout_id)}", _ONCE)


def _order(entry: _notify.Entry, index: int, news: Facts, record: str) -> dict[str, t.Any]:
    order: dict[str, t.Any] = {
        "kind": entry["type"], "to_whom": _notify.label(entry, index), "rollout": news["id"], "event": news["event"], "number": secrets.token_hex(6),
        "record": record, "ca_path": entry.get("ca_path"), "validate_certs": entry.get("validate_certs", True),
    }
    if entry["type"] == "mail":
        to = entry["to"]
        tls = str(entry.get("tls", "try"))
        return {
            **order, "to": [to] if isinstance(to, str) else list(to), "from": entry["from"], "server": str(entry.get("server", "localhost")),
            "port": int(entry.get("port", 465 if tls == "tls" else 25)), "tls": tls, "username": entry.get("username"), "password": entry.get("password"),
            "subject": _notify.headline(news), "text": f"{_notify.words(entry, news)}\n\n{report.result_text(news)}\n".lstrip(),
        }
    return {**order, "url": str(entry["url"]), "headers": dict(entry.get("headers") or {}), "payload": _notify.payload(entry, news)}


def hand_over(order: dict[str, t.Any]) -> None:
    """Start the process that sends *order*. What it needs is in a file without a name: neither its arguments nor its environment tell a secret."""
    _notify_sender.note(order, "queued")
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(order).encode())
        file.seek(0)
        subprocess.Popen(
            [sys.executable, _notify_sender.__file__], stdin=file, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
        )


def unfinished_business(facts: Facts, patience: float = PATIENCE, sleep: t.Callable[[float], None] = time.sleep) -> list[str]:
    """Return who has not been told of this rollout so far, and why. Waits a moment for what is on its way, *patience* seconds at most."""
    deadline = time.monotonic() + patience
    while True:
        waiting, failed = _state(os.path.join(facts["state_dir"], "notifications.jsonl"), facts["id"])
        if not waiting or time.monotonic() >= deadline:
            return failed + waiting
        sleep(0.05)


def _state(record: str, rollout_id: str) -> tuple[list[str], list[str]]:
    """Return which notifications of a rollout are on their way, and which could not be delivered."""
    last: dict[str, dict[str, t.Any]] = {}
    try:
        with open(record, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]
    except (OSError, ValueError):
        return [], []
    for line in lines:
        if line["rollout"] == rollout_id:
            last[line["number"]] = line
    waiting = [
        f"{line['to_whom']} has not taken the message of its {line['event']} yet" + (f" ({line['detail']}); it is tried again" if line.get("detail") else "")
        for line in last.values() if line["state"] in ("queued", "retried")
    ]
    failed = [f"{line['to_whom']} could not be told of the {line['event']}: {line['detail']}" for line in last.values() if line["state"] == "failed"]
    return waiting, failed
