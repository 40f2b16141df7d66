# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from fleet.fleet import Fleet
from fleet.site import Site


@pytest.fixture(scope="session")
def site() -> t.Iterator[Site]:
    """Three web servers behind two balancers, with release 1.0 live and good."""
    with Fleet(web=3, lb=2) as fleet:
        made = Site(fleet)
        made.prepare()
        for release in ("1.0", "2.0", "3.0", "4.0"):
            made.build(release)
        made.build("broken", broken="raise SystemExit('this release is broken')\n")
        first = made.rollout("1.0")
        assert first.code == 0, first.text
        yield made


@pytest.fixture
def settled(site: Site) -> t.Iterator[Site]:
    """The site, back at release 1.0 and all in rotation before each test."""
    if set(site.releases().values()) != {"1.0"} or not site.all_up():
        restore = site.rollout("1.0")
        assert restore.code == 0, restore.text
    assert site.all_up()
    yield site
