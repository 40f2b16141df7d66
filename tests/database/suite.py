# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The suite of migrations: every operation, on both engines, to every end, under clients of the old and the new version, and with the runner killed.

    python tests/database/suite.py                                      # every case once, without kills
    python tests/database/suite.py --kills 60 --engine postgresql       # kills over all cases until there were as many
    python tests/database/suite.py --operation rename_column --outcome abort
    python tests/database/suite.py --sample --json build/migrations.json

Prints a line for each run and the totals, and ends with 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import sys
import typing as t

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from database.cases import ENGINES, OUTCOMES, Case, cases, operation_of, operations
from database.protocol import Protocol, Result
from database.servers import Servers

KILLS_A_RUN = 5  # at most


def chosen(options: argparse.Namespace) -> list[tuple[Case, str]]:
    """Return what is to be run: the cases with their outcomes."""
    pairs = []
    for engine in options.engine or ENGINES:
        for name, case in cases(engine).items():
            if options.operation and operation_of(name) not in options.operation and name not in options.operation:
                continue
            pairs += [(case, outcome) for outcome in case.outcomes if outcome in (options.outcome or OUTCOMES)]
    if options.sample:
        pairs = sample(pairs, options.seed)
    return pairs


def sample(pairs: list[tuple[Case, str]], seed: int) -> list[tuple[Case, str]]:
    """Return one run of each operation: its engine and its outcome are drawn."""
    chance = random.Random(seed)
    by_operation: dict[str, list[tuple[Case, str]]] = {}
    for pair in pairs:
        by_operation.setdefault(operation_of(pair[0].name), []).append(pair)
    return [chance.choice(found) for found in by_operation.values()]


def perform(pairs: t.Sequence[tuple[Case, str]], *, kills: int = 0, seed: int = 1, show: t.Callable[[str], None] = print, **more: t.Any) -> list[Result]:
    """Run *pairs*, with *kills* of the runner in all: then the pairs are repeated until there were as many, on each engine by itself."""
    results: list[Result] = []
    engines = sorted({case.engine for case, dummy in pairs})
    with Servers(engines) as servers:
        for engine in engines:
            mine = [(case, outcome) for case, outcome in pairs if case.engine == engine]
            random.Random(f"{seed} {engine}").shuffle(mine)
            left, turn = kills, 0
            while turn < len(mine) if not kills else left > 0 and turn < 5 * max(kills, len(mine)):
                case, outcome = mine[turn % len(mine)]
                share = min(left, KILLS_A_RUN) if kills else 0
                result = Protocol(servers, case, outcome, f"shop{turn}", kills=share, seed=seed + turn, **more).run()
                left -= result.kills
                turn += 1
                results.append(result)
                show(line(result))
                for wrong in result.wrong:
                    show(f"    {wrong}")
    return results


def line(result: Result) -> str:
    stalls = " ".join(f"{name} {stall:.0f}" for name, stall in result.stalls.items())
    return (
        f"{'ok' if result.ok else 'WRONG':<6}{result.engine:<11}{result.case:<36}{result.outcome:<9}{result.statements:>6} statements {result.errors} errors"
        f" {result.rows} rows {result.kills} kills  p99 {result.p99:.1f} ms  longest: {stalls}"
    )


def totals(results: t.Sequence[Result]) -> dict[str, dict[str, t.Any]]:
    """Return the sums for each engine."""
    found = {}
    for engine in sorted({result.engine for result in results}):
        mine = [result for result in results if result.engine == engine]
        found[engine] = {
            "runs": len(mine), "wrong": sum(not result.ok for result in mine), "statements": sum(result.statements for result in mine),
            "errors": sum(result.errors for result in mine), "rows": sum(result.rows for result in mine), "kills": sum(result.kills for result in mine),
            "longest": max(result.longest for result in mine),
        }
    return found


def arguments(argv: t.Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", action="append", choices=ENGINES, help="one engine; both by default")
    parser.add_argument("--operation", action="append", metavar="NAME", help=f"one of {', '.join(operations())}, or a case's name; all by default")
    parser.add_argument("--outcome", action="append", choices=OUTCOMES, help="one end; all by default")
    parser.add_argument("--kills", type=int, default=0, help="how often the runner is killed, on each engine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", action="store_true", help="one run of each operation")
    parser.add_argument("--json", metavar="FILE", help="where the results are written")
    return parser.parse_args(argv)


def main() -> None:
    options = arguments()
    results = perform(chosen(options), kills=options.kills, seed=options.seed, show=lambda text: print(text, flush=True))
    print()
    for engine, sums in totals(results).items():
        print(f"{engine}: {', '.join(f'{name} {value}' for name, value in sums.items())}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"totals": totals(results), "runs": [dataclasses.asdict(result) for result in results]}, file, indent=2)
    sys.exit(0 if results and all(result.ok for result in results) else 1)


if __name__ == "__main__":
    main()
