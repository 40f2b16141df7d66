# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate's verdict: each way in which old code can still be somewhere shuts it, and says where."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._migration import evidence, gate, gate_hosts
from ansible_collections.seamless.rollout.plugins.module_utils._migration.gate import Count, Quiet, Session
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger_records import Gate, Migration
from hypothesis import given
from hypothesis import strategies as st

NAME = "2026_11_22_01_user_name"


def service(**changes: t.Any) -> dict[str, t.Any]:
    return {"name": "shop", "action": "restart", "active": True, "releases": ["42"], "since_switch": True, **changes}


def host(name: str = "web1", **changes: t.Any) -> dict[str, t.Any]:
    sound = {
        "host": name, "answered": True, "kind": "link", "release": "42", "state": "good", "releases": ["41", "42"], "carriers": ["42"],
        "services": [service()], "processes": {"42": ["process 9 (cwd)"]}, "switched_ago": 5000.0, "lock": None,
    }
    return {**sound, **changes}


def hosts(**third: t.Any) -> list[dict[str, t.Any]]:
    return [host("web1"), host("web2"), host("web3", **third)]


def test_a_fleet_that_runs_the_release_everywhere_is_evidence() -> None:
    found = gate_hosts.judge_hosts(hosts(), NAME)
    assert (found.ok, found.what, found.weak) == (True, f"all 3 hosts run a release that carries {NAME}", "")
    assert found.seen["web3"] == {"release": "42", "switched_ago": 5000.0}


@pytest.mark.parametrize(
    ("third", "message"),
    [
        pytest.param({"release": "41", "state": "good"}, f"web3 runs release 41, which does not carry {NAME}", id="one host failed and went back"),
        pytest.param({"state": "failed"}, "web3 has release 42, which is marked failed there", id="one host failed and stayed"),
        pytest.param({"answered": False, "unreachable": True, "msg": "timed out"}, "web3 can't be reached, so nobody knows what runs there (timed out)",
                     id="one host unreachable"),
        pytest.param({"answered": False, "msg": "no space"}, "web3 can't tell what it runs: no space", id="one host can't answer"),
        pytest.param({"release": "41", "left_out": True}, f"web3 (left out by --limit) runs release 41, which does not carry {NAME}", id="--limit"),
        pytest.param({"release": None, "kind": "missing"}, "web3 has no release: its link current is missing", id="a new host"),
        pytest.param({"services": [service(releases=["41"])]}, "web3: service shop still works in release 41", id="not restarted"),
        pytest.param({"services": [service(releases=["41", "42"])]}, "web3: service shop still works in release 41", id="an old worker of a reload"),
        pytest.param({"services": [service(releases=[], since_switch=False)]}, "service shop began before the switch to 42", id="older than the switch"),
        pytest.param({"services": [service(releases=[], since_switch=None)]}, "can't be told to have begun after the switch to 42", id="nobody knows"),
        pytest.param({"services": [service(active=False, releases=[])]}, "web3: service shop is not running", id="down"),
        pytest.param({"processes": {"41": ["process 7 (cwd)", "process 8 (exe)"]}}, "web3: process 7 (cwd), process 8 (exe) still work in release 41",
                     id="a forgotten worker on a host"),
        pytest.param({"processes": {"40": ["process 7 (cwd)"]}}, "web3: process 7 (cwd) still works in release 40", id="of a release that is gone"),
    ],
)  # fmt: skip
def test_every_way_in_which_a_host_can_hold_old_code_is_named(third: dict[str, t.Any], message: str) -> None:
    found = gate_hosts.judge_hosts(hosts(**third), NAME)
    assert not found.ok
    assert len(found.missing) == 1
    assert message in found.missing[0]
    assert "without --limit" in found.would_do


@pytest.mark.parametrize(
    "third",
    [
        {"services": [service(releases=[], since_switch=True)]},
        {"services": [service(action="none", active=False, releases=[], since_switch=None)]},
        {"services": [], "processes": {}},
        {"release": "43", "releases": ["41", "42", "43"], "carriers": ["42", "43"], "processes": {"42": ["process 9 (cwd)"]}},
        {"state": "current"},
    ],
)
def test_what_a_host_need_not_show(third: dict[str, t.Any]) -> None:
    assert gate_hosts.judge_hosts(hosts(**third), NAME).ok


def test_a_retired_host_is_named_with_its_reason_and_nobody_at_all_is_no_evidence() -> None:
    found = gate_hosts.judge_hosts([*hosts(), {"host": "web9", "retired": "scrapped"}], NAME)
    assert (found.ok, found.what) == (True, f"all 3 hosts run a release that carries {NAME}; named as retired, and not asked: web9 (scrapped)")
    for nobody in ([], [{"host": "web9", "retired": "scrapped"}]):
        assert gate_hosts.judge_hosts(nobody, NAME, "web").missing == ("no host was asked: no host of the inventory is in web",)


