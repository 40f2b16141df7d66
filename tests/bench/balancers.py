# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured of the balancer drivers."""

from __future__ import annotations

import functools

from conformance import suite as conformance
from conformance.subjects.haproxy import example as guide_example

from bench.rows import Row, from_tests, passed_of


@functools.lru_cache(maxsize=1)
def drivers() -> list[conformance.Conformed]:
    return [conformance.conform(place) for place in (*conformance.ORDINARY, *conformance.OTHER_VERSIONS)]


def driver_conformance() -> list[Row]:
    """Drivers that pass the whole suite against the real program, in every version that is tried. What a balancer can't do is in the guide."""
    bad = {result.place.subject for result in drivers() if result.failed or result.trouble or not result.cases}
    real = [name for name in conformance.REAL if name != "example"]
    good = [name for name in real if name not in bad]
    fakes = [name for name in conformance.FAKE if name not in bad]
    value = f"{len(good)} of {len(real)} ({', '.join(good)})" + (f"; with stand-ins {len(fakes)} of {len(conformance.FAKE)}" if conformance.FAKE else "")
    return [Row("driver_conformance", value, ">= 9", len(good) >= 9 and not bad)]


def driver_rolls() -> list[Row]:
    """Requests that failed while each member was drained, killed and enabled under load."""
    found, ok = [], True
    for result in drivers():
        roll = next((case for case in result.cases if case["case"] == "roll under load"), {"outcome": "failed", "text": "?"})
        found.append(f"{result.place.subject} {result.version}: {roll['text'] if roll['outcome'] == 'passed' else roll['outcome']}")
        spotless = result.place.subject in ("haproxy", "traefik", "envoy", "varnish", "health_file") or result.place == ("nginx", "forky")
        ok = ok and roll["outcome"] != "failed" and (not spotless or str(roll["text"]).startswith("0 of"))
    return [Row("driver_rolls", "; ".join(found), "0 where the guide says so", ok)]


def driver_example() -> list[Row]:
    """The driver on the page about drivers: its lines, and whether it passes."""
    lines = len([line for line in guide_example().splitlines() if line.strip()])
    result = next(one for one in drivers() if one.place.subject == "example")
    passed = sum(case["outcome"] == "passed" for case in result.cases)
    return [Row("driver_example", f"{lines} lines, {passed} of {len(result.cases)} cases", "60 lines, all", lines <= 60 and 0 < passed == len(result.cases))]


def blue_green() -> list[Row]:
    """Requests that failed while one pool came instead of the other one, and back; then the playbooks on a fleet."""
    seen = []
    for name in ("haproxy", "traefik", "nginx"):
        result = conformance.conform(conformance.Place(name, "forky" if name == "nginx" else "bookworm"), "exchange under load")
        seen.append((name, result.version, next((case["text"] for case in result.cases if case["outcome"] == "passed"), "failed")))
    passed, total = passed_of("test_", "tests/integration/test_blue_green.py")
    value = "; ".join(f"{name} {version}: {text}" for name, version, text in seen) + f"; on a fleet {passed} of {total} cases"
    ok = all(text.startswith("0 of") for dummy, dummy2, text in seen) and passed == total >= 3
    return [Row("blue_green_failed", value, "0 on HAProxy and Traefik", ok)]


SIDE_BY_SIDE = ("test_", "tests/integration/balancer/test_side_by_side.py")


def haproxy_faults() -> list[Row]:
    return from_tests("haproxy_module_faults", "each a clear error here", 4, SIDE_BY_SIDE)
