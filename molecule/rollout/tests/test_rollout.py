# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


def test_every_server_runs_the_release_from_its_own_process(host):
    assert host.file("/srv/shop/current").linked_to == "/srv/shop/releases/2.0"
    pid = host.check_output("systemctl show -p MainPID --value shop")
    assert host.check_output(f"readlink /proc/{pid}/cwd") == "/srv/shop/releases/2.0"


def test_nothing_is_left_behind(host):
    assert not host.file("/srv/shop/.rollout/lock").exists
    assert host.file("/srv/shop/.rollout/staging").listdir() == []
