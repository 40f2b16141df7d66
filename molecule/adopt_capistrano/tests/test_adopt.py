# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


def test_the_new_release_is_live_and_the_old_ones_are_untouched(host):
    assert host.file("/srv/shop/current").linked_to == "/srv/shop/releases/1.0"
    assert sorted(host.file("/srv/shop/releases").listdir()) == ["1.0", "20240101120000", "20240301120000"]
    assert host.file("/srv/shop/revisions.log").content_string == "branch\n"
