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
from faults.kinds import BalancerFault, Fault, FullDisk, Operator, Recovered, Reload, Restart
from faults.steps import Event, Run

GRACE = 3.0
IN_FLIGHT = 0.3
# What ansible-playbook ends with when a signal reaches it that nobody handles.
AT_ONCE = (99, 143)
UNDER_WAY = ("pending", "in_flight", "rolling_back")


class Once(t.NamedTuple):
    """What a run has left: how often something had happened by its end, whether it had undone the rollout, and whether it died in the middle of it."""

    times: int
    undone: bool
    interrupted: bool


def judge_requests(
    samples: t.Sequence[Sample], fault: Fault, at: float | None, serving: bool, blamed: t.Mapping[str, str], balancers: t.Mapping[str, str]
) -> tuple[list[str], int]:
    """P1. Return what is wrong, and how many failed requests the fault itself explains: those of the host that it took while that was *serving*.

    *blamed* says which server a failed request was sent to, by its mark; *balancers* are the balancers' names by their addresses.
    """
    failed = [sample for sample in samples if sample.error]
    start, end = (at - IN_FLIGHT, at + fault.cost) if at is not None and serving and fault.cost else (0.0, 0.0)

    def excused(sample: Sample) -> bool:
        return start <= sample.at <= end and fault.explains(sample.error, blamed.get(sample.mark, ""), balancers.get(sample.via, ""))

    rest = [sample for sample in failed if not excused(sample)]
    if not rest:
        return [], len(failed)
    begun = at if at is not None else samples[0].at
    when = ", ".join(
        f"{sample.error} of {blamed.get(sample.mark, 'nobody')} through {balancers.get(sample.via)} at {sample.at - begun:+.1f} s" for sample in rest[:5]
    )
    victim = f", which struck {fault.victim}" if fault.victim else ""
    return [f"P1: {len(rest)} requests failed that the fault{victim} does not explain ({when})"], len(failed) - len(rest)


def was_serving(fault: Fault, sampler: Sampler, at: float | None) -> bool:
    """Whether the fault struck a host that was in rotation, or was being put back or taken out."""
    return fault.in_rotation or (at is not None and sampler.was_up(fault.victim, at - IN_FLIGHT, at + IN_FLIGHT))


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


def judge_capacity(fault: Fault, sampler: Sampler, at: float | None, serving: bool) -> tuple[list[str], int]:
    """P5. The floor held, less what the fault itself took. Return what is wrong, and the most members that were out at once beside those."""
    never = float("inf")
    found, most = [], 0
    spans = [("before", 0.0, never, 0)] if at is None else [("before", 0.0, at, 0), ("after", at, never, fault.down if serving else 0)]
    for when, since, until, took in spans:
        for balancer in sampler.balancers:
            up = sampler.fewest_up(balancer, since, until)
            if up is None:
                found.append(f"P5: nobody saw the members of {balancer} {when} the fault")
                continue
            most = max(most, WEB - up - took)
            if up < FLOOR - took:
                less = f" less {took} that the fault took" if took else ""
                found.append(f"P5: {up} of {WEB} members of {balancer} were up {when} the fault, the floor is {FLOOR}{less}")
    return found, most


def judge_history(ground: Ground, earlier: str) -> list[str]:
    """P7. The release that ran before is still there, on every host."""
    return [
        f"P7: {host} has lost {earlier}, the way back"
        for host in ground.fleet.web
        if ground.alive(host) and not os.path.exists(ground.place(host, f"/srv/shop/releases/{earlier}/VERSION"))
    ]


def judge_cut_short(
    ground: Ground, fault: Fault, sampler: Sampler, lost: t.Container[str], earlier: str, when: str
) -> list[str]:
    """Whatever ended a run, and wherever: every drain is explained, every link is whole, and the way back is there."""
    return [*judge_members(ground, fault, lost), *judge_links(ground, sampler, when), *judge_history(ground, earlier)]


def judge_locks(ground: Ground, fault: Fault, lost: t.Container[str], when: str) -> list[str]:
    """P8. A run that came to its end has given its locks back."""
    spared = fault.victim if isinstance(fault, FullDisk) else ""
    return [f"P8: {host} is still locked {when}" for host in ground.fleet.web if host not in lost and host != spared and ground.lock_on(host)]


