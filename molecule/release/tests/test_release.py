# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


def test_the_release_is_live_and_served(host):
    if not host.backend.hostname.endswith("web1"):
        assert not host.file("/srv/shop").exists
        return
    assert host.file("/srv/shop/current").linked_to == "/srv/shop/releases/1.0"
    assert host.file("/srv/shop/releases/1.0/uploads").linked_to == "/srv/shop/shared/uploads"
    assert '"version": "1.0"' in host.check_output("curl -s http://127.0.0.1:8000/")
