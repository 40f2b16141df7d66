# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Follows the ledger of a rollout that runs, without changing it and without waiting for whoever writes."""

from __future__ import annotations

import json
import os
import sqlite3
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import BAD_STATES, BEGUN, ledger_path, read_only

OVER = ("done", "rolled_back", *BAD_STATES)
WANTED = (
    *BEGUN, *OVER, "running", "paused", "succeeded", "aborted", "refused", "pause", "resume", "promote", "stop", "abort", "steps", "counted",
)
_QUERY = (
    "SELECT number, at, host, event, detail FROM events WHERE rollout_id=? AND number>? "
    f"AND event IN ({', '.join('?' * len(WANTED))}) ORDER BY number"
)


class Follower:
    """Returns what was recorded since it was asked last. A connection a look: none is carried into the processes that Ansible forks."""

    def __init__(self, state_dir: str, rollout_id: str) -> None:
        self.path, self.id, self._seen = ledger_path(state_dir), rollout_id, 0

    def skip(self) -> None:
        """Leave out what is recorded by now, which a run before this one did."""
        self._seen = self._last()

    def news(self) -> list[dict[str, t.Any]]:
        """Return the new events, or none where the ledger can't be read just now: they come with the next look."""
        rows = self._ask(_QUERY, (self.id, self._seen, *WANTED))
        if rows:
            self._seen = rows[-1]["number"]
        return _in_order([{**dict(row), "detail": json.loads(row["detail"])} for row in rows])

    def _last(self) -> int:
        rows = self._ask("SELECT max(number) AS number FROM events WHERE rollout_id=?", (self.id,))
        return int(rows[0]["number"] or 0) if rows else 0

    def _ask(self, query: str, values: tuple[t.Any, ...]) -> list[sqlite3.Row]:
        if not os.path.exists(self.path):
            return []
        try:
            # A writer has the right of way: this never waits for it, and reads for less than a millisecond.
            with read_only(self.path, timeout=0) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.Error:
            return []


def _in_order(rows: t.Sequence[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return *rows* with the steps of each host before its end, which is recorded first."""
    ordered: list[dict[str, t.Any]] = []
    for row in rows:
        ends = [number for number, other in enumerate(ordered) if row["event"] == "steps" and other["host"] == row["host"] and other["event"] in OVER]
        ordered.insert(ends[-1] if ends else len(ordered), row)
    return ordered
