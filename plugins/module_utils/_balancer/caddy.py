# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.managed_file import ManagedFile
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

_ATTEMPTS, _PAUSE = 5, 0.1
Upstream = t.Dict[str, t.Any]


def find_pools(config: t.Any) -> dict[str, dict[str, t.Any]]:
    """Return every ``reverse_proxy`` handler in Caddy's configuration that has a list of upstreams, by its ``@id``; "" for one without."""
    found: dict[str, dict[str, t.Any]] = {}
    if isinstance(config, dict):
        if config.get("handler") == "reverse_proxy" and isinstance(config.get("upstreams"), list):
            found[str(config.get("@id", ""))] = config
        for value in config.values():
            found.update(find_pools(value))
    elif isinstance(config, list):
        for value in config:
            found.update(find_pools(value))
    return found


def name_of(upstream: t.Mapping[str, t.Any]) -> str:
    return str(upstream.get("@id") or upstream.get("dial") or "")


def place_of(upstream: t.Mapping[str, t.Any]) -> tuple[str, int | None]:
    """Return where an upstream listens; a UNIX socket, or an address with a placeholder, is nowhere that can be connected to."""
    matched = re.fullmatch(r"(?:tcp[46]?/)?(\[[^\]{}]+\]|[^/:{}]+):([0-9]{1,5})", str(upstream.get("dial", "")))
    return (matched[1].strip("[]"), int(matched[2])) if matched else ("", None)


class Removed:
    """The upstreams that were taken out of one pool. Caddy knows nothing of them any more, so they are remembered on its machine: written
    down before they leave, struck out after they are back."""

    def __init__(self, directory: str, url: str, pool: str) -> None:
        directory = _files.expand(directory)
        self.path = os.path.join(directory, f"caddy-{hashlib.sha256(f'{url}|{pool}'.encode()).hexdigest()[:12]}.json")
        self.about = {"url": url, "pool": pool}
        self.exclusive = ManagedFile(self.path, directory).exclusive

    def read(self) -> dict[str, dict[str, t.Any]]:
        content = _files.read_json(self.path)
        removed = content.get("removed") if isinstance(content, dict) else None
        return removed if isinstance(removed, dict) else {}

    def write(self, removed: t.Mapping[str, dict[str, t.Any]]) -> None:
        if removed != self.read():
            _files.write_json(self.path, {**self.about, "removed": removed})


