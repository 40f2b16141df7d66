# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two pools of servers, of which one gets the traffic and the other one the next release."""

from __future__ import annotations

import json
import os
import typing as t

import pytest
from fleet.fleet import Fleet, Played
from fleet.load import Load
from fleet.site import SERVER, Site

POOLS = {"blue": ["web1", "web2"], "green": ["web3", "web4"]}
BROKEN = SERVER.replace("self.send_response(200)", "self.send_response(500)")
# Healthy until it has been asked for two seconds by anybody but the health check.
DYING = SERVER.replace("    def do_GET(self):", '    def do_GET(self):\n        if self.path == "/":\n            threading.Timer(2, os._exit, (1,)).start()')


@pytest.fixture(scope="module")
def site() -> t.Iterator[Site]:
    with Fleet(web=4, lb=2) as fleet:
        made = Site(fleet)
        made.prepare()
        for release in ("1.0", "2.0", "3.0"):
            made.build(release)
        made.build("4.0", broken=BROKEN)
        made.build("5.0", broken=DYING)
        with open(fleet.inventory, encoding="utf-8") as file:
            inventory = json.load(file)
        for name, hosts in POOLS.items():
            inventory["all"]["children"][name] = {"hosts": {host: {} for host in hosts}}
        with open(fleet.inventory, "w", encoding="utf-8") as file:
            json.dump(inventory, file)
        first = made.rollout("1.0")
        assert first.code == 0, first.text
        yield made


def play(site: Site, playbook: str, release: str, **changes: t.Any) -> tuple[Played, dict[str, t.Any]]:
    """Run a playbook under load and return what it said, and what clients saw."""
    urls = [f"http://{site.fleet.addresses[host]}/" for host in site.fleet.lb]
    with Load(urls, rate=200, clients=10, version_key="version") as load:
        load.mark("play")
        played = site.fleet.play(f"seamless.rollout.{playbook}", {**site.variables(release), **changes})
    return played, load.summary()


def live(site: Site) -> set[str]:
    """Return who gets requests, which every balancer must agree on."""
    found = {frozenset(host for host, state in site.fleet.standing(name).items() if state.startswith("UP")) for name in site.fleet.lb}
    assert len(found) == 1, found
    return set(found.pop())


def test_a_release_goes_to_the_idle_pool_and_all_traffic_follows_and_comes_back(site: Site) -> None:
    played, dummy = play(site, "blue_green", "2.0")
    assert played.code != 0 and "blue_green_live=blue" in played.text
    assert live(site) == {"web1", "web2", "web3", "web4"}

    played, seen = play(site, "blue_green", "2.0", blue_green_live="blue")
    assert played.code == 0, played.text
    assert seen["failed"] == 0 and seen["requests"] > 500, seen
    assert live(site) == {*POOLS["green"]}
    assert site.releases() == {"web1": "1.0", "web2": "1.0", "web3": "2.0", "web4": "2.0"}
    assert "green is live" in played.text and "blue is kept warm" in played.text

    played, seen = play(site, "blue_green_back", "2.0")
    assert played.code == 0, played.text
    assert seen["failed"] == 0, seen
    assert live(site) == {*POOLS["blue"]}

    played, seen = play(site, "blue_green", "3.0")
    assert played.code == 0, played.text
    assert seen["failed"] == 0, seen
    assert live(site) == {*POOLS["green"]}
    assert site.releases() == {"web1": "1.0", "web2": "1.0", "web3": "3.0", "web4": "3.0"}


@pytest.mark.full
def test_what_does_not_work_gets_no_request(site: Site) -> None:
    before = live(site)
    idle = sorted({"web1", "web2", "web3", "web4"} - before)
    held = site.release_of(idle[0])
    played, seen = play(site, "blue_green", "4.0")
    assert played.code != 0
    assert seen["failed"] == 0, seen
    assert live(site) == before
    assert [site.release_of(host) for host in idle] == [held] * 2

    tasks = os.path.join(site.fleet.directory, "preview.yml")
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: Look\n  ansible.builtin.assert:\n    that: blue_green_choice.idle_hosts | length == 3\n")
    played, seen = play(site, "blue_green", "2.0", blue_green_preview_tasks=tasks)
    assert played.code != 0
    assert seen["failed"] == 0, seen
    assert live(site) == before


@pytest.mark.full
def test_a_pool_that_fails_under_traffic_goes_and_the_other_one_is_back(site: Site) -> None:
    before = live(site)
    played, dummy = play(site, "blue_green", "5.0", blue_green_bake=8)
    assert played.code != 0
    assert "All traffic goes to" in played.text, played.text[-3000:]
    assert live(site) == before
