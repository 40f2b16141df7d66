# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.rotation import Rotation
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.target import Target
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


class Exchange(Rotation):
    """One call that puts some members in and takes others out by one order to each balancer: the way from blue to green and back."""

    def __init__(self, params: dict[str, t.Any], check_mode: bool) -> None:
        super().__init__(params, check_mode)
        self.coming: list[Target] = []
        self.leaving: list[Target] = []

    def exchange(self) -> None:
        """Prove that those who come are healthy, judge and change under one lock, and wait until the ones are up and the others quiet."""
        self._look()
        self._judge()
        if self.check_mode:
            return
        deadline = time.monotonic() + self.params["enable_timeout"]
        pending = [target for target in self.coming if target.changed]
        self.targets = self.coming
        self.prove(pending, deadline)
        with self.records.exclusive():
            self._look()
            self._judge()
            self._level([target for target in self.targets if target.ramping and self._ours(target)])
            self._change()
        if self.params["wait"]:
            self.targets = self.coming
            self.wait_until(lambda target: target.member.serving, self.coming, deadline, "it was enabled but is not up")
            self.targets = self.leaving
            self.wait_quiet("drain")
        self.targets = [*self.coming, *self.leaving]

    def _look(self) -> None:
        before = {target.member.ref: target.before for target in self.targets}
        self.read()
        self.coming, self.leaving = self.targets, self.find(self.params["instead_of"])
        both = {target.member.ref for target in self.coming} & {target.member.ref for target in self.leaving}
        if both:
            raise SeamlessError(f"{min(str(ref) for ref in both)} is in members and in instead_of: it can't come and go at once.")
        if not all(target.driver.knows_pools for target in self.coming):
            raise SeamlessError(f"instead_of needs a balancer that is told of all its members; the driver {self.params['driver']} knows only one.")
        self.targets = [*self.coming, *self.leaving]
        for target in self.targets:
            target.before = before.get(target.member.ref, target.before)

    def _judge(self) -> None:
        for target in self.coming:
            self.may_return(target)
            target.changed = target.member.admin != "ready"
        self.claim(self.leaving, "drain")
        come = {target.member.ref for target in self.coming}
        afterwards = [dataclasses.replace(member, admin="ready") if member.ref in come else member for member in self.everyone]
        self.check_floor(afterwards, self.leaving)

    def _change(self) -> None:
        for driver in self.drivers:
            coming = [target for target in self.coming if target.driver is driver and target.member.admin != "ready"]
            leaving = [target for target in self.leaving if target.driver is driver and target.member.admin == "ready"]
            for target in leaving:
                self.record(target, "drain")
            # Those who come stand first: a balancer that takes one order after the other is never without a member.
            driver.set_states([*(target.order("ready") for target in coming), *(target.order("drain") for target in leaving)])
            for target in coming:
                self.records.remove(target.member.ref)
            for target in [*coming, *leaving]:
                target.at, target.changed = time.time(), True
            if (coming or leaving) and self.params["persist_state"]:
                driver.persist(self.params["persist_state"])
