# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import glob
import json
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.managed_file import ManagedFile
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

TAKES = 10  # seconds within which a change must be at work


class Envoy(Driver):
    """Envoy by the files of endpoints (EDS) that it watches, one for each cluster. A drained member is ``DRAINING``; that it is so is read from
    its admin interface."""

    name = "envoy"
    needs: t.ClassVar[dict[str, str]] = {
        "path": "the JSON file of endpoints that Envoy watches, such as /etc/envoy/eds/shop.json, or the directory of several",
        "url": "the address of Envoy's admin interface, such as http://127.0.0.1:9901",
    }
    maintains = False
    weights = (1, 65535)

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        path = str(params["path"])
        paths = sorted(glob.glob(os.path.join(glob.escape(path), "*.json"))) if os.path.isdir(path) else [path]
        if not paths:
            raise SeamlessError(f"path is {path!r}, a directory without a .json file: write the endpoints of each cluster to a file there.")
        files = [ManagedFile(path, params["state_dir"]) for path in paths]
        return [cls(files, [HttpApi.of(params, url) for url in params["url"]], params.get("backend") or [])]

    def __init__(self, files: t.Sequence[ManagedFile], apis: t.Sequence[HttpApi], backends: t.Sequence[str]) -> None:
        self.files = list(files)
        self.apis = list(apis)
        self.backends = list(backends)

    def _read(self, file: ManagedFile) -> t.Any:
        try:
            content = json.loads(file.read())
        except ValueError as exc:
            raise SeamlessError(f"{file.path} is not JSON ({exc}): the driver envoy changes endpoints in JSON.") from exc
        if not isinstance(content, dict):
            raise SeamlessError(f"{file.path} holds no resources: Envoy's endpoints are a ClusterLoadAssignment under resources.")
        return content

    @classmethod
    def _endpoints(cls, content: t.Any, path: str) -> dict[MemberRef, dict[str, t.Any]]:
        """Return the endpoints in *content*, which can be changed in place."""
        found = {}
        for resource in content.get("resources", []):
            for group in resource.get("endpoints", []):
                for endpoint in group.get("lb_endpoints", []):
                    address, port = cls._place(endpoint, path)
                    name = str(endpoint.get("endpoint", {}).get("hostname") or f"{address}:{port}")
                    found[MemberRef(path, str(resource.get("cluster_name", "")), name)] = endpoint
        return found

    @staticmethod
    def _place(endpoint: t.Mapping[str, t.Any], path: str) -> tuple[str, int]:
        try:
            address = endpoint["endpoint"]["address"]["socket_address"]
            return str(address["address"]), int(address["port_value"])
        except (KeyError, TypeError) as exc:
            raise SeamlessError(f"{path} has an endpoint without socket_address, address and port_value: {json.dumps(endpoint)[:200]}") from exc

    def _everything(self) -> dict[MemberRef, dict[str, t.Any]]:
        found: dict[MemberRef, dict[str, t.Any]] = {}
        for file in self.files:
            found.update(self._endpoints(self._read(file), file.path))
        known = sorted({ref.backend for ref in found})
        missing = [backend for backend in self.backends if backend not in known]
        if missing:
            raise SeamlessError(f"backend {missing[0]} is no cluster of {self.files[0].path}: there are {', '.join(known) or 'none'}.")
        return {ref: endpoint for ref, endpoint in found.items() if not self.backends or ref.backend in self.backends}

    def members(self) -> list[Member]:
        seen = self._hosts(self.apis[0])
        return [
            self._member(ref, endpoint, seen.get((ref.backend, *self._place(endpoint, ref.balancer)), {}))
            for ref, endpoint in self._everything().items()
        ]

    def _member(self, ref: MemberRef, endpoint: t.Mapping[str, t.Any], host: t.Mapping[str, t.Any]) -> Member:
        address, port = self._place(endpoint, ref.balancer)
        counts = {one["name"]: int(one.get("value", 0)) for one in host.get("stats", [])}
        failed = bool(host.get("health_status", {}).get("failed_active_health_check")) or not host
        return Member(
            ref=ref, address=address, port=port, admin="drain" if endpoint.get("health_status") == "DRAINING" else "ready", admin_source="runtime",
            health="down" if failed else "up", fully_up=not failed, check="failed its health check" if failed else "",
            weight=int(endpoint.get("load_balancing_weight", 1)), sessions=counts.get("rq_active"), queued=None, total=counts.get("rq_total"),
            requests=counts.get("rq_total"), errors=counts.get("rq_error"),
        )

    @staticmethod
    def _hosts(api: HttpApi) -> dict[tuple[str, str, int], dict[str, t.Any]]:
        """Return what Envoy says of each endpoint, by cluster, address and port."""
        found = {}
        for cluster in api.json("GET", "/clusters?format=json").get("cluster_statuses", []):
            # An endpoint belongs to the EDS service of its cluster, which is the cluster's name unless service_name says otherwise.
            names = {str(cluster.get("name")), str(cluster.get("eds_service_name") or cluster.get("name"))}
            for host in cluster.get("host_statuses", []):
                address = host.get("address", {}).get("socket_address", {})
                for name in names:
                    found[(name, str(address.get("address")), int(address.get("port_value", 0)))] = host
        return found

    def set_states(self, changes: t.Sequence[Change]) -> None:
        def change(endpoint: dict[str, t.Any], state: str) -> None:
            if state == "ready":
                endpoint.pop("health_status", None)
            else:
                endpoint["health_status"] = "DRAINING"

        states = {one.ref: one.state for one in changes}
        self._change(states, lambda ref, endpoint: change(endpoint, states[ref]))

    def set_weight(self, ref: MemberRef, weight: int) -> None:
        self.set_weights({ref: weight})

    def set_weights(self, weights: t.Mapping[MemberRef, int]) -> None:
        for weight in weights.values():
            if weight < 1:
                raise SeamlessError(f"weight is {weight}: Envoy takes 1 and above. Use state: drained to send nothing.")

        def change(endpoint: dict[str, t.Any], weight: int) -> None:
            endpoint.pop("load_balancing_weight", None)
            if weight != 1:
                endpoint["load_balancing_weight"] = weight

        self._change(weights, lambda ref, endpoint: change(endpoint, weights[ref]))

    def _change(self, refs: t.Collection[MemberRef], change: t.Callable[[MemberRef, dict[str, t.Any]], None]) -> None:
        for file in self.files:
            mine = [ref for ref in refs if ref.balancer == file.path]
            if mine:
                with file.exclusive():
                    self._change_file(file, mine, change)

    def _change_file(self, file: ManagedFile, refs: t.Sequence[MemberRef], change: t.Callable[[MemberRef, dict[str, t.Any]], None]) -> None:
        before = file.read()
        content = self._read(file)
        endpoints = self._endpoints(content, file.path)
        for ref in refs:
            if ref not in endpoints:
                raise gone(ref)
            change(ref, endpoints[ref])
        content["version_info"] = f"{time.time():.6f}"
        with file.trial(before, json.dumps(content, indent=2) + "\n"):
            self._wait_until_taken({ref: endpoints[ref] for ref in refs})

    def _wait_until_taken(self, wanted: t.Mapping[MemberRef, t.Mapping[str, t.Any]]) -> None:
        deadline = time.monotonic() + TAKES
        for api in self.apis:
            while True:
                seen = self._hosts(api)
                wrong = [
                    ref for ref, endpoint in wanted.items()
                    if not self._taken(endpoint, seen.get((ref.backend, *self._place(endpoint, ref.balancer))))
                ]
                if not wrong:
                    break
                if time.monotonic() >= deadline:
                    raise SeamlessError(
                        f"Envoy at {api.url} did not take over what is in {wrong[0].balancer} within {TAKES} s ({wrong[0]}): it watches renames only "
                        "with watched_directory, and its log says what it rejected. The file is as before."
                    )
                time.sleep(0.02)

    @staticmethod
    def _taken(endpoint: t.Mapping[str, t.Any], host: t.Mapping[str, t.Any] | None) -> bool:
        if not host:
            return False
        draining = host.get("health_status", {}).get("eds_health_status") == "DRAINING"
        weighs = int(host.get("weight", 1)) == int(endpoint.get("load_balancing_weight", 1))
        return draining == (endpoint.get("health_status") == "DRAINING") and weighs
