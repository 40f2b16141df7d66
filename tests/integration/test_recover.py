# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a dead controller left is settled from another one."""

from __future__ import annotations

import json
import os
import time
import typing as t

import pytest
from fleet.running import running
from fleet.site import Site
from sampling import full


def die_in(site: Site, task: str, release: str = "2.0", **changes: t.Any) -> None:
    """Kill a rollout while *task* runs on the canary."""
    with running(site, release, **changes) as run:
        run.until(task)


def other(site: Site, playbook: str, *options: str, **changes: t.Any) -> t.Any:
    """Run a playbook as another controller, which knows neither the release's source nor the ledger."""
    variables = site.variables("2.0", state_dir=os.path.join(site.fleet.directory, "other"), **changes)
    variables = {name: value for name, value in variables.items() if name not in ("rollout_release", "rollout_source")}
    return site.fleet.play(f"seamless.rollout.{playbook}", variables, *options)


@pytest.mark.parametrize("way", ["restore", full("finish")])
def test_another_controller_settles_what_a_dead_one_left(settled: Site, way: str) -> None:
    die_in(settled, "Switch, restart and check")
    assert not settled.all_up()
    refused = other(settled, "recover", recover=way)
    assert refused.code != 0 and "is locked by rollout" in refused.text, refused.text
    played = other(settled, "recover", recover=way, break_lock=True)
    assert played.code == 0, played.text
    assert settled.all_up()
    expected = {"finish": ["2.0", "2.0", "2.0"], "restore": sorted([settled.release_of("web1"), "1.0", "1.0"])}[way]
    assert sorted(settled.releases().values()) == expected
    assert settled.fleet.shell("web1", "ls /srv/shop/.rollout/lock", check=False).strip() != "/srv/shop/.rollout/lock"
    journal = [json.loads(line) for line in settled.fleet.shell("web1", "cat /srv/shop/.rollout/journal.jsonl").splitlines() if line]
    assert any(entry["event"] == "lock_broken" for entry in journal)
    again = settled.rollout("2.0")
    assert again.code == 0 and set(settled.releases().values()) == {"2.0"} and settled.all_up(), again.text


@pytest.mark.full
def test_recover_takes_a_host_back_whose_release_does_not_work(settled: Site) -> None:
    with running(settled, "broken", healthy_deadline=30) as run:
        run.until("Switch, restart and check")
        deadline = time.monotonic() + 20
        while settled.release_of("web1") != "broken" and time.monotonic() < deadline:
            time.sleep(0.1)
    assert settled.release_of("web1") == "broken"
    played = other(settled, "recover", break_lock=True)
    assert played.code == 0, played.text
    assert set(settled.releases().values()) == {"1.0"} and settled.all_up()
    assert "nothing to do" in other(settled, "recover").text
