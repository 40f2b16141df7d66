# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


def test_every_server_runs_the_release_in_the_end(host):
    assert host.file("/srv/shop/current").linked_to == "/srv/shop/releases/2.0"
    assert host.service("shop").is_running
    assert not host.file("/srv/shop/.rollout/lock").exists
