# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sample of the suite: every operation to one of its ends, and the runner killed in some. MIGRATIONS_SEED draws another sample."""

from __future__ import annotations

import os

import pytest

from database import suite
from database.cases import ENGINES, cases, operation_of, operations
from database.protocol import Protocol
from database.servers import Servers

SEED = int(os.environ.get("MIGRATIONS_SEED", "1"))
SAMPLE = suite.sample(suite.chosen(suite.arguments([])), SEED)


@pytest.mark.parametrize("operation", operations())
def test_nothing_is_lost_by(operation: str, servers: Servers) -> None:
    case, outcome = next(pair for pair in SAMPLE if operation_of(pair[0].name) == operation)
    result = Protocol(servers, case, outcome, "shop").run()
    assert result.ok, f"{suite.line(result)}\n" + "\n".join(result.wrong)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "outcome"), [("split_column", "contract"), ("rename_column", "restore")])
def test_a_killed_runner_loses_nothing(engine: str, name: str, outcome: str, servers: Servers) -> None:
    result = Protocol(servers, cases(engine)[name], outcome, "shop", kills=4, seed=SEED).run()
    assert result.ok, f"{suite.line(result)}\n" + "\n".join(result.wrong)
    assert result.kills
