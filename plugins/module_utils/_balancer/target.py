# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member


class Target:
    """A member to change, the driver that can, and what is known of who took it out."""

    def __init__(self, driver: Driver, member: Member, record: dict[str, t.Any] | None) -> None:
        self.driver = driver
        self.member = member
        self.before = member.admin
        self.record = record
        self.changed = False
        self.at: float | None = None
        self.seconds = 0.0
        self.begins_with: int | None = None
        """The weight with which it comes back, where that is not the one that it had."""

    def order(self, state: str) -> Change:
        prior = (self.record or {}).get("prior_weight")
        return Change(self.member.ref, state, self.begins_with or prior if state == "ready" else prior)

    @property
    def ramping(self) -> bool:
        """Whether the member's weight is on its way up, or was when its ramp was interrupted."""
        return bool((self.record or {}).get("ramp"))

    @property
    def full_weight(self) -> int | None:
        """Return the weight that the member has when nothing has lowered it."""
        prior = (self.record or {}).get("prior_weight")
        return prior if prior else self.member.weight

    @property
    def escalated(self) -> bool:
        """Whether somebody put the member into maintenance on top of our drain. Records of older versions do not tell."""
        return bool(self.record) and self.member.admin == "maint" and (self.record or {}).get("state") == "drain"


def describe(target: Target) -> dict[str, t.Any]:
    member = target.member
    return {
        "name": member.ref.name,
        "backend": member.ref.backend,
        "balancer": member.ref.balancer,
        "address": member.address,
        "admin_before": target.before,
        "admin": member.admin,
        "health": member.health,
        "weight": member.weight,
        "sessions": member.sessions,
        "changed": target.changed,
        "at": target.at,
        "seconds": target.seconds,
    }
