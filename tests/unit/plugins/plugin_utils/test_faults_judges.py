# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fault suite itself: what it excuses, what it counts, and where it kills."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import types
import typing as t

import pytest
from faults import case, checks, suite
from faults.case import Case, Row
from faults.ground import WEB, Sampler
from faults.kinds import KINDS, Fault
from faults.steps import Boundary, Event
from fleet.load import Sample

BALANCERS = {"198.51.100.20": "lb1", "198.51.100.21": "lb2"}
AT = 1000.0


def fault(kind: str, victim: str) -> Fault:
    ground = types.SimpleNamespace(fleet=types.SimpleNamespace(lb=["lb1", "lb2"], web=["web1", "web2", "web3", "web4"]))
    made = KINDS[kind](t.cast(t.Any, ground), "2.0", random.Random(1))
    made.victim = victim
    return made


def failed(error: str, after: float = 0.5, balancer: str = "lb1", mark: str = "a.1.1") -> Sample:
    return Sample(AT + after, 0.1, error, "", next(address for address, name in BALANCERS.items() if name == balancer), mark)


@pytest.mark.parametrize(
    ("kind", "victim", "sample", "server", "serving", "excused"),
    [
        ("host power cut", "web2", failed("status-502"), "web2", True, True),
        ("host power cut", "web2", failed("status-502"), "web3", True, False),
        ("host power cut", "web2", failed("status-503"), "<NOSRV>", True, False),
        ("host power cut", "web2", failed("reset"), "", True, False),
        ("host power cut", "web2", failed("reset-idle"), "", True, True),
        ("host network cut", "web2", failed("timeout"), "", True, True),
        ("host power cut", "web2", failed("reset-idle"), "web3", True, False),
        ("host power cut", "web2", failed("status-502"), "web2", False, False),
        ("host power cut", "web2", failed("status-502", after=4), "web2", True, False),
        ("host power cut", "web2", failed("status-502", after=-1), "web2", True, False),
        ("HAProxy restart", "lb1", failed("refused"), "", True, True),
        ("HAProxy restart", "lb1", failed("refused", balancer="lb2"), "", True, False),
        ("HAProxy restart", "lb1", failed("status-503"), "web1", True, False),
        ("controller SIGKILL", "", failed("status-502"), "web1", True, False),
    ],
)
def test_a_failed_request_is_excused_by_the_host_that_had_it(kind: str, victim: str, sample: Sample, server: str, serving: bool, excused: bool) -> None:
    good = Sample(AT, 0.1, "", "2.0", sample.via, "a.1.0")
    found, explained = checks.judge_requests([good, sample], fault(kind, victim), AT, serving, {sample.mark: server} if server else {}, BALANCERS)
    assert (not found, explained) == (excused, int(excused))


def seen(**ups: t.Sequence[tuple[float, int]]) -> Sampler:
    sampler = Sampler(t.cast(t.Any, None), list(ups))
    sampler.up = {name: [(at, frozenset(map(str, range(number)))) for at, number in samples] for name, samples in ups.items()}
    return sampler


def test_the_floor_is_judged_on_every_balancer_and_who_saw_nothing_is_no_witness() -> None:
    power = fault("host power cut", "web2")
    fine = [(AT - 1, WEB), (AT + 1, 2)]
    assert checks.judge_capacity(power, seen(lb1=fine, lb2=fine), AT, True) == ([], 1)
    assert checks.judge_capacity(power, seen(lb1=fine, lb2=[(AT - 1, WEB), (AT + 1, 1)]), AT, True) == ([], 2)
    found, most = checks.judge_capacity(power, seen(lb1=fine, lb2=[(AT - 1, WEB), (AT + 1, 1)]), AT, False)
    assert len(found) == 1 and "P5: 1 of 4 members of lb2 were up after the fault" in found[0] and most == 3
    blind, dummy = checks.judge_capacity(power, seen(lb1=fine, lb2=[(AT - 1, WEB)]), AT, True)
    assert blind == ["P5: nobody saw the members of lb2 after the fault"]
    assert checks.judge_capacity(power, seen(lb1=[]), None, True)[0] == ["P5: nobody saw the members of lb1 before the fault"]


