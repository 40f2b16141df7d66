# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import states
from ansible_collections.seamless.rollout.plugins.module_utils._migration.states import (
    ABORT,
    BACKFILL,
    DROP,
    EXPAND,
    QUARANTINE,
    RESTORE,
    STATES,
    TARGETS,
    below,
    path,
    reached,
    unfinished,
)

WAYS = [
    ("pending", "expanded", (EXPAND,)),
    ("pending", "backfilled", (EXPAND, BACKFILL)),
    ("pending", "contracted", (EXPAND, BACKFILL, QUARANTINE, DROP)),
    ("expanding", "expanded", (EXPAND,)),
    ("expanded", "backfilled", (BACKFILL,)),
    ("backfilling", "expanded", ()),
    ("backfilling", "backfilled", (BACKFILL,)),
    ("backfilled", "expanded", ()),
    ("backfilled", "quarantined", (QUARANTINE,)),
    ("backfilled", "restored", ()),
    ("contracting", "backfilled", ()),
    ("contracting", "quarantined", (QUARANTINE,)),
    ("quarantined", "backfilled", ()),
    ("quarantined", "restored", (RESTORE,)),
    ("quarantined", "contracted", (DROP,)),
    ("restoring", "restored", (RESTORE,)),
    ("restoring", "backfilled", (RESTORE,)),
    ("dropping", "contracted", (DROP,)),
    ("dropping", "quarantined", ()),
    ("contracted", "expanded", ()),
    ("contracted", "contracted", ()),
    ("pending", "aborted", ()),
    ("expanding", "aborted", (ABORT,)),
    ("backfilled", "aborted", (ABORT,)),
    ("aborting", "aborted", (ABORT,)),
    ("aborted", "aborted", ()),
    ("aborted", "backfilled", (EXPAND, BACKFILL)),
]


@pytest.mark.parametrize(("state", "target", "moves"), WAYS)
def test_the_way_to_a_state(state: str, target: str, moves: tuple[states.Move, ...]) -> None:
    assert path(state, target) == moves


@pytest.mark.parametrize(
    ("state", "target", "advice"),
    [
        ("quarantined", "aborted", "state: restored"),
        ("contracting", "aborted", "state: quarantined"),
        ("contracting", "restored", "state: quarantined"),
        ("contracted", "aborted", "backup"),
        ("contracted", "restored", "backup"),
        ("dropping", "restored", "state: contracted"),
        ("restoring", "quarantined", "state: restored"),
        ("restoring", "aborted", "state: restored"),
        ("aborting", "expanded", "state: aborted"),
        ("expanded", "restored", "nothing to restore"),
        ("aborted", "restored", "nothing to restore"),
    ],
)
def test_a_wrong_door_is_refused_with_the_right_one(state: str, target: str, advice: str) -> None:
    with pytest.raises(SeamlessError, match=advice) as refused:
        path(state, target)
    assert refused.value.details == {"state": state}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_way_is_walkable_and_ends_where_nothing_is_left_to_do(state: str, target: str) -> None:
    try:
        moves = path(state, target)
    except SeamlessError:
        return
    at = state
    for move in moves:
        # A runner that died in the middle of a move can go on with it, by the same target.
        assert path(move.begins, target)[0] is move
        at = move.ends
    assert path(at, target) == ()


@pytest.mark.parametrize("state", [state for state in STATES if unfinished(state)])
def test_what_has_begun_can_be_ended(state: str) -> None:
    assert any(move.begins == state and path(state, target) == (move,) for move in states.MOVES for target in TARGETS if not _refused(state, target))


def _refused(state: str, target: str) -> bool:
    try:
        path(state, target)
    except SeamlessError:
        return True
    return False


@pytest.mark.parametrize(
    ("release", "floor", "expected"),
    [
        ("41", "42", True),
        ("9", "10", True),
        ("42", "42", False),
        ("1.10.0", "1.9.3", False),
        ("1.9", "v1.10", True),
        ("2.0", "2.0.0", False),
        ("2.0.0-rc1", "2.0.0", True),
        ("2.0.0rc1", "2.0.0", True),
        ("2.0.0+build5", "2.0.0", False),
        ("20261122-1", "20261123-1", True),
        ("a1b2c3d", "42", None),
        ("7e12f00", "42", None),
        ("blue", "green", None),
    ],
)
def test_releases_are_ordered_where_their_names_are(release: str, floor: str, expected: bool | None) -> None:
    assert below(release, floor) is expected


def test_what_is_reached_for_code_that_needs_it() -> None:
    assert reached("backfilled", "backfilled")
    assert reached("contracting", "backfilled")
    assert not reached("backfilling", "backfilled")
    assert not reached("aborted", "expanded")
    assert not reached("restoring", "backfilled")
