# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API of DigitalOcean, as far as load balancers go."""

from __future__ import annotations

import typing as t

from conformance.fakes.api import Answer, Fake, main, route
from conformance.fakes.proxy import Pool

IDS = {"app": "4de7ac8b-495b-4884-9a69-1050c6793cd6", "api": "56775c3f-04ab-4fb3-a7ed-40ef9bc8eece"}
DROPLETS = {"s1": 3164444, "s2": 3164445, "s3": 3164446}
CODES = {400: "bad_request", 401: "unauthorized", 404: "not_found", 405: "not_found", 422: "unprocessable_entity"}


class DigitalOcean(Fake):
    secret = "Bearer secret"

    def pool(self, name: str, members: t.Sequence[str]) -> Pool:
        pool = super().pool(name, members)
        pool.sticky = True
        return pool

    def error(self, status: int, text: str) -> Answer:
        return status, {"id": CODES[status], "message": text}

    @staticmethod
    def balancer(pool: Pool) -> dict[str, t.Any]:
        rules = [{"entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 8000}]
        droplets = [DROPLETS[place.name] for place in pool.places.values() if place.state == "ready"]
        return {"id": IDS[pool.name], "name": pool.name, "status": "active", "tag": "", "forwarding_rules": rules, "droplet_ids": droplets}

    @route("GET", "/v2/load_balancers")
    def balancers(self, **dummy: t.Any) -> Answer:
        return 200, {"load_balancers": [self.balancer(pool) for pool in self.pools.values()], "links": {}, "meta": {"total": 2}}

    def numbered(self, number: str) -> Pool | None:
        return next((pool for pool in self.pools.values() if IDS[pool.name] == number), None)

    @route("GET", "/v2/load_balancers/([^/]+)")
    def one_balancer(self, number: str, **dummy: t.Any) -> Answer:
        pool = self.numbered(number)
        return (200, {"load_balancer": self.balancer(pool)}) if pool else self.error(404, "The resource you requested could not be found.")

    @route("GET", "/v2/droplets/([0-9]+)")
    def droplet(self, number: str, **dummy: t.Any) -> Answer:
        for name, known in DROPLETS.items():
            if str(known) == number:
                addresses = [("private", f"10.0.0.{name[1:]}"), ("public", f"198.51.100.{name[1:]}")]
                v4 = [{"ip_address": address, "type": kind} for kind, address in addresses]
                return 200, {"droplet": {"id": known, "name": name, "networks": {"v4": v4, "v6": []}}}
        return self.error(404, "The resource you requested could not be found.")

    @route("POST", "/v2/load_balancers/([^/]+)/droplets")
    def add(self, number: str, body: t.Any, **dummy: t.Any) -> Answer:
        return self.change(number, body, "ready")

    @route("DELETE", "/v2/load_balancers/([^/]+)/droplets")
    def remove(self, number: str, body: t.Any, **dummy: t.Any) -> Answer:
        return self.change(number, body, "out")

    def change(self, number: str, body: t.Any, state: str) -> Answer:
        pool = self.numbered(number)
        if not pool:
            return self.error(404, "The resource you requested could not be found.")
        wanted = (body or {}).get("droplet_ids")
        if not isinstance(wanted, list) or not all(one in DROPLETS.values() for one in wanted):
            return self.error(422, "droplet_ids are invalid")
        for place in pool.places.values():
            if DROPLETS[place.name] in wanted and place.state != state:
                place.state, place.checked, place.healthy, place.checks = state, state == "ready", None, 0
        return 204, None


if __name__ == "__main__":
    main(DigitalOcean())
