# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When somebody is told of a rollout, and that nobody is told anything twice."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.plugin_utils import _notifier
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger


@pytest.fixture
def ledger(tmp_path: t.Any) -> Ledger:
    """A rollout of two hosts that has begun."""
    made = Ledger(str(tmp_path))
    row = {"app": "shop", "release": "2.0", "mode": "release", "state": "planned", "reason": "", "owner": "ann@desk", "controller": "desk"}
    made.begin({"id": "r", **row, "pid": 1, "process_start": "x", "started_at": 1.0})
    hosts = {name: {"from": "1.0", "target": "2.0", "state": "pending", "detail": ""} for name in ("web1", "web2")}
    made.save_plan("r", {"release": "2.0", "hosts": hosts})
    return made


def told(ledger: Ledger, event: str, why: str = "") -> str | None:
    """Return the state that is told, None where nobody is."""
    found = _notifier._news(ledger, "r", event, why)
    return found["state"] if found and _notifier._first(ledger, "r", found) else None


def test_each_thing_is_told_once_and_what_is_no_news_never(ledger: Ledger) -> None:
    assert told(ledger, "failure") is None
    assert [told(ledger, "start"), told(ledger, "start")] == ["running", None]
    ledger.order("r", "pause", "bob@ci", "", 1e12)
    assert [told(ledger, "pause", "paused by bob@ci"), told(ledger, "pause", "paused by bob@ci")] == ["paused", None]
    ledger.order("r", "resume", "bob@ci", "", 1e12 + 1)
    ledger.order("r", "pause", "bob@ci", "", 1e12 + 2)
    assert told(ledger, "pause", "paused by bob@ci") == "paused"
    ledger.set_state("r", "rolling_back", halted="web1: it is broken")
    assert [told(ledger, "failure"), told(ledger, "failure")] == ["rolling_back", None]
    ledger.set_state("r", "rolled_back")
    assert [told(ledger, "failure"), told(ledger, "end"), told(ledger, "end")] == [None, "rolled_back", None]


def test_an_order_to_end_is_no_failure_and_a_run_that_is_taken_up_again_starts_again(ledger: Ledger) -> None:
    assert told(ledger, "start") == "running"
    ledger.order("r", "abort", "bob@ci", "", 1e12)
    ledger.set_state("r", "rolling_back", halted="aborted by bob@ci")
    assert told(ledger, "failure") is None
    row = ledger.rollout("r")
    assert row
    ledger.begin({**row, "state": "running"})
    assert told(ledger, "start") == "running"


def test_a_run_that_finds_everything_done_tells_nobody(ledger: Ledger) -> None:
    for host in ("web1", "web2"):
        ledger.update_host("r", host, state="skipped")
    ledger.set_state("r", "succeeded")
    assert told(ledger, "start") is None and told(ledger, "end") is None
