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
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

PAUSE = 2.0  # seconds between two looks: a provider counts calls, and refuses when there are too many
TIMEOUT = 30.0  # seconds that a provider has for one answer
SETTLES = 20.0  # seconds within which an order must be visible
TOKEN = "a token of the provider's API that may read and write load balancers"
_AGAIN = {"GET": (429, 500, 502, 503, 504), "": (409, 423, 429)}
_ATTEMPTS = 4


class CloudDriver(Driver):
    """A balancer of a provider, by the provider's API. It runs where the token is, mostly on the controller, so it can't reach the members."""

    maintains = False
    counts_sessions = False
    checks_while_drained = False
    reaches_members = False

    def __init__(self) -> None:
        self.patience, self.settle = 60.0, 0.0
        self._looked: float | None = None

    def patient(self, params: t.Mapping[str, t.Any]) -> CloudDriver:
        """Take over how long a member may need until it serves, and how long it needs where nobody says so."""
        self.patience = float(params.get("enable_timeout") or self.patience)
        self.settle = float(params.get("settle_seconds") or self.settle)
        return self

    def change(self, changes: t.Sequence[Change]) -> None:
        """Do *changes*, which put members in or take members out, and verify it."""
        raise NotImplementedError

    def set_states(self, changes: t.Sequence[Change]) -> None:
        """Who comes is seen by nobody before it is checked: where others go in the same breath, they go when it serves."""
        coming, leaving = ([one for one in changes if (one.state == "ready") == comes] for comes in (True, False))
        if coming:
            self.change(coming)
            self._let_settle([one.ref for one in coming])
        if coming and leaving:
            try:
                self._wait_until_serving([one.ref for one in coming])
            except SeamlessError:
                self.change([Change(one.ref, "drain") for one in coming])
                raise
        if leaving:
            self.change(leaving)

    def _let_settle(self, refs: t.Collection[MemberRef]) -> None:
        """Wait where nobody says when the balancer has seen enough good checks of *refs*: until then no other member must leave."""
        if any(member.ref in refs and member.health == "nocheck" for member in self.members()):
            time.sleep(self.settle)

    def _wait_until_serving(self, refs: t.Collection[MemberRef]) -> None:
        deadline = time.monotonic() + self.patience
        while True:
            idle = [member for member in self.members() if member.ref in refs and not member.serving]
            if not idle:
                return
            if time.monotonic() >= deadline:
                raise SeamlessError(
                    f"{idle[0].ref} is {idle[0].health} ({idle[0].check or 'no check'}) {self.patience:g} s after it was put in: it was taken out again, "
                    "and those that it was to replace are in."
                )

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
        """Return the API at *url* or at the one that *params* name instead."""
        urls = params.get("url") or [url]
        if len(urls) != 1:
            raise SeamlessError(f"url has {len(urls)} entries: a provider has one API. Name its balancers in backend.")
        return cls(HttpApi.of({**params, "username": None}, urls[0], timeout=TIMEOUT, proxied=True))

    def call(self, method: str, path: str, body: t.Any = None, missing_ok: bool = False) -> t.Any:
        for attempt in range(_ATTEMPTS):
            try:
                return self.api.json(method, path, body, missing_ok=missing_ok)
            except SeamlessError as exc:
                if exc.details.get("status") not in _AGAIN.get(method, _AGAIN[""]) or attempt == _ATTEMPTS - 1:
                    raise
            time.sleep(PAUSE * 2**attempt / 2)
        raise AssertionError("not reached")


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


class Listed(t.NamedTuple):
    """A member that the balancer has, and what it takes to put it back."""

    target: dict[str, t.Any]
    member: Member


class RemovingDriver(CloudDriver):
    """A balancer that has no word for a drained member: it is removed, and given back. What it takes for that is written down before."""

    def __init__(self, balancer: str, state_dir: str) -> None:
        super().__init__()
        self.balancer = balancer
        self.removed = Removed(state_dir, balancer)

    def listed(self) -> dict[MemberRef, Listed]:
        """Return what the balancer has. One that is on its way out is drained."""
        raise NotImplementedError

    def pools(self) -> t.Collection[str]:
        """Return the names of the pools. Asked after :meth:`listed`."""
        raise NotImplementedError

    def absent(self, ref: MemberRef, target: t.Mapping[str, t.Any]) -> Member:
        """Return the member of *target*, which was removed."""
        raise NotImplementedError

    def order(self, pool: str, targets: t.Sequence[dict[str, t.Any]], comes: bool) -> None:
        """Remove *targets* from *pool*, or give them back."""
        raise NotImplementedError

    def members(self) -> list[Member]:
        self.take_time()
        listed = self.listed()
        absent = [self.absent(ref, target) for ref, target in self.removed.all(self.pools()).items() if ref not in listed]
        return [one.member for one in listed.values()] + absent

    def change(self, changes: t.Sequence[Change]) -> None:
        listed = self.listed()
        targets = {**self.removed.all(self.pools()), **{ref: one.target for ref, one in listed.items()}}
        refs, comes = [one.ref for one in changes], changes[0].state == "ready"
        for ref in refs:
            if ref not in targets:
                raise gone(ref)
            if not comes:
                self.removed.put(ref, targets[ref])
        try:
            for pool in dict.fromkeys(ref.backend for ref in refs):
                self.order(pool, [targets[ref] for ref in refs if ref.backend == pool], comes)
            self._wait_until_taken(refs, comes)
        except SeamlessError:
            self._forget_listed(refs)
            raise
        for ref in refs if comes else ():
            self.removed.drop(ref)

    def _forget_listed(self, refs: t.Sequence[MemberRef]) -> None:
        """Drop what was written down of members that the balancer has still; keep it of those of which nothing is known."""
        with contextlib.suppress(SeamlessError):
            listed = self.listed()
            for ref in refs:
                if ref in listed and listed[ref].member.admin == "ready":
                    self.removed.drop(ref)

    def _wait_until_taken(self, refs: t.Sequence[MemberRef], comes: bool) -> None:
        def taken() -> bool:
            serving = {ref for ref, one in self.listed().items() if one.member.admin == "ready"}
            return all((ref in serving) == comes for ref in refs)

        names = ", ".join(str(ref) for ref in refs)
        wait_until(taken, f"{names} was {'added' if comes else 'removed'}, and that is not to be seen")


@contextlib.contextmanager
def exclusive(state_dir: str, name: str) -> t.Iterator[None]:
    """Let one caller at a time read, change and write *name*."""
    directory = _files.expand(state_dir)
    _files.make_directory(directory)
    with _files.locked(os.path.join(directory, f".{hashlib.sha256(name.encode()).hexdigest()[:12]}.lock")):
        yield
