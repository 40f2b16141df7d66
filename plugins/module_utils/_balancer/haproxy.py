# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import csv
import os
import re
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, Setup, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.runtime_socket import RuntimeSocket
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

# doc/management.txt of HAProxy, "show servers state": bits of srv_admin_state and of srv_check_state, values of srv_op_state. The bit of
# a server that is 'disabled' in haproxy.cfg says what it began as and stays for ever; it is no state.
FORCED_MAINT, INHERITED_MAINT, CONFIG_MAINT, FORCED_DRAIN, INHERITED_DRAIN, DNS_MAINT = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
CHECK_ENABLED = 0x04
STOPPED, STARTING, RUNNING, STOPPING = "0", "1", "2", "3"
# "balance" of a backend, as its statistics name it: the one takes no weight at runtime, the other has no use for one.
UNWEIGHTED = ("static-rr", "first")
_ATTEMPTS, _PAUSE = 3, 0.2


def parse_servers_state(text: str) -> list[dict[str, str]]:
    """Parse ``show servers state`` by its header: 20 columns on 2.2, 25 on 2.6, and more may come."""
    rows = []
    header: list[str] = []
    for line in text.splitlines():
        if line.startswith("# "):
            header = line[2:].split()
        elif header and line.strip():
            rows.append(dict(zip(header, line.split())))
    return rows


