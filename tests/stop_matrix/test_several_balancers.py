# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One task changes several balancers at the same moment, by connections of its own making, on every ansible-core."""

from __future__ import annotations

import itertools
import os
import typing as t

import pytest
from fleet.fleet import Fleet, Played
from sampling import some

from stop_matrix.cores import NEWEST, OLDEST, available, environment_of

PLAY = """\
- name: Change
  hosts: web1
  gather_facts: false
  tasks:
    - name: Change
      seamless.rollout.lb_member:
        balancers: [{delegate: lb1}, {delegate: lb2}]
        socket: /run/haproxy/admin.sock
        members: [{name: web1}]
        min_available: "0"
        state: "{{ state }}"
"""
WAYS: dict[str, dict[str, t.Any]] = {
    "light": {"ansible_pipelining": True},
    "as modules, by su": {"ansible_pipelining": True, "ansible_become": True, "ansible_become_method": "ansible.builtin.su"},
}


@pytest.fixture(scope="module")
def fleet() -> t.Iterator[Fleet]:
    with Fleet(web=1, lb=2) as made:
        made.shell("web1", "mkdir /srv/app && touch /srv/app/health && systemd-run --working-directory=/srv/app python3 -m http.server 8000")
        yield made


@pytest.fixture
def play(tmp_path: t.Any) -> str:
    (tmp_path / "play.yml").write_text(PLAY)
    return str(tmp_path / "play.yml")


@pytest.mark.parametrize(("core", "way"), some(itertools.product(available(), WAYS), [(OLDEST, "light"), (NEWEST, "as modules, by su")]))
def test_a_host_goes_and_comes_on_all_balancers_at_once(core: str, way: str, fleet: Fleet, play: str) -> None:
    ansible = os.path.join(environment_of(core, available()[core]), "bin", "ansible-playbook")

    def change(state: str) -> Played:
        return fleet.play(play, {"state": state, **WAYS[way]}, ansible=ansible)

    drained = change("drained")
    assert drained.code == 0, drained.text
    assert (fleet.standing("lb1")["web1"], fleet.standing("lb2")["web1"]) == ("DRAIN", "DRAIN")
    again = change("drained")
    assert again.code == 0 and "changed=0" in again.text, again.text
    enabled = change("enabled")
    assert enabled.code == 0, enabled.text
    assert (fleet.standing("lb1")["web1"], fleet.standing("lb2")["web1"]) == ("UP", "UP")


@pytest.mark.parametrize("way", some(WAYS, ["light"]))
def test_a_balancer_that_is_lost_holds_up_no_other_and_is_named(way: str, fleet: Fleet, play: str) -> None:
    assert fleet.play(play, {"state": "drained", **WAYS[way]}).code == 0
    fleet.disconnect("lb2")
    try:
        lost = fleet.play(play, {"state": "enabled", **WAYS[way]})
    finally:
        fleet.connect("lb2")
    assert lost.code != 0 and "lb2: " in lost.text and "can't be reached" in lost.text, lost.text
    assert fleet.standing("lb1")["web1"] == "UP" != fleet.standing("lb2")["web1"]
    mended = fleet.play(play, {"state": "enabled", **WAYS[way]})
    assert mended.code == 0, mended.text
    assert fleet.standing("lb2")["web1"] == "UP"
