# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ast
import glob
import os

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.registry import DRIVERS
from sampling import full

from conformance.cases import CASES
from conformance.subjects.haproxy import example
from conformance.suite import DOCUMENT, FAKE, ORDINARY, REAL, Place, conform

# What stands in for whoever answers; the members of their pools are still taken out, killed and put back.
UNTESTED = ("none",)


# In front of a stand-in; "make conformance" has all cases there, too.
FEW = ("list", "roll under load", "dead application", "idempotence")


ALWAYS = ("haproxy", "nginx", "traefik", "health_file", "example", "hetzner")


@pytest.mark.parametrize("place", [place if place.subject in ALWAYS else full(place) for place in ORDINARY], ids=str)
def test_a_driver_does_what_every_driver_must(place: Place) -> None:
    cases = FEW if place.subject in FAKE else tuple(CASES)
    result = conform(place, *cases)
    assert not result.trouble, result.trouble
    assert not result.failed, "\n".join(f"{case['case']}: {case['text']}" for case in result.failed)
    assert [case["case"] for case in result.cases] == list(cases)
    assert sum(case["outcome"] == "passed" for case in result.cases) >= min(6, len(cases))


def test_every_driver_is_among_them_and_in_the_documentation() -> None:
    assert {*REAL, *FAKE} - {"example"} == set(DRIVERS) - {*UNTESTED}
    with open(DOCUMENT, encoding="utf-8") as file:
        text = file.read()
    assert [name for name in (*REAL, *FAKE) if f"Driver ``{name}``" not in text] == []
    assert [title for title in CASES if f"* {title}: " not in text] == []
    assert "FAILED" not in text


def test_the_guide_s_example_is_a_short_one() -> None:
    code = [line for line in example().splitlines() if line.strip()]
    assert len(code) <= 60


def test_what_runs_in_old_containers_needs_no_new_python() -> None:
    """The oldest suite has Python 3.9, and a host may have 3.8."""
    root = os.path.dirname(os.path.abspath(__file__))
    for path in glob.glob(os.path.join(root, "**", "*.py"), recursive=True):
        with open(path, encoding="utf-8") as file:
            ast.parse(file.read(), feature_version=(3, 8))
