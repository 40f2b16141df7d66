# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fault suite: every kind of fault at the task boundaries of a rollout and of an undo, on real fleets under load.

    python tests/faults/suite.py --budget-minutes 70      # what "make faults" does
    python tests/faults/suite.py --kind "HAProxy reload"  # one kind, every boundary
    python tests/faults/suite.py --place "Roll / Switch"  # every kind, at one task
    python tests/faults/suite.py --sample                 # one case of each kind

The boundaries are those that a run without a fault shows. Which of them each kind gets first is drawn from the seed; the controller's
death comes first, at every boundary there is. It prints a table, writes build/faults.json, and ends with 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import multiprocessing.queues
import os
import queue
import random
import re
import sys
import time
import traceback
import typing as t

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from fleet.fleet import REPO, Fleet

from faults.case import SCENARIOS, Case, Row, observe, perform, repair
from faults.ground import WEB, Ground
from faults.kinds import KINDS
from faults.steps import Boundary

Observed = t.Dict[str, t.List[t.Tuple[Boundary, float]]]
PACES = ("batch", "window")
LONG_ENOUGH = 0.25
PLAYS = ("Plan the rollout", "Stage the release", "Roll", "Roll in a window", "Undo", "Finish")


def possible(kind: str, scenario: str, observed: t.Sequence[tuple[Boundary, float]], chance: random.Random) -> list[Boundary]:
    """Return the boundaries of one scenario at which *kind* means something. A task that takes a while has one inside, too."""
    wanted = KINDS[kind]
    if scenario not in wanted.scenarios:
        return []
    found: list[Boundary] = []
    last = max((number for number, (place, dummy) in enumerate(observed) if place.task == wanted.until), default=len(observed))
    after = max((number for number, (place, dummy) in enumerate(observed) if place.task == wanted.between[0]), default=-1)
    before = min((number for number, (place, dummy) in enumerate(observed) if place.task == wanted.between[1]), default=len(observed))
    for number, (place, seconds) in enumerate(observed):
        if number > last or number >= before:
            break
        if number <= after:
            continue
        if place.point in wanted.points:
            found.append(place)
        if place.point == "start" and "mid" in wanted.points and seconds >= LONG_ENOUGH:
            found.append(place._replace(point="mid", delay=round(chance.uniform(0.1, 0.9) * seconds, 2)))
    return found


def cases(observed: Observed, kinds: t.Sequence[str], seed: int) -> list[Case]:
    """Return all cases in the order in which they are worth doing: a controller's death everywhere, then the kinds in turn."""
    chance = random.Random(seed)
    waiting: dict[str, list[Case]] = {}
    for kind in kinds:
        both = [
            Case(kind, scenario, place, chance.randrange(1 << 30))
            for scenario in SCENARIOS
            for place in possible(kind, scenario, observed[scenario], chance)
        ]
        chance.shuffle(both)
        # The two scenarios in turn, as long as there are both.
        ranks = collections.Counter[str]()
        order = {}
        for case in both:
            order[case] = ranks[case.scenario]
            ranks[case.scenario] += 1
        waiting[kind] = sorted(both, key=lambda case: -order[case])
    # Twice as many of the controller's deaths as of each other kind: it is what happens most.
    turns = [kind for kind in kinds for dummy in range(3 if kind == "controller SIGKILL" else 1)]
    ordered: list[Case] = []
    while any(waiting.values()):
        ordered += [waiting[kind].pop() for kind in turns if waiting[kind]]
    return ordered


def sample(every: t.Sequence[Case]) -> list[Case]:
    """Return one case of each kind, of the two scenarios in turn."""
    chosen: dict[str, Case] = {}
    for kind in (kind for kind, wanted in KINDS.items() if wanted.sampled):
        mine = [case for case in every if case.kind == kind]
        turn = [case for case in mine if case.scenario == SCENARIOS[len(chosen) % 3 == 2]]
        if mine:
            chosen[kind] = (turn or mine)[0]
    return list(chosen.values())


def work(number: int, workers: int, options: argparse.Namespace, results: multiprocessing.queues.Queue[t.Any]) -> None:
    """Have a fleet and do every *workers*-th case on it until the time is up; the cases that need a small file system at the end."""
    deadline = options.deadline
    mine: list[Case] | None = None
    done = 0
    try:
        while mine is None or done < len(mine):
            with Fleet(web=WEB, lb=2) as fleet:
                ground = Ground(fleet, PACES[number % 2] if options.pace == "both" else options.pace)
                ground.prepare()
                if mine is None:
                    observed = {scenario: observe(ground, scenario) for scenario in SCENARIOS}
                    every = cases(observed, options.kind or list(KINDS), options.seed)
                    every = [case for case in every if re.search(options.place, f"{case.scenario} {case.boundary}")]
                    if options.sample:
                        every = sample(every)
                    mine = every[number::workers][: options.limit]
                    results.put(("boundaries", {scenario: len(seen) for scenario, seen in observed.items()}))
                while done < len(mine) and time.time() < deadline:
                    case = mine[done]
                    done += 1
                    if not _one(ground, case, results):
                        break
                else:
                    return
    except BaseException:
        results.put(("broken", traceback.format_exc()))
    finally:
        results.put(("end", number))