def test_a_release_carries_only_what_it_carries_everywhere() -> None:
    assert gate.carriers(hosts()) == ("42",)
    assert gate.carriers(hosts(carriers=[])) == ()
    assert gate.carriers([host(), {"host": "web9", "answered": False}]) == ("42",)


OLD = Session(7, "shop@41", "shop", "10.0.0.7", active=True)


def sessions(*extra: Session, **options: t.Any) -> gate.Evidence:
    found = [Session(1, "shop@42", "shop"), Session(2, "shop@42", "shop"), *extra]
    return gate.judge_sessions(found, app="shop", carrying=["42"], **options)


def test_sessions_of_older_releases_shut_the_gate_and_those_without_a_name_do_not() -> None:
    assert (sessions().ok, sessions().weak) == (True, "")
    found = sessions(OLD)
    assert found.missing == ("session of release 41: shop@41 (session 7, user shop, from 10.0.0.7)",)
    assert sessions(Session(8, "shop@unheard-of")).missing
    assert sessions(Session(8, "shopping@41"), Session(9, "psql")).weak == "2 sessions do not say their release"
    assert "application_name=shop@RELEASE" in gate.judge_sessions([Session(9, "psql")], app="shop", carrying=["42"]).weak
    assert "pg_read_all_stats" in sessions(Session(8, "shop@42", hidden=True)).weak
    assert sessions(blind="GRANT PROCESS").weak == "GRANT PROCESS"
    long = "9" * 100
    assert gate.judge_sessions([Session(8, f"shop@{long}"[:63])], app="shop", carrying=[long]).ok


def test_a_poolers_idle_connections_are_no_proof_and_its_busy_ones_are() -> None:
    idle = Session(8, "shop@41", "shop", "10.0.0.5")
    assert sessions(idle).missing
    found = sessions(idle, poolers=["10.0.0.5"])
    assert (found.ok, "may have left" in found.weak) == (True, True)
    assert sessions(Session(8, "shop@41", "shop", "10.0.0.5", active=True), poolers=["10.0.0.5"]).missing


def test_the_gates_own_connection_must_not_be_pooled() -> None:
    found = gate.judge_sessions(None, app="shop", carrying=["42"], pooled="the database shop at db:6432 is reached through a pooler or proxy")
    assert "db:6432 is reached through a pooler or proxy" in found.missing[0]
    assert "login_host and login_port" in found.would_do
    assert gate.judge_sessions(None, app="shop", carrying=[], unseen="performance_schema is off").weak == "performance_schema is off"


def canary(quiet: Quiet | None, **options: t.Any) -> gate.Evidence:
    return gate.judge_canary(quiet, quiet_period=600, app="shop", carrying=["42"], now=10000, **options)


COUNTS = (Count("seamless_rollout.a", 12),)


def test_the_canary_passes_waits_or_names_who_still_writes() -> None:
    passed = canary(Quiet(COUNTS, 601.0))
    assert (passed.ok, passed.seen["since"], passed.seen["counts"]) == (True, 9399.0, {"seamless_rollout.a": 12})
    waits = canary(Quiet(COUNTS, 120.0))
    assert (waits.ok, waits.missing, waits.pending, waits.what) == (False, (), 480.0, "the old shape was not written for 120 of 600 seconds")
    cron = Session(7, "report.py", "cron", "10.0.0.99", query="UPDATE users SET name = 'x'")
    moved = canary(Quiet(COUNTS, 0.0, 30.0, {"seamless_rollout.a": 3}, (cron, Session(1, "shop@42"))))
    assert moved.pending is None
    assert moved.missing[0] == (
        "something still writes the old shape (at least 3 times in the last 30 seconds, counted by seamless_rollout.a); connected then, and not of a "
        "release that carries it: report.py (session 7, user cron, from 10.0.0.99)"
    )
    assert "cron job" in moved.would_do
    assert "was gone when we looked" in canary(Quiet(COUNTS, 0.0, 30.0, {"seamless_rollout.a": 3})).missing[0]
    assert "GRANT PROCESS" in canary(Quiet(COUNTS, 0.0, 30.0, {"seamless_rollout.a": 3}, blind="GRANT PROCESS")).missing[0]
    assert canary(None, why_none="canary: false").weak == "canary: false"
    assert not canary(None, gone="the sequence is gone").ok


@pytest.mark.parametrize("state", ["expanding", "expanded", "backfilling", "restoring"])
def test_a_migration_that_is_not_complete_is_not_contracted(state: str) -> None:
    assert state in gate.judge_verified(state, [], 0).missing[0]


def test_shapes_that_differ_shut_the_gate() -> None:
    assert gate.judge_verified("backfilled", [], 2).ok
    assert gate.judge_verified("quarantined", [], 0).ok
    assert "same: 5 rows" in gate.judge_verified("backfilled", [("same", 5)], 2).missing[0]


