# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import re
import time
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import cloud
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.cloud import TOKEN, CloudApi, CloudDriver
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

API = "https://api.cloudflare.com/client/v4"
_ATTEMPTS = 4
_BACKEND = re.compile(r"(?P<account>[0-9a-zA-Z]+)/(?P<pool>[^/]+)")
_WRITTEN_BY_THEM = ("disabled_at",)
Origin = t.Dict[str, t.Any]


def health_of(address: str, regions: t.Mapping[str, t.Any]) -> tuple[str, bool, str]:
    """Return health, whether all is well, and what was said of the origin at *address*, where *regions* are all that watch the pool.

    It is up where more of them call it healthy than not, as Cloudflare has it. An origin that was not looked at yet is not up.
    """
    seen = [
        one[address] for region in regions.values() if isinstance(region, dict) for one in region.get("origins") or []
        if isinstance(one, dict) and isinstance(one.get(address), dict)
    ]
    good = [one for one in seen if one.get("healthy")]
    said = next((str(one.get("failure_reason") or "") for one in seen if not one.get("healthy")), f"healthy in {len(good)} of {len(seen)} regions")
    up = 2 * len(good) > len(seen)
    return ("up" if up else "down"), up, said if seen else "not looked at yet"


def weight_of(origin: t.Mapping[str, t.Any]) -> int:
    """Return the weight, which is a number from 0 to 1, in hundredths."""
    return round(float(origin.get("weight", 1)) * 100)


def name_of(origin: t.Mapping[str, t.Any]) -> str:
    return str(origin.get("name") or origin["address"])


def changed(origins: t.Sequence[Origin], names: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[Origin]:
    """Return *origins* to be written, those of *names* with what is said there."""
    return [{**{key: value for key, value in one.items() if key not in _WRITTEN_BY_THEM}, **names.get(name_of(one), {})} for one in origins]


class Cloudflare(CloudDriver):
    """Pools of Cloudflare's load balancing. A drained member is an origin with ``enabled: false``.

    A pool's origins can only be written all together, so it is read, changed, written, and read again. One caller at a time on this machine; a
    change that somebody else makes in that moment can get lost, as in every tool.
    """

    name = "cloudflare"
    needs: t.ClassVar[dict[str, str]] = {"token": TOKEN, "backend": "pools, each as ACCOUNT/POOL"}
    weights = (1, 100)

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        return [cls(CloudApi.of(params, API), [str(backend) for backend in params["backend"]], params["state_dir"]).patient(params)]

    def __init__(self, api: CloudApi, backends: t.Sequence[str], state_dir: str) -> None:
        super().__init__()
        self.api = api
        self.backends = list(backends)
        self.state_dir = state_dir
        self._paths: dict[str, str] = {}

    def paths(self) -> dict[str, str]:
        """Return the path of every wanted pool, by account and name."""
        for backend in self.backends if not self._paths else ():
            match = _BACKEND.fullmatch(backend)
            if not match:
                raise SeamlessError(f"backend is {backend!r}: write ACCOUNT/POOL, the id of the account and the name or id of the pool.")
            path = f"/accounts/{match['account']}/load_balancers/pools"
            known = self.api.call("GET", path)["result"] or []
            found = next((one for one in known if match["pool"] in (one["id"], one["name"])), None)
            if not found:
                names = ", ".join(str(one["name"]) for one in known) or "none"
                raise SeamlessError(f"backend is {backend!r}, and the account has no pool of that name or id: there are {names}.")
            self._paths[f"{match['account']}/{found['name']}"] = f"{path}/{urllib.parse.quote(str(found['id']), safe='')}"
        return self._paths

    def members(self) -> list[Member]:
        self.take_time()
        found = []
        for name, path in self.paths().items():
            pool = self.api.call("GET", path)["result"]
            watched = bool(pool.get("monitor") or pool.get("monitor_group"))
            regions = (self.api.call("GET", f"{path}/health")["result"] or {}).get("pop_health") or {} if watched else {}
            found += [self._member(name, origin, regions, watched) for origin in pool["origins"]]
        return found

    @staticmethod
    def _member(pool: str, origin: Origin, regions: t.Mapping[str, t.Any], watched: bool) -> Member:
        address = str(origin["address"])
        admin = "ready" if origin.get("enabled", True) else "drain"
        # Nobody looks at an origin that is disabled.
        health, full, said = health_of(address, regions) if watched and admin == "ready" else ("nocheck", True, "")
        return Member(
            ref=MemberRef("Cloudflare", pool, name_of(origin)), address=address, port=origin.get("port") or None, admin=admin, admin_source="runtime",
            health=health, fully_up=full, check=said, weight=weight_of(origin), sessions=None, queued=None, total=None,
        )

    def change(self, changes: t.Sequence[Change]) -> None:
        for pool in dict.fromkeys(one.ref.backend for one in changes):
            self._change(pool, {one.ref.name: {"enabled": one.state == "ready"} for one in changes if one.ref.backend == pool})

    def set_weight(self, ref: MemberRef, weight: int) -> None:
        if not 1 <= weight <= 100:
            raise SeamlessError(f"weight is {weight}: Cloudflare takes 0.01 to 1, which is 1 to 100 here. Use state: drained to send nothing.")
        self._change(ref.backend, {ref.name: {"weight": weight / 100}})

    def _change(self, pool: str, names: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
        path = self.paths()[pool]
        with cloud.exclusive(self.state_dir, f"Cloudflare {pool}"):
            for attempt in range(_ATTEMPTS):
                if attempt:
                    time.sleep(cloud.PAUSE)
                origins = self._origins(pool, path, names)
                if self._wrong(origins, names):
                    self.api.call("PATCH", path, {"origins": changed(origins, names)})
                    origins = self._origins(pool, path, names)
                wrong = self._wrong(origins, names)
                if not wrong:
                    return
        raise SeamlessError(f"{wrong[0]} of {pool} is not what it was just made, {_ATTEMPTS} times: something else writes the pool's origins, too.")

    def _origins(self, pool: str, path: str, names: t.Collection[str]) -> list[Origin]:
        origins = t.cast("list[Origin]", self.api.call("GET", path)["result"]["origins"])
        known = [name_of(one) for one in origins]
        for name in names:
            if name not in known:
                raise gone(MemberRef("Cloudflare", pool, name))
            if known.count(name) > 1:
                raise SeamlessError(f"{pool} has {known.count(name)} origins of the name {name}: give each a name of its own, so that one can be changed.")
        return origins

    @staticmethod
    def _wrong(origins: t.Sequence[Origin], names: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
        """Return which origins are not as *names* say. Cloudflare leaves out what is at its default."""
        defaults = {"enabled": True, "weight": 1}
        return [
            name_of(one) for one in origins if any(one.get(key, defaults[key]) != value for key, value in names.get(name_of(one), {}).items())
        ]

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        unwatched = sorted({member.ref.backend for member in members if member.health == "nocheck" and member.admin == "ready"})
        if unwatched:
            return [f"{', '.join(unwatched)}: no monitor. Cloudflare would send requests to a dead application; attach one, or set check_url"]
        return []
