# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Driver, Member, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.cloud import TOKEN, CloudApi, Listed, RemovingDriver
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

API = "https://api.digitalocean.com/v2"


def address_of(droplet: t.Mapping[str, t.Any]) -> str:
    """Return the address of *droplet* in its VPC, which is where a load balancer asks it, or else the public one."""
    found = {one.get("type"): str(one.get("ip_address")) for one in (droplet.get("networks") or {}).get("v4") or []}
    return found.get("private") or found.get("public") or ""


def every(api: CloudApi, what: str) -> list[dict[str, t.Any]]:
    """Return the objects on every page."""
    found: list[dict[str, t.Any]] = []
    while True:
        answer = api.call("GET", f"/{what}?per_page=100&page={len(found) // 100 + 1}")
        found += answer[what]
        if not ((answer.get("links") or {}).get("pages") or {}).get("next"):
            return found


class DigitalOcean(RemovingDriver):
    """Load balancers of DigitalOcean. A drained member is a droplet that was removed. Neither its requests nor its health are to be had, so
    settle_seconds are waited for, and check_url is asked before it comes back."""

    name = "digitalocean"
    needs: t.ClassVar[dict[str, str]] = {"token": TOKEN, "backend": "names or ids of load balancers"}

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        return [cls(CloudApi.of(params, API), [str(backend) for backend in params["backend"]], params["state_dir"]).patient(params)]

    def __init__(self, api: CloudApi, backends: t.Sequence[str], state_dir: str) -> None:
        super().__init__("DigitalOcean", state_dir)
        self.api = api
        self.backends = list(backends)
        self._ids: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._droplets: dict[int, dict[str, t.Any]] = {}

    def pools(self) -> t.Collection[str]:
        return self._ids

    def _balancers(self) -> t.Iterator[dict[str, t.Any]]:
        """Return every wanted load balancer as it is now."""
        if not self._ids:
            known = every(self.api, "load_balancers")
            for backend in self.backends:
                found = next((one for one in known if backend in (one["id"], one["name"])), None)
                if not found:
                    names = ", ".join(str(one["name"]) for one in known) or "none"
                    raise SeamlessError(f"backend is {backend!r}, and this token sees no load balancer of that name or id: there are {names}.")
                self._ids[str(found["name"])] = str(found["id"])
        for number in self._ids.values():
            yield self.api.call("GET", f"/load_balancers/{number}")["load_balancer"]

    def listed(self) -> dict[MemberRef, Listed]:
        found = {}
        for balancer in self._balancers():
            pool = str(balancer["name"])
            self._tags[pool] = str(balancer.get("tag") or "")
            ports = {int(rule["target_port"]) for rule in balancer.get("forwarding_rules") or []}
            port = ports.pop() if len(ports) == 1 else None
            for number in balancer.get("droplet_ids") or []:
                droplet = self._droplet(int(number))
                target: dict[str, t.Any] = {"id": int(number), "name": str(droplet["name"]), "address": address_of(droplet), "port": port}
                ref = MemberRef(self.balancer, pool, target["name"])
                if ref in found:
                    ref = MemberRef(self.balancer, pool, f"{target['name']}#{number}")
                found[ref] = Listed(target, self._member(ref, target, "ready"))
        return found

    def _droplet(self, number: int) -> dict[str, t.Any]:
        if number not in self._droplets:
            self._droplets[number] = self.api.call("GET", f"/droplets/{number}")["droplet"]
        return self._droplets[number]

    @staticmethod
    def _member(ref: MemberRef, target: t.Mapping[str, t.Any], admin: str) -> Member:
        return Member(
            ref=ref, address=str(target["address"]), port=target.get("port"), admin=admin, admin_source="runtime", health="nocheck", fully_up=True,
            check="", weight=None, sessions=None, queued=None, total=None,
        )

    def absent(self, ref: MemberRef, target: t.Mapping[str, t.Any]) -> Member:
        return self._member(ref, target, "drain")

    def order(self, pool: str, targets: t.Sequence[dict[str, t.Any]], comes: bool) -> None:
        if self._tags.get(pool):
            raise SeamlessError(
                f"{pool} takes its droplets by the tag {self._tags[pool]!r}, and then none can be removed alone: give it the droplets themselves."
            )
        self.api.call("POST" if comes else "DELETE", f"/load_balancers/{self._ids[pool]}/droplets", {"droplet_ids": [one["id"] for one in targets]})

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        return ["DigitalOcean says nothing of the health of a droplet: set check_url, so that one whose application is dead does not come back"]