def _one(ground: Ground, case: Case, results: multiprocessing.queues.Queue[t.Any]) -> bool:
    """Do one case. Return whether the fleet can be used for another."""
    begun = time.monotonic()
    try:
        with ground.small_file_system(KINDS[case.kind].disk):
            row = perform(ground, case)
    except Exception:
        row = Row(
            case.kind, case.scenario, case.boundary.play, str(case.boundary), ground.pace, "", "the suite broke", [f"suite: {traceback.format_exc()}"], 0, 0, 0,
            round(time.monotonic() - begun, 1), False,
        )
    results.put(("row", row))
    if not row.violations:
        return True
    try:
        repair(ground)
    except Exception:
        return False
    return True


def collect(options: argparse.Namespace) -> list[Row]:
    """Start the workers, print each row as it comes, and return all."""
    context = multiprocessing.get_context("fork")
    results: multiprocessing.queues.Queue[t.Any] = context.Queue()
    workers = [context.Process(target=work, args=(number, options.fleets, options, results)) for number in range(options.fleets)]
    for worker in workers:
        worker.start()
    rows: list[Row] = []
    running = len(workers)
    while running:
        try:
            what, value = results.get(timeout=5)
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                break
            continue
        if what == "end":
            running -= 1
        elif what == "row":
            rows.append(value)
            if not options.quiet:
                print(line(value), flush=True)
            save(rows)
        elif what == "broken":
            rows.append(Row("suite", "", "", "", options.pace, "", "the suite broke", [value], 0, 0, 0, 0.0, False))
            print(value, flush=True)
        elif not options.quiet:
            print(f"boundaries: {value}", flush=True)
    for worker in workers:
        worker.join(30)
    return rows


def line(row: Row) -> str:
    loss = f"{row.failed} of {row.requests} failed" + (f", {row.explained} by the fault" if row.explained else "")
    text = f"{row.kind:<38} {row.scenario:<6} {row.boundary:<72} {row.victim:<5} {row.outcome:<26} {loss}, {row.seconds:.0f} s"
    return text + ("" if row.injected else "  NOT INJECTED") + "".join(f"\n    VIOLATION {violation}" for violation in row.violations)


def table(rows: t.Sequence[Row]) -> str:
    """Return fault × play: how many faults were injected there, with ! and the number of those that broke a promise; then the sums.

    The single boundaries and their outcomes are in the lines before and in build/faults.json.
    """
    plays = [play for play in PLAYS if any(row.play == play for row in rows)]
    plays += sorted({row.play for row in rows} - set(plays))
    heads = "".join(f"{('window' if play == 'Roll in a window' else play.split()[0].lower()):>8}" for play in plays)
    lines = [f"{'fault':<38} {heads}   faults  requests  failed  by fault  outcomes of good | broken releases"]
    for kind in dict.fromkeys(row.kind for row in rows):
        mine = [row for row in rows if row.kind == kind]
        cells = []
        for play in plays:
            here = [row for row in mine if row.play == play]
            bad = sum(bool(row.violations) for row in here)
            cells.append(f"{f'{len(here)}!{bad}' if bad else len(here) or '.':>8}")
        outcomes = [collections.Counter(row.outcome for row in mine if row.injected and row.scenario == scenario) for scenario in SCENARIOS]
        ends = " | ".join("; ".join(f"{count} {outcome}" for outcome, count in counter.most_common()) for counter in outcomes)
        sums = f"{sum(row.requests for row in mine):>9} {sum(row.failed for row in mine):>7} {sum(row.explained for row in mine):>9}"
        lines.append(f"{kind:<38} {''.join(cells)} {sum(row.injected for row in mine):>8} {sums}  {ends}")
    return "\n".join(lines)


def totals(rows: t.Sequence[Row]) -> tuple[int, int, int]:
    """Return how many faults were injected, of how many kinds, and how many violations there were."""
    injected = [row for row in rows if row.injected]
    return len(injected), len({row.kind for row in injected}), sum(len(row.violations) for row in rows)


def save(rows: t.Sequence[Row]) -> None:
    os.makedirs(os.path.join(REPO, "build"), exist_ok=True)
    with open(os.path.join(REPO, "build", "faults.json"), "w", encoding="utf-8") as file:
        json.dump([row._asdict() for row in rows], file, indent=1)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--sample", action="store_true", help="one case of each kind")
    made.add_argument("--kind", action="append", choices=list(KINDS), help="only this kind; may be given several times")
    made.add_argument("--place", default="", help="only boundaries that match this regular expression, such as 'good before Roll / Switch'")
    made.add_argument("--pace", choices=[*PACES, "both"], default="both", help="rollout_pace of every run; with both, fleets take turns")
    made.add_argument("--budget-minutes", type=float, default=70, help="start no case after this time")
    made.add_argument("--seed", type=int, default=1, help="draws places, moments and victims")
    made.add_argument("--fleets", type=int, default=2, help="how many fleets work at the same time")
    made.add_argument("--limit", type=int, default=None, help="cases for each fleet")
    made.add_argument("--quiet", action="store_true", help="print the table alone")
    return made


def run(*arguments: str) -> list[Row]:
    """Run the suite as from the command line, without its table, and return the rows."""
    options = parser().parse_args(arguments)
    options.deadline = time.time() + 60 * options.budget_minutes
    return collect(options)


def main() -> None:
    rows = run(*sys.argv[1:])
    save(rows)
    faults, kinds, violations = totals(rows)
    print(f"\n{table(rows)}\n\n{faults} faults of {kinds} kinds, {violations} violations")
    sys.exit(1 if violations or not faults else 0)


if __name__ == "__main__":
    main()
