# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import base64
import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.runtime_socket import RuntimeSocket
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.base import Balancer, Standing, read
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.moments import seconds
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.plan import ON, Plan

# HAProxy reads an order, and writes an answer, in one buffer of 16 KiB.
LARGEST_PAGE = 9000
MAP, ALLOW, HEALTH = "state.map", "allow.lst", "health.lst"
NOTHING = "none"  # a map has no empty values
_LINES = """\
acl maintenance_{name}_pass src -f {allow}
acl maintenance_{name}_pass path -f {health}
acl maintenance_{name}_on str(on),map_str({map},0) -m str 1
http-request set-var(txn.maintenance_{name}_from) str(from),map_str({map},0),add(0)
http-request set-var(txn.maintenance_{name}_until) str(until),map_str({map},0),add(0)
http-request set-var(txn.maintenance_{name}_notice) str(notice),map_str({map},none)
acl maintenance_{name}_begun date,sub(txn.maintenance_{name}_from) ge 0
acl maintenance_{name}_over date,sub(txn.maintenance_{name}_until) ge 0
http-request set-var(txn.maintenance_{name}) bool(true) if maintenance_{name}_on !maintenance_{name}_pass
http-request set-var(txn.maintenance_{name}) bool(true) if maintenance_{name}_begun !maintenance_{name}_over !maintenance_{name}_pass
http-request return status 503 content-type "text/html; charset=utf-8" hdr Retry-After "%[str(retry_after),map_str({map},300)]" \
hdr Cache-Control no-store hdr {header} {on} lf-string "%[str(page),map_str({map}),b64dec]" if {{ var(txn.maintenance_{name}) -m bool }}
http-response set-header {header} %[var(txn.maintenance_{name}_notice)] if !{{ var(txn.maintenance_{name}_notice) -m str none }} \
!maintenance_{name}_begun !maintenance_{name}_on
"""


def read_map(text: str) -> dict[str, str]:
    """Return the entries of a map file."""
    rows = (line.partition(" ") for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {key: value for key, dummy, value in rows}


def write_map(entries: t.Mapping[str, str]) -> bytes:
    return "".join(f"{key} {value}\n" for key, value in entries.items()).encode()


def list_of(data: bytes | None) -> list[str]:
    return (data or b"").decode(errors="replace").split()


def changes(kind: str, path: str, now: t.Mapping[str, str], wanted: t.Mapping[str, str]) -> list[str]:
    """Return the runtime commands that bring a map or list from *now* to *wanted*. What closes the site, ``on``, comes first when it opens, else last."""
    orders = [f"del {kind} {path} {key}" for key in now if key not in wanted]
    opens = wanted.get("on") == "0"
    for key in sorted(wanted, key=lambda key: (key == "on") != opens):
        if key not in now:
            orders.append(f"add {kind} {path} {key} {_escape(wanted[key])}".rstrip())
        elif now[key] != wanted[key]:
            orders.append(f"set {kind} {path} {key} {_escape(wanted[key])}")
    return orders


def _escape(value: str) -> str:
    for char in "\\ ;":
        value = value.replace(char, f"\\{char}")
    return value


class HAProxy(Balancer):
    """HAProxy: a map and two lists that are changed at the runtime socket, and kept in files for its next start. Nothing takes a reload."""

    config = (MAP, ALLOW, HEALTH)

    def __init__(self, params: t.Mapping[str, t.Any], directory: str) -> None:
        super().__init__(params, directory)
        if not params["socket"]:
            raise SeamlessError("socket is not set: the driver haproxy needs its runtime socket, such as /run/haproxy/admin.sock.")
        self.sockets = [RuntimeSocket(address) for address in params["socket"]]

    def render(self, plan: Plan) -> dict[str, bytes]:
        if len(plan.page) > LARGEST_PAGE:
            raise SeamlessError(f"the page has {len(plan.page)} bytes: HAProxy answers from one buffer, so use at most {LARGEST_PAGE}.")
        # HAProxy writes other control characters as %0A and the like.
        page, window = re.sub(rb"[\x00-\x1f]", b" ", plan.page), plan.window
        entries = {
            "on": str(int(plan.on)), "from": str(seconds(window.begin) if window else 0), "until": str(seconds(window.end) if window else 0),
            "notice": window.text if window else NOTHING, "retry_after": plan.retry_after, "page": base64.b64encode(page).decode(),
        }
        lists = {ALLOW: plan.allow, HEALTH: plan.health_paths}
        return {MAP: write_map(entries), **{name: "".join(f"{entry}\n" for entry in lists[name]).encode() for name in lists}}

    def lines(self, header: str) -> dict[str, str]:
        return {"frontend": _LINES.format(
            name=os.path.basename(self.directory), map=self.path(MAP), allow=self.path(ALLOW), health=self.path(HEALTH), header=header, on=ON,
        )}

    def shown(self, name: str, data: bytes | None) -> str:
        text = super().shown(name, data)
        page = read_map(text).get("page") if name == MAP else None
        return text.replace(page, base64.b64decode(page).decode(errors="replace")) if page else text

    def standing(self, names: t.Iterable[str]) -> Standing:
        """Return what is there. What HAProxy has at work counts, where it answers: an operator changes that and not the file."""
        files = {name: read(self.path(name)) for name in names}
        entries = read_map((files.get(MAP) or b"").decode(errors="replace"))
        if files.get(MAP) is not None:
            live = [self._live(socket, "map", MAP) for socket in self.sockets]
            known = [one for one in live if one is not None]
            if known:
                entries = {**entries, "on": "1" if any(one.get("on") == "1" for one in known) else "0"}
                files[MAP] = write_map({**entries})
        return Standing(files, entries.get("on") == "1")

    def is_known(self) -> bool:
        return read(self.path(MAP)) is not None and any(self._live(socket, "map", MAP) is not None for socket in self.sockets)

    def differs(self, wanted: Standing) -> bool:
        return any(self._orders(socket, wanted) for socket in self.sockets)

    def apply(self, wanted: Standing) -> None:
        self.write_only(wanted)
        for socket in self.sockets:
            orders = self._orders(socket, wanted)
            if orders is None:
                raise SeamlessError(f"HAProxy at {socket.address} does not use {self.path(MAP)}: add the lines of the guide to its frontend and reload it.")
            socket.order(orders)
            if self._orders(socket, wanted):
                raise SeamlessError(f"HAProxy at {socket.address} did not take {self.path(MAP)} over: its runtime map is other than what it was set to.")

    def _orders(self, socket: RuntimeSocket, wanted: Standing) -> list[str] | None:
        """Return what is to be said at *socket*, or None where our files are not known."""
        found: list[str] = []
        for kind, name in (("acl", ALLOW), ("acl", HEALTH), ("map", MAP)):
            live = self._live(socket, kind, name)
            if live is None:
                return None
            data = wanted.files.get(name)
            entries = read_map((data or b"").decode()) if kind == "map" else dict.fromkeys(list_of(data), "")
            found += changes(kind, self.path(name), live, entries)
        return found

    def _live(self, socket: RuntimeSocket, kind: str, name: str) -> dict[str, str] | None:
        """Return the entries that HAProxy has at work, or None where it does not use the file."""
        reply = socket.ask(f"show {kind} {self.path(name)}")
        if reply.lstrip().startswith("Unknown"):
            return None
        rows = (line.split(" ", 2) for line in reply.splitlines() if line.startswith("0x"))
        return {row[1]: row[2] if len(row) > 2 else "" for row in rows}
