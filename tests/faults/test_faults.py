# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One fault of some kinds, with TESTS=full of each: the sample of the fault suite. FAULTS_SEED draws other places than the usual ones."""

from __future__ import annotations

import os

import pytest
from sampling import FULL

from faults import suite
from faults.case import Row
from faults.kinds import KINDS

# The others, and the pace "window", come with TESTS=full.
ALWAYS = ("controller SIGKILL", "host power cut", "balancer power cut", "HAProxy reload")
SAMPLED = [name for name, kind in KINDS.items() if (kind.sampled if FULL else name in ALWAYS)]


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    kinds = [option for name in SAMPLED for option in ("--kind", name)] + ([] if FULL else ["--pace", "batch", "--fleets", "1"])
    return {row.kind: row for row in suite.run("--sample", "--seed", os.environ.get("FAULTS_SEED", "1"), *kinds).rows}


@pytest.mark.parametrize("kind", SAMPLED)
def test_no_promise_is_broken_by(kind: str, rows: dict[str, Row]) -> None:
    row = rows[kind]
    assert row.injected, suite.line(row)
    assert not row.violations, suite.line(row)
