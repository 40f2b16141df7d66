# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.linode import API, every
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.base import Standing
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.provider import Provider, Server


class Linode(Provider):
    """Addresses of Linode (Akamai), which go from one Linode to another within a region. Every one that may get it must have it configured."""

    name = "linode"
    url = API

    def _address(self) -> dict[str, t.Any]:
        answer = self.api.call("GET", f"/networking/ips/{self.wanted.address}", missing_ok=True)
        if not answer:
            raise self.unknown([str(one["address"]) for one in every(self.api, "/networking/ips")])
        return t.cast("dict[str, t.Any]", answer)

    def holder(self) -> Server | None:
        number = self._address().get("linode_id")
        if number is None:
            return None
        return Server(str(number), str(self.api.call("GET", f"/linode/instances/{number}")["label"]))

    def servers(self) -> list[Server]:
        return [Server(str(one["id"]), str(one["label"])) for one in every(self.api, "/linode/instances")]

    def check(self, comes: bool, now: Standing) -> Standing:
        if not comes and now.held:
            raise SeamlessError(
                f"{self.wanted.address} belongs to {now.holder}, and an address of Linode always belongs to one: assign it to another one with state: present "
                "and server."
            )
        return super().check(comes, now)

    def assign(self, server: Server) -> None:
        address = self._address()
        order = {"region": address["region"], "assignments": [{"address": str(self.wanted.address), "linode_id": int(server.id)}]}
        self.api.call("POST", "/networking/ips/assign", order)

    def unassign(self, server: Server) -> None:
        raise AssertionError("refused by check")
