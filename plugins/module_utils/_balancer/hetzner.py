# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import time
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import cloud
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Driver, Member, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.cloud import TOKEN, CloudApi, Listed, RemovingDriver
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

API = "https://api.hetzner.cloud/v1"


def health_of(statuses: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[str, bool, str]:
    """Return health, whether all is well, and what was said of a target by the checks of every service."""
    said = ", ".join(f"{one.get('listen_port')} {one.get('status')}" for one in statuses)
    if not statuses:
        return "nocheck", True, said
    good = all(one.get("status") == "healthy" for one in statuses)
    return ("up" if good else "down"), good, said


def wait_for(api: CloudApi, action: t.Mapping[str, t.Any], what: str, seconds: float | None = None) -> None:
    """Wait for at most *seconds* until *action* is over. Raises SeamlessError where it failed, with *what* it was for."""
    seconds = cloud.SETTLES if seconds is None else seconds
    deadline = time.monotonic() + seconds
    while action["status"] == "running":
        if time.monotonic() >= deadline:
            raise SeamlessError(f"{what}: the action {action['command']} is not over after {seconds:g} s.")
        time.sleep(min(cloud.PAUSE, 1.0))
        action = api.call("GET", f"/actions/{action['id']}")["action"]
    if action["status"] != "success":
        error = action.get("error") or {}
        raise SeamlessError(f"{what}: the action {action['command']} failed: {error.get('message') or action['status']}.")


class Hetzner(RemovingDriver):
    """Load Balancers of Hetzner Cloud. A drained member is a target that was removed. Nobody counts its requests, so settle_seconds are waited for."""

    name = "hetzner"
    needs: t.ClassVar[dict[str, str]] = {"token": TOKEN, "backend": "names or ids of Load Balancers"}

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        return [cls(CloudApi.of(params, API), [str(backend) for backend in params["backend"]], params["state_dir"]).patient(params)]

    def __init__(self, api: CloudApi, backends: t.Sequence[str], state_dir: str) -> None:
        super().__init__("Hetzner Cloud", state_dir)
        self.api = api
        self.backends = list(backends)
        self._ids: dict[str, int] = {}
        self._servers: dict[int, dict[str, t.Any]] = {}

    def pools(self) -> t.Collection[str]:
        return self._ids

    def _balancers(self) -> t.Iterator[dict[str, t.Any]]:
        """Return every wanted Load Balancer as it is now."""
        if not self._ids:
            self._ids = {str(one["name"]): int(one["id"]) for one in map(self._find, self.backends)}
        for number in self._ids.values():
            yield self.api.call("GET", f"/load_balancers/{number}")["load_balancer"]

    def _find(self, backend: str) -> dict[str, t.Any]:
        found = self.api.call("GET", f"/load_balancers?name={urllib.parse.quote(backend)}")["load_balancers"]
        if not found and backend.isdigit():
            answer = self.api.call("GET", f"/load_balancers/{backend}", missing_ok=True)
            found = [answer["load_balancer"]] if answer else []
        if not found:
            known = ", ".join(str(one["name"]) for one in self.api.call("GET", "/load_balancers?per_page=50")["load_balancers"])
            raise SeamlessError(f"backend is {backend!r}, and this token's project has no Load Balancer of that name or id: there are {known or 'none'}.")
        return t.cast("dict[str, t.Any]", found[0])

    def listed(self) -> dict[MemberRef, Listed]:
        found = {}
        for balancer in self._balancers():
            ports = {int(service["destination_port"]) for service in balancer.get("services") or []}
            port = ports.pop() if len(ports) == 1 else None
            for target in balancer.get("targets") or []:
                for one in self._resolved(target):
                    kept = self._describe(one, balancer)
                    ref = MemberRef(self.balancer, str(balancer["name"]), str(kept["name"]))
                    found[ref] = Listed({**kept, "port": port}, self._member(ref, {**kept, "port": port}, "ready", one.get("health_status") or []))
        return found

    @staticmethod
    def _resolved(target: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        """Return the servers of a label selector, each with the selector, and any other target as it is."""
        if target.get("type") != "label_selector":
            return [dict(target)]
        selector = target["label_selector"]["selector"]
        return [{**one, "selector": selector, "use_private_ip": target.get("use_private_ip", False)} for one in target.get("targets") or []]

    def _describe(self, target: t.Mapping[str, t.Any], balancer: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return what it takes to put *target* back, and to speak of it meanwhile."""
        if target["type"] == "ip":
            return {"type": "ip", "ip": target["ip"]["ip"], "name": target["ip"]["ip"], "address": target["ip"]["ip"]}
        number = int(target["server"]["id"])
        if number not in self._servers:
            self._servers[number] = self.api.call("GET", f"/servers/{number}")["server"]
        server = self._servers[number]
        private = {net["network"]: net["ip"] for net in server.get("private_net") or []}
        address = str(((server.get("public_net") or {}).get("ipv4") or {}).get("ip") or "")
        if target.get("use_private_ip"):
            address = next((str(private[net["network"]]) for net in balancer.get("private_net") or [] if net["network"] in private), "")
        return {
            "type": "server", "id": number, "use_private_ip": bool(target.get("use_private_ip")), "name": server["name"], "address": address,
            "selector": target.get("selector"),
        }

    @staticmethod
    def _member(ref: MemberRef, target: t.Mapping[str, t.Any], admin: str, statuses: t.Sequence[t.Mapping[str, t.Any]]) -> Member:
        health, full, said = health_of(statuses) if admin == "ready" else ("nocheck", True, "")
        return Member(
            ref=ref, address=str(target["address"]), port=target.get("port"), admin=admin, admin_source="runtime", health=health, fully_up=full,
            check=said, weight=None, sessions=None, queued=None, total=None,
        )

    def absent(self, ref: MemberRef, target: t.Mapping[str, t.Any]) -> Member:
        return self._member(ref, target, "drain", [])

    def order(self, pool: str, targets: t.Sequence[dict[str, t.Any]], comes: bool) -> None:
        for target in targets:
            if target.get("selector"):
                raise SeamlessError(
                    f"{target['name']} is a target of {pool} by the label selector {target['selector']!r}, which would add it again: make each server a "
                    "target of its own instead, and remove the selector."
                )
        for target in targets:
            body: dict[str, t.Any] = {"type": target["type"]}
            if target["type"] == "ip":
                body["ip"] = {"ip": target["ip"]}
            else:
                body.update({"server": {"id": target["id"]}, **({"use_private_ip": target["use_private_ip"]} if comes else {})})
            path = f"/load_balancers/{self._ids[pool]}/actions/{'add' if comes else 'remove'}_target"
            wait_for(self.api, self.api.call("POST", path, body)["action"], f"{target['name']} of {pool}")
