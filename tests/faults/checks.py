# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold after a fault, and after the same command was run again. Each finding names the promise that it breaks."""

from __future__ import annotations

import os
import time
import typing as t

from fleet.load import Sample

from faults.ground import FLOOR, WEB, Ground, Sampler
from faults.kinds import BalancerFault, Fault, FullDisk, Operator, Reload, Restart
from faults.steps import Event, Run

GRACE = 3.0
IN_FLIGHT = 0.3


def judge_requests(samples: t.Sequence[Sample], fault: Fault, sampler: Sampler, at: float | None) -> tuple[list[str], int]:
    """P1. Return what is wrong, and how many failed requests the fault itself explains: those of a host that was in rotation, or was being put back."""
    failed = [sample for sample in samples if sample.error]
    serving = fault.in_rotation or (at is not None and sampler.was_up(fault.victim, at - IN_FLIGHT, at + IN_FLIGHT))
    until = fault.cost if serving else 0.0
    excused = [sample for sample in failed if at is not None and until and at - IN_FLIGHT <= sample.at <= at + until]
    rest = [sample for sample in failed if sample not in excused]
    if not rest:
        return [], len(excused)
    when = ", ".join(f"{sample.error} at {sample.at - (at or samples[0].at):+.1f} s" for sample in rest[:5])
    return [f"P1: {len(rest)} requests failed that the fault does not explain ({when})"], len(excused)


def judge_links(ground: Ground, sampler: Sampler, when: str) -> list[str]:
    """P2. ``current`` was a link to a complete release whenever somebody looked, and every byte of it is right now."""
    found = [f"P2: {host}, in passing: {problem}" for host, problem in sampler.links.items()]
    for host in ground.fleet.web:
        problem = ground.link_problem(host, thorough=True)
        if problem:
            found.append(f"P2: {host}, {when}: {problem}")
    return found


def judge_success(ground: Ground, fault: Fault, run: Run, release: str, lost: t.Container[str]) -> list[str]:
    """P3. Exit code 0 was given: every planned host runs the release, healthy, in rotation, unless it was lost after the last look at it."""
    found = []
    acted = run.acted_at or 0.0
    looked = any(event.at > acted and event.host == fault.victim and not _under_way(run, event, acted) for event in run.events)
    if fault.victim in ground.fleet.lb:
        looked = any(event.at > acted and event.point == "start" and "rotation" in event.task for event in run.events)
    for host in ground.fleet.web:
        if host in lost:
            if looked:
                found.append(f"P3: exit code 0 although {host} was lost before the run had done with it")
            continue
        operators = isinstance(fault, Operator) and host == fault.victim
        problem = _not_serving(ground, host, release, [name for name in ground.fleet.lb if name not in lost], operators)
        if problem:
            found.append(f"P3: exit code 0 although {problem}")
    if looked and any(name in lost for name in ground.fleet.lb):
        found.append(f"P3: exit code 0 although balancer {fault.victim} was lost while it was needed")
    return found


def _under_way(run: Run, result: Event, acted: float) -> bool:
    """Whether *result* is the good one of a task that had begun by *acted*: its work on the host may have been done before the fault."""
    started = [event.at for event in run.events if event.point == "start" and (event.play, event.task) == (result.play, result.task) and event.at <= result.at]
    return result.verdict == "ok" and bool(started) and started[-1] <= acted


def _not_serving(ground: Ground, host: str, release: str, balancers: t.Sequence[str], excused: bool) -> str:
    deadline = time.monotonic() + GRACE
    while True:
        live, served = ground.live_on(host), ground.served_by(host)
        states = {name: ground.fleet.standing(name)[host] for name in balancers}
        if live == served == release and (excused or all(state.startswith("UP") for state in states.values())):
            return ""
        if time.monotonic() > deadline:
            return f"{host} has {live}, answers as {served or 'nothing'}, wanted {release}, and is {states}"
        time.sleep(0.2)


def judge_members(ground: Ground, fault: Fault, lost: t.Container[str]) -> list[str]:
    """P4. A member that is out has a record that says so, or it is the fault's own doing."""
    found: list[str] = []
    for balancer in ground.fleet.lb:
        if balancer in lost:
            continue
        deadline = time.monotonic() + GRACE
        while True:
            problems = [problem for host in ground.fleet.web if (problem := _unexplained(ground, fault, balancer, host))]
            if not problems or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        found += problems
    return found