def test_whoever_works_on_the_application_is_named_and_the_dead_hold_up_nobody() -> None:
    lock = {"id": "r1", "owner": "ann", "expired": False}
    assert gate.judge_alone(hosts(lock=lock), rollout_id="r1").ok
    assert gate.judge_alone(hosts(lock=lock), rollout_id="r2").missing == ("web3 is locked by rollout r1 of ann",)
    dead = gate.judge_alone(hosts(lock={**lock, "expired": True}), rollout_id="r2", running=["m2 (expanding)"])
    assert (dead.ok, dead.weak) == (True, "a rollout died and left its lock: web3 is locked by rollout r1 of ann; begun and not ended: m2 (expanding)")
    assert gate.judge_alone(hosts(), rollout_id="", locked="its lock is held by session 5").missing == ("its lock is held by session 5",)


def age(reports: list[dict[str, t.Any]], **options: t.Any) -> gate.Evidence:
    return gate.judge_age(reports, **{"min_age": 1800, "pinned": {}, "carrying": ["42"], **options})


def test_the_last_switch_must_be_old_and_no_older_release_pinned() -> None:
    assert age(hosts()).ok
    young = age(hosts(switched_ago=300.0))
    assert (young.ok, young.pending, young.missing) == (False, 1500.0, ())
    assert age(hosts(switched_ago=300.0), min_age=0).ok
    assert age(hosts(), pinned={"41": "the audit needs it"}).missing == ("release 41 is pinned (the audit needs it), and does not carry the migration",)
    assert age(hosts(), pinned={"42": "it is good"}).ok
    assert age(hosts(switched_ago=None)).missing == ("web3 can't tell when it was switched to its release",)


def verdict(*third: gate.Evidence) -> gate.Verdict:
    return gate.Verdict((gate_hosts.judge_hosts(hosts(), NAME), *third))


def test_a_verdict_names_all_that_is_missing_and_waits_only_for_time() -> None:
    assert (verdict().passed, verdict().pending, verdict().missing) == (True, None, [])
    waiting = verdict(canary(Quiet(COUNTS, 120.0)), age(hosts(switched_ago=300.0)))
    assert (waiting.passed, waiting.pending) == (False, 1500.0)
    assert "is not open yet" in waiting.sentence(NAME)
    shut = verdict(canary(Quiet(COUNTS, 120.0)), sessions(OLD), gate.judge_floor({"web2": "disk full"}))
    assert shut.pending is None
    assert [line.split(":")[0] for line in shut.missing] == ["E2", "floor", "E3"]
    assert "web2 did not take the release floor: disk full" in shut.sentence(NAME)
    json.dumps([item.told() for item in shut.evidence])


FLAWS: list[dict[str, t.Any]] = [
    {"release": "41"}, {"answered": False, "unreachable": True}, {"state": "failed"}, {"services": [service(releases=["41"])]},
    {"processes": {"41": ["process 7 (cwd)"]}},
]  # fmt: skip


@given(st.lists(st.sampled_from([{}, *FLAWS]), min_size=1, max_size=6))
def test_one_host_with_a_flaw_is_enough(flaws: list[dict[str, t.Any]]) -> None:
    found = gate_hosts.judge_hosts([host(f"web{number}", **flaw) for number, flaw in enumerate(flaws)], NAME)
    assert found.ok == (not any(flaws))
    assert len(found.missing) == sum(map(bool, flaws))


def migration(updated_at: float) -> Migration:
    return Migration(1, "shop", NAME, "", {}, (), "42", "t", (), "backfilled", None, None, None, None, None, 0.0, updated_at, updated_at)


def looked(at: float, value: int, since: float, reads: int = 0) -> Gate:
    seen = {"counts": {"a": value}, "reads": {"a": reads}, "since": since, "at": at}
    return Gate(1, 1, False, {"evidence": [{"id": "E1"}, {"id": "E3", "seen": seen}]}, at, 0.0)


def test_what_was_seen_before_the_migration_came_to_its_state_says_nothing() -> None:
    assert evidence.last_look([looked(200, 5, 150)], migration(100)) == ((Count("a", 5),), 150.0, 200.0)
    assert evidence.last_look([looked(90, 5, 50)], migration(100)) is None, "in the quarantine nothing counts"
    blind = Gate(2, 1, False, {"evidence": [{"id": "E3", "seen": {}}]}, 300, 0.0)
    assert evidence.last_look([looked(200, 5, 150), blind], migration(100)) == ((Count("a", 5),), 150.0, 200.0)
    assert evidence.last_look([], migration(100)) is None


def test_writes_are_told_from_our_own_looking() -> None:
    assert evidence.moved([Count("a", 5)], [Count("a", 5)]) == {}
    assert evidence.moved([Count("a", 5)], [Count("a", 9)]) == {"a": 4}
    assert evidence.moved([Count("a", 5, 1)], [Count("a", 6, 1)]) == {}, "MariaDB: to look is to count on"
    assert evidence.moved([Count("a", 5, 1)], [Count("a", 8, 1)]) == {"a": 2}
    assert evidence.moved([], [Count("b", 8)]) == {}
