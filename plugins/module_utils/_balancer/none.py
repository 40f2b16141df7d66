# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member


class NoBalancer(Driver):
    """Nothing sends requests to the host, as to one that only works on a queue: there is nobody to take it out of."""

    name = "none"
    knows_pools = False

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        return [cls()]

    def members(self) -> list[Member]:
        return []

    def set_states(self, changes: t.Sequence[Change]) -> None:
        """Nothing can be asked for, since there is no member."""
