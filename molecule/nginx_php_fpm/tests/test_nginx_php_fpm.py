# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import json


def test_every_server_serves_the_release(host):
    if host.backend.hostname.endswith("lb1"):
        return
    assert host.file("/srv/shop/current").linked_to == "/srv/shop/releases/2.0"
    assert sorted(host.file("/srv/shop/releases").listdir()) == ["1.0", "2.0"]
    # Several times: each process of PHP has a memory of its own for where the link pointed.
    answers = map(json.loads, host.check_output("for i in $(seq 20); do curl -s http://127.0.0.1/; echo; done").split("\n"))
    assert {answer["version"] for answer in answers} == {"2.0"}


def test_what_users_uploaded_before_is_there(host):
    if host.backend.hostname.endswith("lb1"):
        return
    assert host.file("/srv/shop/releases/2.0/public/uploads").linked_to == "/srv/shop/shared/public/uploads"
    assert host.check_output("curl -s http://127.0.0.1/uploads/greeting.txt") == "hello"
    assert host.check_output("curl -s -o /dev/null -w '%{http_code}' -X PUT -d more http://127.0.0.1/uploads/more.txt") == "201"
    assert host.check_output("curl -s http://127.0.0.1/uploads/more.txt") == "more"


def test_what_users_uploaded_is_never_run(host):
    if host.backend.hostname.endswith("lb1"):
        return
    host.check_output("echo '<?php echo 6 * 7;' > /srv/shop/shared/public/uploads/evil.php")
    assert "6 * 7" in host.check_output("curl -s http://127.0.0.1/uploads/evil.php")


def test_users_get_the_release_from_every_server(host):
    if not host.backend.hostname.endswith("lb1"):
        return
    answers = map(json.loads, host.check_output("for i in $(seq 8); do curl -s http://127.0.0.1/; echo; done").split("\n"))
    assert {(answer["host"], answer["version"]) for answer in answers} == {("web1", "2.0"), ("web2", "2.0")}
