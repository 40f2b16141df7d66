# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.cloud import TOKEN, CloudApi, CloudDriver, Removed, wait_until
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

API = "https://api.linode.com/v4"
MODES = {"drain": "drain", "maint": "reject"}
ADMIN = {"accept": "ready", "backup": "ready", "drain": "drain", "reject": "maint"}


def health_of(status: str, check: str, admin: str) -> tuple[str, bool]:
    """Return health, and whether all is well. Whether one that is out is looked at is not documented."""
    if check == "none" or admin != "ready":
        return "nocheck", True
    return ("up", True) if status.lower() == "up" else ("down", False)


def every(api: CloudApi, path: str) -> list[dict[str, t.Any]]:
    """Return the objects on every page."""
    found: list[dict[str, t.Any]] = []
    page = 1
    while True:
        answer = api.call("GET", f"{path}?page_size=100&page={page}")
        found += answer["data"]
        if page >= int(answer.get("pages") or 1):
            return found
        page += 1


class Linode(CloudDriver):
    """NodeBalancers of Linode (Akamai). Each port of one is a pool: its config. Nobody counts, so settle_seconds are waited for."""

    name = "linode"
    needs: t.ClassVar[dict[str, str]] = {"token": TOKEN, "backend": "labels or ids of NodeBalancers, with or without a port, as in shop:443"}
    maintains = True
    weights = (1, 255)

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        return [cls(CloudApi.of(params, API), [str(backend) for backend in params["backend"]], params["state_dir"]).patient(params)]

    def __init__(self, api: CloudApi, backends: t.Sequence[str], state_dir: str) -> None:
        super().__init__()
        self.api = api
        self.backends = list(backends)
        # A node that is a backup must not come back as anything else.
        self.backups = Removed(state_dir, "Linode")
        self._configs: list[tuple[str, str, dict[str, t.Any]]] = []

    def configs(self) -> list[tuple[str, str, dict[str, t.Any]]]:
        """Return pool, path of its nodes, and config of every wanted port: all of a NodeBalancer, or one, as LABEL:PORT."""
        if not self._configs:
            known = every(self.api, "/nodebalancers")
            for backend in self.backends:
                name, dummy, port = backend.rpartition(":")
                found = next((one for one in known if {backend, name} & {str(one["id"]), one["label"]}), None)
                if not found:
                    names = ", ".join(str(one["label"]) for one in known) or "none"
                    raise SeamlessError(f"backend is {backend!r}, and this token sees no NodeBalancer of that label or id: there are {names}.")
                path = f"/nodebalancers/{found['id']}/configs"
                ports = [one for one in every(self.api, path) if not name or str(one["port"]) == port]
                if not ports:
                    raise SeamlessError(f"backend is {backend!r}, and that NodeBalancer has no port {port}.")
                self._configs += [(f"{found['label']}:{one['port']}", f"{path}/{one['id']}/nodes", one) for one in ports]
        return self._configs

    def _nodes(self) -> dict[MemberRef, tuple[str, dict[str, t.Any], dict[str, t.Any]]]:
        """Return path, node and config of every node. Labels need not be unique, so a second one gets its number."""
        found: dict[MemberRef, tuple[str, dict[str, t.Any], dict[str, t.Any]]] = {}
        for pool, path, config in self.configs():
            for node in every(self.api, path):
                ref = MemberRef("Linode", pool, str(node["label"]))
                if ref in found:
                    ref = MemberRef("Linode", pool, f"{node['label']}#{node['id']}")
                found[ref] = (f"{path}/{node['id']}", node, config)
        return found

    def members(self) -> list[Member]:
        self.take_time()
        nodes = self._nodes()
        backups = self.backups.all({ref.backend for ref in nodes})
        return [self._member(ref, node, config, ref in backups) for ref, (dummy, node, config) in nodes.items()]

    @staticmethod
    def _member(ref: MemberRef, node: t.Mapping[str, t.Any], config: t.Mapping[str, t.Any], backup: bool) -> Member:
        admin = ADMIN.get(str(node["mode"]), "ready")
        health, full = health_of(str(node.get("status")), str(config.get("check")), admin)
        address, dummy, port = str(node["address"]).rpartition(":")
        return Member(
            ref=ref, address=address.strip("[]"), port=int(port), admin=admin, admin_source="runtime", health=health, fully_up=full,
            check=str(node.get("status")), weight=node.get("weight"), sessions=None, queued=None, total=None, backup=backup or node["mode"] == "backup",
        )

    def change(self, changes: t.Sequence[Change]) -> None:
        nodes = self._nodes()
        backups = self.backups.all({ref.backend for ref in nodes})
        wanted: dict[MemberRef, dict[str, t.Any]] = {}
        for one in changes:
            if one.ref not in nodes:
                raise gone(one.ref)
            if one.state == "drain":
                self._check_sticky(one.ref, *nodes[one.ref][1:])
            if one.state != "ready" and nodes[one.ref][1]["mode"] == "backup":
                self.backups.put(one.ref, {"mode": "backup"})
            wanted[one.ref] = {"mode": MODES.get(one.state) or ("backup" if one.ref in backups else "accept")}
        self._put(nodes, wanted)
        for one in changes:
            if one.state == "ready":
                self.backups.drop(one.ref)

    @staticmethod
    def _check_sticky(ref: MemberRef, node: t.Mapping[str, t.Any], config: t.Mapping[str, t.Any]) -> None:
        """Refuse a drain that would not be one: sticky clients go on, and nobody counts them."""
        if config.get("stickiness") not in (None, "none") and str(node.get("status")).lower() != "down":
            raise SeamlessError(
                f"{ref} has session stickiness ({config['stickiness']}): its clients would go on in a drain for as long as they come, and a NodeBalancer "
                "does not count them. Use sticky: move, which sends them elsewhere."
            )

    def set_weight(self, ref: MemberRef, weight: int) -> None:
        if not 1 <= weight <= 255:
            raise SeamlessError(f"weight is {weight}: a NodeBalancer takes 1 to 255. Use state: drained to send nothing.")
        nodes = self._nodes()
        if ref not in nodes:
            raise gone(ref)
        self._put(nodes, {ref: {"weight": weight}})

    def _put(self, nodes: t.Mapping[MemberRef, tuple[str, t.Any, t.Any]], wanted: t.Mapping[MemberRef, dict[str, t.Any]]) -> None:
        for ref, order in wanted.items():
            self.api.call("PUT", nodes[ref][0], order)

        def taken() -> bool:
            now = {ref: node for ref, (dummy, node, config) in self._nodes().items()}
            return all(ref in now and now[ref][key] == value for ref, order in wanted.items() for key, value in order.items())

        names = ", ".join(f"{ref} was set to {value}" for ref, order in wanted.items() for value in order.values())
        wait_until(taken, f"{names}, and that is not to be seen")

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        unchecked = sorted({member.ref.backend for member in members if member.health == "nocheck" and member.admin == "ready"})
        if unchecked:
            return [f"{', '.join(unchecked)}: the NodeBalancer has no active check there. Set one, or check_url, so that a dead application does not come back"]
        return []
