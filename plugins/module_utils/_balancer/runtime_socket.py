# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import socket
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

# HAProxy reads a command line into one buffer of tune.bufsize, 16 KiB unless somebody made it smaller.
LONGEST_LINE = 4096


def check_address(address: str) -> str:
    """Return a socket address, or refuse what is neither a path nor host:port."""
    host, dummy, port = address.rpartition(":")
    if "/" in address or (host and port.isdigit() and 0 < int(port) < 65536):
        return address
    raise SeamlessError(f"socket is {address!r}: use the path of a runtime socket such as /run/haproxy/admin.sock, or host:port.")


def lines_of(commands: t.Sequence[str]) -> list[str]:
    """Join commands by ``;`` to as few lines as HAProxy's buffer takes."""
    lines: list[str] = []
    for command in commands:
        if lines and len(lines[-1]) + len(command) < LONGEST_LINE:
            lines[-1] += f";{command}"
        else:
            lines.append(command)
    return lines


class RuntimeSocket:
    """HAProxy's runtime socket: one connection a command line, read to its end. *timeout*, in seconds, is for the whole exchange."""

    def __init__(self, address: str, timeout: float = 5.0) -> None:
        self.address = check_address(address)
        self.timeout = timeout

    def ask(self, line: str) -> str:
        """Send a command line and return the reply. Every way a socket can fail has its own message."""
        try:
            reply = self._exchange(line)
        except socket.timeout as exc:
            raise SeamlessError(
                f"HAProxy's socket {self.address} accepts connections but gave no answer within {self.timeout:g} s: the process is stuck or "
                "this is not a runtime socket. Look at it with: echo 'show info' | socat stdio " + self.address
            ) from exc
        except OSError as exc:
            raise SeamlessError(self._refusal(exc)) from exc
        # An error takes the place of an answer. The same words may stand in the answer itself: they are in what a health check has read.
        start = reply.lstrip()
        if start.startswith("Permission denied"):
            raise SeamlessError(
                f"HAProxy's socket {self.address} refuses {line.split()[0]!r} commands: it needs 'level admin' on its 'stats socket' line."
            )
        if start.startswith(("Unknown command", "Unknown keyword")):
            raise SeamlessError(f"HAProxy at {self.address} does not know {line.split(';')[0]!r}: version 2.2 or newer is needed.")
        return reply

    def order(self, commands: t.Sequence[str]) -> None:
        """Send commands that answer nothing when they succeed."""
        for line in lines_of(commands):
            refusal = self.ask(line).strip()
            if refusal:
                raise SeamlessError(f"HAProxy at {self.address} refused {line.split(';')[0]!r}: {' '.join(refusal.split())}")

    def _exchange(self, line: str) -> str:
        try:
            return self._exchange_once(line)
        except (ConnectionResetError, BrokenPipeError):
            # The process went away in a reload; every command can be given twice.
            time.sleep(0.2)
            return self._exchange_once(line)

    def _exchange_once(self, line: str) -> str:
        deadline = time.monotonic() + self.timeout
        with self._connect() as connection:
            connection.sendall(line.encode() + b"\n")
            chunks: list[bytes] = []
            while True:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                chunk = connection.recv(65536)
                if not chunk:
                    return b"".join(chunks).decode(errors="replace")
                chunks.append(chunk)

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
