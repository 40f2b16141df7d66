# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fault suite: every kind of fault at the task boundaries of a rollout and of an undo, on real fleets under load.

    python tests/faults/suite.py --budget-minutes 70      # what "make faults" does
    python tests/faults/suite.py --kind "HAProxy reload"  # one kind, every boundary
    python tests/faults/suite.py --place "Roll / Switch"  # every kind, at one task
    python tests/faults/suite.py --sample                 # one case of each kind

The boundaries are those that runs without a fault show, in both paces. Every second case is the controller's death at the start of a task of the
first half, and once more, in the run that goes on from there, at one of the second half, until it has died at every one of them; the other kinds
take turns. How many boundaries that were is said at the end: a budget may be too short for all, what is left to do after the first death may not
come to the second boundary, and another seed draws another order. It prints a table, writes build/faults.json, and build/faults.md with what
happened at each boundary. It ends with 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import multiprocessing
import multiprocessing.context
import multiprocessing.managers
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
from faults.ground import FLOOR, WEB, Ground
from faults.kinds import KINDS, ControllerKilled
from faults.steps import Boundary

Seen = t.List[t.Tuple[Boundary, float]]
# Pace and scenario -> its boundaries.
Observed = t.Dict[t.Tuple[str, str], Seen]
PACES = ("batch", "window")
LONG_ENOUGH = 0.25
# The plays of a rollout in their order, and the heads of their columns.
PLAYS = {
    "Plan the rollout": "plan", "Refuse what can't work": "refuse", "Stage the release": "stage", "Do what comes once before the hosts": "before",
    "Roll": "roll", "Roll in a window": "window", "Sum up the window": "sum up", "Undo": "undo", "Undo what had no room before": "rest",
    "Do what comes once after the hosts": "after", "Finish": "finish",
}
DEATH = ControllerKilled.name
FAILURE = "Record the failure"


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


def deaths(observed: Observed) -> list[tuple[str, str, Boundary]]:
    """Return the starts of tasks at which the controller has to die: all of a rollout, and of a broken one those since its failure."""
    found = []
    for (pace, scenario), seen in observed.items():
        failed = next((number for number, (place, dummy) in enumerate(seen) if place.task == FAILURE), len(seen))
        found += [(pace, scenario, place) for place, dummy in seen[failed if scenario == "broken" else 0:] if place.point == "start"]
    return found


def pairs(places: t.Sequence[Boundary]) -> list[tuple[Boundary, Boundary | None]]:
    """Pair each of the first half, in the order of a run, with one of the second half: what is still to be done after a death there."""
    half = (len(places) + 1) // 2
    return list(itertools.zip_longest(places[:half], places[half:]))


def cases(observed: Observed, kinds: t.Sequence[str], seed: int, place: str = "") -> list[Case]:
    """Return all cases in the order in which they are worth doing: the controller's death at each task's start, in turn with one of every other kind.

    Only boundaries that match *place* count, as ``good before Roll / Switch`` does.
    """
    chance = random.Random(seed)
    wanted = [death for death in deaths(observed) if re.search(place, f"{death[1]} {death[2]}")] if DEATH in kinds else []
    first = [
        Case(DEATH, pace, scenario, one, chance.randrange(1 << 30), other)
        for pace, scenario in observed
        for one, other in pairs([where for *run, where in wanted if run == [pace, scenario]])
    ]
    chance.shuffle(first)
    done = set(wanted)
    waiting: dict[str, list[Case]] = {}
    for kind in kinds:
        mine = [
            Case(kind, pace, scenario, where, chance.randrange(1 << 30))
            for (pace, scenario), seen in observed.items()
            for where in possible(kind, scenario, seen, chance)
            if (kind != DEATH or (pace, scenario, where) not in done) and re.search(place, f"{scenario} {where}")
        ]
        chance.shuffle(mine)
        # Paces and scenarios in turn, as long as there are cases of each.
        ranks = collections.Counter[t.Tuple[str, str]]()
        order = {}
        for case in mine:
            order[case] = ranks[case.pace, case.scenario]
            ranks[case.pace, case.scenario] += 1
        waiting[kind] = sorted(mine, key=lambda case: -order[case])
    others: list[Case] = []
    while any(waiting.values()):
        others += [waiting[kind].pop() for kind in kinds if waiting[kind]]
    both = itertools.zip_longest(first, others)
    return [case for pair in both for case in pair if case]


def sample(every: t.Sequence[Case]) -> list[Case]:
    """Return one case of each kind, of the scenarios and paces in turn."""
    chosen: dict[str, Case] = {}
    for kind in (kind for kind, wanted in KINDS.items() if wanted.sampled):
        mine = [case for case in every if case.kind == kind]
        turn = [case for case in mine if case.pace == PACES[len(chosen) % 2]] or mine
        turn = [case for case in turn if case.scenario == SCENARIOS[len(chosen) % 3 == 2]] or turn
        if turn:
            chosen[kind] = turn[0]
    return list(chosen.values())


