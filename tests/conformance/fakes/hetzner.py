# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API of Hetzner Cloud, as far as Load Balancers go. Actions take a moment, in which their Load Balancer is locked."""

from __future__ import annotations

import time
import typing as t

from conformance.fakes.api import Answer, Fake, main, route
from conformance.fakes.proxy import Place, Pool

TAKES = 0.15
IDS = {"app": 11, "api": 12}
SERVERS = {"s1": 101, "s2": 102, "s3": 103}
CODES = {401: "unauthorized", 404: "not_found", 405: "not_found", 422: "invalid_input", 400: "json_error", 423: "locked"}


class Hetzner(Fake):
    secret = "Bearer secret"

    def reset(self) -> None:
        super().reset()
        self.actions: dict[int, dict[str, t.Any]] = {}
        self.began: dict[int, float] = {}

    def pool(self, name: str, members: t.Sequence[str]) -> Pool:
        pool = super().pool(name, members)
        pool.sticky = True
        return pool

    def error(self, status: int, text: str, code: str = "") -> Answer:
        return status, {"error": {"code": code or CODES[status], "message": text}}

    def balancer(self, pool: Pool) -> dict[str, t.Any]:
        return {
            "id": IDS[pool.name], "name": pool.name, "services": [{"protocol": "http", "listen_port": 80, "destination_port": 8000}],
            "private_net": [{"network": 7, "ip": "10.0.0.2"}], "targets": [self.target(place) for place in pool.places.values() if place.state == "ready"],
        }

    @staticmethod
    def target(place: Place) -> dict[str, t.Any]:
        health = "unknown" if place.healthy is None else "healthy" if place.healthy else "unhealthy"
        return {
            "type": "server", "server": {"id": SERVERS[place.name]}, "use_private_ip": True, "health_status": [{"listen_port": 80, "status": health}],
        }

    @route("GET", "/v1/load_balancers")
    def balancers(self, query: dict[str, str], **dummy: t.Any) -> Answer:
        found = [self.balancer(pool) for pool in self.pools.values() if query.get("name") in (None, pool.name)]
        return 200, {"load_balancers": found, "meta": {"pagination": {"page": 1, "next_page": None}}}

    @route("GET", "/v1/load_balancers/([0-9]+)")
    def one_balancer(self, number: str, **dummy: t.Any) -> Answer:
        pool = self.numbered(number)
        return (200, {"load_balancer": self.balancer(pool)}) if pool else self.error(404, "load_balancer not found")

    def numbered(self, number: str) -> Pool | None:
        return next((pool for pool in self.pools.values() if str(IDS[pool.name]) == number), None)

    @route("GET", "/v1/servers/([0-9]+)")
    def server(self, number: str, **dummy: t.Any) -> Answer:
        for name, known in SERVERS.items():
            if str(known) == number:
                nets = [{"network": 7, "ip": f"10.0.0.{known}"}]
                return 200, {"server": {"id": known, "name": name, "private_net": nets, "public_net": {"ipv4": {"ip": f"198.51.100.{known}"}}}}
        return self.error(404, "server not found")

    @route("POST", "/v1/load_balancers/([0-9]+)/actions/(add|remove)_target")
    def change(self, number: str, order: str, body: t.Any, **dummy: t.Any) -> Answer:
        pool = self.numbered(number)
        if not pool:
            return self.error(404, "load_balancer not found")
        if any(self.action(one)["status"] == "running" for one in self.actions if self.actions[one]["resources"][0]["id"] == IDS[pool.name]):
            return self.error(423, "cannot perform operation because another action is running")
        server = (body or {}).get("server") or {}
        allowed = {"type", "server"} | ({"use_private_ip"} if order == "add" else set())
        if body.get("type") != "server" or set(body) - allowed or set(server) != {"id"}:
            return self.error(422, "invalid input in field 'type'")
        place = next((place for name, place in pool.places.items() if SERVERS[name] == server["id"]), None)
        if place is None or (order == "remove" and place.state == "out"):
            return self.error(404, "target not found")
        if order == "add" and place.state == "ready":
            return self.error(409, "target already defined", "target_already_defined")
        if order == "add":
            place.state, place.checked, place.healthy, place.checks = "ready", True, None, 0
        else:
            place.state, place.checked = "out", False
        action = {
            "id": len(self.actions) + 1, "command": f"{order}_target", "status": "running", "progress": 0, "error": None,
            "resources": [{"id": IDS[pool.name], "type": "load_balancer"}],
        }
        self.actions[len(self.actions) + 1] = action
        self.began[len(self.actions)] = time.monotonic()
        return 201, {"action": action}

    def action(self, number: int) -> dict[str, t.Any]:
        over = time.monotonic() > self.began[number] + TAKES
        return {**self.actions[number], **({"status": "success", "progress": 100} if over else {})}

    @route("GET", "/v1/actions/([0-9]+)")
    def one_action(self, number: str, **dummy: t.Any) -> Answer:
        return (200, {"action": self.action(int(number))}) if int(number) in self.actions else self.error(404, "action not found")


if __name__ == "__main__":
    main(Hetzner())