@pytest.mark.parametrize(
    ("point", "ends", "more", "broken"),
    [
        ("before", "1 1", {}, False),
        ("before", "0 1", {}, False),
        ("before", "0 0", {}, True),
        ("before", "1 2", {}, True),
        ("before", "1! 2", {}, False),
        ("before", "1! 3", {}, True),
        ("before", "2 2", {}, True),
        ("before", "1- 2", {"scenario": "broken"}, False),
        ("before", "1- 1", {"scenario": "broken"}, True),
        ("before", "0 1! 2", {}, False),
        ("before", "1! 2! 3", {}, False),
        ("before", "1 1 2", {}, True),
        ("before", "1 1- 2", {"scenario": "broken"}, False),
        ("before", "1- 2 2", {"scenario": "broken"}, False),
        ("before", "1- 2 3", {"scenario": "broken"}, True),
        ("after", "0 0", {"scenario": "broken"}, False),
        ("after", "1 1", {"scenario": "broken"}, True),
        ("after", "0 1", {"code": 0}, True),
        ("after", "1 1", {"code": 0}, False),
    ],
)
def test_what_has_to_happen_once_is_counted(point: str, ends: str, more: dict[str, t.Any], broken: bool) -> None:
    """A run is how often it had happened by its end; with ! it died in the middle of it, with - it had undone the rollout."""
    given: dict[str, t.Any] = {"scenario": "good", "code": None, **more}
    runs = [checks.Once(int(end.strip("!-")), "-" in end, "!" in end) for end in ends.split()]
    assert bool(checks.judge_once(point, runs, **given)) is broken


def observed() -> suite.Observed:
    tasks = [("Plan the rollout", "Take the lock"), ("Roll", "Drain"), ("Roll", "Switch"), ("Finish", "Report")]
    good = [(Boundary(play, task, 1, point), 0.5) for play, task in tasks for point in ("start", "result")]
    undo = [(Boundary("Roll", suite.FAILURE, 1, "start"), 0.1), (Boundary("Undo", "Switch", 1, "start"), 0.5)]
    return {(pace, scenario): [*good[:4], *(undo if scenario == "broken" else []), *good[4:]] for pace in suite.PACES for scenario in ("good", "broken")}


def test_the_controller_dies_at_every_start_of_a_task_in_every_second_case() -> None:
    every = suite.cases(observed(), list(KINDS), 1)
    places = suite.deaths(observed())
    # Four of a good release, and of a broken one the two of the undo and the two after it, in both paces.
    assert len(places) == 16 and len(every) == len(set(every))
    first = every[:16:2]
    died = [(case.pace, case.scenario, where) for case in first for where in (case.boundary, case.again)]
    assert {case.kind for case in first} == {suite.DEATH} and len(died) == 16 and set(died) == set(places)
    # The second death is later in the rollout than the first.
    assert all(places.index(one) < places.index(two) for one, two in zip(died[::2], died[1::2]))
    assert len({case.kind for case in every[1:40:2]}) >= 12 and not any(case.again for case in every if case not in first)
    assert [case.boundary for case in suite.cases(observed(), list(KINDS), 2)] != [case.boundary for case in every]
    here = suite.cases(observed(), list(KINDS), 1, "broken .*Undo / Switch")
    assert {case.boundary.task for case in here} == {"Switch"} and here[0].kind == here[2].kind == suite.DEATH != here[3].kind
    assert here[0].again is None and all(case.kind == "HAProxy reload" for case in suite.cases(observed(), ["HAProxy reload"], 1))


