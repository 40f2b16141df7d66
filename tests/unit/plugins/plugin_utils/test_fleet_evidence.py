# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the gate asks hosts, and in which order it judges, waits and raises the floor."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.action import migration_gate
from ansible_collections.seamless.rollout.plugins.action.migration_gate import ActionModule
from ansible_collections.seamless.rollout.plugins.plugin_utils import _fleet_evidence as evidence

NAME = "2026_11_22_01_user_name"


def test_an_answer_becomes_what_the_gate_needs() -> None:
    answer = {
        "current": {"kind": "link", "release": "42"},
        "releases": [{"id": "41", "state": "previous", "migrations": {}}, {"id": "42", "state": "current", "migrations": {NAME: "x"}}],
        "running": {"services": [{"name": "shop"}], "processes": {"42": ["process 1 (cwd)"]}, "switched_ago": 12.5},
        "lock": {"id": "r", "owner": "ann", "expired": False, "ttl": 3600},
    }
    assert evidence.report("web1", answer, NAME) == {
        "host": "web1", "answered": True, "kind": "link", "release": "42", "state": "current", "releases": ["41", "42"], "carriers": ["42"],
        "services": [{"name": "shop"}], "processes": {"42": ["process 1 (cwd)"]}, "switched_ago": 12.5,
        "lock": {"id": "r", "owner": "ann", "expired": False},
    }  # fmt: skip
    assert evidence.report("web1", answer, "", only="41")["carriers"] == ["41"], "one release alone will do where a framework migrates"
    assert evidence.report("web1", {**answer, "current": {"kind": "dangling", "release": "40"}}, NAME)["release"] is None


@pytest.mark.parametrize(
    ("answer", "unreachable", "msg"),
    [
        ({"failed": True, "unreachable_host": True, "msg": "The host can't be reached: timed out"}, True, "timed out"),
        ({"unreachable": True, "msg": "no route"}, True, "no route"),
        ({"failed": True, "msg": "disk full"}, False, "disk full"),
        ({"failed": True}, False, "no message"),
    ],
)
def test_a_host_that_does_not_answer_is_told_apart_from_one_that_fails(answer: dict[str, t.Any], unreachable: bool, msg: str) -> None:
    assert evidence.report("web1", answer, NAME) == {"host": "web1", "answered": False, "unreachable": unreachable, "msg": msg}


class FakeFleet:
    """Three hosts. *broken* don't take the floor; *deaf* don't take it back."""

    hosts: t.ClassVar[list[str]] = ["web1", "web2", "web3"]

    def __init__(self, broken: t.Container[str] = (), deaf: t.Container[str] = ()) -> None:
        self.broken, self.deaf, self.asked = broken, deaf, 0
        self.said: list[tuple[str, tuple[str, ...]]] = []

    def ask(self) -> list[dict[str, t.Any]]:
        self.asked += 1
        return [{"host": host} for host in self.hosts]

    def set_floor(self, release: str, *, state: str = "present", hosts: t.Sequence[str] | None = None) -> dict[str, dict[str, t.Any]]:
        names = self.hosts if hosts is None else list(hosts)
        self.said.append((state, tuple(names)))
        refusing = self.broken if state == "present" else self.deaf
        return {host: {"failed": True, "msg": "disk full"} if host in refusing else {"changed": host != "web1"} for host in names}


