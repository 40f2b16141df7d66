# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import typing as t

from conformance.subject import ADMIN, FRONT, INTERVAL, PORTS, Subject, version_of

STATIC = """\
entryPoints:
  web: {{address: "127.0.0.1:{front}"}}
  traefik: {{address: "127.0.0.1:{admin}"}}
providers:
  providersThrottleDuration: 100ms
  file: {{directory: {directory}/dynamic, watch: true}}
api: {{insecure: true}}
log: {{level: ERROR}}
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
"""
DYNAMIC = """\
# Written by hand: this remark must stay.
http:
  routers:
    app: {{rule: "PathPrefix(`/`)", service: app, entryPoints: [web], priority: 1}}
    api: {{rule: "PathPrefix(`/api`)", service: api, entryPoints: [web], priority: 2}}
  services:
    app:
      loadBalancer:
        healthCheck: {{path: /healthz, interval: {interval}ms, timeout: 1s}}
        sticky: {{cookie: {{name: server}}}}
        servers:
{app}
    api:
      loadBalancer:
        healthCheck: {{path: /healthz, interval: {interval}ms, timeout: 1s}}
        servers:
{api}
"""


class TraefikSubject(Subject):
    driver = "traefik"
    title = "Traefik"
    keeps_state = True
    settle = 0.8
    limits: t.Mapping[str, str] = {
        "wrong credentials": "the API has none of its own; a middleware in front of it may, see username",
    }

    def version(self) -> str:
        return version_of("/balancers/traefik", "version")

    def configure(self) -> None:
        os.makedirs(self.path("dynamic"), exist_ok=True)
        self.write("traefik.yml", STATIC.format(directory=self.directory, front=FRONT, admin=ADMIN))
        block = [f'          - url: "http://127.0.0.1:{port}"' for port in PORTS.values()]
        flow = [f'          - {{url: "http://127.0.0.1:{port}"}}' for port in list(PORTS.values())[:2]]
        self.write("dynamic/shop.yml", DYNAMIC.format(interval=int(INTERVAL * 1000), app="\n".join(block), api="\n".join(flow)))

    def command(self) -> list[str]:
        return ["/balancers/traefik", f"--configFile={self.path('traefik.yml')}"]

    def reload(self) -> None:
        """Traefik reads its files by itself; for the rest it is started anew."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.start_balancer()

    def params(self) -> dict[str, t.Any]:
        return {"path": self.path("dynamic/shop.yml"), "url": [f"http://127.0.0.1:{ADMIN}"]}

    def dead_second(self) -> dict[str, t.Any]:
        return {"url": [f"http://127.0.0.1:{ADMIN}", f"http://127.0.0.1:{ADMIN + 1}"]}

    def take_out_by_hand(self, name: str) -> None:
        with open(self.path("dynamic/shop.yml"), encoding="utf-8") as file:
            text = file.read()
        line = f'          - url: "http://127.0.0.1:{PORTS[name]}"'
        self.write("dynamic/shop.yml", text.replace(line, f"{line}\n            weight: 0"))
        self.wait(lambda: name not in self.served())