def judge_verdict(ground: Ground, code: int | None, earlier: str, lost: t.Container[str]) -> list[str]:
    """A run that came to its end says how: in the ledger, of every host, and a rollout that was undone has undone every host."""
    newest = ground.ledger.rollouts(limit=1)
    if not newest or code is None:
        return []
    found = []
    if newest[0]["finished_at"] is None:
        found.append(f"P3: the run ended with {code} and left its rollout {newest[0]['state']!r}: no verdict, no undo, no report")
    rows = ground.ledger.hosts(newest[0]["id"])
    found += [f"P4: the run ended with {code} and left {host} {row['state']}" for host, row in rows.items() if row["state"] in UNDER_WAY]
    if newest[0]["state"] == "rolled_back":
        live = {host: ground.live_on(host) for host in ground.fleet.web if host not in lost}
        found += [f"P3: rolled back, but {host} has {release}" for host, release in live.items() if release != earlier]
    return found


def judge_in_order(ground: Ground, scenario: str, code: int | None, releases: t.Sequence[str]) -> list[str]:
    """A signal from the first batch on ends the run in order: nothing is torn, and every host that did not fail by itself serves one of *releases*."""
    if code is None:
        return []
    found = [f"the signal ended the run at once ({code}), in the middle of its hosts"] if code < 0 or code in AT_ONCE else []
    newest = ground.ledger.rollouts(limit=1)[0]
    rows = ground.ledger.hosts(newest["id"])
    if scenario == "good" and newest["state"] not in ("succeeded", "aborted"):
        found.append(f"P3: a good release that was stopped in order is {newest['state']!r}: {newest['halted']}")
    broken = [host for host, row in rows.items() if scenario == "broken" and row["state"] == "failed" and row["drained"]]
    for host in ground.fleet.web:
        problem = "" if host in broken else _not_settled(ground, host, releases)
        if problem:
            found.append(f"P4: stopped in order, but {problem}")
    return found


def judge_recovered(ground: Ground, fault: Recovered, releases: t.Sequence[str]) -> list[str]:
    """Another controller has settled what a dead one left: every host serves one of *releases*, and nothing is locked or out."""
    if fault.played is None:
        return []
    found = []
    if fault.played.code != 0:
        found.append(f"recover ({fault.way}) from another controller ended with {fault.played.code}: {fault.played.text[-1500:]}")
    return found + _judge_rest(ground, [fault.release] if fault.way == "finish" else releases, f"recovered ({fault.way})")


def judge_once(point: str, ends: t.Sequence[Once], *, scenario: str, code: int | None) -> list[str]:
    """P6. What has to happen once has happened once for the rollout. Where the controller died in the middle of it, it may have happened once more.

    *ends* has an item for each run of the command; *code* is the first one's. A run after one that was undone starts anew.
    """
    name = f"rollout_once_{point}"
    wanted = 0 if point == "after" and scenario == "broken" else 1
    times = [end.times - before for end, before in zip(ends, [0, *(end.times for end in ends)])]
    found = []
    if code == 0 and times[0] != 1:
        found.append(f"P6: exit code 0, and {name} ran {times[0]} times")
    found += [f"P6: {name} ran {many} times in one run" for many in times if many > wanted]
    anew = max((number for number, end in enumerate(ends[:-1], 1) if end.undone), default=0)
    allowed = wanted * (1 + sum(end.interrupted for end in ends[anew:]))
    if not wanted <= sum(times[anew:]) <= allowed:
        found.append(f"P6: {name} ran {' and then '.join(map(str, times))} times in the runs of the command; number {anew + 1} started anew, {wanted} wanted")
    return found


def judge_settled(ground: Ground, release: str) -> list[str]:
    """After the fault was healed and the command run again: all hosts on one release, all up, no record, no lock."""
    return _judge_rest(ground, [release], "re-run")


def _judge_rest(ground: Ground, releases: t.Sequence[str], when: str) -> list[str]:
    found = [f"{when}: {problem}" for host in ground.fleet.web if (problem := _not_settled(ground, host, releases))]
    found += [f"{when}: P8: {host} is still locked" for host in ground.fleet.web if ground.lock_on(host)]
    found += [f"{when}: P4: {name} keeps the records {', '.join(ground.records_on(name))}" for name in ground.fleet.lb if ground.records_on(name)]
    return found


def _not_settled(ground: Ground, host: str, releases: t.Sequence[str]) -> str:
    live = ground.live_on(host)
    return _not_serving(ground, host, live if live in releases else releases[0], ground.fleet.lb, False)


def judge_outcome(fault: Fault, scenario: str, code: int | None) -> list[str]:
    """The exit code says what happened."""
    if code is None:
        return ["the run hung"]
    if scenario == "broken" and code == 0:
        return ["P3: exit code 0 for a release that does not start on a host"]
    if scenario == "good" and fault.must_succeed and code != 0:
        return [f"the rollout ended with {code} although the fault is none of a good release's business"]
    if scenario == "good" and fault.must_fail and fault.effective and code == 0:
        return ["P3: exit code 0 for a release that fails on a host"]
    return []
