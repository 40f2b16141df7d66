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


def done(ledger: Ledger, rollout_id: str, point: str) -> set[str]:
    """Return the names of the actions of *point* that are done, by this rollout or by runs before it that tried the same."""
    found: set[str] = set()
    mine = ledger.rollout(rollout_id) or {}
    for rollout in ledger.rollouts(limit=50):
        if rollout["id"] != rollout_id:
            if rollout["started_at"] > mine.get("started_at", 0) or rollout["state"] in ("refused", "superseded") and rollout["release"] == mine.get("release"):
                continue
            if (rollout["release"], rollout["mode"]) != (mine.get("release"), mine.get("mode")) or rollout["state"] in ("rolled_back", "rollback_failed"):
                break
        events = [event["detail"] for event in ledger.events(rollout["id"]) if event["event"] == "once_done" and event["detail"]["point"] == point]
        # Where the database stands is for its own ledger to say: somebody may have aborted a migration since.
        found |= {event["action"] for event in events if rollout["id"] == rollout_id or event["action"] != MIGRATION_ROLE}
    return found


def remaining(ledger: Ledger, rollout_id: str, point: str, wanted: t.Sequence[str]) -> list[str]:
    """Return which of the *wanted* actions are still to be done, in their order."""
    ran = done(ledger, rollout_id, point)
    return [action for action in wanted if action not in ran]
