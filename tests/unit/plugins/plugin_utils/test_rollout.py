# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _pools as balancer_pools
from ansible_collections.seamless.rollout.plugins.plugin_utils import _preflight as preflight
from ansible_collections.seamless.rollout.plugins.plugin_utils._amounts import resolve_amount
from ansible_collections.seamless.rollout.plugins.plugin_utils._conductor import Conductor
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._plan import HostView, Plan, make_plan
from ansible_collections.seamless.rollout.plugins.plugin_utils._process import process_start
from ansible_collections.seamless.rollout.plugins.plugin_utils._report import result_text
from ansible_collections.seamless.rollout.plugins.plugin_utils._settings import Settings, read_settings
from ansible_collections.seamless.rollout.plugins.plugin_utils._steps import roll_steps
from hypothesis import given
from hypothesis import strategies as st

VALUES = {"rollout_app": "shop", "rollout_release": "1.2.0", "rollout_source": {"type": "directory", "path": "."}}


def settings(**changes: t.Any) -> Settings:
    return read_settings({**VALUES, **{f"rollout_{name}": value for name, value in changes.items()}}, "release")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"app": ""}, "rollout_app is not set"),
        ({"release": ""}, "rollout_release is not set"),
        ({"release": "a/b"}, "rollout_release is 'a/b'"),
        ({"root": "/srv"}, "rollout_root is '/srv'"),
        ({"root": "relative"}, "rollout_root"),
        ({"batch": "0%"}, "rollout_batch is '0%'"),
        ({"batch": [1, "150%"]}, "above 100%"),
        ({"batch": 2.5}, "whole number of hosts"),
        ({"max_unavailable": 0}, "rollout_max_unavailable is 0"),
        ({"max_unavailable": "some"}, "whole number of hosts"),
        ({"max_fail": -1}, "rollout_max_fail"),
        ({"on_failure": "rolback"}, "nearest: rollback"),
        ({"pace": "windows"}, "use one of batch, window (nearest: window)"),
        ({"keep_releases": 0}, "rollout_keep_releases is 0"),
        ({"bake_seconds": "soon"}, "number of seconds"),
        ({"hooks": {"after_swich": []}}, "Did you mean after_switch"),
        ({"hooks": {"validate": "x.yml"}}, "use a list"),
        ({"balancers": [{"driver": "haprox", "socket": "/s"}]}, "Did you mean haproxy"),
        ({"balancers": [{"driver": "haproxy"}]}, "socket is not set"),
        ({"balancers": [{"driver": "haproxy", "socket": "/s", "backnd": "x"}]}, "Did you mean backend"),
        ({"batches": 3}, "Did you mean rollout_batch"),
        ({"zebra": 3}, "belongs to seamless.rollout"),
        ({"update_role": "a.b", "update_tasks": "x.yml"}, "use one of them"),
        ({"min_available": 1, "max_unavailable": 2}, "same thing twice"),
        ({"health": "http://x"}, "use a list"),
        ({"health": 5, "balancers": [{"driver": "health_file", "check_url": "http://x/"}]}, "rollout_health is 5: use a list"),
        ({"health": [{"url": "http://x/"}], "balancers": [{"driver": "health_file", "check_url": "http://x/"}]}, "Have rollout_health ask another URL"),
        ({"bake_health": [{"url": "x"}]}, "rollout_bake_health: health probe 1"),
    ],
)
def test_bad_variables_are_refused_with_name_value_and_cure(changes: dict[str, t.Any], message: str) -> None:
    with pytest.raises(SeamlessError) as caught:
        settings(**changes)
    assert message in str(caught.value)


@pytest.mark.parametrize("health", [[{"systemd": "shop"}], [{"url": "http://x/up"}], []])
def test_a_health_file_needs_no_url_and_goes_with_probes_of_every_kind(health: list[dict[str, t.Any]]) -> None:
    for balancer in ({"driver": "health_file"}, {"driver": "health_file", "check_url": "http://x/health"}):
        assert settings(health=health, balancers=[balancer]).health == health