def test_the_results_name_each_boundary_and_count_the_deaths() -> None:
    options = suite.parser().parse_args(["--sample"])
    found = suite.Results(options)
    found.observed = observed()
    place, later = Boundary("Roll", "Switch", 1, "start"), Boundary("Finish", "Report", 1, "start")
    found.rows = [
        Row(suite.DEATH, "good", "Roll", str(place), "batch", "died (-9), again, re-run exit 0", [], out=2, injected=True, again=str(later)),
        Row(suite.DEATH, "good", "Roll", str(place), "window", "exit 0, re-run exit 0", []),
        Row("HAProxy reload", "good", "Roll", str(place._replace(point="mid", delay=0.2)), "batch", "exit 1, re-run exit 0", ["P1: x"], "lb1", injected=True),
    ]
    assert (found.deaths, found.totals, found.out) == ((2, 16), (3, 2, 1), 2)
    assert "SIGKILL: 2 of 16 boundaries" in str(found)
    lines = suite.listing(found.rows, found.observed).splitlines()
    assert lines[2] == (
        "| batch | good | before Roll / Switch #1 | controller SIGKILL: died (-9), again, re-run exit 0; "
        "HAProxy reload 0.20 s in of lb1: exit 1, re-run exit 0 **1 violations** |"
    )
    assert lines[3] == "| batch | good | before Finish / Report #1 | controller SIGKILL: died (-9), again, re-run exit 0 |"
    assert lines[4].endswith("| controller SIGKILL: not injected |")


class NoFleet:
    """Nothing runs: what is tested is who does what."""

    web: t.ClassVar[list[str]] = []

    def __init__(self, **sizes: int) -> None:
        pass

    def __enter__(self) -> NoFleet:
        return self

    def __exit__(self, *dummy: object) -> None:
        pass


class NoGround:
    def __init__(self, fleet: NoFleet, pace: str) -> None:
        self.pace = pace

    def prepare(self) -> None:
        pass

    @contextlib.contextmanager
    def small_file_system(self, wanted: bool) -> t.Iterator[None]:
        yield


def test_every_case_is_done_by_one_fleet(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    def perform(ground: NoGround, case: Case) -> Row:
        # What is left to do in a window does not come to the second boundary here.
        again = str(case.again) if case.again and case.pace == "batch" else ""
        place = str(case.boundary)
        return Row(case.kind, case.scenario, case.boundary.play, place, case.pace, "exit 0", [], str(os.getpid()), injected=True, again=again)

    monkeypatch.setattr(suite, "REPO", str(tmp_path))
    monkeypatch.setattr(suite, "Fleet", NoFleet)
    monkeypatch.setattr(suite, "Ground", NoGround)
    monkeypatch.setattr(suite, "observe", lambda ground, scenario: observed()[ground.pace, scenario])
    monkeypatch.setattr(suite, "perform", perform)
    found = suite.run("--quiet", "--fleets", "3", "--kind", suite.DEATH, "--kind", "HAProxy reload")
    done = [(row.kind, row.pace, row.scenario, row.boundary) for row in found.rows]
    # Four deaths more in one run each: those of the window that were to be second ones.
    assert len(done) == len(set(done)) == len(suite.cases(observed(), [suite.DEATH, "HAProxy reload"], 1)) + 4
    assert found.deaths == (16, 16) and found.totals == (len(done) + 4, 2, 0)
    assert sorted(os.listdir(tmp_path / "build")) == ["faults.json", "faults.md"]
    few = suite.run("--quiet", "--sample", "--limit", "1", "--fleets", "2")
    assert len(few.rows) == 1 and os.path.exists(tmp_path / "build" / "faults-sample.json")


@pytest.mark.parametrize(
    ("steps", "may_repeat"),
    [
        ([("Do it", "start")], False),
        ([("Note that it ran", "start")], True),
        ([("Note that it ran", "start"), ("Note that it ran", "result"), ("Run a hook's role", "start")], True),
        ([("Note that it ran", "start"), ("Record that it is done", "start")], True),
        ([("Note that it ran", "start"), ("Record that it is done", "start"), ("Record that it is done", "result")], False),
    ],
)
def test_what_comes_once_may_come_again_after_a_death_between_it_and_its_record(steps: list[tuple[str, str]], may_repeat: bool) -> None:
    play = case.ONCE_PLAYS["after"]
    events = [Event(0.0, point, play, task, 1, "web1", "") for task, point in steps]
    assert case._died_in(t.cast(t.Any, types.SimpleNamespace(events=events)), play) is may_repeat
    later = [*events, Event(0.0, "start", "Finish", "Report", 1, "web1", "")]
    assert not case._died_in(t.cast(t.Any, types.SimpleNamespace(events=later)), play)
