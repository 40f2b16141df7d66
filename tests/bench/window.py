# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both paces on the same fleet, whose hosts take very different times to restart."""

from __future__ import annotations

import heapq
import json
import os
import random
import sqlite3
import sys
import time
import typing as t

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from fleet.fleet import Fleet
from fleet.site import Site
from fleet.watch import Watch

HOSTS, AT_ONCE, MEDIAN, SIGMA, SEED = 20, 4, 8.0, 1.0, 20261125
# One draw says little: the ratio that list scheduling itself gives lies between 1.2 and 2.2 from one to the next.
DRAWS = 5


class Result(t.NamedTuple):
    """*makespan* in seconds from the first host's start to the last one's end; *most_out* servers were out of rotation at once."""

    makespan: float
    most_out: int


def list_schedule(seconds: t.Sequence[float], slots: int) -> float:
    """Return the makespan of list scheduling (Graham 1966): whoever is next starts as soon as a slot is free."""
    free = [0.0] * slots
    for duration in seconds:
        heapq.heappush(free, heapq.heappop(free) + duration)
    return max(free)


def restart_seconds(seed: int) -> list[float]:
    source = random.Random(seed)
    return [round(MEDIAN * source.lognormvariate(0.0, SIGMA), 2) for dummy in range(HOSTS)]


def makespan(fleet: Fleet) -> float:
    """Return how long the hosts of the last rollout took together, from its ledger."""
    path = os.path.join(fleet.directory, "state", "seamless-rollout", "shop", "ledger.sqlite3")
    with sqlite3.connect(path) as connection:
        newest = connection.execute("SELECT id FROM rollouts ORDER BY started_at DESC LIMIT 1").fetchone()[0]
        rows = connection.execute("SELECT min(at), max(at) FROM events WHERE rollout_id=? AND event IN ('in_flight', 'done')", (newest,))
        first, last = rows.fetchone()
    return float(last - first)


def measure(site: Site, release: str, pace: str) -> Result:
    begun = time.time()
    with Watch(site.fleet) as watch:
        played = site.rollout(
            release, pace=pace, batch=[AT_ONCE], canary=0, max_unavailable=AT_ONCE, max_parallel=AT_ONCE, healthy_deadline=180, enable_timeout=120,
            timeout=900,
        )
    if played.code != 0:
        raise SystemExit(f"a rollout failed:\n{played.text[-5000:]}")
    return Result(round(makespan(site.fleet), 1), HOSTS - watch.fewest_up(begun))


def _slow(fleet: Fleet, seconds: t.Sequence[float]) -> None:
    for host, duration in zip(fleet.web, seconds):
        fleet.put(host, "/etc/systemd/system/shop.service.d/slow.conf", f"[Service]\nEnvironment=START_SECONDS={duration}\n")
        fleet.shell(host, "systemctl daemon-reload")


def compare() -> dict[str, t.Any]:
    """Return both paces' results over all draws, the makespans summed, and what list scheduling needs for the restarts alone."""
    with Fleet(web=HOSTS, lb=1) as fleet:
        site = Site(fleet, files=3)
        site.prepare()
        releases = [str(number) for number in range(1, 2 * DRAWS + 2)]
        for release in releases:
            site.build(release)
        first = site.rollout(releases.pop(0), canary=0, batch=[HOSTS], max_unavailable="", min_available=0, enable_timeout=120)
        if first.code != 0:
            raise SystemExit(first.text[-5000:])
        draws: list[dict[str, t.Any]] = []
        for number in range(DRAWS):
            seconds = restart_seconds(SEED + number)
            _slow(fleet, seconds)
            batch, window = (measure(site, releases.pop(0), pace) for pace in ("batch", "window"))
            draws.append({"batch": batch, "window": window, "optimum": round(list_schedule(seconds, AT_ONCE), 1)})
            print(draws[-1], file=sys.stderr, flush=True)
    both = {pace: Result(round(sum(draw[pace].makespan for draw in draws), 1), max(draw[pace].most_out for draw in draws)) for pace in ("batch", "window")}
    return {**both, "optimum": round(sum(draw["optimum"] for draw in draws), 1), "draws": draws}


if __name__ == "__main__":
    print(json.dumps(compare(), indent=2))
