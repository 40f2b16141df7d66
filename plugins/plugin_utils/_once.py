# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.
"""What has to happen once for a rollout: not once a batch, not once a host, and not again when the rollout is run again after a crash.

What was done is recorded in the ledger. A rollout that is run again with the same release and mode goes on with what the run before had done,
until another release, a rollback, or an undo comes in between.
"""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._migrations import ROLE as MIGRATION_ROLE

POINTS = ("before", "after")
# Hosts of the play: one that does it, and others that notice when it is lost.
WITNESSES = 3


def _was_undone(ledger: Ledger, rollout: t.Mapping[str, t.Any]) -> bool:
    """Whether *rollout* ended with an undo, of one host at least: it counts as failed where another one could not be reached any more."""
    states = {row["state"] for row in ledger.hosts(rollout["id"]).values()} if rollout["finished_at"] else set()
    return bool({rollout["state"], *states} & {"rolled_back", "rollback_failed"})


def _tries(ledger: Ledger, rollout_id: str) -> t.Iterator[dict[str, t.Any]]:
    """Yield this rollout and those before it that tried the same, newest first."""
    mine = ledger.rollout(rollout_id) or {}
    for rollout in ledger.rollouts(limit=50):
        if rollout["id"] != rollout_id:
            if rollout["started_at"] > mine.get("started_at", 0) or rollout["state"] in ("refused", "superseded") and rollout["release"] == mine.get("release"):
                continue
            if (rollout["release"], rollout["mode"]) != (mine.get("release"), mine.get("mode")) or _was_undone(ledger, rollout):
                break
        yield rollout


def done(ledger: Ledger, rollout_id: str, point: str) -> set[str]:
    """Return the names of the actions of *point* that are done, by this rollout or by runs before it that tried the same."""
    found: set[str] = set()
    begun = ledger.begun(rollout_id)
    for rollout in _tries(ledger, rollout_id):
        mine = rollout["id"] == rollout_id
        for event in ledger.events(rollout["id"]):
            if event["event"] != "once_done" or event["detail"]["point"] != point:
                continue
            action = event["detail"]["action"]
            # Done for some of the hosts counts for the run that knew no others. Where the database stands is for its own ledger to say: somebody
            # may have aborted a migration since.
            if mine and event["at"] >= begun or not event["detail"].get("left_out") and (mine or action != MIGRATION_ROLE):
                found.add(action)
    return found


def left_out(ledger: Ledger, rollout_id: str, point: str, hosts: t.Sequence[str]) -> list[str]:
    """Return which of *hosts*, those that a ``--limit`` kept from this run, make what is done after all hosts be done too early."""
    if point == "before":
        return []
    there: set[str] = set()
    for rollout in _tries(ledger, rollout_id):
        rows = ledger.hosts(rollout["id"])
        there |= {host for host, row in rows.items() if row["state"] in ("done", "skipped") and row["to_release"] == rollout["release"]}
    return [host for host in hosts if host not in there]


def remaining(ledger: Ledger, rollout_id: str, point: str, wanted: t.Sequence[str]) -> list[str]:
    """Return which of the *wanted* actions are still to be done, in their order."""
    ran = done(ledger, rollout_id, point)
    return [action for action in wanted if action not in ran]
