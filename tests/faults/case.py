# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One case: a rollout under load, a fault at a boundary, the checks, the healing, the same command again, the checks of the end.

A controller may die once more in the run that goes on: then the command is run a third time.
"""

from __future__ import annotations

import random
import time
import typing as t

from fleet.load import Load

from faults import checks
from faults.ground import NOTE, WEB, Ground, Sampler
from faults.kinds import IN_ORDER, KINDS, BalancerNetwork, BalancerPower, HostNetwork, HostPower, Recovered, SecondController
from faults.steps import Boundary, Run

RATE = 60
SCENARIOS = ("good", "broken")
BROKEN_ON = "web3"
ONCE_PLAYS = {"before": "Do what comes once before the hosts", "after": "Do what comes once after the hosts"}
RECORD = "Record that it is done"


class Case(t.NamedTuple):
    kind: str
    pace: str
    scenario: str
    boundary: Boundary
    seed: int
    again: Boundary | None = None
    """Where the controller dies once more, in the run that goes on after the first death."""


class Row(t.NamedTuple):
    """What became of one case. *out* is the most members that were out at once, beside those that the fault itself took.

    *again* is where the controller died once more, "" where it didn't.
    """

    kind: str
    scenario: str
    play: str
    boundary: str
    pace: str
    outcome: str
    violations: list[str]
    victim: str = ""
    requests: int = 0
    failed: int = 0
    explained: int = 0
    out: int = 0
    seconds: float = 0.0
    injected: bool = False
    again: str = ""

    @property
    def faults(self) -> int:
        return self.injected + bool(self.again)


def variables(ground: Ground, scenario: str, release: str, more: t.Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    """The broken release does not start on one host of the second batch, so that the undo has hosts in every state to go back."""
    shorter = {"healthy_deadline": 4.0} if scenario == "broken" else {}
    return ground.variables(release, **{**ground.settings(), **shorter, **(more or {})})


def observe(ground: Ground, scenario: str) -> list[tuple[Boundary, float]]:
    """Run a scenario without a fault and return its boundaries, each with the seconds that followed it."""
    release = ground.next_release()
    if scenario == "broken":
        ground.flag(BROKEN_ON, "refuses", release)
    seen = Run(ground, variables(ground, scenario, release))
    code = seen.wait()
    if (code == 0) != (scenario == "good"):
        raise RuntimeError(f"the {scenario} release ended with {code} without a fault: {seen.text}")
    ground.clear_flags()
    ground.live = release if scenario == "good" else ground.live
    problems = checks.judge_settled(ground, ground.live)
    if problems:
        raise RuntimeError(f"the {scenario} release without a fault: {problems} {seen.text}")
    once = ground.once_ran(release)
    if once != {"before": 1, "after": int(scenario == "good")}:
        raise RuntimeError(f"the {scenario} release without a fault: rollout_once_before and rollout_once_after ran {once} times")
    return seen.boundaries()


def perform(ground: Ground, case: Case) -> Row:
    """Do one case and leave the fleet settled. What goes wrong is in the row, whatever it is."""
    begun = time.monotonic()
    ground.pace = case.pace
    earlier, release = ground.live, ground.next_release()
    fault = KINDS[case.kind](ground, release, random.Random(case.seed))
    fault.scenario = case.scenario
    settings = variables(ground, case.scenario, release, fault.settings)
    if case.scenario == "broken":
        ground.flag(BROKEN_ON, "refuses", release)
    fault.prepare()
    ground.wait_up()
    balancers = {ground.fleet.addresses[name]: name for name in ground.fleet.lb if name not in fault.lost_balancers}
    watched = list(balancers.values())
    violations: list[str] = []
    with Load([f"http://{address}/" for address in balancers], rate=RATE, clients=6, numbered=True) as load, Sampler(ground, watched) as sampler:
        time.sleep(0.3)
        first = fault.run = Run(ground, settings, case.boundary, fault.inject)
        code = first.wait()
        first_text = first.text
        injected = first.acted_at is not None
        lost = {fault.victim} if isinstance(fault, (HostPower, HostNetwork, BalancerPower, BalancerNetwork)) else set()
        in_order = fault.in_order and case.boundary.play in IN_ORDER
        died = injected and fault.kills and not in_order
        ends = [_end(ground, first, release, died)]
        if not died:
            violations += checks.judge_outcome(fault, case.scenario, code)
            violations += checks.judge_locks(ground, fault, lost, f"after exit code {code}")
            violations += checks.judge_verdict(ground, code, earlier, lost)
        if injected and in_order:
            violations += checks.judge_in_order(ground, case.scenario, code, [earlier, release])
        if code == 0 and not (isinstance(fault, SecondController) and fault.code == 0):
            violations += checks.judge_success(ground, fault, first, release, lost)
        violations += checks.judge_cut_short(ground, fault, sampler, lost, earlier, "after the fault")
        if injected:
            fault.heal()
        if isinstance(fault, Recovered):
            violations += checks.judge_recovered(ground, fault, [earlier, release])
            violations += checks.judge_links(ground, sampler, "recovered")
        _let_victim_return(ground, fault.victim)
        again = Run(ground, settings, case.again)
        last = again.wait()
        died_again = again.acted_at is not None
        if died_again:
            ends.append(_end(ground, again, release, True))
            violations += checks.judge_cut_short(ground, fault, sampler, lost, earlier, "after the second death")
            first_text += f"\n===== again =====\n{again.text}"
            again = Run(ground, settings)
            last = again.wait()
        ends.append(_end(ground, again, release, False))
        if last is None or (last == 0) != (case.scenario == "good"):
            violations.append(f"re-run: exit code {last} for a {case.scenario} release")
        ground.live = release if case.scenario == "good" else earlier
        violations += checks.judge_settled(ground, ground.live)
        violations += checks.judge_links(ground, sampler, "after the re-run")
        violations += checks.judge_history(ground, earlier)
    for point in ONCE_PLAYS:
        violations += checks.judge_once(point, [end[point] for end in ends], scenario=case.scenario, code=code)
    failed = [sample for sample in load.samples if sample.error]
    serving = checks.was_serving(fault, sampler, first.acted_at)
    wrong, explained = checks.judge_requests(load.samples, fault, first.acted_at, serving, ground.blamed(failed) if failed else {}, balancers)
    short, out = checks.judge_capacity(fault, sampler, first.acted_at, serving)
    violations = list(dict.fromkeys(violations + wrong + short + fault.notes))
    ground.clear_flags()
    if violations:
        recovered = fault.played.text if isinstance(fault, Recovered) and fault.played else ""
        ground.keep(f"{case.kind} {case.pace} {case.scenario} {case.boundary}", "\n".join(violations), first_text, recovered, again.text)
    outcome = f"died ({code})" if died else f"in order ({code})" if injected and in_order else f"exit {code}"
    outcome += f", recovered ({fault.way})" if isinstance(fault, Recovered) and fault.played else ""
    outcome += ", again" if died_again else ""
    return Row(
        case.kind, case.scenario, case.boundary.play, str(case.boundary), case.pace, f"{outcome}, re-run exit {last}", violations, fault.victim,
        len(load.samples), len(failed), explained, out, round(time.monotonic() - begun, 1), injected, str(case.again) if died_again else "",
    )


def _end(ground: Ground, run: Run, release: str, died: bool) -> dict[str, checks.Once]:
    """Return what one run of the command has left of what has to happen once."""
    undone = _was_undone(ground, release)
    return {point: checks.Once(times, undone, died and _died_in(run, ONCE_PLAYS[point])) for point, times in ground.once_ran(release).items()}


def _was_undone(ground: Ground, release: str) -> bool:
    """Whether the last rollout of *release* has come to its end and taken hosts back: a new run starts anew then."""
    newest = next((row for row in ground.ledger.rollouts(limit=3) if row["release"] == release), None)
    if newest is None or newest["finished_at"] is None:
        return False
    states = {row["state"] for row in ground.ledger.hosts(newest["id"]).values()}
    return bool({newest["state"], *states} & {"rolled_back", "rollback_failed"})


def _died_in(run: Run, play: str) -> bool:
    """Whether the controller died while it did what has to happen once, before it was known that it had recorded it."""
    if run.events[-1].play != play:
        return False
    seen = {(event.task, event.point) for event in run.events if event.play == play}
    return (NOTE, "start") in seen and (RECORD, "result") not in seen


def _let_victim_return(ground: Ground, host: str) -> None:
    """Wait a moment until a healed host is up again where it can be: nobody runs the command again before."""
    deadline = time.monotonic() + 4
    while host in ground.fleet.web and time.monotonic() < deadline:
        if all(ground.fleet.standing(name)[host].startswith(("UP", "DRAIN", "MAINT")) for name in ground.fleet.lb):
            return
        time.sleep(0.2)


def repair(ground: Ground) -> None:
    """Bring the fleet back after a violation, by force. Raises RuntimeError when even that does not help."""
    ground.clear_flags()
    for host in ground.fleet.hosts:
        ground.forget(host)
        if not ground.alive(host):
            ground.forget(host)
            ground.fleet.start(host)
        ground.fleet.shell(host, "nft delete table inet cut", check=False)
        ground.fleet.shell(host, "rm -rf /srv/shop/filler* /srv/shop/.rollout/lock /var/lib/seamless-rollout/balancer", check=False)
        ground.set_clock(host, 0)
    for host in ground.fleet.web:
        ground.set_member(host, "ready")
    release = ground.next_release()
    played = ground.rollout(release, **{**ground.settings(), "min_available": 0, "max_unavailable": "", "break_lock": True, "max_fail": WEB})
    ground.live = release
    if played.code != 0 or checks.judge_settled(ground, release):
        raise RuntimeError(f"the fleet can't be repaired: {played.text}")


__all__ = ["SCENARIOS", "Case", "Row", "observe", "perform", "repair"]