def test_all_complaints_come_at_once() -> None:
    with pytest.raises(SeamlessError) as caught:
        settings(batch=0, on_failure="x", keep_releases=0)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("amount", "total", "down", "up"),
    [("25%", 6, 1, 2), ("29%", 100, 29, 29), ("58%", 100, 58, 58), ("10%", 3, 0, 1), (4, 3, 4, 4), ("100%", 7, 7, 7)],
)
def test_amounts_are_whole_numbers_without_float_errors(amount: t.Any, total: int, down: int, up: int) -> None:
    assert resolve_amount(amount, total) == down
    assert resolve_amount(amount, total, up=True) == up


def plan(number: int, **options: t.Any) -> Plan:
    broken = options.pop("broken", ())
    skip = options.pop("skip", ())
    hosts = [HostView(f"web{n}", serving=n not in broken, skip="has it" if n in skip else None) for n in range(1, number + 1)]
    return make_plan(hosts, **{"batch": [1, "25%", "50%"], "canary": 1, "max_unavailable": "25%", **options})


def test_the_canary_goes_alone_and_batches_grow_within_the_budget() -> None:
    made = plan(12)
    assert made.canary == ["web1"]
    assert made.serial == [1, 3, 3, 3, 2]
    assert any("held to 3" in note for note in made.notes)


def test_a_broken_host_goes_first_but_never_as_the_canary() -> None:
    made = plan(8, broken=(1,))
    assert made.canary == ["web2"]
    assert made.batches[1][0] == "web1"


def test_broken_hosts_go_before_the_canary_when_they_use_up_the_budget() -> None:
    made = plan(4, broken=(3,))
    assert (made.batches[0], made.batches[1]) == (["web3"], ["web1"])


def test_a_percentage_below_one_host_is_one_host_and_said() -> None:
    made = plan(3, max_unavailable="10%")
    assert made.max_unavailable == 1
    assert any("less than one host" in note for note in made.notes)


def test_a_floor_that_leaves_nobody_is_refused_with_what_would_do() -> None:
    with pytest.raises(SeamlessError, match=r"Use at most 3 \(75%\)"):
        plan(4, min_available="90%")


def test_canaries_by_name() -> None:
    assert plan(4, canary=["web3"]).batches[0] == ["web3"]
    with pytest.raises(SeamlessError, match="web9"):
        plan(4, canary=["web9"])


def test_an_updated_fleet_needs_nothing() -> None:
    made = plan(3, skip=(1, 2, 3))
    assert (made.batches, sorted(made.skipped)) == ([], ["web1", "web2", "web3"])


AMOUNTS = st.one_of(st.integers(min_value=1, max_value=40), st.integers(min_value=1, max_value=100).map("{}%".format))


@given(
    number=st.integers(min_value=1, max_value=40),
    batch=st.lists(AMOUNTS, min_size=1, max_size=4),
    canary=st.integers(min_value=0, max_value=5),
    max_unavailable=AMOUNTS,
    max_parallel=st.one_of(st.none(), st.integers(min_value=1, max_value=10)),
    broken=st.sets(st.integers(min_value=1, max_value=40)),
    skip=st.sets(st.integers(min_value=1, max_value=40)),
)
def test_every_plan_covers_each_host_once_within_its_limits(
    number: int, batch: list[t.Any], canary: int, max_unavailable: t.Any, max_parallel: int | None, broken: set[int], skip: set[int]
) -> None:
    made = plan(number, batch=batch, canary=canary, max_unavailable=max_unavailable, max_parallel=max_parallel, broken=broken, skip=skip)
    assert sorted([*made.order, *made.skipped]) == sorted(f"web{n}" for n in range(1, number + 1))
    assert all(made.batches)
    assert max(made.serial, default=0) <= min(made.max_unavailable, max_parallel or made.max_unavailable)
    assert not {f"web{n}" for n in broken} & set(made.canary)


INFO = {"pools": [{"balancer": "/s", "backend": "shop", "up": 2, "total": 2, "members": [
    {"name": "web1", "address": "198.51.100.1", "admin": "ready", "health": "up", "drained_by": None, "operator": False},
    {"name": "web2", "address": "198.51.100.2", "admin": "maint", "health": "unknown", "drained_by": None, "operator": True},
]}]}
CALL = {"delegate": "lb1", "driver": "haproxy", "socket": "/s", "backend": "shop"}


def rotation(
    host: str, findings: preflight.Findings, address: str | None = None, info: dict[str, t.Any] | None = None
) -> preflight.InRotation:
    calls = [{**CALL, "member": host, "named": False}]
    infos = {balancer_pools.balancer_key(CALL): INFO if info is None else info}
    return preflight.judge_rotation(host, calls, infos, app="shop", address=address, max_unavailable="50%", min_available=None, findings=findings)


