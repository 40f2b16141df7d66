# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Driver, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

PAUSE = 2.0  # seconds between two looks: a provider counts calls, and refuses when there are too many
SETTLES = 20.0  # seconds within which an order must be visible
_AGAIN = {"GET": (429, 500, 502, 503, 504), "": (409, 423, 429)}
_ATTEMPTS = 4


class CloudDriver(Driver):
    """A balancer of a provider, by the provider's API. It runs where the token is, mostly on the controller, so it can't reach the members.

    A drained member is mostly one that the balancer does not have any more: :class:`Removed` knows how to give it back.
    """

    maintains = False
    counts_sessions = False
    checks_while_drained = False
    reaches_members = False

    def __init__(self) -> None:
        self._looked: float | None = None

    def take_time(self) -> None:
        """Keep two looks apart."""
        if self._looked is not None:
            time.sleep(max(0.0, self._looked + PAUSE - time.monotonic()))
        self._looked = time.monotonic()


def wait_until(condition: t.Callable[[], bool], problem: str) -> None:
    """Wait until *condition* holds: what a provider was told can take a moment to be seen."""
    deadline = time.monotonic() + SETTLES
    while not condition():
        if time.monotonic() >= deadline:
            raise SeamlessError(f"{problem} {SETTLES:g} s later.")
        time.sleep(min(PAUSE, 1.0))


class CloudApi:
    """A provider's API by HTTP. What it refuses for the moment only is tried again."""

    def __init__(self, api: HttpApi) -> None:
        self.api = api

    @classmethod
    def of(cls, params: t.Mapping[str, t.Any], url: str) -> CloudApi:
        """Return the API at *url* or at the one that *params* name instead. Raises SeamlessError where the token is missing."""
        driver, urls = params["driver"], params.get("url") or [url]
        if not params.get("token"):
            raise SeamlessError(f"token is not set: the driver {driver} needs a token of the provider's API that may read and write load balancers.")
        if len(urls) != 1:
            raise SeamlessError(f"url has {len(urls)} entries: a provider has one API. Name its balancers in backend.")
        return cls(HttpApi.of({**params, "username": None}, urls[0]))

    def call(self, method: str, path: str, body: t.Any = None, missing_ok: bool = False) -> t.Any:
        for attempt in range(_ATTEMPTS):
            try:
                return self.api.json(method, path, body, missing_ok=missing_ok)
            except SeamlessError as exc:
                if exc.details.get("status") not in _AGAIN.get(method, _AGAIN[""]) or attempt == _ATTEMPTS - 1:
                    raise
            time.sleep(PAUSE * 2**attempt / 2)
        raise AssertionError("not reached")


def require_backend(params: t.Mapping[str, t.Any], what: str) -> list[str]:
    if not params.get("backend"):
        raise SeamlessError(f"backend is not set: the driver {params['driver']} needs {what}.")
    return [str(backend) for backend in params["backend"]]


class Removed:
    """What was taken out of a balancer that knows nothing of what it does not serve: how to put it back. Written before it is taken out."""

    def __init__(self, directory: str, balancer: str) -> None:
        self.directory = os.path.join(_files.expand(directory), "removed")
        self.balancer = balancer

    def _path(self, ref: MemberRef) -> str:
        return os.path.join(self.directory, f"{hashlib.sha256(ref.key.encode()).hexdigest()[:24]}.json")

    def all(self, backends: t.Collection[str]) -> dict[MemberRef, dict[str, t.Any]]:
        """Return what was taken out of *backends*, by member."""
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.directory)):
                one = _files.read_json(os.path.join(self.directory, name)) if name.endswith(".json") else None
                if one and one["balancer"] == self.balancer and one["backend"] in backends:
                    found[MemberRef(one["balancer"], one["backend"], one["name"])] = one["target"]
        return found

    def put(self, ref: MemberRef, target: t.Mapping[str, t.Any]) -> None:
        _files.make_directory(self.directory)
        content = {"balancer": ref.balancer, "backend": ref.backend, "name": ref.name, "target": dict(target)}
        _files.write_json(self._path(ref), content)

    def drop(self, ref: MemberRef) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(ref))
