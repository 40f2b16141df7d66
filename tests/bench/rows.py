# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A row of ``make numbers``, and those that say how many tests passed."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import typing as t
import xml.etree.ElementTree

from fleet.fleet import REPO


class Row(t.NamedTuple):
    name: str
    value: t.Any
    goal: str
    ok: bool


@functools.lru_cache
def passed_of(pattern: str, *paths: str) -> tuple[int, int]:
    """Run tests and return how many passed, of how many. One that was skipped shows nothing."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as junit:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={junit.name}", "-k", pattern]
        subprocess.run([*command, *paths], cwd=REPO, stdout=subprocess.DEVNULL, check=False, env={**os.environ, "TESTS": "full"})
        suite = next(xml.etree.ElementTree.parse(junit.name).getroot().iter("testsuite"))
    total = int(suite.get("tests", 0))
    return total - sum(int(suite.get(kind, 0)) for kind in ("failures", "errors", "skipped")), total


def from_tests(name: str, goal: str, least: int, *runs: tuple[str, ...]) -> list[Row]:
    """Say how many of the tests that cause a fault passed; each of *runs* is a pattern and the paths where it is looked for."""
    passed, total = (sum(numbers) for numbers in zip(*(passed_of(*run) for run in runs)))
    return [Row(name, f"{passed} of {total} cases", goal, passed == total >= least)]
