# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API of Cloudflare, as far as pools go. PATCH replaces all origins of a pool by those that it is given."""

from __future__ import annotations

import typing as t

from conformance.fakes.api import Answer, Fake, main, route
from conformance.fakes.proxy import Place, Pool

ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
IDS = {"app": "17b5962d775c646f3f9725cbc7a53df4", "api": "9290f38c5d07c2e2f4df57b1f61d4196"}
POOLS = "/client/v4/accounts/([^/]+)/load_balancers/pools"
KNOWN = {"name", "address", "port", "weight", "enabled", "header", "virtual_network_id"}


class Cloudflare(Fake):
    secret = "Bearer secret"

    def pool(self, name: str, members: t.Sequence[str]) -> Pool:
        pool = super().pool(name, members)
        pool.sticky = True
        for place in pool.places.values():
            place.weight = 0.5
        return pool

    def error(self, status: int, text: str) -> Answer:
        return status, {"success": False, "errors": [{"code": {401: 10000, 404: 1001}.get(status, 1002), "message": text}], "messages": [], "result": None}

    def unauthorised(self) -> Answer:
        return self.error(401, "Authentication error")

    @staticmethod
    def result(result: t.Any) -> Answer:
        return 200, {"success": True, "errors": [], "messages": [], "result": result}

    @staticmethod
    def origin(place: Place) -> dict[str, t.Any]:
        off = {} if place.state == "ready" else {"disabled_at": "2026-01-01T00:00:00Z"}
        # Addresses are what health is told by, so each has one of its own here.
        place_of = {"name": place.name, "address": f"203.0.113.{place.name[1:]}", "port": place.port}
        return {**place_of, "enabled": place.state == "ready", "weight": place.weight, **off}

    def described(self, pool: Pool) -> dict[str, t.Any]:
        return {
            "id": IDS[pool.name], "name": pool.name, "enabled": True, "monitor": "f1aba936b94213e5b8dca0c0dbf1f9cc", "minimum_origins": 1,
            "origins": [self.origin(place) for place in pool.places.values()],
        }

    def numbered(self, account: str, number: str) -> Pool | None:
        return next((pool for pool in self.pools.values() if account == ACCOUNT and IDS[pool.name] == number), None)

    @route("GET", POOLS)
    def all_pools(self, account: str, **dummy: t.Any) -> Answer:
        if account != ACCOUNT:
            return self.error(404, "account not found")
        return self.result([self.described(pool) for pool in self.pools.values()])

    @route("GET", f"{POOLS}/([^/]+)")
    def one_pool(self, account: str, number: str, **dummy: t.Any) -> Answer:
        pool = self.numbered(account, number)
        return self.result(self.described(pool)) if pool else self.error(404, "pool not found")

    @route("GET", f"{POOLS}/([^/]+)/health")
    def health(self, account: str, number: str, **dummy: t.Any) -> Answer:
        pool = self.numbered(account, number)
        if not pool:
            return self.error(404, "pool not found")
        seen = [
            {f"203.0.113.{place.name[1:]}": {"healthy": place.healthy, "failure_reason": "No failures" if place.healthy else "TCP connection failed"}}
            for place in pool.places.values() if place.state == "ready" and place.healthy is not None
        ]
        return self.result({"pool_id": number, "pop_health": {region: {"healthy": True, "origins": seen} for region in ("Amsterdam, NL", "Paris, FR")}})

    @route("PATCH", f"{POOLS}/([^/]+)")
    def change(self, account: str, number: str, body: t.Any, **dummy: t.Any) -> Answer:
        pool = self.numbered(account, number)
        if not pool:
            return self.error(404, "pool not found")
        origins = (body or {}).get("origins")
        if not isinstance(origins, list) or not origins:
            return self.error(400, "origins: at least one is required")
        for one in origins:
            if set(one) - KNOWN or not one.get("address"):
                return self.error(400, f"origins: {sorted(set(one) - KNOWN)} is not allowed")
            if not 0 <= one.get("weight", 1) <= 1:
                return self.error(400, "origins.weight: must be between 0 and 1")
        kept = {one["name"]: one for one in origins}
        pool.places = {name: place for name, place in pool.places.items() if name in kept}
        for name, place in pool.places.items():
            state = "ready" if kept[name].get("enabled", True) else "out"
            if state != place.state:
                place.state, place.checked, place.healthy, place.checks = state, state == "ready", None, 0
            place.weight = kept[name].get("weight", 1)
        return self.result(self.described(pool))


if __name__ == "__main__":
    main(Cloudflare())
