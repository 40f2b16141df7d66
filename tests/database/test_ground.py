# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ground itself: it finds nothing where a migration by hand is right, and finds every defect that one is given. TESTS=full has all of them."""

from __future__ import annotations

import os
import sys

import pytest
from sampling import some

from database.byhand import DEFECTS
from database.cases import ENGINES, OUTCOMES, cases
from database.protocol import HERE, Protocol, Result
from database.servers import Servers

# What the checker must say of a defect, at least.
FINDS = {
    "no trigger": "acknowledged updates",
    "backfill before the trigger": "new shape",
    "backfill by the client": "acknowledged updates",
    "no backfill": "diverged after the backfill",
    "trigger dropped early": "diverged with both versions",
    "column dropped before its trigger": "client errors",
    "trigger left": "left behind: trigger",
    "column left": "left behind: column",
    "quarantine forgets NOT NULL": "client errors",
    "no reverse backfill": "diverged after the restore",
}


def by_hand(servers: Servers, engine: str, outcome: str, defect: str) -> Result:
    command = [sys.executable, os.path.join(HERE, "byhand.py")]
    return Protocol(servers, cases(engine)["rename_column"], outcome, "byhand", command=command, defect=defect).run()


RIGHT = some([(engine, outcome) for engine in ENGINES for outcome in OUTCOMES], [(ENGINES[0], "restore")])
WRONG = some([(engine, defect) for engine in ENGINES for defect in DEFECTS], [(ENGINES[0], "no trigger"), (ENGINES[1], "trigger dropped early")])


@pytest.mark.parametrize(("engine", "outcome"), RIGHT)
def test_a_right_one_is_right(servers: Servers, engine: str, outcome: str) -> None:
    result = by_hand(servers, engine, outcome, "")
    assert result.ok, result
    assert result.statements > 2000


@pytest.mark.parametrize(("engine", "defect"), WRONG)
def test_a_defect_is_found(servers: Servers, engine: str, defect: str) -> None:
    result = by_hand(servers, engine, DEFECTS[defect], defect)
    assert FINDS[defect] in "\n".join(result.wrong), result
