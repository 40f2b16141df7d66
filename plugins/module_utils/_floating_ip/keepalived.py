# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import keepalived
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Member
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.base import Method, Standing
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.checks import Wanted

FORGETFUL = ("/run/", "/var/run/", "/tmp/", "/dev/shm/")


class Keepalived(Method):
    """keepalived has the address and moves it; here the file that it tracks says whether this machine wants it."""

    name = "keepalived"
    needs: t.ClassVar[dict[str, str]] = {"path": keepalived.Keepalived.needs["path"]}

    def __init__(self, wanted: Wanted, params: t.Mapping[str, t.Any]) -> None:
        super().__init__(wanted, params)
        self.timeout = float(params["timeout"])
        values = {"path": params["path"], "backend": [str(wanted.address)], "state_dir": params["state_dir"], "check_url": params.get("check_url")}
        self.driver = t.cast("keepalived.Keepalived", keepalived.Keepalived.open({**values, "drain_timeout": self.timeout})[0])

    def _member(self) -> Member:
        return self.driver.members()[0]

    def look(self) -> Standing:
        member = self._member()
        return Standing(bool(member.sessions), member.admin == "ready", str(self.wanted.address), record=self.driver.remembered() or None)

    def settled(self, comes: bool, now: Standing) -> bool:
        if comes:
            return now.willing and (now.held or not self.params.get("wait"))
        return not now.willing and not now.held

    def check(self, comes: bool, now: Standing) -> Standing:
        if not comes:
            return now
        if not now.willing and not now.record and not self.params.get("force"):
            raise SeamlessError(
                f"{self.driver.file.path} is below 0, and not by this module: somebody else keeps {self.wanted.address} away from this machine. Write 0 to it, "
                "or set force."
            )
        member = self._member()
        if member.health == "down":
            raise SeamlessError(f"{self.params.get('check_url')} says on this machine: {member.check}. {self.wanted.address} does not come to what is ill.")
        return now

    def take(self, now: Standing) -> None:
        if not now.willing:
            self._order("ready")
        if self.params.get("wait"):
            self._await_address()

    def _await_address(self) -> None:
        deadline = time.monotonic() + self.timeout
        while not self.driver.held():
            if time.monotonic() >= deadline:
                raise SeamlessError(
                    f"{self.wanted.address} did not come within {self.timeout:g} s, although this machine wants it: another one has a higher priority and "
                    "wants it, too (use state: absent there), keepalived does not run here, or it has no such address."
                )
            time.sleep(keepalived.PAUSE)

    def give(self, now: Standing) -> None:
        self._order("drain")

    def _order(self, state: str) -> None:
        if not os.access(self.driver.file.path, os.W_OK):
            raise SeamlessError(f"{self.driver.file.path} can't be written by this user: use become: true.")
        self.driver.set_states([Change(self.driver.ref, state)])

    def warnings(self) -> list[str]:
        path = _files.expand(str(self.params["path"]))
        if path.startswith(FORGETFUL):
            return [
                f"{path} is gone after a start of this machine, and with it that the address had left: it could come back with an old release. Have keepalived "
                "track a file that stays, such as /var/lib/keepalived/floating_ip."
            ]
        return []
