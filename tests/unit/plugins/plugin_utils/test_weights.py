# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Weights in the plan: hosts that climb, and hosts that are part of a traffic split."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _plan_text, _status
from ansible_collections.seamless.rollout.plugins.plugin_utils import _pools as pools
from ansible_collections.seamless.rollout.plugins.plugin_utils import _preflight as preflight
from ansible_collections.seamless.rollout.plugins.plugin_utils._settings import read_settings

CALL = {"driver": "haproxy", "delegate": "lb1", "socket": "/s", "backend": "shop", "member": "web1", "named": False}
RAMP = {"steps": [10, 25, 50], "interval": 20.0}


def settings(**values: t.Any) -> t.Any:
    values = {"app": "shop", "release": "2.0", "source": {"type": "directory", "path": "x"}, **values}
    return read_settings({f"rollout_{name}": value for name, value in values.items()}, "release")


def judged(findings: preflight.Findings, *, limits: list[int] | None = None, **options: t.Any) -> preflight.InRotation:
    member = {"name": "web1", "address": "198.51.100.1", "port": 8000, "admin": "ready", "health": "up", "operator": False, "drained_by": None, "weight": 100}
    members = [{**member, **options.pop("member", {})}, {**member, "name": "web2", "address": "198.51.100.2"}]
    infos = {pools.balancer_key(CALL): {"pools": [{"backend": "shop", "total": 2, "members": members, "weights": limits}]}}
    return preflight.judge_rotation(
        "web1", [CALL], infos, app="shop", address=None, max_unavailable=1, min_available=None, findings=findings, **options,
    )


def test_a_ramp_is_read_and_a_wrong_one_or_a_driver_without_weights_is_refused() -> None:
    balancer = {"driver": "haproxy", "hosts": "lb", "socket": "/s"}
    assert settings(balancers=[balancer]).weight_ramp is None
    assert settings(balancers=[balancer], weight_ramp={"steps": [10, "25%", 50], "interval": "20"}).weight_ramp == RAMP
    assert settings(weight_ramp=RAMP, out_of_rotation=True).weight_ramp is None
    with pytest.raises(SeamlessError, match=r"rollout_weight_ramp\.steps is \[50, 10\]"):
        settings(weight_ramp={"steps": [50, 10]})
    with pytest.raises(SeamlessError, match=r"rollout_weight_ramp is set, and the driver health_file of rollout_balancers\[1\] knows no weights"):
        settings(balancers=[balancer, {"driver": "health_file"}], weight_ramp=RAMP)


def test_a_member_that_can_not_climb_is_a_problem_of_the_plan() -> None:
    findings = preflight.Findings()
    judged(findings, limits=[1, 256], weight_ramp=RAMP)
    assert not findings.problems
    judged(findings, limits=[1, 256], weight_ramp=RAMP, member={"weight": 1})
    judged(findings, limits=None, weight_ramp=RAMP)
    assert "web1 can't follow it in shop on lb1: its weight is 1, of which 10 % is less than 1" in findings.problems[0]
    assert "no weights that can be set: leave rollout_weight_ramp out" in findings.problems[1]
    # What an interrupted ramp or a drain has made of the weight is not what it climbs to.
    findings = preflight.Findings()
    judged(findings, limits=[1, 256], weight_ramp=RAMP, member={"weight": 0, "weight_before": 100})
    assert not findings.problems


def test_a_member_on_its_way_up_is_out_of_service_for_the_plan_and_ours() -> None:
    rotation = judged(preflight.Findings(), limits=[1, 256], member={"ramping": True, "drained_by": "shop", "weight": 10, "weight_before": 100})
    assert (rotation.serving, rotation.ours, list(rotation.room.values())) == (False, True, [0])


def test_a_traffic_split_stops_a_rollout_and_is_a_note_of_a_rollback() -> None:
    findings = preflight.Findings()
    judged(findings, member={"split_by": "shop", "weight": 2, "weight_before": 100})
    assert "web1 is part of a traffic split of shop on lb1" in findings.problems[0] and "traffic_split_state=restored" in findings.problems[0]
    findings = preflight.Findings()
    judged(findings, member={"split_by": "shop", "weight": 2, "weight_before": 100}, split_stays=True)
    assert not findings.problems and "stays in force on lb1" in findings.notes[0]


def test_the_plan_shows_how_hosts_come_back_and_what_it_costs() -> None:
    hosts: dict[str, dict[str, t.Any]] = {name: {"weight_ramp": RAMP, "ramp_seconds": 60.0} for name in ("web1", "web2")}
    plan = t.cast("t.Any", types.SimpleNamespace(order=["web1", "web2"]))
    assert _plan_text._ramp_lines({"hosts": hosts}, plan) == ["  weight after the enable: 10, 25, 50 %, then as before (1 min more a host)"]
    hosts["web2"] = {"weight_ramp": None, "ramp_seconds": 0.0}
    assert _plan_text._ramp_lines({"hosts": hosts}, plan) == ["  weight of web1 after the enable: 10, 25, 50 %, then as before (1 min more a host)"]


def test_the_status_tells_a_weight_that_is_not_the_member_s_own() -> None:
    member: dict[str, t.Any] = {"name": "web1", "address": "", "health": "up", "admin": "ready", "drained_by": "shop", "ramping": True, "weight": 10}
    answers = [{"item": {"delegate": "lb1"}, "pools": [{"backend": "shop", "members": [{**member, "weight_before": 100}]}]}]
    calls = [{"delegate": "lb1", "member": "web1"}]
    assert _status._standing_text(_status._Places(answers).standing(calls, None)[0]["lb1/shop"]) == "up, ready, weight 10 instead of 100"
    answers[0]["pools"][0]["members"] = [{**member, "ramping": False, "admin": "drain", "weight": 100, "weight_before": None}]  # type: ignore[index]
    assert _status._standing_text(_status._Places(answers).standing(calls, None)[0]["lb1/shop"]) == "up, drain by shop"
