# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import collections
import time
import typing as t
import urllib.parse
from xml.etree import ElementTree

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

_NAMESPACE = "{http://httpd.apache.org}"
# Every flag that takes a member out, in one request: what is not wanted is taken away.
_FLAGS = {
    "ready": {"w_status_N": "0", "w_status_D": "0", "w_status_S": "0"},
    "drain": {"w_status_N": "1", "w_status_D": "0", "w_status_S": "0"},
    "maint": {"w_status_N": "0", "w_status_D": "1", "w_status_S": "0"},
}


class Worker(t.NamedTuple):
    """A BalancerMember as the balancer-manager shows it. *nonce* is that of its balancer, which each order has to bring along."""

    balancer: str
    nonce: str
    url: str
    fields: dict[str, str]

    @property
    def flags(self) -> list[str]:
        return self.fields.get("status", "").split()

    @property
    def place(self) -> tuple[str, int | None]:
        """Return where it listens; a UNIX socket has no address."""
        port = _number(self.fields.get("port"))
        return ("", None) if self.url.startswith("unix:") else (self.fields.get("hostname", ""), port)

    @property
    def admin(self) -> str:
        if "Dis" in self.flags or "Stop" in self.flags:
            return "maint"
        return "drain" if "Drn" in self.flags else "ready"

    @property
    def weight(self) -> int | None:
        """Return the load factor where it is a whole number."""
        whole, dummy, fraction = self.fields.get("loadfactor", "").partition(".")
        return _number(whole) if not fraction.strip("0") else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def parse_manager(text: str, url: str) -> list[Worker]:
    """Return the workers of every balancer in the XML of a balancer-manager. Raises SeamlessError for anything else."""
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as exc:
        if "Load Balancer Manager" in text:
            raise SeamlessError(
                f"{url} shows its page for people and ignores what it is asked: Apache takes parameters only from the address by which it is "
                "called. Use the host name and port of its virtual host, without a proxy that changes Host or Referer in between."
            ) from exc
        raise _no_manager(text, url) from exc
    if root.tag != f"{_NAMESPACE}manager":
        raise _no_manager(text, url)
    found = []
    for balancer in root.iter(f"{_NAMESPACE}balancer"):
        fields = _fields(balancer)
        name = fields.get("name", "").partition("://")[2]
        for worker in balancer.iter(f"{_NAMESPACE}worker"):
            mine = _fields(worker)
            found.append(Worker(name, fields.get("nonce", ""), mine.get("name", ""), mine))
    return found


def _fields(element: ElementTree.Element) -> dict[str, str]:
    return {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in element}


def _no_manager(text: str, url: str) -> SeamlessError:
    return SeamlessError(
        f"{url} is no balancer-manager, it answers with {' '.join(text.split())[:80]!r}: use the address of the <Location> with "
        "'SetHandler balancer-manager', and keep it out of ProxyPass with 'ProxyPass /balancer-manager !'."
    )


def references(workers: t.Sequence[Worker], url: str) -> dict[MemberRef, Worker]:
    """Name each worker by its route, and by its place where it has none or shares it."""
    routes = collections.Counter((worker.balancer, worker.fields.get("route")) for worker in workers)
    found = {}
    for worker in workers:
        route = worker.fields.get("route", "")
        alone = routes[(worker.balancer, route)] == 1
        name = route if route and alone else worker.url.partition("://")[2].rstrip("/") or worker.url
        found[MemberRef(url, worker.balancer, name)] = worker
    return found


