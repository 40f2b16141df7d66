# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""How long earlier rollouts of an application took, read from its ledger, which is not changed."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import ledger_path, read_only

_ROLLOUTS = 5


class History(t.NamedTuple):
    """What earlier rollouts took: *seconds* a host without its bake and the steps of its weight, and *around* the hosts for planning, staging and the end."""

    rollouts: int
    seconds: float
    around: float


def read_history(state_dir: str, mode: str) -> History | None:
    """Return the medians of the last successful rollouts of *mode*, or None where there are none to learn from."""
    path = ledger_path(state_dir)
    if not os.path.exists(path):
        return None
    try:
        with read_only(path, timeout=5) as connection:
            return _medians(connection, mode)
    except (sqlite3.Error, ValueError):
        # An estimate is a comfort: a ledger that can't be read is for the rollout itself to report.
        return None


def _medians(connection: sqlite3.Connection, mode: str) -> History | None:
    hosts: list[float] = []
    around: list[float] = []
    # Rollouts in which no host was updated teach nothing, so look a little further back.
    rows = connection.execute(
        "SELECT id, started_at, finished_at, plan FROM rollouts WHERE state='succeeded' AND mode=? ORDER BY started_at DESC LIMIT ?",
        (mode, 4 * _ROLLOUTS),
    )
    for rollout in rows:
        planned = json.loads(rollout["plan"]).get("hosts") or {}
        bakes = {host: float(entry.get("bake_seconds") or 0) + float(entry.get("ramp_seconds") or 0) for host, entry in planned.items()}
        begun: dict[str, float] = {}
        ended: dict[str, float] = {}
        for event in connection.execute(
            "SELECT at, host, event FROM events WHERE rollout_id=? AND host IS NOT NULL AND event IN ('in_flight', 'done') ORDER BY number",
            (rollout["id"],),
        ):
            # A run that was interrupted and taken up again counts from its last start.
            (begun if event["event"] == "in_flight" else ended)[event["host"]] = event["at"]
        spans = {host: ended[host] - begun[host] for host in ended if begun.get(host, ended[host]) < ended[host]}
        if not spans:
            continue
        hosts += [max(0.0, span - bakes.get(host, 0.0)) for host, span in spans.items()]
        before = min(begun[host] for host in spans) - rollout["started_at"]
        around.append(max(0.0, before + (rollout["finished_at"] or 0) - max(ended[host] for host in spans)))
        if len(around) == _ROLLOUTS:
            break
    return History(len(around), statistics.median(hosts), statistics.median(around)) if around else None
