# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import cloud
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.digitalocean import API, every
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.provider import Provider, Server


class DigitalOcean(Provider):
    """Reserved IPs of DigitalOcean. A droplet needs nothing for one."""

    name = "digitalocean"
    url = API

    def _reserved(self) -> dict[str, t.Any]:
        answer = self.api.call("GET", f"/reserved_ips/{self.wanted.address}", missing_ok=True)
        if not answer:
            raise self.unknown([str(one["ip"]) for one in every(self.api, "reserved_ips")])
        return t.cast("dict[str, t.Any]", answer["reserved_ip"])

    def holder(self) -> Server | None:
        droplet = self._reserved().get("droplet")
        return Server(str(droplet["id"]), str(droplet["name"])) if droplet else None

    def servers(self) -> list[Server]:
        return [Server(str(one["id"]), str(one["name"])) for one in every(self.api, "droplets")]

    def assign(self, server: Server) -> None:
        self._order({"type": "assign", "droplet_id": int(server.id)})

    def unassign(self, server: Server) -> None:
        self._order({"type": "unassign"})

    def _order(self, body: dict[str, t.Any]) -> None:
        path = f"/reserved_ips/{self.wanted.address}/actions"
        action = self.api.call("POST", path, body)["action"]
        deadline = time.monotonic() + self.timeout
        while action["status"] == "in-progress":
            if time.monotonic() >= deadline:
                raise SeamlessError(f"{self.wanted.address}: the action {action['type']} is not over after {self.timeout:g} s.")
            time.sleep(min(cloud.PAUSE, 1.0))
            action = self.api.call("GET", f"{path}/{action['id']}")["action"]
        if action["status"] != "completed":
            raise SeamlessError(f"{self.wanted.address}: the action {action['type']} ended as {action['status']}.")
