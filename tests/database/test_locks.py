# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in the way of the migration's locks costs the clients little, and the migration comes through when it has gone."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from sampling import some

from database.cases import cases
from database.obstacles import ENGINES_OF, SECONDS, meet
from database.servers import Servers

# The goal is 150 ms (see tests/bench/migrations.py); here other tests run at the same time.
MOST = 400.0
ALWAYS = (("postgresql", "long reader"), ("mariadb", "idle transaction"))
CASES = some([(engine, name) for name, engines in ENGINES_OF.items() for engine in engines], ALWAYS)


@pytest.mark.parametrize(("engine", "obstacle"), CASES)
def test_clients_go_on_and_the_schema_expands(servers: Servers, engine: str, obstacle: str) -> None:
    met = meet(servers, cases(engine)["rename_column"], obstacle)
    assert not met.failed, met
    assert met.errors == 0, met
    assert met.stall <= MOST, met
    if met.gone:
        assert SECONDS - 1 < met.gone < met.took + 1 < met.gone + 15, met


@pytest.mark.parametrize("engine", some(["postgresql", "mariadb"], ["mariadb"]))
def test_clients_go_on_while_the_old_shape_goes(servers: Servers, engine: str) -> None:
    met = meet(servers, cases(engine)["rename_column"], "long reader", phase="quarantined")
    assert not met.failed and met.errors == 0 and met.stall <= MOST, met


@pytest.mark.full
@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_who_is_idle_for_long_is_ended_where_that_is_asked_for(servers: Servers, engine: str) -> None:
    case = cases(engine)["rename_column"]
    asked: dict[str, t.Any] = {"spec": {**case.spec, "limits": {**case.spec["limits"], "kill_blockers": 1}}, "user": "root"}
    with contextlib.ExitStack() as stack:
        if engine == "mariadb":  # which by itself does not tell who holds a table
            root = stack.enter_context(servers.root(engine))
            root.run("INSTALL SONAME 'metadata_lock_info'")
            stack.callback(root.run, "UNINSTALL SONAME 'metadata_lock_info'")
        met = meet(servers, case, "idle transaction", **asked)
    assert not met.failed and met.errors == 0 and met.stall <= MOST, met
    assert met.ended, met
