# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import cloud

from conformance.fakes import cloudflare
from conformance.subject import ADMIN, PORTS
from conformance.subjects.fake import FakeSubject

ONE_API = "all balancers are behind one API, which answers or not"
LEAVES_NOTHING = "who removes a target by hand leaves nothing behind; afterwards it is refused as a member that is not there"


class CloudSubject(FakeSubject):
    """A provider. Its members are behind it, at addresses that only it can reach."""

    keeps_state = True
    version_path = ""
    addresses: t.Mapping[str, tuple[str, int]] = {}

    def start(self) -> None:
        cloud.PAUSE = 0.1
        super().start()

    def params(self) -> dict[str, t.Any]:
        return {"url": [f"http://127.0.0.1:{ADMIN}{self.version_path}"], "backend": ["app", "api"], "token": "secret"}

    def wrong_credentials(self) -> dict[str, t.Any]:
        return {"token": "guess"}

    def place(self, name: str) -> tuple[str, int]:
        return self.addresses[name]

    def member(self, name: str) -> dict[str, t.Any]:
        return {"name": name, "address": self.addresses[name][0] if name in self.addresses else None, "port": None}


class HetznerSubject(CloudSubject):
    driver = "hetzner"
    title = "Hetzner Cloud (fake)"
    fake = "hetzner"
    version_path = "/v1"
    addresses: t.Mapping[str, tuple[str, int]] = {name: (f"10.0.0.10{name[1:]}", 8000) for name in PORTS}
    limits: t.Mapping[str, str] = {
        "weight": "a target has none",
        "operator's maintenance": LEAVES_NOTHING,
        "second balancer unreachable": ONE_API,
    }


class DigitalOceanSubject(CloudSubject):
    driver = "digitalocean"
    title = "DigitalOcean (fake)"
    fake = "digitalocean"
    version_path = "/v2"
    addresses: t.Mapping[str, tuple[str, int]] = {name: (f"10.0.0.{name[1:]}", 8000) for name in PORTS}
    limits: t.Mapping[str, str] = {
        "weight": "a droplet has none",
        "operator's maintenance": LEAVES_NOTHING,
        "second balancer unreachable": ONE_API,
    }

    def call(self, operation: str, *names: str, check_mode: bool = False, **params: t.Any) -> dict[str, t.Any]:
        """The provider says nothing of their health, so they are asked at an address that can be reached."""
        asked = {"check_url": f"http://127.0.0.1:{PORTS[names[0]]}/healthz"} if names else {}
        return super().call(operation, *names, check_mode=check_mode, **{**asked, **params})


class LinodeSubject(CloudSubject):
    driver = "linode"
    title = "Linode NodeBalancer (fake)"
    fake = "linode"
    version_path = "/v4"
    addresses: t.Mapping[str, tuple[str, int]] = {name: ("127.0.0.1", port) for name, port in PORTS.items()}
    limits: t.Mapping[str, str] = {"second balancer unreachable": ONE_API}

    def params(self) -> dict[str, t.Any]:
        return {**super().params(), "backend": ["shop"]}

    def app_only(self) -> dict[str, t.Any]:
        return {"backend": ["shop:80"]}

    def pool(self, backend: str) -> str:
        return {"shop:80": "app", "shop:8080": "api"}[backend]

    def take_out_by_hand(self, name: str) -> None:
        path = f"/v4/nodebalancers/12345/configs/4567/nodes/4567{name[1:]}"
        self.send("PUT", path, {"mode": "reject"}, {"Authorization": "Bearer secret"})


class CloudflareSubject(CloudSubject):
    driver = "cloudflare"
    title = "Cloudflare (fake)"
    fake = "cloudflare"
    version_path = "/client/v4"
    addresses: t.Mapping[str, tuple[str, int]] = {name: (f"203.0.113.{name[1:]}", port) for name, port in PORTS.items()}
    limits: t.Mapping[str, str] = {"second balancer unreachable": ONE_API}

    def params(self) -> dict[str, t.Any]:
        return {**super().params(), "backend": [f"{cloudflare.ACCOUNT}/app", f"{cloudflare.ACCOUNT}/api"]}

    def app_only(self) -> dict[str, t.Any]:
        return {"backend": [f"{cloudflare.ACCOUNT}/app"]}

    def take_out_by_hand(self, name: str) -> None:
        path = f"/client/v4/accounts/{cloudflare.ACCOUNT}/load_balancers/pools/{cloudflare.IDS['app']}"
        origins = [
            {"name": one, "address": self.addresses[one][0], "port": PORTS[one], "weight": 0.5, "enabled": one != name} for one in PORTS
        ]
        self.send("PATCH", path, {"origins": origins}, {"Authorization": "Bearer secret"})
