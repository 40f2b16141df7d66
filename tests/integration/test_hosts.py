# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollout does on each host: hooks at all their points, owners and modes of what is put there, units that are asked whether they run."""

from __future__ import annotations

import json
import os
import re
import typing as t

import pytest
import yaml
from fleet.fleet import Played
from fleet.site import Site

POINTS = ("before_drain", "after_drain", "before_switch", "after_switch", "validate", "before_enable", "after_enable")
# The point, the release that the link names, the one that is served, and how the host stands in its balancer.
NOTE = """\
exec 3<>/dev/tcp/{{{{ hostvars.lb1.ansible_host }}}}/9999; echo 'show stat' >&3
stands=$(grep "^shop,{{{{ inventory_hostname }}}}," <&3 | cut -d, -f18 | cut -d' ' -f1)
echo {point} $(basename $(readlink /srv/shop/current)) $(curl -s http://127.0.0.1:8000/ | cut -d'"' -f4) $stands >> /root/hooks
"""


def test_hooks_run_at_their_seven_points_as_task_files_and_as_roles(settled: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    roles = os.path.join(settled.fleet.directory, "roles")
    hooks = {point: ["warm" if point == "validate" else f"hook_{point}.yml"] for point in POINTS}
    os.makedirs(os.path.join(roles, "warm", "tasks"))
    for point, (name,) in hooks.items():
        path = os.path.join(roles, "warm", "tasks", "main.yml") if name == "warm" else os.path.join(settled.fleet.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            task = {"name": point, "ansible.builtin.shell": NOTE.format(point=point), "args": {"executable": "/bin/bash"}, "changed_when": True}
            yaml.safe_dump([task], file)
    monkeypatch.setenv("ANSIBLE_ROLES_PATH", roles)
    played = settled.rollout("2.0", hooks=hooks)
    assert played.code == 0, played.text
    for host in settled.fleet.web:
        noted = [line.split() for line in settled.fleet.shell(host, "cat /root/hooks; rm /root/hooks").splitlines()]
        assert [line[0] for line in noted] == list(POINTS)
        assert [(link, served, stands == "UP") for dummy, link, served, stands in noted] == [
            ("1.0", "1.0", True), ("1.0", "1.0", False), ("1.0", "1.0", False), ("2.0", "1.0", False),
            ("2.0", "2.0", False), ("2.0", "2.0", False), ("2.0", "2.0", True),
        ]


@pytest.mark.full
def test_what_is_put_there_has_the_owner_group_and_modes_that_were_asked_for(settled: Site) -> None:
    for host in settled.fleet.web:
        settled.fleet.shell(host, "id shop >/dev/null 2>&1 || useradd --system shop; getent group site >/dev/null || groupadd site")
    settled.build("owned")
    options: dict[str, t.Any] = {"owner": "shop", "group": "site", "file_mode": "0640", "dir_mode": "0750", "linked_dirs": ["uploads", "var/log"]}
    played = settled.rollout("owned", **options)
    assert played.code == 0, played.text
    for host in settled.fleet.web:
        release = "/srv/shop/releases/owned"
        assert settled.fleet.shell(host, f"find {release} ! -user shop -o ! -group site").strip() == ""
        assert settled.fleet.shell(host, f"find {release} -type f ! -perm 640 -o -type d ! -perm 750").strip() == ""
        assert settled.fleet.shell(host, "stat -c '%U %G' /srv/shop/shared/uploads /srv/shop/shared/var/log").split("\n")[:2] == ["shop site"] * 2


def probe(site: Site, host: str, *probes: dict[str, str]) -> Played:
    arguments = json.dumps({"probes": probes, "healthy_deadline": 1, "interval": 0.2, "rise": 1})
    return site.fleet.play(host, None, "-m", "seamless.rollout.health_check", "-a", arguments, ansible="ansible")


@pytest.mark.full
def test_a_unit_is_healthy_while_it_runs(settled: Site) -> None:
    running = probe(settled, "web1", {"systemd": "shop"}, {"systemd": "ssh.service"})
    assert running.code == 0 and "unit shop is active" in running.text, running.text
    for unit in ("haproxy", "nothing-such"):
        stopped = probe(settled, "web1", {"systemd": "shop"}, {"systemd": unit})
        assert stopped.code != 0 and f"unit {unit} is inactive" in re.sub(r"\s+", " ", stopped.text), stopped.text
