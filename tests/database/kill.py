# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drives one phase of a migration to its end, and kills whoever runs it on the way: SIGKILL at random moments, and then again from where it was.

A reader that comes and goes makes the migration wait for its locks now and then, so that it is killed there, too.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
import typing as t

from database.cases import Case
from database.clients import FORK
from database.servers import POSTGRESQL, Place

READY = "ready"
EARLY = 0.15  # of the kills come before the work begins: while it connects and looks
STARTING = 0.5  # seconds that this takes
EXPECTED = 0.3  # seconds that a phase takes, as long as none was seen to its end
READING, NOT_READING = 0.15, 0.3


class Driven(t.Protocol):
    def begin(self, target: str) -> subprocess.Popen[str]: ...

    def end(self, process: subprocess.Popen[str], target: str) -> str: ...


class Killer:
    """Spends *kills* over *phases*: each has a share that is drawn, at moments that are drawn over the time that the phase takes, which is learnt.

    What a phase doesn't spend, since it was done too soon, is the next one's.
    """

    took: t.ClassVar[dict[str, float]] = {}

    def __init__(self, kills: int, phases: int, chance: random.Random, kind: str = "") -> None:
        self.chance, self.kind = chance, kind
        drawn = chance.choices(range(phases), k=kills)
        self.shares = [drawn.count(phase) for phase in range(phases)]
        self.over = 0

    def drive(self, engine: Driven, target: str, where: t.Callable[[], str]) -> list[str]:
        """Take *engine* to *target*. Returns where it was killed: the phase, the milliseconds since it began to work, and what *where* then says."""
        share = self.over + (self.shares.pop(0) if self.shares else 0)
        learnt = f"{self.kind} {target}"
        killed: list[str] = []
        while True:
            process = engine.begin(target)
            assert process.stdout is not None
            kill = len(killed) < share
            early = kill and self.chance.random() < EARLY
            ready = not early and process.stdout.readline().strip() == READY
            begun = time.monotonic()
            if kill and (early or ready):
                delay = self.chance.uniform(0, STARTING if early else self.took.get(learnt, EXPECTED))
                try:
                    process.wait(delay)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                    killed.append(f"{target} {'early ' if early else ''}+{delay * 1000:.0f} ms: {where()}")
                    continue
            engine.end(process, target)
            if not killed:
                self.took[learnt] = time.monotonic() - begun
            self.over = share - len(killed)
            return killed


def _read(place: Place, case: Case, stop: t.Any) -> None:
    with place.connect("app", name="report") as session:
        while not stop.is_set():
            with contextlib.suppress(Exception):  # the table may have gone under its name
                if place.engine == POSTGRESQL:
                    session.rows(f"SELECT count(*), pg_sleep({READING}) FROM {case.old.table}")
                else:
                    session.rows(f"SELECT sleep({READING}) FROM {case.old.table} LIMIT 1")
            stop.wait(NOT_READING)


@contextlib.contextmanager
def reader(place: Place, case: Case) -> t.Iterator[None]:
    """Somebody who reads the table for a while, again and again."""
    stop = FORK.Event()
    process = FORK.Process(target=_read, args=(place, case, stop), daemon=True)
    process.start()
    try:
        yield
    finally:
        stop.set()
        process.join()
