# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Load on several URLs over keep-alive connections, with every failed request counted: nothing is retried.

    with Load(["http://198.51.100.10/"], rate=300) as load:
        load.mark("roll")
    print(load.summary())

It runs in a process of its own, so that what it drives can't hold it up.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import multiprocessing
import multiprocessing.connection
import secrets
import time
import typing as t
import urllib.parse

TIMEOUT = 10.0


class Sample(t.NamedTuple):
    """One request: when it began (seconds since 1970), how long it took in seconds, what went wrong ("" for nothing), and what served it.

    *via* is the address that it was sent to, *mark* its number where requests are numbered: servers on the way have it in their logs.
    """

    at: float
    seconds: float
    error: str
    served: str
    via: str = ""
    mark: str = ""


class Client:
    """One HTTP/1.1 client. With *keep*, it holds its connection; a reset of a connection that it re-used counts as a failure.

    With a *name*, every request has a number of its own in its URL.
    """

    def __init__(self, url: str, *, keep: bool, version_key: str | None, name: str = "") -> None:
        parts = urllib.parse.urlsplit(url)
        self.host, self.port, self.path = parts.hostname or "", parts.port or 80, parts.path or "/"
        self.keep = keep
        self.version_key = version_key
        self.name, self.number = name, 0
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()
        self.streams = None

    async def request(self) -> Sample:
        at, begun = time.time(), time.monotonic()
        reused = self.streams is not None
        served = error = mark = ""
        if self.name:
            self.number += 1
            mark = f"{self.name}.{self.number}"
        try:
            served = await asyncio.wait_for(self._exchange(f"{self.path}?{mark}" if mark else self.path), TIMEOUT)
        except asyncio.TimeoutError:
            error = "timeout"
        except ConnectionRefusedError:
            error = "refused"
        except (ConnectionError, asyncio.IncompleteReadError, OSError) as exc:
            partial = getattr(exc, "partial", b"")
            error = "short" if partial else "reset-idle" if reused else "reset"
        except ValueError as exc:
            error = str(exc)
        if error or not self.keep:
            self.close()
        return Sample(at, time.monotonic() - begun, error, served, self.host, mark)

    async def _exchange(self, path: str) -> str:
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.host, self.port)
        reader, writer = self.streams
        connection = "keep-alive" if self.keep else "close"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: {connection}\r\n\r\n".encode())
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
        status = int(head[0].split()[1])
        headers = {name.strip().lower(): value.strip() for name, dummy, value in (line.partition(":") for line in head[1:])}
        if "chunked" in headers.get("transfer-encoding", ""):
            body = b""
            while True:
                size = int((await reader.readuntil(b"\r\n")).strip(), 16)
                body += (await reader.readexactly(size + 2))[:-2]
                if size == 0:
                    break
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self.close()
        if status != 200:
            raise ValueError(f"status-{status}")
        return self._served(body)

    def _served(self, body: bytes) -> str:
        if not self.version_key:
            return ""
        try:
            document = json.loads(body)
            for part in self.version_key.split("."):
                document = document[part]
            return str(document)
        except (ValueError, KeyError, TypeError):
            return ""


async def _drive(
    urls: list[str], rate: float, clients: int, version_key: str | None, name: str, stop: asyncio.Event, samples: list[Sample], count: t.Any
) -> None:
    async def one(client: Client, pause: float, offset: float) -> None:
        await asyncio.sleep(offset)
        due = time.monotonic()
        while not stop.is_set():
            samples.append(await client.request())
            count.value += 1
            due = max(due + pause, time.monotonic() - pause)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        client.close()

    def client(number: int) -> Client:
        return Client(urls[number % len(urls)], keep=number % 5 != 4, version_key=version_key, name=name and f"{name}.{number}")

    pause = clients / rate
    await asyncio.gather(*(one(client(number), pause, pause * number / clients) for number in range(clients)))


def _main(
    pipe: multiprocessing.connection.Connection, urls: list[str], rate: float, clients: int, version_key: str | None, name: str, count: t.Any
) -> None:
    samples: list[Sample] = []

    async def run() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
        await _drive(urls, rate, clients, version_key, name, stop, samples, count)

    asyncio.run(run())
    pipe.send([tuple(sample) for sample in samples])


class Load:
    """*rate* requests a second in total from *clients* clients, four of five with keep-alive, spread over *urls*.

    With *numbered*, every request has a number of its own, in its URL and in its sample.
    """

    def __init__(self, urls: list[str], *, rate: float = 250, clients: int = 20, version_key: str | None = None, numbered: bool = False) -> None:
        self._arguments = (urls, rate, clients, version_key, secrets.token_hex(3) if numbered else "")
        self.marks: list[tuple[float, str]] = []
        self.samples: list[Sample] = []
        self._count = multiprocessing.Value("L", 0, lock=False)

    def __enter__(self) -> Load:
        self._pipe, other = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=_main, args=(other, *self._arguments, self._count), daemon=True)
        self._process.start()
        self.mark("quiet")
        return self

    @property
    def requests(self) -> int:
        """How many requests have been answered or have failed so far."""
        return int(self._count.value)

    def mark(self, name: str) -> None:
        """Name the time from now on, until the next mark."""
        self.marks.append((time.time(), name))

    def __exit__(self, *dummy: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.samples:
            return
        with contextlib.suppress(BrokenPipeError):
            self._pipe.send("stop")
        if self._pipe.poll(TIMEOUT + 20):
            self.samples = [Sample(*item) for item in self._pipe.recv()]
        self._process.join(5)
        if not self.samples:
            raise RuntimeError("the load generator died without an answer")

    def interval(self, sample: Sample) -> str:
        return next((name for at, name in reversed(self.marks) if sample.at >= at), "quiet")

    def summary(self) -> dict[str, t.Any]:
        """Return requests, failures by kind, and p50 and p99 in milliseconds for each name that was marked."""
        by_name: dict[str, list[float]] = collections.defaultdict(list)
        for sample in self.samples:
            by_name[self.interval(sample)].append(sample.seconds)
        return {
            "requests": len(self.samples),
            "failed": sum(bool(sample.error) for sample in self.samples),
            "errors": dict(collections.Counter(sample.error for sample in self.samples if sample.error)),
            "latency": {
                name: {"p50": round(1000 * _quantile(values, 0.5), 1), "p99": round(1000 * _quantile(values, 0.99), 1)}
                for name, values in by_name.items()
            },
        }

    def mixed_seconds(self, name: str) -> float:
        """Return how long clients saw more than one version within the interval *name*."""
        seen = [sample for sample in self.samples if sample.served and self.interval(sample) == name]
        if len({sample.served for sample in seen}) < 2:
            return 0.0
        first, last = seen[0].served, seen[-1].served
        return max(0.0, max(s.at for s in seen if s.served == first) - min(s.at for s in seen if s.served == last))


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
