# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Which rollout this is: a new one, or one that was interrupted on this controller and goes on."""

from __future__ import annotations

import getpass
import os
import platform
import secrets
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._process import process_start

if t.TYPE_CHECKING:
    from ansible_collections.seamless.rollout.plugins.plugin_utils._settings import Settings


def whoami() -> str:
    """Return who works here, for locks, ledger and orders: user and machine."""
    return f"{getpass.getuser()}@{platform.node()}"


def identify(settings: Settings, state_dir: str) -> tuple[str, list[str]]:
    """Return the id of this rollout, an interrupted one's where this goes on with it, and the ids whose locks it may take.

    Those are the ids that died here, or ended. One that is paused waits for somebody's decision, and only a rollback is one.
    """
    new = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"
    ledger = Ledger.existing(state_dir)
    if ledger is None:
        return new, []
    dead = ledger.of_this_controller(alive=False)
    mine = [row["id"] for row in dead if row["release"] == settings.release and row["mode"] == settings.mode]
    ended = [row["id"] for row in ledger.rollouts(limit=50) if row["finished_at"]]
    kept = [] if settings.mode == "rollback" else [row["id"] for row in ledger.paused()]
    return (mine[0] if mine else new), [row["id"] for row in dead if row["id"] not in kept] + ended


def paused_holders(state_dir: str, answers: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    """Return, for each paused rollout of this controller whose lock some host refused to give, what can be done about it."""
    holders = {(answer.get("lock") or {}).get("id") for answer in answers.values() if answer.get("failed")} - {None}
    ledger = Ledger.existing(state_dir) if holders else None
    return [
        f"{row['id']} ({row['mode']}{' of ' + row['release'] if row['release'] else ''}) is paused and keeps its locks: {row['halted'] or 'no reason given'}. "
        "Run its command again to go on with it, give it up with the control playbook and rollout_order=abort, take its hosts back with the "
        "rollback playbook, or take its locks with rollout_break_lock: true."
        for row in (ledger.paused() if ledger else [])
        if row["id"] in holders
    ]


def begin(facts: t.Mapping[str, t.Any], settings: Settings) -> None:
    """Record the rollout of *facts*, and that those it takes over are superseded."""
    ledger = Ledger(facts["state_dir"])
    pid = os.getppid()
    taken = [row["id"] for row in ledger.of_this_controller(alive=False) if row["id"] in facts["takeover"] and row["id"] != facts["id"]]
    ledger.begin(
        {
            "id": facts["id"],
            "app": facts["app"],
            "release": facts["release"],
            "mode": facts["mode"],
            "state": "planned",
            "reason": settings.reason,
            "owner": facts["owner"],
            "controller": platform.node(),
            "pid": pid,
            "process_start": process_start(pid),
            "started_at": time.time(),
        }
    )
    for dead in taken:
        ledger.set_state(dead, "superseded", halted=f"its process is gone; {facts['id']} took over")
