# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner against a database that forgets what was not committed, and that kills it anywhere."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import locks, runner, states
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger_records import FillRecord, Gate, Migration
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Check, Fill, Name, Plan, Step
from ansible_collections.seamless.rollout.plugins.module_utils._migration.runner import Permission, Runner
from ansible_collections.seamless.rollout.plugins.module_utils._migration.spec import Contract, Limits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

USERS, ORDERS = Name("public", "users"), Name("public", "orders")
FORCE = Permission(force_contract_reason="a test", force_abort_reason="a test")


def operation(word: str, table: Name) -> Plan:
    def steps(phase: str, count: int = 1) -> tuple[Step, ...]:
        return tuple(Step(f"{phase} {number}", (f"{word} {phase} {number}",), (table,)) for number in range(count))

    def fills(phase: str) -> tuple[Fill, ...]:
        return (Fill(table, ("id",), f"{word} {phase}", "new IS NULL"),)

    return Plan(
        word,
        (table,),
        expand=steps("expand", 2),
        backfill=fills("backfill"),
        validate=steps("validate"),
        quarantine=steps("quarantine"),
        drop=steps("drop"),
        abort=steps("abort"),
        abort_backfill=fills("abort_backfill"),
        restore=steps("restore"),
        reverse_backfill=fills("reverse_backfill"),
        verify=(Check("same", "SELECT wrong", "SELECT sample"),),
    )


PLANS = (operation("rename", USERS), operation("split", ORDERS))


class KilledError(BaseException):
    """Not one that anything handles."""


@dataclasses.dataclass
class Data:
    """What the database keeps."""

    state: str = "expanding"
    effects: list[str] = dataclasses.field(default_factory=list)
    steps: dict[tuple[str, int], str] = dataclasses.field(default_factory=dict)
    fills: dict[tuple[str, int], FillRecord] = dataclasses.field(default_factory=dict)
    floor: str | None = None
    last_error: str | None = None
    drop_after: float | None = None
    events: list[str] = dataclasses.field(default_factory=list)


class World:
    """Database and ledger in one. *lives* counts down with all that is done; at 0 the runner is killed."""

    engine = "postgresql"

    def __init__(self, state: str = "expanding") -> None:
        self.data = Data(state)
        self.lives = 10**9
        self.in_transaction = False
        self.wrong: list[int] = []
        self.gate_records: list[Gate] = []
        self.now = 1000.0

    def touch(self) -> None:
        if self.lives <= 0:
            raise KilledError
        self.lives -= 1

    @contextlib.contextmanager
    def transaction(self) -> t.Iterator[None]:
        assert not self.in_transaction
        self.touch()
        before = copy.deepcopy(self.data)
        self.in_transaction = True
        try:
            yield
            self.touch()  # killed before the commit
        except BaseException:
            self.data = before
            raise
        finally:
            self.in_transaction = False

    def value(self, sql: str) -> int:
        self.touch()
        assert sql == "SELECT wrong"
        return self.wrong.pop(0) if self.wrong else 0

    def rows(self, sql: str) -> list[tuple[t.Any, ...]]:
        assert sql == f"SELECT sample LIMIT {runner.SAMPLES}"
        return [(7, "Ada", None)]

    # the ledger

    def migration(self, app: str, name: str) -> Migration:
        self.touch()
        data = self.data
        return Migration(1, app, name, "", {}, PLANS, "42", "tag", (), data.state, None, data.drop_after, None, data.last_error, None, 0, 0, self.now)

    def begin(self, dummy: int, move: states.Move, run_id: str) -> None:
        self.touch()
        self.data.state = move.begins
        self.data.steps = {key: value for key, value in self.data.steps.items() if key[0] not in move.phases}
        self.data.fills = {key: value for key, value in self.data.fills.items() if key[0] not in move.phases}

    def end(self, dummy: int, move: states.Move, run_id: str, *, quarantine: float) -> None:
        self.touch()
        self.data.state = move.ends
        self.data.drop_after = self.now + quarantine if move is states.QUARANTINE else None

    def failed(self, dummy: int, run_id: str, error: str) -> None:
        self.data.last_error = error

    def event(self, dummy: int, run_id: str, what: str, detail: t.Any = None) -> None:
        self.data.events.append(what)

    def raise_floor(self, app: str, release: str, dummy: int) -> None:
        self.touch()
        self.data.floor = release

    def settle_floor(self, app: str) -> None:
        self.touch()
        self.data.floor = None

    def steps(self, dummy: int) -> list[t.Any]:
        self.touch()
        return [type("Record", (), {"phase": phase, "number": number}) for phase, number in self.data.steps]

    def step_done(self, dummy: int, phase: str, number: int, name: str, sql_sha: str, run_id: str, **more: t.Any) -> None:
        self.touch()
        self.data.steps[phase, number] = name

    def forget_fills(self, dummy: int, phases: t.Sequence[str]) -> None:
        self.data.fills = {key: value for key, value in self.data.fills.items() if key[0] not in phases}

    def passing_gate(self, dummy: int, gate: int, ttl: float, purpose: str = "contract") -> Gate:
        if gate != 5:
            raise SeamlessError("that gate did not pass")
        return Gate(5, 1, True, {}, 0, 0)


