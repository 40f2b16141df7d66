# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients of a balancer under test, in a process of their own: busy and slow ones, with pauses, without keep-alive, with a sticky cookie."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import multiprocessing
import multiprocessing.connection
import socket
import typing as t

CONTEXT = multiprocessing.get_context("fork")
TIMEOUT = 10.0


class Kind(t.NamedTuple):
    """*number* clients that ask for *path* with *pause* seconds between two requests."""

    name: str
    number: int
    path: str = "/"
    pause: float = 0.004
    keep: bool = True
    cookie: bool = False


BUSY = Kind("busy", 8)
SLOW = Kind("slow", 5, path="/slow?ms=300")
PAUSING = Kind("pausing", 6, pause=0.2)
SINGLE = Kind("single", 3, keep=False)
STICKY = Kind("sticky", 4, pause=0.02, cookie=True)
ORDINARY = (BUSY, SLOW, PAUSING, SINGLE)
Tally = t.Dict[str, t.Dict[str, int]]


class Client:
    """One HTTP/1.1 client. Errors are named as what a user would see: reset-idle is a kept connection that was closed before an answer, which
    browsers try again by themselves; reset is a fresh one."""

    def __init__(self, port: int, kind: Kind, tally: Tally) -> None:
        self.port, self.kind, self.tally = port, kind, tally
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.used = 0
        self.cookie = ""

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            result, server = await self.ask()
            self.tally[self.kind.name][result] += 1
            if server:
                self.tally["servers"][server] += 1
            await asyncio.sleep(self.kind.pause if result == "ok" else 0.02)
        self.close()

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()
        self.streams, self.used = None, 0

    async def ask(self) -> tuple[str, str]:
        begun = False
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = self.streams
            extra = f"Cookie: {self.cookie}\r\n" if self.cookie else ""
            extra += "" if self.kind.keep else "Connection: close\r\n"
            writer.write(f"GET {self.kind.path} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n".encode())
            first = await asyncio.wait_for(reader.readline(), TIMEOUT)
            if not first:
                raise ConnectionResetError
            begun = True
            headers = await self.headers(reader)
            await self.body(reader, headers)
        except asyncio.TimeoutError:
            self.close()
            return "timeout", ""
        except ConnectionRefusedError:
            self.close()
            return "refused", ""
        except (OSError, asyncio.IncompleteReadError, ValueError):
            result = "short" if begun else "reset-idle" if self.used else "reset"
            self.close()
            return result, ""
        self.used += 1
        if self.kind.cookie and "set-cookie" in headers:
            self.cookie = headers["set-cookie"].partition(";")[0]
        if not self.kind.keep or headers.get("connection", "").lower() == "close":
            self.close()
        status = first.split()[1].decode()
        return ("ok" if status == "200" else status), headers.get("server-name", "")

    @staticmethod
    async def headers(reader: asyncio.StreamReader) -> dict[str, str]:
        found: dict[str, str] = {}
        while (line := await reader.readline()) != b"\r\n":
            if not line:
                raise ConnectionResetError
            name, dummy, value = line.decode("latin-1").partition(":")
            found[name.lower()] = value.strip()
        return found

    @staticmethod
    async def body(reader: asyncio.StreamReader, headers: t.Mapping[str, str]) -> None:
        if "chunked" not in headers.get("transfer-encoding", ""):
            await reader.readexactly(int(headers.get("content-length", "0")))
            return
        while size := int((await reader.readline()).strip() or b"0", 16):
            await reader.readexactly(size + 2)
        await reader.readline()


async def _crowd(port: int, kinds: t.Sequence[Kind], pipe: multiprocessing.connection.Connection) -> Tally:
    tally: Tally = collections.defaultdict(collections.Counter)
    stop = asyncio.Event()
    clients = [asyncio.ensure_future(Client(port, kind, tally).run(stop)) for kind in kinds for dummy in range(kind.number)]
    while not pipe.poll():
        await asyncio.sleep(0.02)
    stop.set()
    await asyncio.gather(*clients)
    return tally


def _process(port: int, kinds: t.Sequence[Kind], pipe: multiprocessing.connection.Connection) -> None:
    tally = asyncio.run(_crowd(port, kinds, pipe))
    pipe.send({name: dict(counts) for name, counts in tally.items()})


class Crowd:
    """Clients of all *kinds* at *port* for as long as the context lasts. Afterwards *results* tells, for each kind, how often what happened."""

    def __init__(self, port: int, kinds: t.Sequence[Kind] = ORDINARY) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_process, args=(port, kinds, theirs))
        self.results: Tally = {}

    def __enter__(self) -> Crowd:
        self.process.start()
        return self

    def __exit__(self, *dummy: object) -> None:
        self.pipe.send("stop")
        with contextlib.suppress(EOFError):
            if self.pipe.poll(TIMEOUT + 5):
                self.results = self.pipe.recv()
        self.process.kill()
        self.process.join()

    @property
    def requests(self) -> int:
        return sum(sum(counts.values()) for name, counts in self.results.items() if name != "servers")

    @property
    def errors(self) -> dict[str, int]:
        found: t.Counter[str] = collections.Counter()
        for name, counts in self.results.items():
            if name != "servers":
                found.update({result: number for result, number in counts.items() if result != "ok"})
        return dict(found)


class WebSocket:
    """A connection that says back what it is sent, with the name of the application behind it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=3)
        self.socket.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        answer = self.socket.recv(4000)
        if b" 101 " not in answer:
            raise ConnectionError(f"no WebSocket: {answer[:200]!r}")

    def say(self, word: str) -> str:
        """Return what comes back, or "" where the connection is closed."""
        try:
            self.socket.sendall(word.encode())
            return self.socket.recv(200).decode(errors="replace")
        except OSError:
            return ""

    def close(self) -> None:
        self.socket.close()
