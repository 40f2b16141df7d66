# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import json


def test_every_server_runs_the_release_that_knows_the_new_shape(host):
    assert host.file("/srv/shop/current").linked_to == "/srv/shop/releases/3.0"
    assert json.loads(host.check_output("curl -s http://127.0.0.1:8000/health")) == {"version": "3.0"}


def test_every_server_refuses_releases_that_need_the_old_one(host):
    assert json.loads(host.file("/srv/shop/.rollout/floor.json").content_string)["migrations"] == ["2026_11_25_01_names"]
