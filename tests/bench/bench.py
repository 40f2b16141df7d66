# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same rollout made by this collection and by the play that an experienced user writes today, on the same fleet in one run."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import resource
import sys
import time
import typing as t

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from fleet.fleet import REPO, Fleet, Played
from fleet.load import Load
from fleet.site import Site
from fleet.watch import Watch

FILES, SIZE = 2000, 20_000


@dataclasses.dataclass
class Measured:
    """What one rollout cost. *out* is in seconds per host, *received* in bytes per host, *executions* per host."""

    wall: float
    cpu: float
    out: float
    received: float
    executions: float
    mixed: float
    failed: int
    played: Played


def count_executions(log: str, hosts: int) -> float:
    """Return how often a module ran on a host or for it on a balancer, from ``-vvv`` output: one EXEC of Python each."""
    runs = len(re.findall(r"EXEC .*(?:AnsiballZ|/usr/bin/python3|python3 )", log))
    return round(runs / hosts, 2)


def received(fleet: Fleet) -> float:
    total = 0
    for host in fleet.web:
        total += int(fleet.shell(host, "cat /sys/class/net/eth0/statistics/rx_bytes"))
    return total / len(fleet.web)


def with_cpu(run: t.Callable[[], Played]) -> tuple[Played, float]:
    """Return what *run* played and the CPU seconds of Ansible on this machine. Of its children only those that ended meanwhile count, not the load."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    played = run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return played, round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)


def measure(fleet: Fleet, run: t.Callable[[], Played], *, load: bool = True) -> Measured:
    """Run a rollout under light load and measure it from outside: network counters, the balancers, the process table."""
    urls = [f"http://{fleet.addresses[host]}/" for host in fleet.lb]
    with Watch(fleet) as watch:
        before = received(fleet)
        started, begun = time.time(), time.monotonic()
        if load:
            with Load(urls, rate=20, clients=5, version_key="version") as traffic:
                traffic.mark("roll")
                played, cpu = with_cpu(run)
                wall = played.seconds
                time.sleep(0.2)
        else:
            played, cpu = with_cpu(run)
            wall = time.monotonic() - begun
        after = received(fleet)
        time.sleep(0.3)
    out = watch.mean_out(started)
    requests = traffic.requests if load else 0
    return Measured(
        wall=round(wall, 2),
        cpu=cpu,
        out=round(sum(out.values()) / len(out), 2),
        received=round(after - before - 400 * requests / len(fleet.web)),
        executions=0.0,
        mixed=round(traffic.mixed_seconds("roll"), 2) if load else 0.0,
        failed=traffic.summary()["failed"] if load else 0,
        played=played,
    )


class Bench:
    """A fleet with both ways installed: ``/srv/shop`` by this collection, ``/srv/reference`` by the hand-written play."""

    OURS: t.ClassVar[dict[str, t.Any]] = {
        "canary": 0, "batch": [2], "max_unavailable": 2, "health_interval": 0.5, "health_rise": 2,
        "linked_dirs": ["uploads", "log"], "linked_files": [".env"],
    }

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.site = Site(fleet, files=FILES, size=SIZE)
        self.number = 0

    def prepare(self) -> None:
        self.site.prepare()
        for host in self.fleet.web:
            for root in ("/srv/shop", "/srv/reference"):
                self.fleet.put(host, f"{root}/shared/.env", "A=1\n")
        self.site.build("1")
        self.check(self.ours("1"))

    def check(self, played: Played) -> Played:
        if played.code != 0:
            raise SystemExit(f"a rollout failed:\n{played.text[-5000:]}")
        return played

    def next_build(self) -> str:
        """Make the next release, with 1 % of the files changed."""
        self.number += 1
        release = f"2.{self.number}"
        self.site.build(release, like="1", change=0.01)
        return release

    def ours(self, release: str, *options: str) -> Played:
        return self.site.rollout(release, *options, **self.OURS)

    def theirs(self, release: str, *options: str, late: bool = False) -> Played:
        variables = {"release": release, "build": os.path.join(self.site.builds, release), "late": late}
        return self.fleet.play(os.path.join(REPO, "tests", "bench", "reference.play"), variables, *options)

    def use(self, root: str) -> None:
        """Have the service run from *root*'s current release."""
        for host in self.fleet.web:
            self.fleet.shell(
                host, f"sed -i 's#^WorkingDirectory=.*#WorkingDirectory={root}/current#' /etc/systemd/system/shop.service && systemctl daemon-reload"
            )

    def compare(self) -> dict[str, Measured]:
        """Measure an update with 1 % changed and an unchanged release, both ways."""
        results = {}
        release = self.next_build()
        results["ours"] = measure(self.fleet, lambda: self.check(self.ours(release)))
        results["ours unchanged"] = measure(self.fleet, lambda: self.check(self.ours(release)))
        results["ours"].executions = count_executions(self.check(self.ours(self.next_build(), "-vvv")).text, len(self.fleet.web))
        self.use("/srv/reference")
        self.check(self.theirs("1"))
        release = self.next_build()
        results["reference"] = measure(self.fleet, lambda: self.check(self.theirs(release)))
        late = self.next_build()
        results["reference, late drain"] = measure(self.fleet, lambda: self.check(self.theirs(late, late=True)))
        release = late
        results["reference unchanged"] = measure(self.fleet, lambda: self.check(self.theirs(release)))
        results["reference"].executions = count_executions(self.check(self.theirs(self.next_build(), "-vvv")).text, len(self.fleet.web))
        return results


def main() -> None:
    with Fleet(web=6, lb=2) as fleet:
        bench = Bench(fleet)
        bench.prepare()
        results = bench.compare()
    columns = ("wall", "cpu", "out", "received", "executions", "mixed", "failed")
    print(f"{'':<22}" + "".join(f"{name:>12}" for name in columns))
    for name, measured in results.items():
        print(f"{name:<22}" + "".join(f"{getattr(measured, column):>12}" for column in columns))
    os.makedirs(os.path.join(REPO, "build"), exist_ok=True)
    with open(os.path.join(REPO, "build", "bench.json"), "w", encoding="utf-8") as file:
        json.dump({name: {column: getattr(measured, column) for column in columns} for name, measured in results.items()}, file, indent=2)


if __name__ == "__main__":
    main()
