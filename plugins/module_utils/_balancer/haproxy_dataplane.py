# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import time
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import haproxy
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

RUNTIME, STATS = "/services/haproxy/runtime/backends", "/services/haproxy/stats/native?type=server"
_ATTEMPTS, _PAUSE = 3, 0.2
_ADMIN = {"ready": 0, "maint": haproxy.FORCED_MAINT, "drain": haproxy.FORCED_DRAIN}
_OPERATION = {"down": haproxy.STOPPED, "stopping": haproxy.STOPPING}


def health_of(server: t.Mapping[str, t.Any], stats: t.Mapping[str, t.Any]) -> tuple[str, bool]:
    """Return what :func:`haproxy.health_of` says of the same server. The API has one word for a server that starts and one that runs, and
    an older one does not tell whether there are checks: then the statistics do."""
    operation = _OPERATION.get(str(server.get("operational_state")), haproxy.RUNNING)
    if operation == haproxy.RUNNING and stats.get("throttle") not in (None, 100):
        operation = haproxy.STARTING
    checked = server.get("check_state")
    state = {
        "srv_op_state": operation,
        "srv_admin_state": str(_ADMIN.get(str(server.get("admin_state")), 0)),
        "srv_check_state": str(checked if checked is not None else haproxy.CHECK_ENABLED if stats.get("check_status") else 0),
    }
    return haproxy.health_of(state, {name: str(value) for name, value in stats.items()})


class HAProxyDataPlane(Driver):
    """HAProxy by the runtime part of its Data Plane API, version 3."""

    name = "haproxy_dataplane"
    needs: t.ClassVar[dict[str, str]] = {"url": "the address of the Data Plane API, such as http://127.0.0.1:5555"}
    proves = True
    weights = (1, 256)

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        return [cls(HttpApi.of(params, cls._versioned(url)), params.get("backend") or []) for url in params["url"]]

    @staticmethod
    def _versioned(url: str) -> str:
        return url.rstrip("/") if url.rstrip("/").endswith("/v3") else f"{url.rstrip('/')}/v3"

    def __init__(self, api: HttpApi, backends: t.Sequence[str]) -> None:
        self.api = api
        self.backends = list(backends)

    @staticmethod
    def _path(backend: str, *server: str) -> str:
        return "/".join([RUNTIME, *(urllib.parse.quote(part, safe="") for part in (backend, "servers", *server))])

    def _stats(self) -> dict[tuple[str, str], dict[str, t.Any]]:
        """Return the statistics of every server, by backend and name."""
        answer = self.api.json("GET", STATS)
        # Version 2 had a list of processes here.
        answer = answer[0] if isinstance(answer, list) and answer else answer
        if not isinstance(answer, dict) or answer.get("error"):
            raise SeamlessError(f"{self.api.url} gave no statistics of HAProxy: {str(answer)[:200]}")
        return {(str(one.get("backend_name")), str(one.get("name"))): one.get("stats") or {} for one in answer.get("stats") or []}

    def members(self) -> list[Member]:
        stats = self._stats()
        known = {backend for backend, dummy in stats}
        missing = [backend for backend in self.backends if backend not in known]
        if missing:
            raise SeamlessError(f"backend {missing[0]} is not on {self.api.url}: HAProxy has {', '.join(sorted(known)) or 'no backend with servers'}.")
        found = []
        for backend in self.backends or sorted(known):
            for server in self.api.json("GET", self._path(backend)) or []:
                found.append(self._member(backend, server, stats.get((backend, str(server["name"])), {})))
        return found

    def _member(self, backend: str, server: t.Mapping[str, t.Any], stats: t.Mapping[str, t.Any]) -> Member:
        health, full = health_of(server, stats)
        requests, errors = haproxy.answered_of(stats)
        return Member(
            ref=MemberRef(self.api.url, backend, str(server["name"])), address=str(server.get("address") or ""), port=server.get("port"),
            admin=str(server.get("admin_state") or "ready"), admin_source="runtime", health=health, fully_up=full,
            check=" ".join(filter(None, (str(stats.get("check_status", "")).lstrip("* "), str(stats.get("last_chk") or "")))),
            weight=server.get("weight"), sessions=stats.get("scur"), queued=stats.get("qcur"), total=stats.get("stot"),
            requests=requests, errors=errors,
            agent=bool(stats.get("agent_status")), backup=stats.get("bck") == 1,
        )

    def _put(self, ref: MemberRef, order: t.Mapping[str, t.Any]) -> None:
        try:
            self.api.json("PUT", self._path(ref.backend, ref.name), order)
        except SeamlessError as exc:
            if exc.details.get("status") != 404:
                raise
            raise gone(ref) from exc

    def set_states(self, changes: t.Sequence[Change]) -> None:
        wrong = list(changes)
        for attempt in range(_ATTEMPTS if changes else 0):
            if attempt:
                # A reload in this very moment: the old process took the order, the new one has never heard of it.
                time.sleep(_PAUSE)
            for one in wrong:
                self._put(one.ref, {"admin_state": one.state})
            seen = {member.ref: member for member in self.members()}
            wrong = [one for one in wrong if one.ref not in seen or seen[one.ref].admin != one.state]
            if not wrong:
                return
        for one in wrong:
            if one.ref not in seen:
                raise gone(one.ref)
            raise SeamlessError(
                f"{one.ref} is {seen[one.ref].admin} right after it was set to {one.state}: its configuration, a tracked server or an agent check "
                "overrules the API."
            )

    def ask_for_proof(self, refs: t.Sequence[MemberRef]) -> None:
        """Set the health to ``stopping``: for a drained server that changes nothing until the next check that passes makes it running again."""
        for ref in refs:
            self._put(ref, {"operational_state": "stopping"})

    def set_weight(self, ref: MemberRef, weight: int) -> None:
        self._put(ref, {"weight": weight})

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        found = [f"what {self.api.url} changes is forgotten when HAProxy is reloaded, unless it loads a server state file"]
        if any(member.health == "nocheck" for member in members):
            found.append(f"{self.api.url} has servers without check: HAProxy would send requests to a dead application")
        if any(member.agent for member in members):
            found.append(f"{self.api.url} has servers with agent checks: an agent overrules what is set by the API")
        return found