@pytest.fixture(autouse=True)
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_step(world: World, step: Step, limits: locks.Limits, record: locks.Record) -> locks.StepOutcome:
        outcome = locks.StepOutcome(attempts=1)
        with world.transaction():
            world.touch()
            if "quarantine" in step.name or "drop" in step.name:
                assert world.data.floor == "42", "the floor is raised before any DDL of the contract"
            world.data.effects.append(step.statements[0])
            record(outcome)
        return outcome

    class Backfill:
        def __init__(self, world: World, ledger: World, dummy: int, limits: Limits) -> None:
            self.world = world

        def run(self, phase: str, number: int, fill: Fill, **more: t.Any) -> FillRecord:
            world = self.world
            record = world.data.fills.get((phase, number)) or FillRecord(phase, number, None, False, 0, 0, None, 1, 0.0)
            while not record.done:
                with world.transaction():
                    world.touch()
                    done = record.rows_done + 1
                    record = dataclasses.replace(record, rows_done=done, rows_changed=done, position=[done], done=done == 3)
                    world.data.effects.append(f"{fill.assignments} {done}")
                    world.data.fills[phase, number] = record
            return record

    monkeypatch.setattr(locks, "run_step", run_step)
    monkeypatch.setattr(runner, "Backfill", Backfill)


def take(world: World, target: str, permission: Permission = FORCE, contract: Contract | None = None) -> Runner:
    """Bring the migration of *world* to *target*, as the module does."""
    migration = world.migration("shop", "m")
    ours = Runner(
        t.cast("t.Any", world), t.cast("t.Any", world), run_id="r", limits=Limits(), contract=contract or Contract(), verify_window=0
    )
    ours.run(migration, states.path(migration.state, target), permission)
    return ours


def test_operations_go_forward_in_their_order_and_back_in_the_other() -> None:
    world = World()
    take(world, "quarantined")
    assert world.data.effects[:4] == ["rename expand 0", "rename expand 1", "split expand 0", "split expand 1"]
    assert world.data.effects[-2:] == ["rename quarantine 0", "split quarantine 0"]
    take(world, "restored")
    assert world.data.effects[-8:-6] == ["split restore 0", "rename restore 0"]
    assert (world.data.state, world.data.floor) == ("backfilled", None)


def test_what_happened_is_reported() -> None:
    report = take(World(), "backfilled").report
    assert [step["name"] for step in report.steps] == [
        "1. rename: expand 0", "1. rename: expand 1", "2. split: expand 0", "2. split: expand 1", "1. rename: validate 0", "2. split: validate 0",
    ]  # fmt: skip
    assert report.rows == 6
    assert report.moved
    assert not report.notices


def test_a_large_backfill_says_that_vacuum_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "VACUUM_DUE", 3)
    assert [notice.partition(", for")[0] for notice in take(World(), "backfilled").report.notices] == [
        f"The backfill of public.{table} has left 3 old versions of rows" for table in ("users", "orders")
    ]