def test_a_member_in_maintenance_by_an_operator_gets_no_calls() -> None:
    findings = preflight.Findings()
    assert rotation("web2", findings).calls == []
    assert "stays out" in findings.notes[0]


def test_a_mistyped_member_is_a_problem_with_the_nearest_name() -> None:
    findings = preflight.Findings()
    rotation("wbe1", findings)
    assert "Did you mean web1" in findings.problems[0]


def test_members_are_found_by_address_and_carry_the_floor() -> None:
    findings = preflight.Findings()
    found = rotation("inventory-name", findings, "198.51.100.1")
    assert (findings.problems, found.serving, found.calls[0]["min_available"]) == ([], True, 1)


def pools(**backends: list[tuple[str, str, int]]) -> dict[str, t.Any]:
    return {
        "pools": [
            {
                "balancer": "/s", "backend": backend, "total": len(servers),
                "members": [
                    {"name": name, "address": address, "port": port, "admin": "ready", "health": "up", "drained_by": None, "operator": False}
                    for name, address, port in servers
                ],
            }
            for backend, servers in backends.items()
        ]
    }


def test_an_address_of_several_servers_is_a_problem_that_names_them() -> None:
    findings = preflight.Findings()
    info = pools(shop=[("a", "198.51.100.1", 80), ("b", "198.51.100.1", 81), ("c", "198.51.100.2", 80)])
    assert rotation("web1", findings, "198.51.100.1", info).calls == []
    assert findings.problems == ["web1 (198.51.100.1) is 2 servers on lb1: a, b. Name one with member: in rollout_balancers."]


def test_a_member_is_found_under_every_name_of_its_process_and_the_smallest_pool_sets_the_floor() -> None:
    shop = [(f"web{n}", f"198.51.100.{n}", 80) for n in range(1, 7)]
    info = pools(shop=shop, api=[("x", "198.51.100.1", 80), ("y", "198.51.100.9", 80)])
    assert [(pool["backend"], entry["name"]) for pool, entry in balancer_pools.find_member(info, "web1", None)] == [("shop", "web1"), ("api", "x")]
    findings = preflight.Findings()
    assert len(rotation("web1", findings, None, info).calls) == 1
    assert findings.problems == []


def test_a_host_in_pools_of_different_sizes_leaves_each_its_own_floor() -> None:
    shop = [(f"web{n}", f"198.51.100.{n}", 80) for n in range(1, 11)]
    findings = preflight.Findings()
    call = rotation("web1", findings, None, pools(shop=shop, admin=shop[:2])).calls[0]
    assert call["pool_min_available"] == {"shop": 5, "admin": 1} and findings.problems == []
    assert "pool_min_available" not in rotation("web1", findings, None, pools(shop=shop, admin=shop)).calls[0]
    # Two processes on one machine, whose pools have one name: the larger floor counts for both.
    twice = {"pools": [*pools(shop=shop)["pools"], *pools(shop=shop[:2])["pools"]]}
    call = rotation("web1", findings, None, twice).calls[0]
    assert call["min_available"] == 5 and "pool_min_available" not in call


def test_balancers_expand_to_the_machines_of_a_group() -> None:
    calls = balancer_pools.expand_balancers("web1", [{"driver": "haproxy", "hosts": "lb", "socket": "/s"}, {"driver": "health_file"}], {"lb": ["lb1", "lb2"]})
    assert [(call["delegate"], call["member"]) for call in calls] == [("lb1", "web1"), ("lb2", "web1"), ("web1", "web1")]


def survey(current: str, **good: str) -> dict[str, t.Any]:
    return {"current": {"release": current, "kind": "link"}, "releases": [{"id": name, "good_at": at, "state": "good"} for name, at in good.items()]}


def test_a_rollback_goes_to_the_last_good_release_of_the_fleet() -> None:
    mixed = {"web1": survey("r3", r1="2026-01-01", r2="2026-02-01"), "web2": survey("r2", r1="2026-01-01", r2="2026-02-01")}
    assert preflight.rollback_target(mixed) == "r2"
    uniform = {"web1": survey("r2", r1="2026-01-01", r2="2026-02-01")}
    assert preflight.rollback_target(uniform) == "r1"
    assert preflight.rollback_target({"web1": survey("r1", r1="2026-01-01")}) is None


