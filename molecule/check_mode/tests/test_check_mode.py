# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


def test_the_live_release_is_left_alone(host):
    assert host.file("/srv/shop/current").linked_to == "/srv/shop/releases/1.0"
    assert host.service("shop").is_running
    assert '"1.0"' in host.check_output("curl -s http://127.0.0.1:8000/health")


def test_no_trace_is_left(host):
    assert host.file("/srv/shop/releases").listdir() == ["1.0"]
    assert host.file("/srv/shop/.rollout/releases").listdir() == ["1.0.json"]
    assert host.file("/srv/shop/.rollout/staging").listdir() == []
    assert not host.file("/srv/shop/.rollout/lock").exists
    assert "2.0" not in host.file("/srv/shop/.rollout/journal.jsonl").content_string