class Turns:
    """What all fleets have to do together: each boundary is observed by one of them, each case is done by one of them."""

    def __init__(self, options: argparse.Namespace, context: multiprocessing.context.ForkContext, manager: multiprocessing.managers.SyncManager) -> None:
        self.options = options
        self.paces = PACES if options.pace == "both" else (options.pace,)
        self._observing = {pace: context.Lock() for pace in self.paces}
        self._taking = context.Lock()
        self._observed = manager.dict()
        self._left = manager.list()
        self._taken = context.Value("i", 0)
        self._filled = context.Event()

    def prepare(self, ground: Ground, number: int) -> Observed | None:
        """See to it that the cases are known; return what was observed to the one of all fleets that has found them."""
        mine = number % len(self.paces)
        for pace in (*self.paces[mine:], *self.paces[:mine]):
            with self._observing[pace]:
                if pace not in self._observed:
                    ground.pace = pace
                    self._observed[pace] = {scenario: observe(ground, scenario) for scenario in SCENARIOS}
        with self._taking:
            if self._filled.is_set():
                return None
            observed: Observed = {(pace, scenario): self._observed[pace][scenario] for pace in self.paces for scenario in SCENARIOS}
            every = cases(observed, self.options.kind or list(KINDS), self.options.seed, self.options.place)
            self._left.extend(sample(every) if self.options.sample else every)
            self._filled.set()
            return observed

    def next(self) -> Case | None:
        """Return a case that nobody has done yet, None when there is none, or enough were done, or the time is up."""
        with self._taking:
            enough = self.options.limit is not None and self._taken.value >= self.options.limit
            if enough or not len(self._left) or time.time() >= self.options.deadline:
                return None
            case = t.cast(Case, self._left.pop(0))
            self._taken.value += 2 if case.again else 1
            return case

    def missed(self, case: Case) -> None:
        """The run that went on never came to where the controller was to die once more: have it die there in a first run, next."""
        with self._taking:
            self._taken.value -= 1
            self._left.insert(0, case._replace(boundary=t.cast(Boundary, case.again), again=None))


def work(number: int, options: argparse.Namespace, turns: Turns, results: multiprocessing.queues.Queue[t.Any]) -> None:
    """Have a fleet and do cases on it until the time is up or nothing is left."""
    broken = True
    try:
        while broken:
            broken = False
            with Fleet(web=WEB, lb=2) as fleet:
                ground = Ground(fleet, turns.paces[0])
                ground.prepare()
                observed = turns.prepare(ground, number)
                if observed is not None:
                    results.put(("boundaries", observed))
                while not broken and (case := turns.next()):
                    row = _one(ground, case)
                    results.put(("row", row))
                    if case.again and not row.again and not options.sample:
                        turns.missed(case)
                    broken = bool(row.violations) and not repaired(ground)
    except BaseException:
        results.put(("broken", traceback.format_exc()))
    finally:
        results.put(("end", number))


def _one(ground: Ground, case: Case) -> Row:
    begun = time.monotonic()
    try:
        with ground.small_file_system(KINDS[case.kind].disk):
            return perform(ground, case)
    except Exception:
        return Row(
            case.kind, case.scenario, case.boundary.play, str(case.boundary), case.pace, "the suite broke", [f"suite: {traceback.format_exc()}"],
            seconds=round(time.monotonic() - begun, 1),
        )


def repaired(ground: Ground) -> bool:
    """Whether the fleet can be used for another case after one that went wrong."""
    try:
        repair(ground)
    except Exception:
        return False
    return True