@pytest.fixture
def facts(tmp_path: t.Any) -> dict[str, t.Any]:
    made = {
        "id": "r", "state_dir": str(tmp_path), "max_fail": 0, "on_failure": "rollback", "halted": "", "mode": "release", "max_unavailable": 1, "release": "2.0",
        "roll_hosts": ["web1", "web2", "web3"], "undo_hosts": [], "finish_hosts": [],
        "hosts": {f"web{n}": {"from": "1.0", "target": "2.0", "state": "pending", "detail": "", "drained": False, "balancers": [{}]} for n in (1, 2, 3)},
    }
    ledger = Ledger(str(tmp_path))
    rollout = {"app": "shop", "release": "2.0", "mode": "release", "state": "planned", "reason": "", "owner": "o", "controller": "c"}
    ledger.begin({"id": "r", **rollout, "pid": 1, "process_start": "", "started_at": 1.0})
    ledger.save_plan("r", made)
    return made


DONE = {"finished": True, "seconds_out": 2.5}


def test_a_failure_halts_and_the_undo_goes_newest_first_after_what_is_drained(facts: dict[str, t.Any]) -> None:
    conductor = Conductor(facts)
    for host in ("web1", "web2"):
        assert conductor.open_batch([host], undo=False)
        conductor.close_batch([host], {host: DONE}, {host}, undo=False)
    conductor.open_batch(["web3"], undo=False)
    conductor.failed("web3", "Switch", {"msg": "not healthy"}, undo=False)
    after = conductor.close_batch(["web3"], {"web3": DONE}, {"web3"}, undo=False)
    assert after["undo_hosts"] == ["web3", "web2", "web1"]
    assert "not healthy" in after["halted"]
    assert not conductor.open_batch(["web1"], undo=False)


def test_a_host_that_failed_behind_no_balancer_is_undone_unless_it_was_put_back_unchanged(facts: dict[str, t.Any]) -> None:
    for host in ("web2", "web3"):
        facts["hosts"][host]["balancers"] = []
    conductor = Conductor(facts)
    conductor.open_batch(["web2"], undo=False)
    conductor.close_batch(["web2"], {"web2": DONE}, {"web2"}, undo=False)
    conductor.open_batch(["web1", "web3"], undo=False)
    conductor.failed("web1", "Switch", {"msg": "the disk is full"}, undo=False)
    conductor.restored("web1")
    conductor.failed("web3", "Switch", {"msg": "not healthy"}, undo=False)
    after = conductor.close_batch(["web1", "web3"], dict.fromkeys(("web1", "web3"), DONE), {"web1", "web3"}, undo=False)
    assert after["undo_hosts"] == ["web3", "web2"]


def test_a_host_that_was_unchanged_in_an_earlier_run_and_is_not_now_is_undone(facts: dict[str, t.Any]) -> None:
    facts["hosts"]["web1"]["balancers"] = []
    conductor = Conductor(facts)
    conductor.open_batch(["web1"], undo=False)
    conductor.failed("web1", "Drain", {"msg": "no answer"}, undo=False)
    conductor.restored("web1")
    conductor.ledger.save_plan("r", facts)
    conductor.open_batch(["web1"], undo=False)
    conductor.failed("web1", "Switch", {"msg": "not healthy"}, undo=False)
    assert conductor.close_batch(["web1"], {"web1": DONE}, {"web1"}, undo=False)["undo_hosts"] == ["web1"]


def test_what_an_interrupted_run_left_is_undone_as_well(facts: dict[str, t.Any]) -> None:
    """web1 was left out of rotation, web2 on the new release and in rotation; the run that goes on halts before it comes to them."""
    conductor = Conductor(facts)
    conductor.open_batch(["web1", "web2"], undo=False)
    facts["hosts"]["web1"]["drained"] = True
    facts["hosts"]["web2"].update({"from": "2.0", "state": "skipped"})
    conductor.ledger.save_plan("r", facts)
    conductor.open_batch(["web3"], undo=False)
    conductor.failed("web3", "Switch", {"msg": "not healthy"}, undo=False)
    after = conductor.close_batch(["web3"], {"web3": DONE}, {"web3"}, undo=False)
    assert after["undo_hosts"] == ["web1", "web3", "web2"]
    assert {after["hosts"][host]["target"] for host in after["undo_hosts"]} == {"1.0"}


