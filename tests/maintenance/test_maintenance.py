# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every balancer closes and opens a site in a container of its own, and the playbook does so here, in a network of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conformance.suite import REPO, Place, in_container
from sampling import full

from maintenance.cases import CASES

ALWAYS = [Place("haproxy"), Place("nginx"), Place("caddy")]
# Each suite of Debian is an image more.
PLACES = [*ALWAYS, Place("apache"), Place("caddy-new"), Place("haproxy", "bullseye"), Place("haproxy", "trixie"), Place("nginx", "forky")]


@pytest.mark.parametrize("place", [place if place in ALWAYS else full(place) for place in PLACES], ids=str)
def test_a_balancer_closes_and_opens_a_site(place: Place) -> None:
    done = in_container(place, "maintenance.run")
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