class Results:
    """What came of the cases so far, and the boundaries that there are."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.rows: list[Row] = []
        self.observed: Observed = {}

    @property
    def deaths(self) -> tuple[int, int]:
        """At how many task starts the controller died, and how many there are."""
        places = {(pace, scenario, str(place)) for pace, scenario, place in deaths(self.observed)}
        mine = [row for row in self.rows if row.kind == DEATH and row.injected]
        died = {(row.pace, row.scenario, where) for row in mine for where in (row.boundary, row.again)}
        return len(places & died), len(places)

    @property
    def totals(self) -> tuple[int, int, int]:
        """How many faults were injected, of how many kinds, and how many violations there were."""
        injected = [row for row in self.rows if row.injected]
        return sum(row.faults for row in injected), len({row.kind for row in injected}), sum(len(row.violations) for row in self.rows)

    @property
    def out(self) -> int:
        """The most members that were out at once in any run, beside those that a fault itself took."""
        return max((row.out for row in self.rows), default=0)

    def __str__(self) -> str:
        faults, kinds, violations = self.totals
        died, places = self.deaths
        return (
            f"{table(self.rows)}\n\n{faults} faults of {kinds} kinds, {violations} violations; at most {self.out} of {WEB} out at once, "
            f"budget {WEB - FLOOR}\nSIGKILL: {died} of {places} boundaries"
        )

    def save(self) -> None:
        """Write build/faults.json and build/faults.md; the sample has files of its own."""
        os.makedirs(os.path.join(REPO, "build"), exist_ok=True)
        stem = os.path.join(REPO, "build", "faults-sample" if self.options.sample else "faults")
        with open(f"{stem}.json", "w", encoding="utf-8") as file:
            json.dump([row._asdict() for row in self.rows], file, indent=1)
        with open(f"{stem}.md", "w", encoding="utf-8") as file:
            file.write(f"# Faults\n\n```text\n{self}\n```\n\n## Boundaries\n\n{listing(self.rows, self.observed)}\n")


def collect(options: argparse.Namespace) -> Results:
    """Start the workers, print each row as it comes, and return all."""
    context = multiprocessing.get_context("fork")
    found = Results(options)
    with context.Manager() as manager:
        turns = Turns(options, context, manager)
        results: multiprocessing.queues.Queue[t.Any] = context.Queue()
        workers = [context.Process(target=work, args=(number, options, turns, results)) for number in range(options.fleets)]
        for worker in workers:
            worker.start()
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
                found.rows.append(value)
                if not options.quiet:
                    print(line(value), flush=True)
                found.save()
            elif what == "broken":
                found.rows.append(Row("suite", "", "", "", options.pace, "the suite broke", [value]))
                print(value, file=sys.stderr, flush=True)
            else:
                found.observed = value
                if not options.quiet:
                    print("boundaries: " + ", ".join(f"{len(seen)} of a {scenario} release, {pace}" for (pace, scenario), seen in value.items()), flush=True)
        for worker in workers:
            worker.join(30)
    found.save()
    return found


def line(row: Row) -> str:
    loss = f"{row.failed} of {row.requests} failed" + (f", {row.explained} by the fault" if row.explained else "")
    where = " and ".join(filter(None, (row.boundary, row.again)))
    text = f"{row.kind:<38} {row.pace:<6} {row.scenario:<6} {where:<72} {row.victim:<5} {row.outcome:<26} {loss}, {row.seconds:.0f} s"
    return text + ("" if row.injected else "  NOT INJECTED") + "".join(f"\n    VIOLATION {violation}" for violation in row.violations)


def table(rows: t.Sequence[Row]) -> str:
    """Return fault × play: how many faults were injected there, with ! and the number of those that broke a promise; then the sums."""
    plays = [play for play in PLAYS if any(row.play == play for row in rows)]
    plays += sorted({row.play for row in rows} - set(plays))
    heads = "".join(f"{PLAYS.get(play, play):>8}" for play in plays)
    lines = [f"{'fault':<38} {heads}   faults  requests  failed  by fault  out  outcomes of good | broken releases"]
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
        lines.append(f"{kind:<38} {''.join(cells)} {sum(row.faults for row in mine):>8} {sums} {max(row.out for row in mine):>4}  {ends}")
    return "\n".join(lines)


def listing(rows: t.Sequence[Row], observed: Observed) -> str:
    """Return boundary × fault × outcome: a line for each boundary that a fault fell on, in the order of the run."""
    order = {(pace, scenario, str(place)): number for (pace, scenario), seen in observed.items() for number, (place, dummy) in enumerate(seen)}
    places: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        # A moment in a task is listed with the task's start.
        at = re.sub(r"^[\d.]+ s into ", "before ", row.boundary)
        places.setdefault((row.pace, row.scenario, at), []).append(row)
        if row.again:
            places.setdefault((row.pace, row.scenario, row.again), []).append(row)
    lines = ["| pace | release | boundary | faults and outcomes |", "|---|---|---|---|"]
    for place, here in sorted(places.items(), key=lambda item: (*item[0][:2], order.get(item[0], 0))):
        ends = "; ".join(
            f"{row.kind}{' ' + row.boundary.split(' into ')[0] + ' in' if ' s into ' in row.boundary else ''}{' of ' + row.victim if row.victim else ''}: "
            + (row.outcome if row.injected else "not injected") + (f" **{len(row.violations)} violations**" if row.violations else "")
            for row in here
        )
        lines.append(f"| {' | '.join(place)} | {ends} |")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--sample", action="store_true", help="one case of each kind")
    made.add_argument("--kind", action="append", choices=list(KINDS), help="only this kind; may be given several times")
    made.add_argument("--place", default="", help="only boundaries that match this regular expression, such as 'good before Roll / Switch'")
    made.add_argument("--pace", choices=[*PACES, "both"], default="both", help="rollout_pace of every run; with both, cases take turns")
    made.add_argument("--budget-minutes", type=float, default=70, help="start no case after this time")
    made.add_argument("--seed", type=int, default=1, help="draws places, moments and victims")
    made.add_argument("--fleets", type=int, default=2, help="how many fleets work at the same time")
    made.add_argument("--limit", type=int, default=None, help="start no case after so many faults, of all fleets together")
    made.add_argument("--quiet", action="store_true", help="print the table alone")
    return made


def run(*arguments: str) -> Results:
    """Run the suite as from the command line, without its table, and return what came of it."""
    options = parser().parse_args(arguments)
    options.deadline = time.time() + 60 * options.budget_minutes
    return collect(options)


def main() -> None:
    found = run(*sys.argv[1:])
    faults, dummy, violations = found.totals
    print(f"\n{found}\n\nEach boundary: build/{'faults-sample' if found.options.sample else 'faults'}.md")
    sys.exit(1 if violations or not faults else 0)


if __name__ == "__main__":
    main()
