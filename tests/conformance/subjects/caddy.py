# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
import typing as t

from conformance.subject import ADMIN, FRONT, PORTS, Subject, version_of


class CaddySubject(Subject):
    driver = "caddy"
    title = "Caddy (admin interface)"
    program = "/balancers/caddy"
    costs: t.Sequence[str] = ("reset-idle", "reset")
    why = "each change of its configuration closes idle connections of clients and may reset new ones; health_file with its health_checks does not"
    limits: t.Mapping[str, str] = {
        "weight": "Caddy's weights belong to positions in the list; a pool that has them is refused",
        "wrong credentials": "the admin interface has none",
        "operator's maintenance": "an upstream that somebody else takes out of the list is unknown from then on, and a call for it is refused",
    }

    def version(self) -> str:
        return version_of(self.program, "version")

    def handler(self, pool: str, *names: str, **more: t.Any) -> list[dict[str, t.Any]]:
        upstreams = [{"dial": f"127.0.0.1:{PORTS[name]}"} for name in names]
        return [{"@id": pool, "handler": "reverse_proxy", "upstreams": upstreams, **more}]

    def configure(self) -> None:
        sticky = {"load_balancing": {"selection_policy": {"policy": "cookie", "name": "server"}}}
        even = {"load_balancing": {"selection_policy": {"policy": "round_robin"}}}
        routes = [
            {"match": [{"path": ["/api*"]}], "handle": self.handler("api", *list(PORTS)[:2], **even)},
            {"handle": self.handler("app", *PORTS, **sticky)},
        ]
        server = {"listen": [f"127.0.0.1:{FRONT}"], "automatic_https": {"disable": True}, "routes": routes}
        config = {
            "admin": {"listen": f"127.0.0.1:{ADMIN}"}, "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": {"http": {"grace_period": "10s", "servers": {"web": server}}},
        }
        self.write("caddy.json", json.dumps(config))

    def command(self) -> list[str]:
        return ["env", f"HOME={self.directory}", self.program, "run", "--config", self.path("caddy.json")]

    def reload(self) -> None:
        with open(self.path("log"), "ab") as log:
            address = f"127.0.0.1:{ADMIN}"
            subprocess.run([self.program, "reload", "--force", "--config", self.path("caddy.json"), "--address", address], stdout=log, stderr=log, check=True)

    def params(self) -> dict[str, t.Any]:
        return {"url": [f"http://127.0.0.1:{ADMIN}"]}

    def dead_second(self) -> dict[str, t.Any]:
        return {"url": [f"http://127.0.0.1:{ADMIN}", f"http://127.0.0.1:{ADMIN + 1}"]}


class OldCaddySubject(CaddySubject):
    title = "Caddy 2.6 (admin interface)"
    costs: t.Sequence[str] = ("reset-idle", "reset", "refused")
    program = "caddy"
