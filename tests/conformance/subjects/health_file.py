# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t

from conformance.subject import INTERVAL, PORTS, Subject
from conformance.subjects.apache import ApacheSubject
from conformance.subjects.caddy import CaddySubject
from conformance.subjects.envoy import EnvoySubject
from conformance.subjects.haproxy import HAProxySubject
from conformance.subjects.traefik import TraefikSubject
from conformance.subjects.varnish import VarnishSubject


class HealthFile(Subject):
    """The application's own health endpoint, which a balancer's checks follow. It stands before the balancer's own class."""

    driver = "health_file"
    pools = False
    keeps_state = True
    costs: t.Sequence[str] = ()
    why = ""
    settle = 3 * INTERVAL + 0.4
    limits: t.Mapping[str, str] = {
        "all pools": "every balancer that asks the endpoint sees it, whatever its pools are",
        "sticky clients": "move when the balancer calls the member down",
        "weight": "a file has none",
        "second balancer unreachable": "no balancer is asked",
        "wrong credentials": "there are none",
        "mistyped member": "the file is on the host itself",
        "floor, two callers": "a host sees no other one; the rollout keeps the floor",
        "exchange under load": "a host sees no other one",
    }

    # Its own wrong credentials, dead second and so on are those of a balancer that nobody asks.
    instead: t.ClassVar[dict[str, t.Callable[[t.Any], str | None]]] = {}

    def params(self) -> dict[str, t.Any]:
        return {}

    def call(self, operation: str, *names: str, check_mode: bool = False, **params: t.Any) -> dict[str, t.Any]:
        name = names[0] if names else params.pop("of", "s1")
        where = {"path": self.path(f"{name}.down"), "check_url": f"http://127.0.0.1:{PORTS[name]}/healthz"}
        return Subject.call(self, operation, *names, check_mode=check_mode, **{**where, **params})

    def standing(self, name: str, pool: str = "app") -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", self.call("lb_info", of=name)["pools"][0]["members"][0])

    def take_out_by_hand(self, name: str) -> None:
        self.write(f"{name}.down", "")
        self.wait(lambda: name not in self.served())

    def back_to_normal(self) -> None:
        for name in PORTS:
            if os.path.exists(self.path(f"{name}.down")):
                os.unlink(self.path(f"{name}.down"))
        super().back_to_normal()


class OnHAProxy(HealthFile, HAProxySubject):
    title = "health file (HAProxy)"


class OnTraefik(HealthFile, TraefikSubject):
    title = "health file (Traefik)"


class OnEnvoy(HealthFile, EnvoySubject):
    title = "health file (Envoy)"


class OnVarnish(HealthFile, VarnishSubject):
    title = "health file (Varnish)"
    window, held_down = 3, 0.25


class OnApache(HealthFile, ApacheSubject):
    title = "health file (Apache)"
    # Its checks come once a second.
    settle = 2.6


class OnCaddy(HealthFile, CaddySubject):
    title = "health file (Caddy)"

    def handler(self, pool: str, *names: str, **more: t.Any) -> list[dict[str, t.Any]]:
        check = {"uri": "/healthz", "interval": f"{int(INTERVAL * 1000)}ms", "timeout": "1s"}
        return super().handler(pool, *names, **more, health_checks={"active": check})
