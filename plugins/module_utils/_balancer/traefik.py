# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import time
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import yaml_servers
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.managed_file import ManagedFile
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

TAKES = 15  # seconds within which a change must be at work; providersThrottleDuration is 2 s unless somebody made it longer


class Traefik(Driver):
    """Traefik 3 by a file of its file provider. A drained member has weight 0; that it is so is read from Traefik's API.

    Traefik counts nothing for a member, so settle_seconds is waited for: the longest request must be over by then.
    """

    name = "traefik"
    needs: t.ClassVar[dict[str, str]] = {
        "path": "the file of the file provider that holds the services, such as /etc/traefik/dynamic/shop.yml",
        "url": "the address of Traefik's API, such as http://127.0.0.1:8080",
    }
    maintains = False
    counts_sessions = False
    weights = (1, 65535)
    keeps_weight = False

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        return [cls(ManagedFile(params["path"], params["state_dir"]), [HttpApi.of(params, url) for url in params["url"]], params.get("backend") or [])]

    def __init__(self, file: ManagedFile, apis: t.Sequence[HttpApi], backends: t.Sequence[str]) -> None:
        self.file = file
        self.apis = list(apis)
        self.backends = list(backends)

    def _servers(self, text: str) -> dict[MemberRef, yaml_servers.Server]:
        servers = yaml_servers.parse(text, self.file.path)
        known = sorted({server.service for server in servers})
        missing = [backend for backend in self.backends if backend not in known]
        if missing:
            raise SeamlessError(f"backend {missing[0]} is no service with servers in {self.file.path}: there are {', '.join(known) or 'none'}.")
        return {
            MemberRef(self.file.path, server.service, urllib.parse.urlsplit(server.url).netloc): server
            for server in servers if not self.backends or server.service in self.backends
        }

    def members(self) -> list[Member]:
        servers = self._servers(self.file.read())
        standing = {service: self._standing(self.apis[0], service) for service in {ref.backend for ref in servers}}
        return [self._member(ref, server, standing[ref.backend].get(server.url, "")) for ref, server in servers.items()]

    @staticmethod
    def _member(ref: MemberRef, server: yaml_servers.Server, standing: str) -> Member:
        place = urllib.parse.urlsplit(server.url)
        checked = server.checked
        health = "nocheck" if not checked else "up" if standing == "UP" else "down"
        return Member(
            ref=ref, address=place.hostname or "", port=place.port or (443 if place.scheme == "https" else 80),
            admin="drain" if server.weight == 0 else "ready", admin_source="runtime", health=health, fully_up=health != "down", check=standing,
            weight=server.weight, sessions=None, queued=None, total=None,
        )

    @staticmethod
    def _service(api: HttpApi, service: str) -> dict[str, t.Any]:
        found = api.json("GET", f"/api/http/services/{urllib.parse.quote(service)}@file", missing_ok=True)
        if not isinstance(found, dict):
            raise SeamlessError(f"Traefik at {api.url} has no service {service}@file: does its file provider read this file, and is its API on?")
        return found

    def _standing(self, api: HttpApi, service: str) -> dict[str, str]:
        return {str(url): str(state) for url, state in (self._service(api, service).get("serverStatus") or {}).items()}

    def set_states(self, changes: t.Sequence[Change]) -> None:
        self._change({one.ref: 0 if one.state != "ready" else one.weight or 1 for one in changes})

    def set_weight(self, ref: MemberRef, weight: int) -> None:
        self.set_weights({ref: weight})

    def set_weights(self, weights: t.Mapping[MemberRef, int]) -> None:
        for weight in weights.values():
            if weight < 1:
                raise SeamlessError(f"weight is {weight}: use 1 and above, and state: drained to send nothing.")
        self._change(weights)

    def _change(self, weights: t.Mapping[MemberRef, int]) -> None:
        if not weights:
            return
        with self.file.exclusive():
            before = self.file.read()
            servers = self._servers(before)
            for ref in weights:
                if ref not in servers:
                    raise gone(ref)
            text = yaml_servers.with_weights(before, {servers[ref]: weight for ref, weight in weights.items()})
            now = self._servers(text)
            if any(now[ref].weight != weight for ref, weight in weights.items()):
                raise SeamlessError(f"{self.file.path} is written in a way in which weights can't be changed: write each server as url: and weight:.")
            with self.file.trial(before, text):
                self._wait_until_taken({ref: (servers[ref].url, weight) for ref, weight in weights.items()})

    def _wait_until_taken(self, wanted: t.Mapping[MemberRef, tuple[str, int]]) -> None:
        deadline = time.monotonic() + TAKES
        for api in self.apis:
            while True:
                wrong = [ref for ref, (url, weight) in wanted.items() if self._weight(api, ref.backend, url) != weight]
                if not wrong:
                    break
                if time.monotonic() >= deadline:
                    raise SeamlessError(
                        f"Traefik at {api.url} did not take over what is in {self.file.path} within {TAKES} s ({wrong[0]}): its log says why. "
                        "The file is as before."
                    )
                time.sleep(0.05)

    def _weight(self, api: HttpApi, service: str, url: str) -> int | None:
        servers = (self._service(api, service).get("loadBalancer") or {}).get("servers") or []
        return next((int(server.get("weight", 1)) for server in servers if server.get("url") == url), None)

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        if any(member.health == "nocheck" for member in members):
            return [f"{self.file.path} has services without healthCheck: Traefik would send requests to a dead application"]
        return []
