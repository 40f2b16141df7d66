# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the stages of the tests, one after another, and closes with ``N passed, N failed``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import xml.etree.ElementTree

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5"]
FAST = {
    "ruff": ["ruff", "check", "."],
    "mypy plugins": ["mypy", "build/tree/ansible_collections/seamless/rollout/plugins"],
    "mypy tests": ["mypy", "tests/fleet", "tests/demo", "tests/tools", "tests/bench", "tests/faults", "tests/integration/balancer"],
    "unit": [*PYTEST, "tests/unit"],
}
ALL = {
    **FAST,
    "integration": [*PYTEST, "tests/integration"],
    "molecule": ["tests/tools/molecule.sh"],
    "faults": [*PYTEST, "tests/faults"],
    "stop matrix": [*PYTEST, "tests/stop_matrix"],
    "lint": ["tests/tools/lint.sh"],
    "sanity": ["tests/tools/sanity.sh"],
}


def run(name: str, command: list[str]) -> tuple[int, int]:
    """Run one stage; return how many passed and failed. A stage that isn't pytest counts as one."""
    print(f"\n=== {name}", flush=True)
    junit = os.path.join(REPO, "build", f"junit-{name.replace(' ', '-')}.xml")
    is_pytest = "pytest" in command
    if is_pytest:
        if os.path.exists(junit):
            os.unlink(junit)
        command = [*command, f"--junit-xml={junit}"]
    code = subprocess.run(command, cwd=REPO, stdin=subprocess.DEVNULL, check=False).returncode
    if not is_pytest:
        return (1, 0) if code == 0 else (0, 1)
    try:
        suite = next(xml.etree.ElementTree.parse(junit).getroot().iter("testsuite"))
    except (OSError, StopIteration, xml.etree.ElementTree.ParseError):
        return 0, 1
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    passed = int(suite.get("tests", 0)) - failed - int(suite.get("skipped", 0))
    if code != 0 and failed == 0:
        failed = 1
    return passed, failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="only what needs no containers")
    parser.add_argument("stage", nargs="*", help="names of stages; all by default")
    arguments = parser.parse_args()
    stages = FAST if arguments.fast else ALL
    os.makedirs(os.path.join(REPO, "build"), exist_ok=True)
    rows = []
    for name, command in stages.items():
        if arguments.stage and name not in arguments.stage:
            continue
        begun = time.monotonic()
        rows.append((name, *run(name, command), time.monotonic() - begun))
    print()
    for name, passed, failed, seconds in rows:
        print(f"{name:<14} {passed:>5} passed {failed:>3} failed {seconds:7.1f} s")
    failed_in_all = sum(row[2] for row in rows)
    print(f"{sum(row[1] for row in rows)} passed, {failed_in_all} failed")
    sys.exit(1 if failed_in_all else 0)


if __name__ == "__main__":
    main()
