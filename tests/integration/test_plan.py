# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the plan playbook says, of hosts that are all this machine: it only reads them."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest
from fleet.fleet import REPO


@pytest.fixture
def plan(tmp_path: pathlib.Path) -> t.Callable[..., str]:
    """A function that plans a release for two workers and three web servers, with *forks* and variables, and returns what was printed."""
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "VERSION").write_text("2.0")
    groups = {"web": ["web1", "web2", "web3"], "workers": ["worker1", "worker2"]}
    children = {name: {"hosts": {host: {"rollout_root": str(tmp_path / "roots" / host)} for host in hosts}} for name, hosts in groups.items()}
    connection = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (tmp_path / "inventory.yml").write_text(json.dumps({"app": {"children": children, "vars": connection}}))

    def run(forks: int = 10, **variables: t.Any) -> str:
        extra = {
            "rollout_app": "shop", "rollout_release": "2.0", "rollout_source": {"type": "directory", "path": str(tmp_path / "release")},
            "rollout_state_dir": str(tmp_path / "state"), **{f"rollout_{name}": value for name, value in variables.items()},
        }
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE")},
            "ANSIBLE_COLLECTIONS_PATH": os.path.join(REPO, "build", "tree"), "ANSIBLE_FORKS": str(forks), "ANSIBLE_NOCOLOR": "1", "HOME": str(tmp_path),
        }
        command = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", "inventory.yml", "seamless.rollout.plan", "-e", json.dumps(extra)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def read(printed: str) -> dict[str, t.Any]:
    found = re.search(r"^\{$.*?^\}$", printed, re.MULTILINE | re.DOTALL)
    assert found, printed
    return dict(json.loads(found[0]))


def test_a_window_that_is_larger_than_the_forks_is_noted_with_the_number(plan: t.Callable[..., str]) -> None:
    note = "works on 1 hosts at once (forks), so the window never holds more than that: with --forks 3 it holds 3."
    window = {"pace": "window", "max_unavailable": 3, "max_parallel": 3}
    assert note in " ".join(plan(forks=1, **window).split())
    assert any(note in said for said in read(plan(forks=1, **window, plan_format="json"))["notes"])
    assert "(forks)" not in plan(forks=3, **window)


@pytest.mark.full
@pytest.mark.parametrize("pace", ["batch", "window"])
def test_tiers_are_stages_one_after_the_other(plan: t.Callable[..., str], pace: str) -> None:
    told = {"pace": pace, "plan_format": "json", "max_unavailable": 2, "canary": 1, "batch": [2]}
    tiered = read(plan(tiers=["workers", "web"], **told))
    assert tiered["stages"] == [["worker1"], ["worker2"], ["web1"], ["web2", "web3"]]
    assert tiered["canary"] == ["worker1", "web1"]
    assert {name: host["tier"] for name, host in tiered["hosts"].items()} == {
        "web1": "web", "web2": "web", "web3": "web", "worker1": "workers", "worker2": "workers",
    }
    assert read(plan(**told))["stages"] == [["web1"], ["web2", "web3", "worker1", "worker2"]]