class Caddy(Driver):
    """Caddy 2 by its admin interface: a drained upstream is taken out of the list of its pool. Each change replaces the whole configuration at
    work, which closes idle connections of clients."""

    name = "caddy"
    needs: t.ClassVar[dict[str, str]] = {"url": "the address of Caddy's admin interface, such as http://127.0.0.1:2019"}
    maintains = False
    checks_while_drained = False

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        return [cls(HttpApi.of(params, url), params.get("backend") or [], params["state_dir"], params["settle_seconds"]) for url in params["url"]]

    def __init__(self, api: HttpApi, backends: t.Sequence[str], state_dir: str, settle_seconds: float) -> None:
        self.api = api
        self.backends = list(backends)
        self.state_dir = state_dir
        self.settle_seconds = settle_seconds
        self._unlisted: dict[MemberRef, float] = {}

    def _removed(self, pool: str) -> Removed:
        return Removed(self.state_dir, self.api.url, pool)

    def _pools(self) -> dict[str, dict[str, t.Any]]:
        pools = find_pools(self.api.json("GET", "/config/"))
        anonymous = pools.pop("", None)
        if not pools:
            what = 'it has no "@id". Give it one in the JSON configuration (a Caddyfile can\'t), such as' if anonymous else "there is none. Write one such as"
            raise SeamlessError(
                f"Caddy at {self.api.url} has no reverse_proxy handler that can be addressed: {what} "
                '{"@id": "shop", "handler": "reverse_proxy", "upstreams": […]}, or use the driver health_file.'
            )
        missing = [backend for backend in self.backends if backend not in pools]
        if missing:
            raise SeamlessError(f'backend {missing[0]} is no "@id" of a reverse_proxy handler at {self.api.url}: there are {", ".join(sorted(pools))}.')
        return {pool: handler for pool, handler in pools.items() if not self.backends or pool in self.backends}

    def members(self) -> list[Member]:
        busy = self._busy()
        found = []
        for pool, handler in self._pools().items():
            listed = [one for one in handler["upstreams"] if isinstance(one, dict)]
            names = {name_of(one) for one in listed}
            found += [self._member(pool, one, True, busy) for one in listed]
            found += [self._member(pool, one["upstream"], False, busy) for name, one in self._removed(pool).read().items() if name not in names]
        return found

    def _busy(self) -> dict[str, int]:
        """Return how many requests are under way to each upstream, by its ``dial``."""
        answer = self.api.json("GET", "/reverse_proxy/upstreams")
        rows = [row for row in answer if isinstance(row, dict)] if isinstance(answer, list) else []
        return {str(row.get("address")): int(row.get("num_requests") or 0) for row in rows}

    def _member(self, pool: str, upstream: Upstream, listed: bool, busy: t.Mapping[str, int]) -> Member:
        address, port = place_of(upstream)
        ref = MemberRef(self.api.url, pool, name_of(upstream))
        return Member(
            ref=ref, address=address, port=port, admin="ready" if listed else "drain", admin_source="runtime", health="nocheck", fully_up=True,
            check="", weight=None, sessions=self._sessions(ref, listed, busy.get(str(upstream.get("dial")))), queued=None, total=None,
        )

    def _sessions(self, ref: MemberRef, listed: bool, busy: int | None) -> int | None:
        """Return what is under way. Caddy 2.6 says nothing of an upstream from the moment when it is out of the list: then there may be
        something until settle_seconds are over. Newer ones, which tell themselves by a header, go on to list it for as long as it is busy."""
        if listed or busy is not None:
            self._unlisted.pop(ref, None)
            return busy
        since = self._unlisted.setdefault(ref, time.monotonic())
        if time.monotonic() - since >= self.settle_seconds or self._list(ref.backend)[1]:
            return 0
        return 1

    def _list(self, pool: str) -> tuple[list[Upstream], str]:
        """Return the upstreams of a pool, and the tag by which Caddy refuses a change that was made from an older list; "" where it has none."""
        dummy, text, headers = self.api.call("GET", self._path(pool))
        try:
            listed = json.loads(text)
        except ValueError as exc:
            raise SeamlessError(f"{self.api.url}{self._path(pool)} did not answer with JSON but with {text[:100]!r}: is url right?") from exc
        return [one for one in listed or [] if isinstance(one, dict)], headers.get("etag", "")

    @staticmethod
    def _path(pool: str) -> str:
        return f"/id/{urllib.parse.quote(pool, safe='')}/upstreams"

    def set_states(self, changes: t.Sequence[Change]) -> None:
        handlers = self._pools() if changes else {}
        for pool in dict.fromkeys(change.ref.backend for change in changes):
            states = {change.ref.name: change.state == "ready" for change in changes if change.ref.backend == pool}
            if pool not in handlers:
                raise gone(next(change.ref for change in changes if change.ref.backend == pool))
            self._refuse_positions(pool, handlers[pool])
            with self._removed(pool).exclusive():
                self._change(pool, states)

    def _refuse_positions(self, pool: str, handler: t.Mapping[str, t.Any]) -> None:
        policy = ((handler.get("load_balancing") or {}).get("selection_policy") or {}).get("policy")
        if policy == "weighted_round_robin":
            raise SeamlessError(
                f"{pool} at {self.api.url} uses weighted_round_robin, whose weights belong to positions in the list: without one upstream each other would "
                "get its neighbour's. Use another selection_policy, or the driver health_file."
            )

    def _change(self, pool: str, states: t.Mapping[str, bool]) -> None:
        removed = self._removed(pool)
        for dummy in range(_ATTEMPTS):
            before, tag = self._list(pool)
            remembered = removed.read()
            after, out = rearranged(before, remembered, states, lambda name: gone(MemberRef(self.api.url, pool, name)))
            removed.write({**remembered, **out})
            if after != before and not self._replace(pool, after, tag):
                time.sleep(_PAUSE)
                continue
            now = {name_of(one) for one in self._list(pool)[0]}
            wrong = [name for name, ready in states.items() if (name in now) != ready]
            if not wrong:
                removed.write({name: one for name, one in {**remembered, **out}.items() if name not in now})
                return
        raise SeamlessError(
            f"the upstreams of {pool} at {self.api.url} can't be changed: somebody else changed them in the same moment, {_ATTEMPTS} times. Try again later."
        )

    def _replace(self, pool: str, upstreams: t.Sequence[Upstream], tag: str) -> bool:
        """Return whether the list was replaced; not where it is another one by now."""
        headers = {"Content-Type": "application/json", **({"If-Match": tag} if tag else {})}
        try:
            self.api.call("PATCH", self._path(pool), json.dumps(upstreams).encode(), headers)
        except SeamlessError as exc:
            if exc.details.get("status") == 412:
                return False
            raise
        return True

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        return [
            f"{self.api.url}: each change of Caddy's configuration closes idle connections of clients, and new ones may be reset in that moment. With "
            "health_checks in Caddy the driver health_file costs no request",
            f"{self.api.url}: Caddy does not say how its members are. Set check_url, so that one whose application is dead does not come back",
        ]


def rearranged(
    before: t.Sequence[Upstream], remembered: t.Mapping[str, dict[str, t.Any]], ready: t.Mapping[str, bool], unknown: t.Callable[[str], SeamlessError]
) -> tuple[list[Upstream], dict[str, dict[str, t.Any]]]:
    """Return the list with the upstreams that shall be *ready* where they were and without the others, and what has to be remembered of these."""
    names = [name_of(one) for one in before]
    after = [one for one in before if ready.get(name_of(one), True)]
    out = {}
    for name, wanted in ready.items():
        if not wanted and name in names:
            index = names.index(name)
            out[name] = {"upstream": before[index], "ahead": names[:index], "behind": names[index + 1 :]}
        elif wanted and name not in names and name in remembered:
            after.insert(_place_among([name_of(one) for one in after], remembered[name]), remembered[name]["upstream"])
        elif name not in names and name not in remembered:
            raise unknown(name)
    return after, out


def _place_among(names: t.Sequence[str], one: t.Mapping[str, t.Any]) -> int:
    """Return the position behind what it stood behind, or else ahead of what it stood ahead of."""
    ahead = [index + 1 for index, name in enumerate(names) if name in one["ahead"]]
    behind = [index for index, name in enumerate(names) if name in one["behind"]]
    return max(ahead) if ahead else min(behind, default=len(names))
