# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the stages of the tests, one after another, and closes with ``N passed, N failed``."""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import subprocess
import sys
import tempfile
import time
import typing as t
import xml.etree.ElementTree

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5"]
FAST = {
    "ruff": ["ruff", "check", "."],
    "mypy plugins": ["mypy", "build/tree/ansible_collections/seamless/rollout/plugins"],
    "mypy tests": [
        "mypy", "tests/fleet", "tests/demo", "tests/tools", "tests/bench", "tests/faults", "tests/integration/balancer", "tests/database", "tests/adapters",
        "tests/conformance", "tests/maintenance", "tests/report",
    ],
    "unit": [*PYTEST, "--numprocesses=2", "tests/unit"],
}
MESSAGE = 1500  # characters of a failure that the summary repeats, of its message and of its end
APART = {
    "rollout": ["tests/integration/test_rollout.py"],
    "control": [f"tests/integration/test_{name}.py" for name in ("control", "once", "recover")],
    "migrations": ["tests/integration/test_migrations.py"],
    "audit": ["tests/integration/test_audit.py"],
    "balancer": ["tests/integration/balancer"],
    "traffic": [f"tests/integration/test_{name}.py" for name in ("traffic", "canary", "floating_ip")],
}
# What fails early, then the longest first; several at once, for much of what these tests do is wait for servers.
STAGES: dict[str, list[str]] = {
    "lint": ["tests/tools/lint.sh"],
    "sanity": ["tests/tools/sanity.sh"],
    "rollout": [*PYTEST, *APART["rollout"]],
    "integration": [*PYTEST, "tests/integration", *(f"--ignore={path}" for paths in APART.values() for path in paths)],
    "control": [*PYTEST, *APART["control"]],
    "stop matrix": [*PYTEST, "tests/stop_matrix"],
    "faults": [*PYTEST, "tests/faults"],
    "migrations": [*PYTEST, *APART["migrations"]],
    "traffic": [*PYTEST, *APART["traffic"]],
    "audit": [*PYTEST, *APART["audit"]],
    "database": [*PYTEST, "tests/database"],
    "balancer": [*PYTEST, *APART["balancer"]],
    "molecule": ["tests/tools/molecule.sh"],
    "conformance": [*PYTEST, "tests/conformance"],
    "adapters": [*PYTEST, "tests/adapters"],
    "maintenance": [*PYTEST, "tests/maintenance"],
    "report": [*PYTEST, "tests/report"],
}
AT_ONCE = 2


class Row(t.NamedTuple):
    """What became of a stage; one that isn't pytest counts as one."""

    name: str
    passed: int
    failed: int
    seconds: float
    failures: list[str]


def run(name: str, command: list[str], *, live: bool) -> Row:
    """Run one stage. Its output is shown as it comes, or when the stage is over where another one runs beside it."""
    begun = time.monotonic()
    junit = os.path.join(REPO, "build", f"junit-{name.replace(' ', '-')}.xml")
    is_pytest = "pytest" in command
    if is_pytest:
        if os.path.exists(junit):
            os.unlink(junit)
        command = [*command, f"--junit-xml={junit}"]
    print(f"\n=== {name}", flush=True)
    with tempfile.TemporaryFile() as output:
        streams: dict[str, t.Any] = {} if live else {"stdout": output, "stderr": subprocess.STDOUT}
        code = subprocess.run(command, cwd=REPO, stdin=subprocess.DEVNULL, check=False, **streams).returncode
        if not live:
            output.seek(0)
            print(f"\n=== {name}, after {time.monotonic() - begun:.0f} s:\n{output.read().decode(errors='replace')}", flush=True)
    passed, failed, failures = _counts(junit, code) if is_pytest else (int(code == 0), int(code != 0), [])
    return Row(name, passed, failed, time.monotonic() - begun, failures)


def _counts(junit: str, code: int) -> tuple[int, int, list[str]]:
    try:
        suite = next(xml.etree.ElementTree.parse(junit).getroot().iter("testsuite"))
    except (OSError, StopIteration, xml.etree.ElementTree.ParseError):
        return 0, 1, []
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    passed = int(suite.get("tests", 0)) - failed - int(suite.get("skipped", 0))
    failures = [
        f"{case.get('classname')}::{case.get('name')}\n{(why.get('message') or '')[:MESSAGE]}\n{(why.text or '')[-MESSAGE:]}"
        for case in suite.iter("testcase") for why in [*case.iter("failure"), *case.iter("error")]
    ]
    return passed, failed if failed or code == 0 else 1, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="only what needs no containers")
    parser.add_argument("stage", nargs="*", help=f"names of stages ({', '.join([*FAST, *STAGES])}); all by default")
    arguments = parser.parse_args()
    unknown = set(arguments.stage) - {*FAST, *STAGES}
    if unknown:
        parser.error(f"there is no stage {', '.join(sorted(unknown))}")
    os.makedirs(os.path.join(REPO, "build"), exist_ok=True)
    # What is fast is one job: its stages share caches.
    jobs = [FAST] if arguments.fast else [FAST, *({name: command} for name, command in STAGES.items())]
    if arguments.stage:
        jobs = [{name: command for name, command in job.items() if name in arguments.stage} for job in jobs]
    jobs = [job for job in jobs if job]

    def work(job: dict[str, list[str]]) -> list[Row]:
        return [run(name, command, live=len(jobs) == 1) for name, command in job.items()]

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        rows = [row for done in pool.map(work, jobs) for row in done]
    # Again at the end: a log that is kept in part keeps its end.
    for row in rows:
        for failure in row.failures:
            print(f"\n--- failed in {row.name}: {failure}")
    print()
    for row in rows:
        print(f"{row.name:<14} {row.passed:>5} passed {row.failed:>3} failed {row.seconds:7.1f} s")
    failed_in_all = sum(row.failed for row in rows)
    print(f"{sum(row.passed for row in rows)} passed, {failed_in_all} failed")
    sys.exit(1 if failed_in_all else 0)


if __name__ == "__main__":
    main()
