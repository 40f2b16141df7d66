# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

NEWEST = 9  # version of the API that this was written for; every older one that nginx has does as well
_ORDERS = {"ready": {"drain": False, "down": False}, "drain": {"drain": True, "down": False}, "maint": {"down": True}}


def admin_of(config: t.Mapping[str, t.Any], peer: t.Mapping[str, t.Any]) -> str:
    """Return the admin state that a server's configuration says, or, where nginx has none of its own for a resolved name, its peer's state."""
    if config.get("down") or peer.get("state") == "down":
        return "maint"
    return "drain" if config.get("drain") or peer.get("state") == "draining" else "ready"


def health_of(peer: t.Mapping[str, t.Any], admin: str) -> tuple[str, bool, str]:
    """Return health, whether every check has passed, and what the last one said. The state of a peer that is out says only that it is out."""
    checks = peer.get("health_checks") or {}
    checked = bool(checks.get("checks"))
    passed = bool(checks.get("last_passed"))
    said = f"{peer.get('state')}, last check {'passed' if passed else 'failed'}" if checked else str(peer.get("state"))
    if admin == "maint":
        return ("unknown" if checked else "nocheck"), not checked, said
    if peer.get("state") in ("unavail", "unhealthy", "checking") or (checked and not passed):
        return "down", False, said
    return ("up" if checked else "nocheck"), True, said


def place_of(text: str) -> tuple[str, int | None]:
    """Return address and port of *text*, such as 192.0.2.1:80, [2001:db8::1]:80 or unix:/run/app.sock."""
    host, dummy, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdigit() else (text, None)


class NginxPlus(Driver):
    """NGINX Plus by its API. Its documentation does not say that servers which are drained are still checked, so the application is asked, too."""

    name = "nginx_plus"
    needs: t.ClassVar[dict[str, str]] = {"url": "the location that has the directive api, such as http://127.0.0.1:8080/api"}
    checks_while_drained = False
    weights = (1, 65535)

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        return [cls(HttpApi.of(params, url), params.get("backend") or []) for url in params["url"]]

    def __init__(self, api: HttpApi, backends: t.Sequence[str]) -> None:
        self.api = api
        self.backends = list(backends)
        self._version: str | None = None

    def _path(self, *parts: object) -> str:
        """Return the path of something in the newest version of the API that both sides know. *url* may name one itself."""
        if self._version is None:
            found = self.api.json("GET", "/")
            if not isinstance(found, list) or not found:
                raise SeamlessError(f"{self.api.url} is not the API of NGINX Plus: use the location with the directive api, such as http://127.0.0.1:8080/api.")
            versions = [one for one in found if isinstance(one, int) and one <= NEWEST]
            self._version = f"/{max(versions)}" if versions else ""
        return "/".join([f"{self._version}/http/upstreams", *(urllib.parse.quote(str(part), safe="") for part in parts)])

    def _upstreams(self) -> dict[str, list[dict[str, t.Any]]]:
        """Return the peers of every wanted upstream."""
        found = self.api.json("GET", self._path())
        missing = [backend for backend in self.backends if backend not in found]
        if missing:
            raise SeamlessError(
                f"backend {missing[0]} is no upstream of {self.api.url}: there are {', '.join(sorted(found)) or 'none'}. An upstream needs a zone to be "
                "in the API."
            )
        return {name: upstream.get("peers") or [] for name, upstream in found.items() if not self.backends or name in self.backends}

    def _peers(self) -> dict[MemberRef, tuple[dict[str, t.Any], dict[str, t.Any]]]:
        """Return configuration and state of every server. Names need not be unique in an upstream, so a second one gets its number."""
        found: dict[MemberRef, tuple[dict[str, t.Any], dict[str, t.Any]]] = {}
        for upstream, peers in self._upstreams().items():
            configs = {config["id"]: config for config in self.api.json("GET", self._path(upstream, "servers"))}
            for peer in peers:
                name = str(peer.get("name") or peer["server"])
                ref = MemberRef(self.api.url, upstream, name)
                if ref in found:
                    ref = MemberRef(self.api.url, upstream, f"{name}#{peer['id']}")
                found[ref] = (configs.get(peer["id"], {}), peer)
        return found

    def members(self) -> list[Member]:
        return [self._member(ref, *parts) for ref, parts in self._peers().items()]

    @staticmethod
    def _member(ref: MemberRef, config: t.Mapping[str, t.Any], peer: t.Mapping[str, t.Any]) -> Member:
        admin = admin_of(config, peer)
        health, full, said = health_of(peer, admin)
        address, port = place_of(str(peer["server"]))
        return Member(
            ref=ref, address=address, port=port, admin=admin, admin_source="runtime", health=health, fully_up=full, check=said,
            weight=config.get("weight", peer.get("weight")), sessions=int(peer.get("active", 0)), queued=None, total=int(peer.get("requests", 0)),
            requests=int(peer.get("requests", 0)), errors=int((peer.get("responses") or {}).get("5xx", 0)) + int(peer.get("fails", 0)),
            backup=bool(peer.get("backup")),
        )

    def _change(self, orders: t.Mapping[MemberRef, t.Mapping[str, t.Any]]) -> None:
        peers = self._peers()
        for ref, order in orders.items():
            if ref not in peers:
                raise gone(ref)
            try:
                self.api.json("PATCH", self._path(ref.backend, "servers", peers[ref][1]["id"]), order)
            except SeamlessError as exc:
                if exc.details.get("status") != 405:
                    raise
                raise SeamlessError(f"{self.api.url} can be read only: write it as api write=on; in the configuration of nginx. {exc}") from exc

    def set_states(self, changes: t.Sequence[Change]) -> None:
        if not changes:
            return
        self._change({one.ref: _ORDERS[one.state] for one in changes})
        seen = {member.ref: member.admin for member in self.members()}
        for one in changes:
            if seen.get(one.ref) != one.state:
                raise SeamlessError(f"{one.ref} is {seen.get(one.ref, 'gone')} right after it was set to {one.state}: something else changes it, too.")

    def set_weight(self, ref: MemberRef, weight: int) -> None:
        if weight < 1:
            raise SeamlessError(f"weight is {weight}: nginx takes 1 and above. Use state: drained to send nothing.")
        self._change({ref: {"weight": weight}})

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        if any(member.health == "nocheck" for member in members):
            return [f"{self.api.url} has servers without health_check: set check_url, so that one whose application is dead does not come back"]
        return []
