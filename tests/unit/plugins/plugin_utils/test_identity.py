# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which rollout this is, whose locks it may take, and which one of several an order is for."""

from __future__ import annotations

import os
import platform
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._identity import identify, paused_holders
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._process import process_start
from ansible_collections.seamless.rollout.plugins.plugin_utils._settings import Settings, read_settings

PLAN = {"release": "2.0", "hosts": {}}


@pytest.fixture
def ledger(tmp_path: t.Any) -> Ledger:
    return Ledger(str(tmp_path))


def begin(ledger: Ledger, name: str, *, release: str = "2.0", mode: str = "release", at: float = 1.0, lives: bool = True) -> None:
    pid = os.getpid()
    fields = {"app": "shop", "reason": "", "owner": "o", "controller": platform.node(), "state": "planned"}
    known = {"pid": pid, "process_start": process_start(pid) if lives else "gone"}
    ledger.begin({"id": name, "release": release, "mode": mode, "started_at": at, **fields, **known})


def pause(ledger: Ledger, name: str, **options: t.Any) -> None:
    """End a rollout as one with rollout_on_failure: pause ends when a host fails."""
    begin(ledger, name, **options)
    ledger.set_state(name, "paused", halted="web1: not healthy")
    ledger.leave(name)


def settings(release: str = "2.0", mode: str = "release") -> Settings:
    return read_settings({"rollout_app": "shop", "rollout_release": release, "rollout_source": {"type": "directory", "path": "."}}, mode)


def test_a_paused_rollout_is_taken_up_by_its_own_command_and_taken_over_by_a_rollback_alone(ledger: Ledger, tmp_path: t.Any) -> None:
    pause(ledger, "p")
    begin(ledger, "d", release="1.5", lives=False)
    assert identify(settings("2.0"), str(tmp_path)) == ("p", ["d"])
    new, takeover = identify(settings("3.0"), str(tmp_path))
    assert new not in ("p", "d") and takeover == ["d"]
    assert identify(settings("", "recover"), str(tmp_path))[1] == ["d"]
    assert sorted(identify(settings("2.0", "rollback"), str(tmp_path))[1]) == ["d", "p"]


def test_a_paused_rollout_that_was_given_up_stands_in_nobodys_way(ledger: Ledger, tmp_path: t.Any) -> None:
    pause(ledger, "p")
    ledger.set_state("p", "aborted", halted="aborted by ann@desk")
    new, takeover = identify(settings("2.0"), str(tmp_path))
    assert new != "p" and takeover == ["p"]
    assert ledger.paused() == []


def test_a_refusal_for_a_paused_rollout_names_every_way_out(ledger: Ledger, tmp_path: t.Any) -> None:
    pause(ledger, "p")
    begin(ledger, "d", lives=False)
    refused = {"web1": {"failed": True, "msg": "is locked", "lock": {"id": "p"}}, "web2": {"survey": {}, "lock": {"id": "mine"}}, "web3": {"failed": True}}
    said = paused_holders(str(tmp_path), refused)
    assert len(said) == 1 and said[0].startswith("p (release of 2.0) is paused and keeps its locks: web1: not healthy. ")
    for way in ("its command again", "rollout_order=abort", "rollback playbook", "rollout_break_lock: true"):
        assert way in said[0]
    assert paused_holders(str(tmp_path), {"web1": {"failed": True, "lock": {"id": "d"}}, "web2": {"survey": {}, "lock": {"id": "p"}}}) == []
    assert paused_holders(str(tmp_path / "nowhere"), refused) == []


def test_a_rollout_counts_as_paused_when_its_process_is_done_with_it(ledger: Ledger) -> None:
    begin(ledger, "p")
    ledger.set_state("p", "paused", halted="web1: not healthy")
    assert [row["id"] for row in ledger.of_this_controller(alive=True)] == ["p"] and ledger.paused() == [] and not ledger.is_over("p")
    ledger.leave("p")
    assert ledger.of_this_controller(alive=True) == [] and [row["id"] for row in ledger.paused()] == ["p"] and ledger.is_over("p")
    begin(ledger, "p")
    assert [row["id"] for row in ledger.of_this_controller(alive=True)] == ["p"] and not ledger.is_over("p")


def test_an_order_is_for_the_rollout_that_has_its_locks_and_not_for_one_that_waits_for_them(ledger: Ledger) -> None:
    assert ledger.working() is None
    begin(ledger, "runs", at=1.0)
    assert (ledger.working() or {})["id"] == "runs"
    ledger.save_plan("runs", PLAN)
    begin(ledger, "waits", release="3.0", at=2.0)
    assert (ledger.working() or {})["id"] == "runs"
    ledger.set_state("runs", "succeeded")
    assert (ledger.working() or {})["id"] == "waits"


def test_of_two_that_go_on_with_a_dead_rollout_at_once_the_second_is_refused(ledger: Ledger, tmp_path: t.Any) -> None:
    begin(ledger, "d", lives=False)
    first, second = identify(settings(), str(tmp_path)), identify(settings(), str(tmp_path))
    assert first[0] == second[0] == "d"
    fields = {"app": "shop", "reason": "", "owner": "o", "controller": platform.node(), "state": "planned", "release": "2.0", "mode": "release"}
    parent = os.getppid()
    ledger.begin({"id": "d", "started_at": 1.0, **fields, "pid": parent, "process_start": process_start(parent)})
    with pytest.raises(SeamlessError, match=f"process {parent} goes on with d already"):
        begin(ledger, "d")
    assert ledger.unfinished()[0]["pid"] == parent
    ledger.leave("d")
    begin(ledger, "d")
