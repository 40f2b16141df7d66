# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


def test_every_server_runs_what_it_ran(host):
    assert host.file("/srv/shop/current").linked_to == "/srv/shop/releases/1.0"
    assert host.file("/srv/shop/releases/2.0").is_directory
    assert host.service("shop").is_running
