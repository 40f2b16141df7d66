# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The release floor in the plan of a rollout and in its undo."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.plugin_utils import _floors, _source
from ansible_collections.seamless.rollout.plugins.plugin_utils._conductor import Conductor
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._preflight import Findings

NAME = "2026_11_22_01_user_name"
FLOOR = {"migrations": [NAME], "release": "42", "set_at": "2026-11-22T10:00:00Z", "set_by": "r7", "directory": "migrations"}


def survey(*, floor: bool = True, current: str = "42") -> dict[str, t.Any]:
    carrying = {"41": {}, "42": {NAME: "x"}, "43": {NAME: "x", "other": "x"}}
    releases = [{"id": name, "state": "good", "migrations": migrations} for name, migrations in carrying.items()]
    return {"current": {"kind": "link", "release": current}, "releases": releases, "floor": FLOOR if floor else None}


def problems(mode: str, wanted: t.Mapping[str, str | None], surveys: t.Mapping[str, t.Any], **resolved: t.Any) -> list[str]:
    findings = Findings()
    facts = {"mode": mode, "release": wanted.get("web1"), "resolved": resolved, "state_dir": "/nowhere", "floor": _floors.fleet_floor(surveys)}
    _floors.check_floor(facts, wanted, surveys, findings)
    return findings.problems


@pytest.mark.parametrize("mode", ["rollback", "recover", "promote", "release", "preview"])
def test_nothing_goes_below_the_floor_and_one_sentence_names_it(mode: str) -> None:
    surveys = {"web1": survey(), "web2": survey(), "new": survey(floor=False)}
    found = problems(mode, dict.fromkeys(surveys, "41"), surveys)
    assert len(found) == 1
    go = ("(here: 42, 43)", f"seamless.rollout.restore brings it back and lets the floor sink, with -e rollout_restore={NAME} (", "state: restored")
    for words in ("release 41 is below the release floor (release 42, set at 2026-11-22T10:00:00Z by r7)", f"does not carry the migration {NAME}, ", *go):
        assert words in found[0]
    assert problems(mode, dict.fromkeys(surveys, "43"), surveys) == []
    assert problems(mode, dict.fromkeys(surveys, "41"), {name: survey(floor=False) for name in surveys}) == []


def test_an_update_with_own_tasks_and_a_release_that_no_host_has_yet_are_not_judged_by_the_hosts() -> None:
    surveys = {"web1": survey()}
    assert problems("update", {"web1": None}, surveys) == []
    assert problems("release", {"web1": "44"}, surveys, checksum="sha256:0") == [], "the host says when it is staged"


def test_a_release_that_is_to_be_shipped_is_judged_by_what_the_controller_has(monkeypatch: pytest.MonkeyPatch) -> None:
    carried: list[str] = []
    monkeypatch.setattr(_source, "carried", lambda *args: carried)
    assert "release 44 is below" in problems("release", {"web1": "44"}, {"web1": survey()}, tree="/t", digest="d")[0]
    carried.append(NAME)
    assert problems("release", {"web1": "44"}, {"web1": survey()}, tree="/t", digest="d") == []


def test_the_way_back_of_a_host_can_be_below_the_floor_by_now() -> None:
    assert _floors.no_way_back(survey(), "41", FLOOR) == f"release 41 is below the release floor, it does not carry {NAME}"
    assert [_floors.no_way_back(survey(), "42", FLOOR), _floors.no_way_back(survey(), None, FLOOR), _floors.no_way_back(survey(), "41", {})] == [""] * 3
    hosts = {f"web{n}": {"no_way_back": "why" if n > 1 else "", "state": "pending"} for n in (1, 2, 3)}
    assert _floors.notes(hosts, "rollback") == ["web2, web3 can't be taken back after a failure: why."]
    assert _floors.notes(hosts, "stop") == []


def rollout(tmp_path: t.Any, *stuck: str) -> Conductor:
    facts = {
        "id": "r", "state_dir": str(tmp_path), "max_fail": 0, "on_failure": "rollback", "halted": "", "mode": "release", "max_unavailable": 1, "release": "43",
        "roll_hosts": ["web1", "web2"], "undo_hosts": [], "finish_hosts": [],
        "hosts": {
            name: {
                "from": "41" if name in stuck else "42", "target": "43", "state": "pending", "detail": "", "drained": False, "balancers": [{}],
                "no_way_back": "release 41 is below the release floor" if name in stuck else "",
            }
            for name in ("web1", "web2")
        },
    }  # fmt: skip
    ledger = Ledger(str(tmp_path))
    begun = {"app": "shop", "release": "43", "mode": "release", "state": "planned", "reason": "", "owner": "o", "controller": "c"}
    ledger.begin({"id": "r", **begun, "pid": 1, "process_start": "", "started_at": 1.0})
    ledger.save_plan("r", facts)
    return Conductor(facts)


def fail(conductor: Conductor) -> dict[str, t.Any]:
    conductor.open_batch(["web1"], undo=False)
    conductor.close_batch(["web1"], {"web1": {"finished": True, "seconds_out": 1.0}}, {"web1"}, undo=False)
    conductor.open_batch(["web2"], undo=False)
    conductor.failed("web2", "Switch", {"msg": "not healthy"}, undo=False)
    return conductor.close_batch(["web2"], {"web2": {"finished": True}}, {"web2"}, undo=False)


def test_an_undo_leaves_a_host_where_it_is_rather_than_below_the_floor(tmp_path: t.Any) -> None:
    conductor = rollout(tmp_path, "web2")
    after = fail(conductor)
    assert after["undo_hosts"] == ["web1"]
    assert after["halted"].endswith("not healthy. Not undone: web2: release 41 is below the release floor")
    events = [event for event in conductor.ledger.events("r") if event["event"] == "cannot_undo"]
    assert [(event["host"], event["detail"]["reason"]) for event in events] == [("web2", "release 41 is below the release floor")]


def test_an_undo_does_not_start_when_no_host_could_go_back(tmp_path: t.Any) -> None:
    conductor = rollout(tmp_path, "web1", "web2")
    after = fail(conductor)
    assert (after["undo_hosts"], conductor.ledger.rollout("r")["state"]) == ([], "running")
    assert "Not undone: web1: release 41 is below the release floor; web2:" in after["halted"]
    report = conductor.finish({})
    assert report["state"] == "failed"
    assert "below the release floor" in str(report["why"])


def test_an_undo_without_a_floor_is_as_ever(tmp_path: t.Any) -> None:
    after = fail(rollout(tmp_path))
    assert sorted(after["undo_hosts"]) == ["web1", "web2"]
    assert "Not undone" not in after["halted"]
