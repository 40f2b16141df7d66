# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every run of the tests has, and what only ``TESTS=full`` has: the variations of what always runs."""

from __future__ import annotations

import os
import typing as t

import pytest

FULL = os.environ.get("TESTS") == "full"


def some(values: t.Iterable[t.Any], always: t.Container[t.Any]) -> list[t.Any]:
    """Return *values* as parameters of a test, those that are not in *always* marked as ``full``."""
    return [value if value in always else full(*(value if isinstance(value, tuple) else (value,))) for value in values]


def full(*values: t.Any) -> t.Any:
    """Return a parameter of a test with which it runs with ``TESTS=full`` alone."""
    return pytest.param(*values, marks=pytest.mark.full)
