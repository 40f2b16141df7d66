# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done once is done when all hosts have the release, whatever a run left out."""

from __future__ import annotations

import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.plugin_utils import _once
from ansible_collections.seamless.rollout.plugins.plugin_utils._conductor import Conductor
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger

ALL = ("web1", "web2", "web3")
AFTER = ["notify.yml"]


@pytest.fixture
def ledger(tmp_path: t.Any) -> Ledger:
    return Ledger(str(tmp_path))


def run(ledger: Ledger, name: str, at: float, hosts: t.Sequence[str], point: str = "after") -> list[str]:
    """Roll 2.0 out on *hosts*, do what is left to be done once, and return what that was."""
    fields = {"app": "shop", "release": "2.0", "mode": "release", "state": "planned", "reason": "", "owner": "o", "controller": "c"}
    ledger.begin({"id": name, **fields, "pid": 1, "process_start": "", "started_at": at})
    entry = {"from": "1.0", "target": "2.0", "state": "done", "detail": ""}
    ledger.save_plan(name, {"release": "2.0", "hosts": dict.fromkeys(hosts, entry)})
    todo = _once.remaining(ledger, name, point, AFTER)
    for action in todo:
        Conductor({"state_dir": ledger.path.rpartition("/")[0], "id": name}).did_once(point, hosts[0], action, [host for host in ALL if host not in hosts])
    assert _once.remaining(ledger, name, point, AFTER) == [], "the run itself has done it"
    ledger.set_state(name, "succeeded")
    return todo


def test_what_a_limited_run_did_after_its_hosts_is_done_again_after_all(ledger: Ledger) -> None:
    assert run(ledger, "r1", 1.0, ["web1"]) == AFTER
    assert run(ledger, "r2", 2.0, ALL) == AFTER
    assert run(ledger, "r3", 3.0, ALL) == []


def test_the_run_with_the_last_host_has_done_it_for_all(ledger: Ledger) -> None:
    assert run(ledger, "r1", 1.0, ["web1"]) == AFTER
    assert run(ledger, "r2", 2.0, ["web2", "web3"]) == AFTER
    assert run(ledger, "r3", 3.0, ALL) == []


def test_an_interrupted_limited_run_that_goes_on_with_all_hosts_does_it_again(ledger: Ledger) -> None:
    assert run(ledger, "r1", 1.0, ["web1"]) == AFTER
    time.sleep(0.01)
    assert run(ledger, "r1", 1.0, ALL) == AFTER


def test_what_comes_before_the_hosts_is_done_whatever_was_left_out(ledger: Ledger) -> None:
    assert run(ledger, "r1", 1.0, ["web1"], "before") == AFTER
    assert run(ledger, "r2", 2.0, ALL, "before") == []


@pytest.mark.parametrize(("states", "again"), [(("rolled_back", "unreachable"), AFTER), (("done", "unreachable"), [])])
def test_a_run_after_an_undo_starts_anew_although_a_host_was_lost(ledger: Ledger, states: t.Sequence[str], again: list[str]) -> None:
    assert run(ledger, "r1", 1.0, ["web1", "web2"], "before") == AFTER
    for host, state in zip(("web1", "web2"), states):
        ledger.update_host("r1", host, state=state)
    ledger.set_state("r1", "failed")
    assert run(ledger, "r2", 2.0, ALL, "before") == again
