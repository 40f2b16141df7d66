# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import csv
import os
import socket
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Driver, Member, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

# doc/management.txt of HAProxy, "show servers state": bits of srv_admin_state.
FORCED_MAINT, INHERITED_MAINT, CONFIG_MAINT, FORCED_DRAIN, INHERITED_DRAIN, DNS_MAINT = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


class Socket:
    """HAProxy's runtime socket: one connection a command line, read to its end. *timeout* is in seconds."""

    def __init__(self, address: str, timeout: float = 5.0) -> None:
        self.address = address
        self.timeout = timeout

    def ask(self, command: str) -> str:
        """Send *command* and return the reply. Every way a socket can fail has its own message."""
        try:
            with self._connect() as connection:
                connection.sendall(command.encode() + b"\n")
                chunks = []
                while True:
                    chunk = connection.recv(65536)
                    if not chunk:
                        break
                    chunks.append(chunk)
        except socket.timeout as exc:
            raise SeamlessError(
                f"HAProxy's socket {self.address} accepts connections but gave no answer within {self.timeout:g} s: the process is stuck or "
                "this is not a runtime socket. Look at it with: echo 'show info' | socat stdio " + self.address
            ) from exc
        except OSError as exc:
            raise SeamlessError(self._refusal(exc)) from exc
        reply = b"".join(chunks).decode(errors="replace")
        if "Permission denied" in reply:
            raise SeamlessError(
                f"HAProxy's socket {self.address} refuses {command.split()[0]!r} commands: it needs 'level admin' on its 'stats socket' line."
            )
        if reply.lstrip().startswith(("Unknown command", "Unknown keyword")):
            raise SeamlessError(f"HAProxy at {self.address} does not know {command!r}: version 2.2 or newer is needed.")
        return reply

    def _connect(self) -> socket.socket:
        if "/" in self.address:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self.timeout)
            try:
                connection.connect(self.address)
            except BaseException:
                connection.close()
                raise
            return connection
        host, dummy, port = self.address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=self.timeout)

    def _refusal(self, exc: OSError) -> str:
        where = f"HAProxy's socket {self.address}"
        if isinstance(exc, FileNotFoundError):
            return f"{where} is not there: set socket to the path on the 'stats socket' line of haproxy.cfg, and check that HAProxy runs."
        if isinstance(exc, ConnectionRefusedError):
            return f"{where} refuses connections: nothing listens there any more. Start HAProxy, or correct socket."
        if isinstance(exc, PermissionError):
            return f"{where} can't be opened by this user: use become: true, or a 'mode' and 'group' on the 'stats socket' line."
        return f"{where} can't be used: {exc.strerror or exc}"


def check_address(address: str) -> str:
    """Return a socket address, or refuse what is neither a path nor host:port."""
    host, dummy, port = address.rpartition(":")
    if "/" in address or (host and port.isdigit()):
        return address
    raise SeamlessError(f"socket is {address!r}: use the path of a runtime socket such as /run/haproxy/admin.sock, or host:port.")


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
    if bits & (FORCED_MAINT | INHERITED_MAINT | CONFIG_MAINT | DNS_MAINT):
        source = "runtime" if bits & FORCED_MAINT else "config" if bits & CONFIG_MAINT else "tracked" if bits & INHERITED_MAINT else "dns"
        return "maint", source
    if bits & (FORCED_DRAIN | INHERITED_DRAIN):
        return "drain", "runtime" if bits & FORCED_DRAIN else "tracked"
    return "ready", "runtime"


def _number(text: str | None) -> int | None:
    return int(text) if text and text.lstrip("-").isdigit() else None


def health_of(row: t.Mapping[str, str]) -> tuple[str, bool]:
    """Return the health in a ``show stat`` row, and whether its checks have all passed (``check_rise + check_fall - 1``)."""
    status = row.get("status", "")
    check_status = (row.get("check_status") or "").lstrip("* ")
    level, rise, fall = (_number(row.get(name)) for name in ("check_health", "check_rise", "check_fall"))
    if not check_status or status == "no check":
        return "nocheck", True
    passing = check_status.endswith("OK") or check_status == "L7OKC" or check_status == "INI"
    full = passing and (level is None or rise is None or fall is None or level >= rise + fall - 1)
    if status.startswith("DOWN"):
        return "down", False
    if level is not None and rise is not None and level < rise:
        return "down", False
    if status.startswith(("UP", "DRAIN", "NOLB", "MAINT")):
        return ("up" if full else "starting" if passing else "down"), full
    return "unknown", False


class HAProxy(Driver):
    """HAProxy 2.2 and newer, by its runtime socket."""

    name = "haproxy"

    def __init__(self, address: str, backends: t.Sequence[str]) -> None:
        self.socket = Socket(check_address(address))
        self.backends = list(backends)

    def members(self) -> list[Member]:
        reply = self.socket.ask("show servers state;show stat")
        start = reply.find("# pxname")
        if start < 0:
            raise SeamlessError(f"HAProxy at {self.socket.address} gave no statistics: {reply[:200]!r}")
        states = {(row["be_name"], row["srv_name"]): row for row in parse_servers_state(reply[:start])}
        found = []
        for row in parse_stat(reply[start:]):
            key = (row["pxname"], row["svname"])
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
        health, full = health_of(row)
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
            agent=bool(row.get("agent_status")),
            backup=row.get("bck") == "1",
        )

    def set_states(self, changes: t.Sequence[tuple[MemberRef, str]]) -> None:
        if not changes:
            return
        reply = self.socket.ask(";".join(f"set server {ref.backend}/{ref.name} state {state}" for ref, state in changes)).strip()
        if reply:
            raise SeamlessError(f"HAProxy at {self.socket.address} refused: {reply}")
        seen = {member.ref: member for member in self.members()}
        for ref, state in changes:
            if seen[ref].admin != state:
                raise SeamlessError(
                    f"{ref} is {seen[ref].admin} ({seen[ref].admin_source}) right after it was set to {state}: its configuration, a tracked "
                    "server or an agent check overrules the runtime socket."
                )

    def set_weight(self, ref: MemberRef, weight: int) -> None:
        reply = self.socket.ask(f"set server {ref.backend}/{ref.name} weight {weight}").strip()
        if reply:
            raise SeamlessError(f"HAProxy at {self.socket.address} refused weight {weight} for {ref}: {reply}")

    def shutdown_sessions(self, ref: MemberRef) -> None:
        self.socket.ask(f"shutdown sessions server {ref.backend}/{ref.name}")

    def persist(self, path: str) -> None:
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):
            raise SeamlessError(f"persist_state is {path!r}: {directory} is not there. Use the path of HAProxy's server-state-file.")
        _files.write_atomically(path, self.socket.ask("show servers state").encode())

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        found = []
        if any(member.health == "nocheck" for member in members):
            found.append(f"{self.socket.address} has servers without check: HAProxy would send requests to a dead application")
        if any(member.agent for member in members):
            found.append(f"{self.socket.address} uses agent checks: an agent overrules what is set at the runtime socket")
        return found