def test_what_another_rollout_left_out_of_rotation_stays_out(facts: dict[str, t.Any]) -> None:
    facts["hosts"]["web1"]["drained"] = True
    conductor = Conductor(facts)
    conductor.ledger.save_plan("r", facts)
    conductor.open_batch(["web3"], undo=False)
    conductor.failed("web3", "Switch", {"msg": "not healthy"}, undo=False)
    assert conductor.close_batch(["web3"], {"web3": DONE}, {"web3"}, undo=False)["undo_hosts"] == ["web3"]


def test_a_host_that_vanished_counts_as_unreachable_and_stays_on_record(facts: dict[str, t.Any]) -> None:
    conductor = Conductor({**facts, "on_failure": "stop"})
    conductor.open_batch(["web1"], undo=False)
    after = conductor.close_batch(["web1"], {}, set(), undo=False)
    row = conductor.ledger.hosts("r")["web1"]
    assert (row["state"], row["drained"], bool(after["halted"]), after["undo_hosts"]) == ("unreachable", 1, True, [])
    assert conductor.finish({})["state"] == "failed"


ENDS = {"stop": "failed", "pause": "paused", "continue": "failed", "rollback": "rolled_back"}


@pytest.mark.parametrize("pace", ["batch", "window"])
@pytest.mark.parametrize("on_failure", list(ENDS))
def test_the_budget_counts_over_the_whole_rollout_whatever_happens_beyond_it(facts: dict[str, t.Any], on_failure: str, pace: str) -> None:
    conductor = Conductor({**facts, "on_failure": on_failure, "max_fail": 1, "pace": pace})
    for host, expected in (("web1", ""), ("web2", "2 failed, 1 may: web1: Switch: bad; web2: Switch: bad")):
        assert conductor.open_batch([host], undo=False) == [host]
        conductor.failed(host, "Switch", {"msg": "bad"}, undo=False)
        after = conductor.close_batch([host], {host: DONE}, {host}, undo=False)
        assert after["halted"] == expected
        assert (after["undo_hosts"] == ["web1", "web2"]) is (bool(expected) and on_failure == "rollback")
    assert conductor.open_batch(["web3"], undo=False) == []
    for host in after["undo_hosts"]:
        conductor.open_batch([host], undo=True)
        conductor.close_batch([host], {host: DONE}, {host}, undo=True)
    assert conductor.finish({})["state"] == ENDS[on_failure]


@pytest.mark.parametrize("on_failure", list(ENDS))
def test_a_host_that_failed_within_the_budget_is_on_record_and_fails_the_rollout_at_its_end(facts: dict[str, t.Any], on_failure: str) -> None:
    conductor = Conductor({**facts, "on_failure": on_failure, "max_fail": 1})
    for host in ("web1", "web2", "web3"):
        assert conductor.open_batch([host], undo=False) == [host]
        if host == "web2":
            conductor.failed(host, "Switch", {"msg": "bad"}, undo=False)
        after = conductor.close_batch([host], {host: DONE}, {host}, undo=False)
    assert (after["halted"], after["undo_hosts"], after["failed"]) == ("", [], ["web2"])
    data = conductor.finish({})
    assert (data["state"], data["why"]) == ("failed", "web2: Switch: bad")
    assert [(row["state"], row["drained"]) for row in data["hosts"].values()] == [("done", False), ("failed", True), ("done", False)]


@pytest.mark.parametrize("on_failure", list(ENDS))
def test_a_canary_that_fails_stops_the_rollout_whatever_may_fail(facts: dict[str, t.Any], on_failure: str) -> None:
    conductor = Conductor({**facts, "on_failure": on_failure, "max_fail": 2, "canary": ["web1"]})
    conductor.open_batch(["web1"], undo=False)
    conductor.failed("web1", "Switch", {"msg": "bad"}, undo=False)
    assert conductor.close_batch(["web1"], {"web1": DONE}, {"web1"}, undo=False)["halted"] == "the canary failed: web1: Switch: bad"
    assert conductor.open_batch(["web2"], undo=False) == []


def test_staging_that_fails_anywhere_stops_before_any_host(facts: dict[str, t.Any]) -> None:
    after = Conductor(facts).staged({"web1": {"digest": "a"}, "web2": {"failed": True, "msg": "disk full"}, "web3": {"digest": "a"}})
    assert after["roll_hosts"] == []
    assert "disk full" in after["halted"]


