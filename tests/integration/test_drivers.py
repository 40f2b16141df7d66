# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole rollout with a balancer that is not spoken to by a driver of its own."""

from __future__ import annotations

import json
import os
import typing as t

import pytest
from fleet.fleet import Fleet
from fleet.load import Load
from fleet.site import Site

POOL = '''\
#!/usr/bin/python3
"""What a user may have: a program that lists a pool and sets its members, here HAProxy's."""
import socket, sys


def ask(command):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("/run/haproxy/admin.sock")
        connection.sendall(command.encode() + b"\\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


if sys.argv[1] == "list":
    stats = {(row[0], row[1]): row for row in (line.split(",") for line in ask("show stat").splitlines()) if len(row) > 20}
    for words in (line.split() for line in ask("show servers state").splitlines()):
        if len(words) > 18 and words[0].isdigit():
            bits, row = int(words[6]), stats[(words[1], words[3])]
            state = "maint" if bits & 1 else "drain" if bits & 8 else "ready"
            health = "down" if row[17].startswith("DOWN") else "up" if row[17] in ("UP", "DRAIN") else "starting"
            print(words[1], words[3], words[4] + ":" + words[18], state, health, row[4], row[7])
else:
    sys.exit(ask("set server %s/%s state %s" % (sys.argv[2], sys.argv[3], sys.argv[1])).strip() or 0)
'''
SECRET = "a-secret-of-the-balancer"
COMMANDS = {"list": "/usr/local/bin/pool list", **{name: f"/usr/local/bin/pool {name} {{backend}} {{name}}" for name in ("drain", "ready")}}
BALANCER: dict[str, t.Any] = {"driver": "command", "hosts": "lb", "backend": "shop", "commands": COMMANDS, "password": SECRET}


@pytest.fixture(scope="module")
def site() -> t.Iterator[Site]:
    with Fleet(web=3, lb=1) as fleet:
        made = Site(fleet)
        made.prepare()
        for release in ("1.0", "2.0"):
            made.build(release)
        fleet.put("lb1", "/usr/local/bin/pool", POOL)
        fleet.shell("lb1", "chmod 755 /usr/local/bin/pool")
        yield made


def everything_below(directory: str) -> str:
    found = []
    for place, dummy, names in os.walk(directory):
        for name in names:
            with open(os.path.join(place, name), encoding="utf-8", errors="replace") as file:
                found.append(file.read())
    return "\n".join(found)


def test_a_rollout_by_commands_fails_no_request_and_tells_no_secret(site: Site) -> None:
    first = site.rollout("1.0", balancers=[BALANCER])
    assert first.code == 0, first.text
    with Load([f"http://{site.fleet.addresses['lb1']}/"], rate=80, clients=8, version_key="version") as load:
        load.mark("roll")
        played = site.rollout("2.0", "-vvv", balancers=[BALANCER])
    assert played.code == 0, played.text[-3000:]
    summary = load.summary()
    assert summary["failed"] == 0 and summary["requests"] > 200, summary
    assert set(site.releases().values()) == {"2.0"}
    assert "drained on lb1" in played.text and site.all_up()
    # What the user hands over is in the command line of the user's own; nothing of it may be in what Ansible says or in what is kept.
    said = "\n".join(line for line in played.text.splitlines() if "ansible-playbook" not in line)
    assert SECRET not in said
    assert SECRET not in everything_below(site.fleet.environment["XDG_STATE_HOME"])


def test_status_reads_it_and_a_mistake_in_it_is_refused(site: Site) -> None:
    status = site.rollout("2.0", playbook="status", balancers=[BALANCER])
    assert status.code == 0, status.text
    assert "lb1" in status.text and SECRET not in status.text
    wrong = {**BALANCER, "commands": {**COMMANDS, "list": "/usr/local/bin/pol list"}}
    refused = site.rollout("1.0", balancers=[wrong])
    assert refused.code != 0 and "/usr/local/bin/pol is not there" in refused.text
    refused = site.rollout("1.0", balancers=[{"driver": "traefik", "hosts": "lb", "path": "/etc/traefik/shop.yml"}])
    assert refused.code != 0 and "rollout_balancers[0].url is not set: the driver traefik needs" in refused.text
    assert json.dumps(sorted(site.releases().values())) == json.dumps(["2.0"] * 3)
