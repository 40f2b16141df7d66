# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import typing as t

import pytest
from fleet.fleet import REPO

from report.browser import Browser


@pytest.fixture(scope="session")
def browser() -> t.Iterator[Browser]:
    subprocess.run([os.path.join(REPO, "tests", "tools", "setup.sh"), "browser"], check=True)
    with Browser() as opened:
        yield opened
