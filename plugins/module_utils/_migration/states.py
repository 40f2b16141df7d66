# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The states of a migration and the ways between them. Pure.

A state says what is *certainly* in the database. One that ends in "ing" says that a runner began something and did not report its end: any runner may
go on with it, and nothing else may be done.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

STATES = (
    "pending",
    "expanding",
    "expanded",
    "backfilling",
    "backfilled",
    "contracting",
    "quarantined",
    "dropping",
    "contracted",
    "restoring",
    "aborting",
    "aborted",
)
FINAL = ("contracted", "aborted")
TARGETS = ("planned", "expanded", "backfilled", "quarantined", "contracted", "aborted", "restored")

_FORWARD = STATES[: STATES.index("contracted") + 1]


@dataclasses.dataclass(frozen=True)
class Move:
    """A way from one state to the next: *begins* while it is under way, *ends* when it is done. *phases* are the parts of the plan that it runs."""

    name: str
    begins: str
    ends: str
    phases: tuple[str, ...]


EXPAND = Move("expand", "expanding", "expanded", ("expand",))
BACKFILL = Move("backfill", "backfilling", "backfilled", ("backfill", "validate"))
QUARANTINE = Move("quarantine", "contracting", "quarantined", ("quarantine",))
DROP = Move("drop", "dropping", "contracted", ("drop",))
ABORT = Move("abort", "aborting", "aborted", ("abort", "abort_backfill", "abort_validate"))
RESTORE = Move("restore", "restoring", "backfilled", ("restore", "reverse_backfill", "restore_validate"))
MOVES = (EXPAND, BACKFILL, QUARANTINE, DROP, ABORT, RESTORE)

_LADDER = (EXPAND, BACKFILL, QUARANTINE, DROP)
_LAST = {"expanded": EXPAND, "backfilled": BACKFILL, "quarantined": QUARANTINE, "contracted": DROP}


def unfinished(state: str) -> bool:
    """Say whether a runner began something that it did not report the end of."""
    return state.endswith("ing") and state != "pending"


def path(state: str, target: str) -> tuple[Move, ...]:
    """Return the moves that lead from *state* to the module's *target*: none when it is reached or passed.

    Raises SeamlessError, with what would do, where no way leads there.
    """
    if target == "planned":
        return ()
    if target == "aborted":
        return _to_aborted(state)
    if target == "restored":
        return _to_restored(state)
    if state == "aborting":
        raise _no_way(state, target, "An abort has begun and nothing else may be done before its end: finish it with state: aborted.")
    if state == "restoring":
        if target in ("expanded", "backfilled"):
            return (RESTORE,)
        raise _no_way(state, target, "A restore has begun and nothing else may be done before its end: finish it with state: restored.")
    at = -1 if state in ("pending", "aborted") else _FORWARD.index(state)
    wanted = _LADDER[: _LADDER.index(_LAST[target]) + 1]
    return tuple(move for move in wanted if _FORWARD.index(move.ends) > at)


def _to_aborted(state: str) -> tuple[Move, ...]:
    if state in ("pending", "aborted"):
        return ()
    if state in ("expanding", "expanded", "backfilling", "backfilled", "aborting"):
        return (ABORT,)
    advice = {
        "contracting": "Its contract has begun: finish it with state: quarantined, then undo it with state: restored, and abort then.",
        "quarantined": "Its old shape is in quarantine: undo that with state: restored, and abort then.",
        "restoring": "A restore has begun: finish it with state: restored, and abort then.",
    }
    raise _no_way(state, "aborted", advice.get(state, "Its old shape is gone: only a new migration, or a backup, brings it back."))


def _to_restored(state: str) -> tuple[Move, ...]:
    if state == "backfilled":
        return ()
    if state in ("quarantined", "restoring"):
        return (RESTORE,)
    advice = {
        "contracting": "Its contract has begun: finish it with state: quarantined; it can be undone then.",
        "dropping": "Its old shape is being dropped and can't be brought back but from a backup: finish it with state: contracted.",
        "contracted": "Its old shape was dropped: only a backup brings it back.",
    }
    raise _no_way(state, "restored", advice.get(state, "There is nothing to restore: its old shape never was in quarantine."))


def _no_way(state: str, target: str, advice: str) -> SeamlessError:
    return SeamlessError(f"state: {target} can't be reached: the migration is {state}. {advice}", state=state)


def release_key(release: str) -> tuple[tuple[int, ...], int] | None:
    """Return what releases that are numbers (``42``, ``1.10.2``, ``v3``, ``2.0-rc1``) are ordered by, or None for one that is no number."""
    match = re.match(r"^v?(\d+(?:\.\d+)*)(?:[-+~.](.*)|((?:alpha|beta|rc|a|b|c|dev)[-.\d]*))?$", release, re.IGNORECASE)
    if not match:
        return None
    numbers = [int(part) for part in match.group(1).split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    rest = (match.group(2) or match.group(3) or "").lower()
    return tuple(numbers), -1 if re.match(r"(a|alpha|b|beta|c|rc|pre|dev|preview)[-.\d]*$", rest) else 0


def below(release: str, floor: str) -> bool | None:
    """Say whether *release* is older than *floor*. None when their names have no order: then only somebody who knows their history can say."""
    if release == floor:
        return False
    first, second = release_key(release), release_key(floor)
    return None if first is None or second is None else first < second


def reached(state: str, target: str) -> bool:
    """Say whether a migration in *state* has reached *target* (one of the ladder's) for code that needs it."""
    goal: t.Sequence[str] = _FORWARD
    if state not in goal or target not in goal:
        return False
    return goal.index(state) >= goal.index(target)