class Apache(Driver):
    """Apache 2.4 with mod_proxy_balancer, by its balancer-manager. An order that it does not like is answered like any other and not followed,
    so everything is read back.

    Whether mod_proxy_hcheck watches a member is not in its answer, only that a check has failed. Its count of busy requests is changed by
    several threads at once and drifts, by about one in ten thousand requests, either way and until the next restart: no value of it means
    quiet, only that it has stood still for as long as the longest request takes.
    """

    name = "apache"
    needs: t.ClassVar[dict[str, str]] = {"url": "the page of the virtual host whose balancers are meant, such as http://127.0.0.1/balancer-manager"}
    weights = (1, 100)

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        return [cls(HttpApi.of(params, url), params.get("backend") or [], params["settle_seconds"]) for url in params["url"]]

    def __init__(self, api: HttpApi, backends: t.Sequence[str], settle_seconds: float) -> None:
        self.api = api
        self.backends = list(backends)
        self.settle_seconds = settle_seconds
        self._still: dict[MemberRef, tuple[tuple[int | None, int | None], float]] = {}
        # Without it, or with another host in it, Apache drops every parameter.
        self.headers = {"Referer": api.url}

    def _workers(self) -> dict[MemberRef, Worker]:
        dummy, text, dummy_headers = self.api.call("GET", "?xml=1", headers=self.headers)
        found = references(parse_manager(text, self.api.url), self.api.url)
        known = {ref.backend for ref in found}
        missing = [backend for backend in self.backends if backend not in known]
        if missing:
            raise SeamlessError(f"backend {missing[0]} is no balancer of {self.api.url}: there are {', '.join(sorted(known)) or 'none'}.")
        return {ref: worker for ref, worker in found.items() if not self.backends or ref.backend in self.backends}

    def members(self) -> list[Member]:
        return [self._member(ref, worker) for ref, worker in self._workers().items()]

    def _member(self, ref: MemberRef, worker: Worker) -> Member:
        failed = [flag for flag in worker.flags if flag in ("Err", "HcFl")]
        address, port = worker.place
        return Member(
            ref=ref, address=address, port=port, admin=worker.admin, admin_source="runtime", health="down" if failed else "nocheck",
            # A member in error is tried again by the next request only, and while it is out there is none.
            fully_up="HcFl" not in failed and ("Err" not in failed or worker.admin != "ready"), check=" ".join(failed), weight=worker.weight,
            sessions=self._sessions(ref, worker), queued=None, total=_number(worker.fields.get("elected")),
            backup="Stby" in worker.flags or "Spar" in worker.flags,
        )

    def _sessions(self, ref: MemberRef, worker: Worker) -> int | None:
        """Return the busy requests as Apache counts them at the first look, and of a member that is out none later only when both its
        counters have not moved for settle_seconds."""
        counters = (_number(worker.fields.get("busy")), _number(worker.fields.get("elected")))
        first = ref not in self._still
        if worker.admin == "ready":
            self._still.pop(ref, None)
        elif first or self._still[ref][0] != counters:
            self._still[ref] = (counters, time.monotonic())
        if first or worker.admin == "ready":
            return counters[0]
        return 0 if time.monotonic() - self._still[ref][1] >= self.settle_seconds else max(counters[0] or 0, 1)

    def set_states(self, changes: t.Sequence[Change]) -> None:
        if not changes:
            return
        workers = self._workers()
        for change in changes:
            self._order(workers, change.ref, _FLAGS[change.state])
        now = self._workers()
        for change in changes:
            if change.ref not in now:
                raise gone(change.ref)
            if now[change.ref].admin != change.state:
                raise SeamlessError(f"{change.ref} is {now[change.ref].admin} right after it was set to {change.state}: {self._ignored()}")

    def _order(self, workers: t.Mapping[MemberRef, Worker], ref: MemberRef, what: t.Mapping[str, str]) -> None:
        if ref not in workers:
            raise gone(ref)
        worker = workers[ref]
        body = urllib.parse.urlencode({"b": worker.balancer, "w": worker.url, "nonce": worker.nonce, **what})
        self.api.call("POST", "", body.encode(), {**self.headers, "Content-Type": "application/x-www-form-urlencoded"})

    @staticmethod
    def _ignored() -> str:
        return "the balancer-manager did not follow. Somebody else may have changed it in the same moment; if not, Apache's error log says why."

    def set_weight(self, ref: MemberRef, weight: int) -> None:
        if not 1 <= weight <= 100:
            raise SeamlessError(f"weight is {weight}: Apache's loadfactor is 1 to 100, and it ignores anything else. Use state: drained to send nothing.")
        self._order(self._workers(), ref, {"w_lf": str(weight)})
        now = self._workers()
        if ref not in now:
            raise gone(ref)
        if now[ref].weight != weight:
            raise SeamlessError(f"{ref} has the loadfactor {now[ref].fields.get('loadfactor')} right after it was set to {weight}: {self._ignored()}")

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        return [
            f"{self.api.url}: Apache does not say which members mod_proxy_hcheck watches. Set check_url, so that one whose application is dead "
            "does not come back",
        ]
