# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API of Linode (Akamai), as far as NodeBalancers go. One of them has two ports, 80 with three nodes and 8080 with two."""

from __future__ import annotations

import typing as t

from conformance.fakes.api import Answer, Fake, main, route
from conformance.fakes.proxy import Place, Pool

BALANCER = 12345
CONFIGS = {"app": (4567, 80), "api": (4568, 8080)}
STATES = {"accept": "ready", "backup": "out", "drain": "drain", "reject": "out"}
NODES = "/v4/nodebalancers/([0-9]+)/configs/([0-9]+)/nodes"


class Linode(Fake):
    secret = "Bearer secret"

    def reset(self) -> None:
        super().reset()
        self.modes = {place: "accept" for pool in self.pools.values() for place in pool.places.values()}

    def pool(self, name: str, members: t.Sequence[str]) -> Pool:
        pool = super().pool(name, members)
        for place in pool.places.values():
            place.weight = 50
        return pool

    def error(self, status: int, text: str, field: str = "") -> Answer:
        return status, {"errors": [{"reason": text, **({"field": field} if field else {})}]}

    def unauthorised(self) -> Answer:
        return self.error(401, "Invalid Token")

    @staticmethod
    def page(found: list[dict[str, t.Any]], query: dict[str, str]) -> Answer:
        size, page = int(query.get("page_size", 100)), int(query.get("page", 1))
        pages = max(1, -(-len(found) // size))
        return 200, {"data": found[(page - 1) * size : page * size], "page": page, "pages": pages, "results": len(found)}

    @route("GET", "/v4/nodebalancers")
    def balancers(self, query: dict[str, str], **dummy: t.Any) -> Answer:
        return self.page([{"id": BALANCER, "label": "shop", "region": "eu-central"}], query)

    @route("GET", "/v4/nodebalancers/([0-9]+)/configs")
    def configs(self, number: str, query: dict[str, str], **dummy: t.Any) -> Answer:
        if int(number) != BALANCER:
            return self.error(404, "Not found")
        more = {"protocol": "http", "check": "http", "stickiness": "none", "nodebalancer_id": BALANCER}
        return self.page([{"id": config, "port": port, **more} for config, port in CONFIGS.values()], query)

    def numbered(self, number: str, config: str) -> Pool | None:
        found = [name for name, (known, dummy) in CONFIGS.items() if str(known) == config and int(number) == BALANCER]
        return self.pools[found[0]] if found else None

    def node(self, pool: Pool, place: Place) -> dict[str, t.Any]:
        status = "Unknown" if place.healthy is None else "UP" if place.healthy else "DOWN"
        return {
            "id": CONFIGS[pool.name][0] * 10 + int(place.name[1:]), "label": place.name, "address": f"127.0.0.1:{place.port}", "status": status,
            "weight": place.weight, "mode": self.modes[place], "config_id": CONFIGS[pool.name][0], "nodebalancer_id": BALANCER,
        }

    @route("GET", NODES)
    def nodes(self, number: str, config: str, query: dict[str, str], **dummy: t.Any) -> Answer:
        pool = self.numbered(number, config)
        return self.page([self.node(pool, place) for place in pool.places.values()], query) if pool else self.error(404, "Not found")

    @route("PUT", f"{NODES}/([0-9]+)")
    def change(self, number: str, config: str, node: str, body: t.Any, **dummy: t.Any) -> Answer:
        pool = self.numbered(number, config)
        place = next((one for one in pool.places.values() if str(self.node(pool, one)["id"]) == node), None) if pool else None
        if not pool or not place:
            return self.error(404, "Not found")
        mode, weight = (body or {}).get("mode", self.modes[place]), (body or {}).get("weight", place.weight)
        if mode not in STATES:
            return self.error(400, "Must be one of accept, reject, drain, backup", "mode")
        if not isinstance(weight, int) or not 1 <= weight <= 255:
            return self.error(400, "Must be 1-255", "weight")
        if mode != self.modes[place]:
            place.state, place.checked = STATES[mode], mode != "reject"
            place.healthy, place.checks = (None, 0) if mode == "accept" else (place.healthy, place.checks)
        self.modes[place], place.weight = mode, weight
        return 200, self.node(pool, place)


if __name__ == "__main__":
    main(Linode())
