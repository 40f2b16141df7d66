# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API of NGINX Plus (ngx_http_api_module), as far as upstreams of HTTP go. With the word ``readonly`` it has no write=on."""

from __future__ import annotations

import sys
import typing as t

from conformance.fakes.api import Answer, Fake, basic, main, route
from conformance.fakes.proxy import Place, Pool

VERSIONS = list(range(1, 10))
TYPES = {"server": str, "weight": int, "max_conns": int, "max_fails": int, "fail_timeout": str, "slow_start": str, "route": str, "down": bool, "drain": bool}


class NginxPlus(Fake):
    secret = basic("admin", "secret")
    writes = True

    def pool(self, name: str, members: t.Sequence[str]) -> Pool:
        pool = super().pool(name, members)
        pool.sticky = True
        for place in pool.places.values():
            place.weight = 5
        return pool

    def error(self, status: int, text: str, code: str = "") -> Answer:
        error = {"status": status, "text": text, "code": code or {404: "PathNotFound", 405: "MethodDisabled", 400: "JsonError"}.get(status, "")}
        return status, {"error": error, "request_id": "0", "href": "https://nginx.org/en/docs/http/ngx_http_api_module.html"}

    @route("GET", "/api")
    def versions(self, **dummy: t.Any) -> Answer:
        return 200, VERSIONS

    @route("GET", "/api/([0-9]+)/http/upstreams")
    def upstreams(self, version: str, **dummy: t.Any) -> Answer:
        if int(version) not in VERSIONS:
            return self.error(404, "unknown version", "UnknownVersion")
        return 200, {name: {"peers": self.peers(pool), "keepalive": 0, "zombies": 0, "zone": name} for name, pool in self.pools.items()}

    @staticmethod
    def peers(pool: Pool) -> list[dict[str, t.Any]]:
        return [
            {
                "id": number, "server": f"127.0.0.1:{place.port}", "name": f"127.0.0.1:{place.port}", "backup": False, "weight": place.weight,
                "state": {"out": "down", "drain": "draining"}.get(place.state) or ("up" if place.healthy else "unhealthy"),
                "active": place.active, "requests": place.total, "fails": 0, "unavail": 0,
                "health_checks": {"checks": place.checks, "fails": place.failed, "unhealthy": 0, "last_passed": place.last_passed or not place.checks},
            }
            for number, place in enumerate(pool.places.values())
        ]

    @staticmethod
    def config(number: int, place: Place) -> dict[str, t.Any]:
        drain = {"drain": True} if place.state == "drain" else {}
        return {
            "id": number, "server": f"127.0.0.1:{place.port}", "weight": place.weight, "max_conns": 0, "max_fails": 1, "fail_timeout": "10s",
            "slow_start": "0s", "route": "", "backup": False, "down": place.state == "out", **drain,
        }

    @route("GET", "/api/[0-9]+/http/upstreams/([^/]+)/servers")
    def servers(self, name: str, **dummy: t.Any) -> Answer:
        if name not in self.pools:
            return self.error(404, "upstream not found", "UpstreamNotFound")
        return 200, [self.config(number, place) for number, place in enumerate(self.pools[name].places.values())]

    @route("PATCH", "/api/[0-9]+/http/upstreams/([^/]+)/servers/([^/]+)")
    def change(self, name: str, number: str, body: t.Any, **dummy: t.Any) -> Answer:
        if not self.writes:
            return self.error(405, "method disabled", "MethodDisabled")
        if name not in self.pools:
            return self.error(404, "upstream not found", "UpstreamNotFound")
        places = list(self.pools[name].places.values())
        if not number.isdigit():
            return self.error(400, "invalid server ID", "UpstreamBadServerId")
        if int(number) >= len(places):
            return self.error(404, f'server with ID "{number}" does not exist', "UpstreamServerNotFound")
        for key, value in (body or {}).items():
            if key not in TYPES:
                return self.error(400, f'unknown parameter "{key}"', "UpstreamConfFormatError")
            if not isinstance(value, TYPES[key]) or isinstance(value, bool) is not (TYPES[key] is bool):
                return self.error(400, f'invalid "{key}" parameter value', "UpstreamConfFormatError")
        if body.get("weight", 1) < 1:
            return self.error(400, 'invalid "weight"', "UpstreamBadWeight")
        place = places[int(number)]
        place.weight = body.get("weight", place.weight)
        down, drain = body.get("down", place.state == "out"), body.get("drain", place.state == "drain")
        place.state = "out" if down else "drain" if drain else "ready"
        place.checked = not down
        return 200, self.config(int(number), place)


if __name__ == "__main__":
    NginxPlus.writes = "readonly" not in sys.argv
    main(NginxPlus())