class Asking(ActionModule):
    """The action plugin, with a database that gives *answers* one after another."""

    def __init__(self, *answers: dict[str, t.Any], check_mode: bool = False) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, t.Any]] = []
        self._task: t.Any = type("Task", (), {"check_mode": check_mode})
        self.warnings: list[str] = []
        self._display: t.Any = type("Display", (), {"display": staticmethod(lambda text: None), "warning": staticmethod(self.warnings.append)})

    def execute(self, operation: str, params: dict[str, t.Any], task_vars: dict[str, t.Any], attachment: bytes | None = None) -> dict[str, t.Any]:
        self.calls.append(params)
        return dict(self.answers.pop(0))


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let time pass without waiting for it."""
    naps: list[float] = []
    monkeypatch.setattr(migration_gate.time, "sleep", naps.append)
    monkeypatch.setattr(migration_gate.time, "monotonic", lambda: 1000.0 + sum(naps))
    return naps


PASSED = {"passed": True, "pending": None, "missing": [], "evidence": [], "release": "42", "migration": NAME, "weak": []}
SHUT = {**PASSED, "passed": False, "missing": ["E1: web3 runs release 41"]}


def waiting(seconds: float, what: str) -> dict[str, t.Any]:
    return {**PASSED, "passed": False, "pending": seconds, "missing": [f"{what}: not yet"], "evidence": [{"id": what, "pending": seconds}]}


PARAMS: dict[str, t.Any] = {"wait": 0.0, "raise_floor": False, "rollout_id": ""}


def asked(action: Asking, fleet: FakeFleet, **params: t.Any) -> dict[str, t.Any]:
    return action._asked(t.cast("t.Any", fleet), {**PARAMS, **params}, {})[0]


def test_a_gate_that_is_shut_is_not_waited_for(slept: list[float]) -> None:
    action, fleet = Asking(SHUT), FakeFleet()
    assert not asked(action, fleet, wait=900.0)["passed"]
    assert (slept, fleet.asked, len(action.calls)) == ([], 1, 1)


def test_time_is_waited_for_as_long_as_it_suffices_and_the_hosts_are_asked_again(slept: list[float]) -> None:
    action, fleet = Asking(waiting(40.0, "E6"), waiting(25.0, "E6"), waiting(10.0, "E6"), PASSED), FakeFleet()
    assert asked(action, fleet, wait=60.0)["passed"]
    assert slept == [15.0, 15.0, 10.0]
    assert fleet.asked == 4
    action, fleet = Asking(waiting(1500.0, "E6")), FakeFleet()
    assert asked(action, fleet, wait=60.0)["pending"] == 1500.0
    assert fleet.asked == 1


def test_the_module_itself_waits_for_its_canaries_a_minute_at_a_time(slept: list[float]) -> None:
    action = Asking(waiting(540.0, "E3"), PASSED)
    assert asked(action, FakeFleet(), wait=900.0)["passed"]
    assert [call["wait"] for call in action.calls] == [60.0, 60.0]
    assert slept == [0.0]


def raised(action: Asking, fleet: FakeFleet) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    return action._with_floor(PASSED, [], t.cast("t.Any", fleet), {**PARAMS, "raise_floor": True}, {})


def test_the_verdict_stands_when_every_host_took_the_floor() -> None:
    action, fleet = Asking({**PASSED, "gate": 7}), FakeFleet()
    answer, floor = raised(action, fleet)
    assert (answer["gate"], sorted(floor), fleet.said) == (7, fleet.hosts, [("present", tuple(fleet.hosts))])
    assert (action.calls[0]["floor_failed"], action.calls[0]["wait"]) == ({}, 0.0)


def test_one_host_without_the_floor_is_told_to_the_ledger_and_the_others_take_it_back() -> None:
    action, fleet = Asking(SHUT), FakeFleet(broken={"web3"})
    answer, floor = raised(action, fleet)
    assert (answer["passed"], floor) == (False, {})
    assert action.calls[0]["floor_failed"] == {"web3": "disk full"}
    assert fleet.said[1] == ("absent", ("web2",)), "web1 had it before"
    action, fleet = Asking(SHUT), FakeFleet(broken={"web3"}, deaf={"web2"})
    raised(action, fleet)
    assert "stays raised on web2" in action.warnings[0]


def test_check_mode_only_asks_whether_hosts_would_take_it() -> None:
    action, fleet = Asking(check_mode=True), FakeFleet()
    answer, floor = raised(action, fleet)
    assert (answer, action.calls, sorted(floor)) == (PASSED, [], fleet.hosts)
