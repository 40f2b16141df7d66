# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import typing as t

import pytest

from integration.balancer.lab import Lab

MakeLab = t.Callable[..., Lab]


@pytest.fixture
def make_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[MakeLab]:
    """Start labs, and end every process of theirs."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(Lab(str(tmp_path_factory.mktemp("lab")), *args, **kwargs))


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    """Two applications behind one HAProxy."""
    return make_lab()
