# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the status of twenty servers behind a balancer takes: the whole command, over SSH, with and without open connections."""

from __future__ import annotations

import os
import resource
import statistics
import typing as t

from fleet.fleet import Fleet
from fleet.site import Site

HOSTS, TIMES = 20, 5


class Seconds(t.NamedTuple):
    """Wall time of the command, medians: *warm* with the connections that an earlier command left open, *cold* with none; *start* of an empty play.

    *own* is the time of a processor that the warm command takes for itself: the servers take theirs from the same machine here.
    """

    warm: float
    cold: float
    start: float
    own: float


def measure() -> Seconds:
    with Fleet(web=HOSTS, lb=1) as fleet:
        site = Site(fleet)
        site.prepare()
        site.build("1.0")
        first = site.rollout("1.0", canary=0, max_unavailable="100%", batch=["100%"], timeout=900)
        if first.code != 0:
            raise SystemExit(first.text[-4000:])
        empty = os.path.join(fleet.directory, "empty.yml")
        with open(empty, "w", encoding="utf-8") as file:
            file.write("- name: Nothing\n  hosts: app\n  gather_facts: false\n  tasks: []\n")

        def seconds(cold: bool) -> float:
            if cold:
                fleet.close_connections()
            told = site.rollout("1.0", playbook="status", status_fail_on="warning")
            if told.code != 0 or f"OK - shop 1.0 on {HOSTS} hosts" not in told.text:
                raise SystemExit(told.text[-4000:])
            return told.seconds

        seconds(False)
        before = _own()
        warm = [seconds(False) for dummy in range(TIMES)]
        own = [(_own() - before) / TIMES]
        cold = [seconds(True) for dummy in range(TIMES)]
        start = [fleet.play(empty).seconds for dummy in range(TIMES)]
        return Seconds(*(round(statistics.median(some), 2) for some in (warm, cold, start, own)))


def _own() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(measure()._asdict())
