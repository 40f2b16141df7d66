# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


def test_every_server_was_patched(host):
    assert host.file("/root/patched").content_string == "patched\n"


def test_its_handler_ran_before_the_server_was_put_back(host):
    # The role of before_enable has failed the rollout otherwise.
    assert host.file("/root/restarted").exists
