# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from database.servers import Servers


@pytest.fixture(scope="session")
def servers() -> t.Iterator[Servers]:
    """PostgreSQL and MariaDB, for all tests of a run."""
    with Servers() as started:
        yield started