def test_hosts_with_different_bytes_stop_the_rollout(facts: dict[str, t.Any]) -> None:
    assert Conductor(facts).staged({"web1": {"digest": "a"}, "web2": {"digest": "b"}})["halted"]


def test_a_rollout_that_succeeds_writes_its_report(facts: dict[str, t.Any], tmp_path: t.Any) -> None:
    conductor = Conductor(facts)
    for host in ("web1", "web2", "web3"):
        conductor.open_batch([host], undo=False)
        conductor.close_batch([host], {host: DONE}, {host}, undo=False)
    data = conductor.finish({})
    assert (data["state"], data["hosts"]["web1"]["seconds_out"]) == ("succeeded", 2.5)
    assert "succeeded" in (tmp_path / "reports" / "r" / "report.md").read_text()


def test_a_lost_drain_is_told_of_beside_what_else_is_told(facts: dict[str, t.Any]) -> None:
    conductor = Conductor({**facts, "on_failure": "stop"})
    conductor.open_batch(["web1", "web2"], undo=False)
    conductor.failed("web2", "Switch", {"msg": "not healthy"}, undo=False)
    conductor.close_batch(["web1", "web2"], {"web1": DONE}, {"web1", "web2"}, undo=False)
    for host in ("web1", "web2", "web2"):
        conductor.ledger.drain_lost("r", host, ["lb1", "lb2"])
    data = conductor.finish({})
    told = "was back in rotation too early on lb1, lb2 (reloaded?)"
    assert [data["hosts"][host]["detail"] for host in ("web1", "web2")] == [told, f"Switch: not healthy; {told}"]
    assert [event["detail"] for event in data["events"] if event["event"] == "drain_lost"][0] == {"balancers": ["lb1", "lb2"]}
    assert told in result_text(data)


def test_a_host_that_is_lost_at_the_end_fails_the_rollout_and_a_cleanup_that_fails_does_not(facts: dict[str, t.Any]) -> None:
    conductor = Conductor(facts)
    for host in ("web1", "web2", "web3"):
        conductor.open_batch([host], undo=False)
        conductor.close_batch([host], {host: DONE}, {host}, undo=False)
    assert conductor.finish({"web1": {"failed": True, "msg": "could not prune"}})["state"] == "succeeded"
    data = conductor.finish({"web2": {"failed": True, "unreachable_host": True, "msg": "timed out"}})
    assert (data["state"], data["hosts"]["web2"]["state"], data["hosts"]["web3"]["state"]) == ("failed", "unreachable", "done")
    assert "web2: it could not be reached at the end" in data["why"]


def test_an_interrupted_rollout_is_known_by_its_dead_process(facts: dict[str, t.Any], tmp_path: t.Any) -> None:
    import os

    assert [row["alive"] for row in Ledger(str(tmp_path)).unfinished()] == [False]
    assert process_start(os.getpid()) == process_start(os.getpid()) != ""


def names_of(**changes: t.Any) -> list[str]:
    options: dict[str, t.Any] = {"balancers": True, "hooks": {}, "update_role": False, "health": True, "bakes": False, **changes}
    return [step["hook"] or step["file"][:-4] for step in roll_steps(options.pop("mode", "release"), **options)]


def test_a_host_goes_through_the_steps_that_it_needs_and_no_other() -> None:
    assert names_of() == ["plain"]
    assert names_of(balancers=False) == ["switch"]
    assert names_of(mode="update", update_role=True) == ["drain", "update_role", "update_health", "enable"]
    assert names_of(mode="update", health=False, balancers=False) == ["update_tasks"]
    assert names_of(bakes=True) == ["drain", "switch", "enable", "bake"]
    points = ("before_drain", "after_drain", "before_switch", "after_switch", "validate", "before_enable", "after_enable")
    assert names_of(hooks={point: [f"{point}.yml"] for point in points}) == [
        "before_drain.yml", "drain", "after_drain.yml", "before_switch.yml", "redrain", "switch_hooks", "validate.yml", "before_enable.yml", "enable",
        "after_enable.yml",
    ]


