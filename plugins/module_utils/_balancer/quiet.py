# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Member, MemberRef


class Stillness:
    """Tells which members are quiet: no session, no queue, and a total that stands still over *polls* looks in a row.

    No session alone does not mean drained: between two requests of a sticky client there is none either.
    """

    def __init__(self, polls: int) -> None:
        self.polls = max(1, polls)
        self._totals: dict[MemberRef, int | None] = {}
        self._still: dict[MemberRef, int] = {}

    def look(self, member: Member) -> bool:
        """Take one look at *member* and return whether it is quiet by now."""
        idle = member.admin != "ready" and not member.sessions and not member.queued
        unmoved = self._totals.get(member.ref, member.total) == member.total
        self._still[member.ref] = self._still.get(member.ref, 0) + 1 if idle and unmoved else 0
        self._totals[member.ref] = member.total
        return self._still[member.ref] >= self.polls


def describe_busy(members: t.Iterable[Member]) -> str:
    return ", ".join(f"{member.ref} ({member.sessions} sessions, {member.queued} queued)" for member in members)
