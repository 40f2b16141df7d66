# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import ipaddress
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.hetzner import API, wait_for
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.provider import Provider, Server


class Hetzner(Provider):
    """Floating IPs of Hetzner Cloud. Every server that may get one must have it configured."""

    name = "hetzner"
    url = API

    def _floating_ip(self) -> dict[str, t.Any]:
        known: list[dict[str, t.Any]] = []
        page = 1
        while page:
            answer = self.api.call("GET", f"/floating_ips?per_page=50&page={page}")
            known += answer["floating_ips"]
            page = int((((answer.get("meta") or {}).get("pagination")) or {}).get("next_page") or 0)
        # One of IPv6 is a whole network.
        found = [one for one in known if self.wanted.address in ipaddress.ip_network(str(one["ip"]), strict=False)]
        if not found:
            raise self.unknown([str(one["ip"]) for one in known])
        return found[0]

    def holder(self) -> Server | None:
        number = self._floating_ip().get("server")
        if number is None:
            return None
        server = self.api.call("GET", f"/servers/{number}")["server"]
        return Server(str(server["id"]), str(server["name"]))

    def servers(self) -> list[Server]:
        found = self.api.call("GET", f"/servers?name={urllib.parse.quote(self.word)}")["servers"]
        if not found and self.word.isdigit():
            answer = self.api.call("GET", f"/servers/{self.word}", missing_ok=True)
            found = [answer["server"]] if answer else []
        return [Server(str(one["id"]), str(one["name"])) for one in found or self.api.call("GET", "/servers?per_page=50")["servers"]]

    def assign(self, server: Server) -> None:
        try:
            self._order("assign", {"server": int(server.id)})
        except SeamlessError as exc:
            # An account can be of a kind that does not move an address in one step.
            if exc.details.get("status") != 422 or "floating_ip_assigned" not in str(exc):
                raise
            self._order("unassign", None)
            self._order("assign", {"server": int(server.id)})

    def unassign(self, server: Server) -> None:
        self._order("unassign", None)

    def _order(self, what: str, body: t.Any) -> None:
        number = self._floating_ip()["id"]
        action = self.api.call("POST", f"/floating_ips/{number}/actions/{what}", body)["action"]
        wait_for(self.api, action, f"{self.wanted.address}", self.timeout)
