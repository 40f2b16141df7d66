# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of Ansible that a site may have, and with which rollouts do what they do without."""

from __future__ import annotations

import pathlib

import pytest
from fleet.here import Here
from sampling import some


@pytest.mark.parametrize("pace", some(["batch", "window"], ["batch"]))
def test_facts_need_not_be_variables(tmp_path: pathlib.Path, pace: str) -> None:
    code, told = Here(tmp_path, ANSIBLE_INJECT_FACT_VARS="false").run(rollout_pace=pace)
    assert code == 0 and told.count(" done ") == 2 and "shop succeeded" in told, told