def _unexplained(ground: Ground, fault: Fault, balancer: str, host: str) -> str:
    admin, status = ground.admin(balancer)[host], ground.fleet.standing(balancer)[host]
    if admin & 0b1001:
        if any(name.startswith(f"{ground.fleet.backend}-{host}-") for name in ground.records_on(balancer)):
            return ""
        return "" if isinstance(fault, Operator) and host == fault.victim else f"P4: {balancer} has {host} out ({status}) and no record says so"
    if status.startswith("UP") or host == fault.victim:
        return ""
    # A balancer that forgot the drains has the dead application of a host that is being updated as ready, and its own checks keep it out.
    forgot = isinstance(fault, (Reload, Restart, BalancerFault)) and balancer == fault.victim
    return "" if forgot else f"P4: {balancer} has {host} ready although it is {status}"


def judge_capacity(fault: Fault, sampler: Sampler, at: float | None) -> list[str]:
    """P5. The floor held, less what the fault itself took."""
    never = float("inf")
    before = sampler.fewest_up(0.0, at or never)
    after = sampler.fewest_up(at or never, never)
    found = [f"P5: {before} of {WEB} members were up before the fault, the floor is {FLOOR}"] if before < FLOOR else []
    if after < FLOOR - fault.down:
        found.append(f"P5: {after} of {WEB} members were up, the floor is {FLOOR}" + (f" less {fault.down} that the fault took" if fault.down else ""))
    return found


def judge_history(ground: Ground, earlier: str) -> list[str]:
    """P7. The release that ran before is still there, on every host."""
    return [
        f"P7: {host} has lost {earlier}, the way back"
        for host in ground.fleet.web
        if ground.alive(host) and not os.path.exists(ground.place(host, f"/srv/shop/releases/{earlier}/VERSION"))
    ]


def judge_locks(ground: Ground, fault: Fault, lost: t.Container[str], when: str) -> list[str]:
    """P8. A run that came to its end has given its locks back."""
    spared = fault.victim if isinstance(fault, FullDisk) else ""
    return [f"P8: {host} is still locked {when}" for host in ground.fleet.web if host not in lost and host != spared and ground.lock_on(host)]


def judge_verdict(ground: Ground, code: int | None, earlier: str, lost: t.Container[str]) -> list[str]:
    """A run that came to its end says how: in the ledger, and a rollout that was undone has undone every host."""
    newest = ground.ledger.rollouts(limit=1)
    if not newest or code is None:
        return []
    found = []
    if newest[0]["finished_at"] is None:
        found.append(f"P3: the run ended with {code} and left its rollout {newest[0]['state']!r}: no verdict, no undo, no report")
    if newest[0]["state"] == "rolled_back":
        live = {host: ground.live_on(host) for host in ground.fleet.web if host not in lost}
        found += [f"P3: rolled back, but {host} has {release}" for host, release in live.items() if release != earlier]
    return found


def judge_settled(ground: Ground, release: str) -> list[str]:
    """After the fault was healed and the command run again: all hosts on one release, all up, no record, no lock."""
    found = []
    for host in ground.fleet.web:
        problem = _not_serving(ground, host, release, ground.fleet.lb, False)
        if problem:
            found.append(f"re-run: {problem}")
    found += [f"re-run: P8: {host} is still locked" for host in ground.fleet.web if ground.lock_on(host)]
    found += [f"re-run: P4: {name} keeps the records {', '.join(ground.records_on(name))}" for name in ground.fleet.lb if ground.records_on(name)]
    return found


def judge_outcome(fault: Fault, scenario: str, code: int | None) -> list[str]:
    """The exit code says what happened."""
    if code is None:
        return ["the run hung for two minutes"]
    if scenario == "broken" and code == 0:
        return ["P3: exit code 0 for a release that does not start on a host"]
    if scenario == "good" and fault.must_succeed and code != 0:
        return [f"the rollout ended with {code} although the fault is none of a good release's business"]
    if scenario == "good" and fault.must_fail and fault.effective and code == 0:
        return ["P3: exit code 0 for a release that fails on a host"]
    return []