def test_an_undo_that_the_floor_refuses_is_tried_once_more_after_the_others(facts: dict[str, t.Any]) -> None:
    conductor = Conductor(facts)
    hosts = ["web1", "web2", "web3"]
    conductor.open_batch(hosts, undo=False)
    conductor.close(hosts[:2], {host: DONE for host in hosts}, set(hosts), undo=False)
    conductor.failed("web3", "Switch", {"msg": "not healthy"}, undo=False)
    conductor.close_batch(["web3"], {}, set(hosts), undo=False)
    refused = {"failed": True, "msg": "no", "results": [{"failed": True, "floor": {"up": 2}}]}
    conductor.open_batch(["web2"], undo=True)
    conductor.failed("web2", "Drain", refused, undo=True)
    after = conductor.close_batch(["web2"], {"web2": DONE}, set(hosts), undo=True)
    row = conductor.ledger.hosts(conductor.id)["web2"]
    assert (row["state"], row["drained"], "web2" in after["undo_rest_hosts"]) == ("done", 0, True)
    assert conductor.open_batch(["web2"], undo=True) == ["web2"]
    conductor.failed("web2", "Drain", refused, undo=True)
    conductor.close_batch(["web2"], {"web2": DONE}, set(hosts), undo=True)
    row = conductor.ledger.hosts(conductor.id)["web2"]
    assert (row["state"], row["drained"], row["detail"]) == ("rollback_failed", 0, "Drain: no")


def test_an_undo_refused_for_another_reason_has_failed(facts: dict[str, t.Any]) -> None:
    conductor = Conductor(facts)
    conductor.open_batch(["web1"], undo=True)
    both = [{"failed": True, "floor": {"up": 2}}, {"failed": True, "msg": "the socket is dead"}]
    conductor.failed("web1", "Drain", {"failed": True, "msg": "no", "results": both}, undo=True)
    row = conductor.ledger.hosts(conductor.id)["web1"]
    assert (row["state"], row["drained"]) == ("rollback_failed", 1)


def test_an_undo_that_fails_takes_the_room_of_others_which_follow_one_by_one(facts: dict[str, t.Any]) -> None:
    conductor = Conductor({**facts, "max_unavailable": 2})
    hosts = ["web1", "web2", "web3"]
    assert conductor.open_batch(hosts, undo=False) == hosts
    conductor.close(hosts[:2], {host: DONE for host in hosts}, set(hosts), undo=False)
    conductor.failed("web3", "Switch", {"msg": "not healthy"}, undo=False)
    after = conductor.close_batch(["web3"], {}, set(hosts), undo=False)
    assert after["undo_hosts"] == ["web3", "web2", "web1"]
    assert conductor.open_batch(["web3"], undo=True) == ["web3"]
    conductor.failed("web3", "Switch", {"msg": "disk full"}, undo=True)
    assert conductor.open_batch(["web2", "web1"], undo=True) == ["web2"]
    after = conductor.close_batch(["web2"], {"web2": DONE}, set(hosts), undo=True)
    assert after["undo_rest_hosts"] == ["web1"]
    assert conductor.open_batch(["web1"], undo=True) == ["web1"]


@pytest.mark.parametrize("point", ["before", "after"])
@pytest.mark.parametrize(("lost", "done"), [(1, True), (2, False)])
def test_what_comes_once_comes_although_a_host_is_lost_that_may_be(facts: dict[str, t.Any], point: str, lost: int, done: bool) -> None:
    """One host may fail. A host that can't be reached is one of them from the beginning."""
    facts.update(max_fail=1, once={"before": ["migrate.yml"], "after": ["migrate.yml"]})
    facts["hosts"]["web1"].update(state="unreachable", balancers=[])
    conductor = Conductor(facts)
    conductor.ledger.save_plan("r", facts)
    for host in ("web2", "web3")[:lost - 1]:
        conductor.open_batch([host], undo=False)
        conductor.failed(host, "Switch", {"msg": "not healthy"}, undo=False)
        conductor.close_batch([host], {host: DONE}, {host}, undo=False)
    assert conductor.open_once(point, "web3") == (["migrate.yml"] if done else [])
    after = conductor.close_once(point, "web3", "no such table")
    assert f"rollout_once_{point}: migrate.yml is not done: no such table" in after["halted"] if done else "2 failed, 1 may" in after["halted"]