def parse_stat(text: str) -> list[dict[str, str]]:
    """Parse the CSV of ``show stat`` by its header."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or not lines[0].startswith("# "):
        raise SeamlessError(f"HAProxy's statistics are not what they should be: {text[:200]!r}")
    return [dict(row) for row in csv.DictReader([lines[0][2:], *lines[1:]])]


def admin_of(bits: int) -> tuple[str, str]:
    """Return the admin state that *bits* mean, and who set it: runtime, config, tracked or dns."""
    if bits & FORCED_MAINT:
        return "maint", "config" if bits & CONFIG_MAINT else "runtime"
    if bits & (INHERITED_MAINT | DNS_MAINT):
        return "maint", "tracked" if bits & INHERITED_MAINT else "dns"
    if bits & (FORCED_DRAIN | INHERITED_DRAIN):
        return "drain", "runtime" if bits & FORCED_DRAIN else "tracked"
    return "ready", "runtime"


def _number(text: str | None) -> int | None:
    return int(text) if text and text.lstrip("-").isdigit() else None


_ANSWERS = ("hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other")


def answered_of(row: t.Mapping[str, t.Any]) -> tuple[int | None, int | None]:
    """Return how many requests a row of statistics tells of, and how many of them failed: those answered with 5xx, and those that got no answer.

    Of a server that knows no HTTP these are its connections.
    """
    counts = {name: int(row.get(name) or 0) for name in (*_ANSWERS, "econ", "eresp", "stot")}
    lost = counts["econ"] + counts["eresp"]
    if row.get("mode", "http") != "http":
        return counts["stot"], lost
    return sum(counts[name] for name in _ANSWERS) + lost, counts["hrsp_5xx"] + lost


def health_of(state: t.Mapping[str, str], row: t.Mapping[str, str]) -> tuple[str, bool]:
    """Return a server's health, and whether its checks have all passed (``check_rise + check_fall - 1``).

    *state* is its row of ``show servers state``, *row* that of ``show stat``. In maintenance checks are paused and what they said last
    is worth nothing. A server without checks of its own may follow another one by ``track``: then that one's health is its own.
    """
    operation = state.get("srv_op_state", "")
    checked = (_number(state.get("srv_check_state")) or 0) & CHECK_ENABLED
    if admin_of(_number(state.get("srv_admin_state")) or 0)[0] == "maint":
        return ("unknown" if checked else "nocheck"), not checked
    if operation == STOPPED:
        return "down", False
    if operation == STOPPING:
        return "stopping", False
    if not checked:
        return "nocheck", True
    passing = (row.get("check_status") or "").lstrip("* ") in ("L4OK", "L6OK", "L7OK", "L7OKC", "PROCOK", "INI")
    if not passing:
        return "down", False
    level, rise, fall = (_number(row.get(name)) for name in ("check_health", "check_rise", "check_fall"))
    full = level is None or rise is None or fall is None or level >= rise + fall - 1
    return ("up" if full and operation != STARTING else "starting"), full


class HAProxy(Driver):
    """HAProxy 2.2 and newer, by its runtime socket."""

    name = "haproxy"
    needs: t.ClassVar[dict[str, str]] = {"socket": "its runtime socket, such as /run/haproxy/admin.sock"}
    proves = True
    weights = (1, 256)

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        return [cls(address, params.get("backend") or []) for address in params["socket"]]

    def __init__(self, address: str, backends: t.Sequence[str]) -> None:
        self.socket = RuntimeSocket(address)
        self.backends = list(backends)
        self._balance: dict[str, str] = {}

    def members(self) -> list[Member]:
        reply = self.socket.ask("show servers state;show stat")
        start = reply.find("# pxname")
        if start < 0:
            raise SeamlessError(f"HAProxy at {self.socket.address} gave no statistics: {reply[:200]!r}")
        states = {(row["be_name"], row["srv_name"]): row for row in parse_servers_state(reply[:start])}
        found = []
        for row in parse_stat(reply[start:]):
            key = (row["pxname"], row["svname"])
            if key[1] == "BACKEND":
                self._balance[key[0]] = row.get("algo", "")
            if key in states and (not self.backends or key[0] in self.backends):
                found.append(self._member(key, states[key], row))
        self._check_backends({backend for backend, dummy in states})
        return found

    def _check_backends(self, known: t.Collection[str]) -> None:
        missing = [backend for backend in self.backends if backend not in known]
        if missing:
            raise SeamlessError(
                f"backend {missing[0]} is not on {self.socket.address}: HAProxy has {', '.join(sorted(known)) or 'no backend with servers'}."
            )

    def _member(self, key: tuple[str, str], state: t.Mapping[str, str], row: t.Mapping[str, str]) -> Member:
        admin, source = admin_of(int(state["srv_admin_state"]))
        health, full = health_of(state, row)
        requests, errors = answered_of(row)
        return Member(
            ref=MemberRef(self.socket.address, *key),
            address=state.get("srv_addr", ""),
            port=_number(state.get("srv_port")),
            admin=admin,
            admin_source=source,
            health=health,
            fully_up=full,
            check=" ".join(filter(None, (row.get("check_status", "").lstrip("* "), row.get("last_chk", "")))),
            weight=_number(state.get("srv_uweight")),
            sessions=_number(row.get("scur")),
            queued=_number(row.get("qcur")),
            total=_number(row.get("stot")),
            requests=requests,
            errors=errors,
            agent=bool(row.get("agent_status")),
            backup=row.get("bck") == "1",
        )

    def set_states(self, changes: t.Sequence[Change]) -> None:
        if not changes:
            return
        wrong = list(changes)
        for attempt in range(_ATTEMPTS):
            if attempt:
                # A reload in this very moment: the old process took the order, the new one has never heard of it.
                time.sleep(_PAUSE)
            self.socket.order([f"set server {one.ref.backend}/{one.ref.name} state {one.state}" for one in wrong])
            seen = {member.ref: member for member in self.members()}
            wrong = [one for one in wrong if one.ref not in seen or seen[one.ref].admin != one.state]
            if not wrong:
                return
        ref, state, dummy = wrong[0]
        if ref not in seen:
            raise gone(ref)
        raise SeamlessError(
            f"{ref} is {seen[ref].admin} ({seen[ref].admin_source}) right after it was set to {state}: its configuration, a tracked "
            "server or an agent check overrules the runtime socket."
        )

    def ask_for_proof(self, refs: t.Sequence[MemberRef]) -> None:
        """Set the health to ``stopping``: for a drained server that changes nothing until the next check that passes makes it running again."""
        self.socket.order([f"set server {ref.backend}/{ref.name} health stopping" for ref in refs])

    def weight_range(self, backend: str) -> tuple[int, int] | None:
        return None if self._balance.get(backend) in UNWEIGHTED else self.weights

    def set_weight(self, ref: MemberRef, weight: int) -> None:
        self.set_weights({ref: weight})

    def set_weights(self, weights: t.Mapping[MemberRef, int]) -> None:
        self.socket.order([f"set server {ref.backend}/{ref.name} weight {weight}" for ref, weight in weights.items()])

    def shutdown_sessions(self, ref: MemberRef) -> None:
        self.socket.order([f"shutdown sessions server {ref.backend}/{ref.name}"])

    def persist(self, path: str) -> None:
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):
            raise SeamlessError(f"persist_state is {path!r}: {directory} is not there. Use the path of HAProxy's server-state-file.")
        _files.write_atomically(path, self.socket.ask("show servers state").encode())

    def setups(self) -> dict[str, Setup]:
        """Read the files that this HAProxy was started with: it has not seen what was written into them since. The socket says none of it."""
        from ansible_collections.seamless.rollout.plugins.module_utils._balancer import haproxy_config

        process = re.search(r"^Pid: (\d+)$", self.socket.ask("show info"), re.MULTILINE)
        # Behind a TCP socket on another machine there is another process of that number, or none.
        texts = haproxy_config.read(int(process[1])) if process else None
        return {name: haproxy_config.setup_of(lines) for name, lines in haproxy_config.proxies(texts or []).items()}

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        found = []
        if any(member.health == "nocheck" for member in members):
            found.append(f"{self.socket.address} has servers without check: HAProxy would send requests to a dead application")
        if any(member.agent for member in members):
            found.append(f"{self.socket.address} uses agent checks: an agent overrules what is set at the runtime socket")
        return found
