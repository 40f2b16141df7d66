# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every balancer closes and opens a site in a container of its own, and the playbook does so here, in a network of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys

import pytest
from conformance.suite import REPO, Place, _tool

from maintenance.cases import CASES

PLACES = [Place("haproxy"), Place("nginx"), Place("apache"), Place("caddy"), Place("caddy-new")]
# Each suite of Debian is an image more.
if os.environ.get("MAINTENANCE") == "full":
    PLACES += [Place("haproxy", "bullseye"), Place("haproxy", "trixie"), Place("nginx", "forky")]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_balancer_closes_and_opens_a_site(place: Place) -> None:
    engine, name = _tool("engine.sh"), f"seamless-{secrets.token_hex(3)}-maintenance"
    command = [
        engine, "run", "--rm", "--name", name, "--network", "none", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=10000:10000",
        *(["--runtime", "runc"] if engine.endswith("podman") else []), "--volume", f"{REPO}:{REPO}:ro", "--volume", f"{_tool('binaries.sh')}:/balancers:ro",
        "--env", f"PYTHONPATH={REPO}/build/tree:{REPO}/tests", "--env", "PYTHONDONTWRITEBYTECODE=1", _tool("image.sh", "balancers", place.suite),
        "python3", "-m", "maintenance.run", place.subject,
    ]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    finally:
        subprocess.run([engine, "rm", "--force", "--ignore", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, done.stderr[-3000:]
    assert not [row for row in rows[1:] if row["outcome"] != "passed"], "\n".join(f"{row['case']}: {row['text']}" for row in rows[1:])
    assert [row["case"] for row in rows[1:]] == list(CASES)


def test_the_playbook_closes_a_site_for_an_update_and_opens_it_again() -> None:
    paths = {"PYTHONPATH": f"{REPO}/build/tree:{REPO}/tests", "ANSIBLE_COLLECTIONS_PATH": f"{REPO}/build/tree:{REPO}/build/deps"}
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"ip link set lo up && exec {sys.executable} -m maintenance.playbooks"], env={**os.environ, **paths},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert done.stdout.count("passed: ") >= 10
