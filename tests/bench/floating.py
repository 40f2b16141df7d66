# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a client gets no answer while a floating IP moves between two servers, by each method.

    python tests/bench/floating.py
"""

from __future__ import annotations

import os
import sys
import time
import typing as t

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from fleet.fleet import Fleet
from fleet.floating import Floating
from fleet.site import Site
from fleet.steady import Steady

MOVES = 6
AROUND = 3.0  # seconds
WAYS: dict[str, dict[str, t.Any]] = {
    "arp": {"method": "arp"},
    "arp, old first": {"method": "arp", "cutover_order": "old_first"},
    "keepalived": {"method": "keepalived"},
}


class Gap(t.NamedTuple):
    """What a client saw of all moves of one method. Seconds: the longest time between two good answers over new connections, from AROUND before the answers
    change to AROUND after it, and the same while nothing moved, which is what the machine itself is worth. *broken* is how many of the *open* connections
    failed, *waited* the longest that one of their clients waited until it knew."""

    moves: int
    gap: float
    quiet: float
    requests: int
    failed: int
    open: int
    broken: int
    waited: float


def move(floating: Floating, number: int, way: t.Mapping[str, t.Any]) -> Gap:
    """Move the address to the other host under a client that asks a hundred times a second."""
    to, release = (("web2", "2.0"), ("web1", "1.0"))[number % 2]
    with Steady(floating.url) as client:
        time.sleep(0.5)
        played = floating.cutover(to, release, **way)
        time.sleep(AROUND)
    if played.code != 0 or floating.holders() != [to] or client.served()[-1] != release:
        raise RuntimeError(f"the address did not move to {to}: {played.text}")
    broken = [samples for samples in client.lasting if any(one.error for one in samples)]
    waited = max((one.seconds for one in client.broken), default=0.0)
    since, until = client.moved()
    gap, quiet = client.gap(since - AROUND, until + AROUND), max(client.gap(until=since - AROUND), client.gap(since=until + AROUND))
    return Gap(1, gap, quiet, len(client.fresh), len(client.failed), len(client.lasting), len(broken), waited)


def together(gaps: t.Sequence[Gap]) -> Gap:
    return Gap(
        len(gaps), max(one.gap for one in gaps), max(one.quiet for one in gaps), sum(one.requests for one in gaps), sum(one.failed for one in gaps),
        sum(one.open for one in gaps), sum(one.broken for one in gaps), max(one.waited for one in gaps),
    )


def measure(ways: t.Sequence[str] = tuple(WAYS), moves: int = MOVES) -> dict[str, Gap]:
    """Return what a client saw, by the way in which the address moves: there and back, *moves* times in all."""
    found = {}
    with Fleet(web=2, lb=0) as fleet:
        site = Site(fleet)
        site.prepare()
        for host, release in (("web1", "1.0"), ("web2", "2.0")):
            site.build(release)
            played = site.rollout(release, "--limit", host, balancers=[])
            if played.code != 0:
                raise RuntimeError(played.text)
        floating = Floating(site)
        for name in ways:
            floating.free()
            if WAYS[name]["method"] == "keepalived":
                floating.keepalived(fleet.web)
            else:
                floating.cutover("web1", "1.0")
            found[name] = together([move(floating, number, WAYS[name]) for number in range(moves)])
    return found


def main() -> None:
    for name, one in measure().items():
        print(
            f"{name:<16} longest gap {one.gap:.2f} s in {one.moves} moves ({one.quiet:.2f} s while nothing moved), {one.failed} of {one.requests} requests "
            f"failed, {one.broken} of {one.open} open connections broke, known after {one.waited:.2f} s", flush=True,
        )


if __name__ == "__main__":
    main()
