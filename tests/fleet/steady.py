# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client of one address that never waits: every few milliseconds a request over a new connection, whatever became of those before.

    with Steady("http://198.51.100.60:8000/") as client:
        ...
    print(client.gap())

Beside them some connections stay open, and ask again and again: those break when their address moves. It runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import multiprocessing.connection
import time
import typing as t

from fleet.load import Client, Sample


async def _ask(client: Client, timeout: float) -> Sample:
    """Ask once, and give up after *timeout* seconds."""
    begun, now = time.monotonic(), time.time()
    try:
        return await asyncio.wait_for(client.request(), timeout)
    except asyncio.TimeoutError:
        return Sample(now, time.monotonic() - begun, "timeout", "", "", "")
    finally:
        if not client.keep:
            client.close()


async def _drive(url: str, every: float, kept: int, timeout: float, stop: asyncio.Event) -> tuple[list[Sample], list[list[Sample]]]:
    fresh: list[Sample] = []
    running: set[asyncio.Task[Sample]] = set()

    def over(task: asyncio.Task[Sample]) -> None:
        running.discard(task)
        fresh.append(task.result())

    async def keep_on(samples: list[Sample]) -> None:
        client = Client(url, keep=True, version_key="version")
        while not stop.is_set():
            samples.append(await _ask(client, timeout))
            if samples[-1].error:
                client.close()
            await asyncio.sleep(every * 5)
        client.close()

    lasting: list[list[Sample]] = [[] for dummy in range(kept)]
    keepers = [asyncio.create_task(keep_on(samples)) for samples in lasting]
    due = time.monotonic()
    while not stop.is_set():
        task = asyncio.create_task(_ask(Client(url, keep=False, version_key="version"), timeout))
        running.add(task)
        task.add_done_callback(over)
        due = max(due + every, time.monotonic() - every)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    await asyncio.gather(*running, *keepers)
    await asyncio.sleep(0)
    return fresh, lasting


def _main(pipe: multiprocessing.connection.Connection, url: str, every: float, kept: int, timeout: float) -> None:
    async def run() -> tuple[list[Sample], list[list[Sample]]]:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
        return await _drive(url, every, kept, timeout, stop)

    fresh, lasting = asyncio.run(run())
    pipe.send(([tuple(one) for one in fresh], [[tuple(one) for one in samples] for samples in lasting]))


class Steady:
    """A request every *every* seconds, each given up after *timeout* seconds, and *kept* connections that stay."""

    def __init__(self, url: str, *, every: float = 0.01, kept: int = 4, timeout: float = 5.0) -> None:
        self._arguments = (url, every, kept, timeout)
        self._timeout = timeout
        self.fresh: list[Sample] = []
        self.lasting: list[list[Sample]] = []

    def __enter__(self) -> t.Self:
        self._pipe, other = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=_main, args=(other, *self._arguments), daemon=True)
        self._process.start()
        return self

    def __exit__(self, *dummy: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._pipe.send("stop")
        if self._pipe.poll(self._timeout + 20):
            fresh, lasting = self._pipe.recv()
            self.fresh = [Sample(*one) for one in fresh]
            self.lasting = [[Sample(*one) for one in samples] for samples in lasting]
        self._process.join(5)
        if not self.fresh:
            raise RuntimeError("the client died without an answer")

    def gap(self, since: float = 0.0, until: float = float("inf")) -> float:
        """Return the longest time in seconds between two good answers over new connections, where it touches *since* to *until* (seconds since 1970)."""
        good = sorted(one.at + one.seconds for one in self.fresh if not one.error)
        pairs = [(before, after) for before, after in zip(good, good[1:]) if after >= since and before <= until]
        return max((after - before for before, after in pairs), default=0.0 if good else float("inf"))

    def moved(self) -> tuple[float, float]:
        """Return when the version that answers changed, in seconds since 1970: from the first answer of the last one, or the last of the first where that
        was earlier, to the later of both."""
        answers = sorted((one.at + one.seconds, one.served) for one in self.fresh if one.served)
        first, last = answers[0][1], answers[-1][1]
        new = min(at for at, served in answers if served == last)
        old = max(at for at, served in answers if served == first)
        return min(new, old), max(new, old)

    @property
    def failed(self) -> list[Sample]:
        return [one for one in self.fresh if one.error]

    @property
    def broken(self) -> list[Sample]:
        """Return the requests that failed on connections that were open already, each with how long its client waited for that."""
        return [one for samples in self.lasting for one in samples if one.error]

    def served(self) -> list[str]:
        """Return the versions that answered, in the order in which each was seen first in a row."""
        found: list[str] = []
        for one in sorted(self.fresh, key=lambda one: one.at):
            if one.served and (not found or found[-1] != one.served):
                found.append(one.served)
        return found