def test_a_run_undoes_once_whatever_halts_it_afterwards(facts: dict[str, t.Any]) -> None:
    conductor = Conductor(facts)
    for host in ("web1", "web2"):
        conductor.open_batch([host], undo=False)
        conductor.close_batch([host], {host: DONE}, {host}, undo=False)
    conductor.halt("aborted by ann@desk", undo=True)
    first = {**conductor.told()}
    assert first["undo_hosts"] == ["web2", "web1"]
    conductor.open_batch(["web2"], undo=True)
    conductor.failed("web2", "Switch", {"msg": "disk full"}, undo=True)
    conductor.ledger.update_host("r", "web3", state="done")
    conductor.halt("the undo failed", undo=True)
    again = Conductor(facts).close_batch(["web2"], {}, {"web2"}, undo=True)
    assert (again["undo_hosts"], again["undo_serial"], again["undo_rest_hosts"]) == (first["undo_hosts"], first["undo_serial"], ["web1"])


def test_a_run_that_was_killed_in_its_undo_is_an_order_to_try_again(facts: dict[str, t.Any]) -> None:
    """The same command wants the release out: it goes forward, and may undo once itself."""
    conductor = Conductor(facts)
    conductor.open_batch(["web1"], undo=False)
    conductor.failed("web1", "Switch", {"msg": "not healthy"}, undo=False)
    assert conductor.close_batch(["web1"], {"web1": DONE}, {"web1"}, undo=False)["undo_hosts"] == ["web1"]
    conductor.open_batch(["web1"], undo=True)
    conductor.ledger.begin({**(conductor.ledger.rollout("r") or {}), "state": "planned"})
    fresh = {**facts, "halted": "", "undo_hosts": [], "roll_hosts": ["web1", "web2", "web3"]}
    for host in fresh["hosts"].values():
        host["target"] = "2.0"
    conductor = Conductor(fresh)
    conductor.ledger.save_plan("r", fresh)
    assert conductor.told()["roll_hosts"] == ["web1", "web2", "web3"] and conductor.open_batch(["web1"], undo=False) == ["web1"]
    conductor.failed("web1", "Switch", {"msg": "not healthy"}, undo=False)
    after = conductor.close_batch(["web1"], {"web1": DONE}, {"web1"}, undo=False)
    assert (after["undo_hosts"], after["hosts"]["web1"]["target"]) == (["web1"], "1.0")


@pytest.mark.parametrize("left", ["failed", "in_flight"])
def test_a_run_that_leaves_out_what_failed_in_an_interrupted_one_comes_to_a_good_end(facts: dict[str, t.Any], left: str) -> None:
    """As --limit '!web3' does after web3 failed: the run can neither judge it by what was nor take it back."""
    conductor = Conductor({**facts, "on_failure": "pause"})
    conductor.open_batch(["web3"], undo=False)
    if left == "failed":
        conductor.failed("web3", "Switch", {"msg": "not healthy"}, undo=False)
    del facts["hosts"]["web3"]
    conductor = Conductor(facts)
    conductor.ledger.begin(
        {"id": "r", "app": "shop", "release": "2.0", "mode": "release", "state": "planned", "reason": "", "owner": "o", "controller": "c", "pid": 1,
         "process_start": "", "started_at": 1.0}
    )
    conductor.ledger.save_plan("r", facts)
    conductor.open_batch(["web1", "web2"], undo=False)
    assert not conductor.close_batch(["web1", "web2"], {"web1": DONE, "web2": DONE}, {"web1", "web2"}, undo=False)["halted"]
    report = conductor.finish({})
    assert report["state"] == "succeeded" and conductor.ledger.hosts("r")["web3"]["state"] == "skipped"


def test_an_undo_leaves_out_whom_the_run_leaves_out(facts: dict[str, t.Any]) -> None:
    conductor = Conductor(facts)
    conductor.open_batch(["web3"], undo=False)
    conductor.close_batch(["web3"], {"web3": DONE}, {"web3"}, undo=False)
    del facts["hosts"]["web3"]
    conductor.ledger.save_plan("r", facts)
    conductor.open_batch(["web1"], undo=False)
    conductor.failed("web1", "Switch", {"msg": "not healthy"}, undo=False)
    assert conductor.close_batch(["web1"], {"web1": DONE}, {"web1"}, undo=False)["undo_hosts"] == ["web1"]
    assert conductor.ledger.hosts("r")["web3"]["state"] == "done"
