# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small HTTP/1.1 proxy: what is behind a fake of an API. The API changes *state* of its members, the proxy obeys and counts."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import typing as t

RISE = FALL = 2
CONNECT = 2.0


@dataclasses.dataclass(eq=False)
class Place:
    """A member. *state* is ready, drain (requests that are bound to it by their cookie) or out. *healthy* is None until checks have decided."""

    name: str
    port: int
    weight: float = 1
    state: str = "ready"
    checked: bool = True
    healthy: bool | None = None
    active: int = 0
    total: int = 0
    checks: int = 0
    failed: int = 0
    last_passed: bool = False
    score: float = 0
    run: int = 0

    def saw(self, passed: bool) -> None:
        """Take the result of a check: *RISE* passed ones in a row make it healthy, *FALL* failed ones unhealthy."""
        self.run = self.run + 1 if passed == self.last_passed and self.checks else 1
        self.checks += 1
        self.failed += not passed
        self.last_passed = passed
        if self.run >= (RISE if passed else FALL):
            self.healthy = passed


@dataclasses.dataclass
class Pool:
    """Members by name. *check* is the path that is asked every *interval* seconds, or "" for no checks. *sticky*: it sets a cookie."""

    name: str
    places: dict[str, Place]
    check: str = "/healthz"
    interval: float = 0.3
    sticky: bool = False

    def may(self, place: Place) -> bool:
        return place.healthy is not False and (place.healthy is True or not self.check)

    def pick(self, bound: str) -> Place | None:
        """Return whose turn it is, by weight, or the one that *bound*, the value of the cookie, names."""
        held = self.places.get(bound) if self.sticky else None
        if held and held.state in ("ready", "drain") and self.may(held):
            return held
        open_ones = [place for place in list(self.places.values()) if place.state == "ready" and place.weight > 0 and self.may(place)]
        if not open_ones:
            return None
        for place in open_ones:
            place.score += place.weight
        best = max(open_ones, key=lambda place: place.score)
        best.score -= sum(place.weight for place in open_ones)
        return best


Head = t.Tuple[str, t.List[t.Tuple[str, str]]]


async def read_head(reader: asyncio.StreamReader) -> Head:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
    return first, [(name.lower(), value.strip()) for name, dummy, value in (line.partition(":") for line in lines)]


def write_head(writer: asyncio.StreamWriter, first: str, headers: t.Sequence[tuple[str, str]]) -> None:
    writer.write("".join([f"{first}\r\n", *(f"{name}: {value}\r\n" for name, value in headers), "\r\n"]).encode("latin-1"))


class Proxy:
    """Listens at a port and sends each request to a member of the pool that its path belongs to."""

    def __init__(self, pools: t.Callable[[str], Pool | None], every: t.Callable[[], t.Iterable[Pool]]) -> None:
        self.pools = pools
        self.every = every

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ValueError, IndexError):
            pass
        finally:
            writer.close()

    async def request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether there may be another one on the connection."""
        first, headers = await read_head(reader)
        fields = dict(headers)
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        stays = fields.get("connection", "").lower() != "close" and not first.endswith("HTTP/1.0")
        pool = self.pools(first.split(" ")[1])
        cookies = dict(part.strip().partition("=")[::2] for part in fields.get("cookie", "").split(";"))
        place = pool.pick(cookies.get("SERVER", "")) if pool else None
        if pool is None or place is None:
            return self.refuse(writer, "503 Service Unavailable", stays)
        place.active += 1
        place.total += 1
        try:
            return await self.forward(place, pool.sticky, (first, headers), body, stays, reader, writer)
        finally:
            place.active -= 1

    @staticmethod
    def refuse(writer: asyncio.StreamWriter, status: str, stays: bool) -> bool:
        write_head(writer, f"HTTP/1.1 {status}", [("Content-Length", "0"), *([] if stays else [("Connection", "close")])])
        return stays

    async def forward(
        self, place: Place, sticky: bool, head: Head, body: bytes, stays: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    ) -> bool:
        upgrades = "upgrade" in dict(head[1])
        try:
            back, forth = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", place.port), CONNECT)
        except (OSError, asyncio.TimeoutError):
            return self.refuse(writer, "502 Bad Gateway", stays)
        try:
            kept = [(name, value) for name, value in head[1] if upgrades or name != "connection"]
            write_head(forth, head[0], kept if upgrades else [*kept, ("connection", "close")])
            forth.write(body)
            try:
                first, headers = await read_head(back)
            except (ConnectionError, asyncio.IncompleteReadError):
                return self.refuse(writer, "502 Bad Gateway", stays)
            if upgrades and " 101 " in first:
                write_head(writer, first, headers)
                await self.tunnel(reader, writer, back, forth)
                return False
            content = await back.readexactly(int(dict(headers).get("content-length", "0")))
            headers = [(name, value) for name, value in headers if name != "connection"]
            extra = [("Set-Cookie", f"SERVER={place.name}; Path=/")] if sticky else []
            write_head(writer, first, [*headers, *extra, *([] if stays else [("Connection", "close")])])
            writer.write(content)
            await writer.drain()
            return stays
        finally:
            forth.close()

    @staticmethod
    async def tunnel(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamReader, forth: asyncio.StreamWriter,
    ) -> None:
        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(4096):
                    sink.write(data)
                    await sink.drain()

        pumps = [asyncio.ensure_future(copy(reader, forth)), asyncio.ensure_future(copy(back, writer))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()

    async def check_for_ever(self) -> None:
        while True:
            pools = list(self.every())
            asked = [(pool, place) for pool in pools if pool.check for place in list(pool.places.values()) if place.checked]
            await asyncio.gather(*(self.check(pool, place) for pool, place in asked))
            await asyncio.sleep(min([pool.interval for pool in pools] or [0.3]))

    @staticmethod
    async def check(pool: Pool, place: Place) -> None:
        async def ask() -> bool:
            reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
            try:
                write_head(writer, f"GET {pool.check} HTTP/1.1", [("Host", "check"), ("Connection", "close")])
                return (await read_head(reader))[0].split(" ")[1] == "200"
            finally:
                writer.close()

        try:
            passed = await asyncio.wait_for(ask(), 1)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            passed = False
        place.saw(passed)
