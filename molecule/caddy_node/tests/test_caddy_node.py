# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import json


def test_every_server_runs_the_release_from_its_own_process(host):
    if host.backend.hostname.endswith("lb1"):
        return
    assert host.file("/srv/shop/current").linked_to == "/srv/shop/releases/2.0"
    assert sorted(host.file("/srv/shop/releases").listdir()) == ["1.0", "2.0"]
    pid = host.check_output("systemctl show -p MainPID --value shop")
    assert host.check_output(f"readlink /proc/{pid}/cwd") == "/srv/shop/releases/2.0"
    assert json.loads(host.check_output("curl -s http://127.0.0.1:3000/"))["version"] == "2.0"


def test_nothing_is_drained(host):
    if host.backend.hostname.endswith("lb1"):
        return
    assert not host.file("/run/seamless-rollout/shop.drain").exists
    assert host.check_output("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:3000/up") == "200"


def test_the_first_process_ended_in_order(host):
    if host.backend.hostname.endswith("lb1"):
        return
    assert "Failed with result" not in host.check_output("journalctl --quiet --no-pager --unit shop")


def test_users_get_the_release_from_every_server(host):
    if not host.backend.hostname.endswith("lb1"):
        return
    answers = map(json.loads, host.check_output("for i in $(seq 8); do curl -s http://127.0.0.1/; echo; done").split("\n"))
    assert {(answer["host"], answer["version"]) for answer in answers} == {("web1", "2.0"), ("web2", "2.0")}
