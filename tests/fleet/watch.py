# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watches every server of a fleet's balancers, some twenty times a second, and says how long each was out of rotation."""

from __future__ import annotations

import threading
import time
import typing as t

if t.TYPE_CHECKING:
    from fleet.fleet import Fleet


class Watch:
    """Samples all balancers from a thread. Out of rotation means: not ready, or not up."""

    def __init__(self, fleet: Fleet, interval: float = 0.05) -> None:
        self.fleet = fleet
        self.interval = interval
        self.samples: dict[str, list[tuple[float, dict[str, str]]]] = {balancer: [] for balancer in fleet.lb}
        self._stop = threading.Event()

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *dummy: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(self.interval):
            for balancer in self.fleet.lb:
                try:
                    self.samples[balancer].append((time.time(), self.fleet.standing(balancer)))
                except OSError:
                    continue

    def out_by_balancer(self, since: float = 0.0) -> dict[str, dict[str, float]]:
        """Return the seconds that each host was out of rotation, for each balancer."""
        result: dict[str, dict[str, float]] = {}
        for balancer, all_rows in self.samples.items():
            rows = [row for row in all_rows if row[0] >= since]
            sums = dict.fromkeys(self.fleet.web, 0.0)
            for (at, before), (later, dummy) in zip(rows, rows[1:]):
                for host in self.fleet.web:
                    if not before.get(host, "").startswith("UP"):
                        sums[host] += later - at
            result[balancer] = sums
        return result

    def mean_out(self, since: float = 0.0) -> dict[str, float]:
        """Return the seconds out of rotation of each host, as the mean of its balancers."""
        tables = self.out_by_balancer(since).values()
        return {host: round(sum(table[host] for table in tables) / len(self.samples), 2) for host in self.fleet.web}

    def fewest_up(self, since: float = 0.0) -> int:
        """Return the smallest number of servers that any balancer had in rotation."""
        return min(
            sum(status.startswith("UP") for status in standing.values())
            for rows in self.samples.values()
            for at, standing in rows
            if at >= since
        )