TOURS = (
    ("backfilled",),
    ("backfilled", "aborted"),
    ("backfilled", "quarantined", "restored", "quarantined", "contracted"),
    ("expanded", "aborted"),
)


def undisturbed(tour: tuple[str, ...]) -> World:
    world = World()
    for target in tour:
        take(world, target)
    return world


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(TOURS), st.lists(st.integers(1, 40), max_size=12))
def test_killed_anywhere_it_does_everything_once(tour: tuple[str, ...], kills: list[int]) -> None:
    world = World()
    for target in tour:
        while True:
            world.lives = kills.pop() if kills else 10**9
            try:
                take(world, target)
                break
            except KilledError:
                world.lives = 10**9
    assert dataclasses.asdict(world.data) == dataclasses.asdict(undisturbed(tour).data)


def test_an_abort_needs_a_gate_that_passed_unless_it_has_begun() -> None:
    world = World("backfilled")
    with pytest.raises(SeamlessError, match="purpose: abort"):
        take(world, "aborted", Permission(force_contract_reason="this is for something else"))
    assert world.data == Data("backfilled")
    take(World("backfilled"), "aborted", Permission(5))
    take(World("aborting"), "aborted", Permission())


def test_a_contract_needs_a_gate_that_passed() -> None:
    world = World("backfilled")
    with pytest.raises(SeamlessError, match="give the id of a gate that passed"):
        take(world, "quarantined", Permission())
    with pytest.raises(SeamlessError, match="did not pass"):
        take(world, "quarantined", Permission(4))
    assert world.data == Data("backfilled")
    take(world, "quarantined", Permission(5))
    assert (world.data.state, world.data.floor) == ("quarantined", "42")


def test_a_contract_that_has_begun_goes_on_without() -> None:
    world = World("contracting")
    world.data.floor = "42"
    take(world, "quarantined", Permission())
    assert world.data.state == "quarantined"


def test_the_quarantine_is_waited_for() -> None:
    world = World("backfilled")
    with pytest.raises(SeamlessError, match="take it to state: quarantined first"):
        take(world, "contracted", Permission(5))
    assert world.data.effects == []
    take(world, "quarantined", Permission(5))
    with pytest.raises(SeamlessError, match=r"in quarantine until 1970-01-08 00:16:40 UTC"):
        take(world, "contracted", Permission(5))
    world.now += 604801
    take(world, "contracted", Permission(5))
    assert world.data.state == "contracted"


def test_without_a_quarantine_one_run_contracts() -> None:
    world = World("backfilled")
    take(world, "contracted", Permission(5), Contract(quarantine=0))
    assert world.data.state == "contracted"


@pytest.mark.parametrize(("wrong", "when"), [([2], "after the backfill"), ([0, 0, 3], "0 seconds later")])
def test_rows_that_differ_stop_it_and_are_shown(wrong: list[int], when: str) -> None:
    world = World("expanded")
    world.wrong = list(wrong)
    with pytest.raises(SeamlessError, match=rf"not the same in both shapes {when}.*1. rename: same: {wrong[-1]} rows, such as \(7, Ada, None\)") as stopped:
        take(world, "backfilled")
    assert stopped.value.details["wrong"][0]["rows"] == wrong[-1]
    assert world.data.state == "backfilling"
    assert world.data.last_error
    # every row is looked at again
    assert not world.data.fills
    take(world, "backfilled")
    assert world.data.state == "backfilled"


def test_a_failed_step_is_named() -> None:
    world = World()

    def run_step(*dummy: t.Any) -> t.NoReturn:
        raise SeamlessError("no lock", blockers=[1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "run_step", run_step)
        with pytest.raises(SeamlessError, match="expand, 1. rename: expand 0: no lock") as stopped:
            take(world, "expanded")
    assert stopped.value.details == {"blockers": [1]}
    assert world.data.last_error == "expand, 1. rename: expand 0: no lock"
