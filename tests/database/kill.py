# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drives one phase of a migration to its end, and kills whoever runs it on the way: SIGKILL at random moments, and then again from where it was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import typing as t

READY = "ready"
SHORTEST = 0.001


class Driven(t.Protocol):
    def begin(self, target: str) -> subprocess.Popen[str]: ...

    def end(self, process: subprocess.Popen[str], target: str) -> str: ...


class Killer:
    """Spends *kills* over *phases*: each phase has its share, at moments that are drawn over the time that the phase takes."""

    def __init__(self, kills: int, phases: int, chance: random.Random) -> None:
        self.left, self.phases, self.chance = kills, phases, chance
        self.longest: dict[str, float] = {}

    def drive(self, engine: Driven, target: str) -> list[str]:
        """Take *engine* to *target*. Returns where it was killed: the phase and the milliseconds since it began to work."""
        share = -(-self.left // self.phases) if self.phases else self.left
        self.phases -= 1
        killed: list[str] = []
        expected = 0.25
        while len(killed) < share:
            delay = self.chance.uniform(SHORTEST, expected)
            process = engine.begin(target)
            assert process.stdout is not None
            line = process.stdout.readline()
            if line.strip() != READY:
                break
            begun = time.monotonic()
            try:
                process.wait(delay)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                killed.append(f"{target} +{delay * 1000:.0f} ms")
                continue
            # It was faster than that: the phase is over, or it failed, which the last run will say.
            expected = max(SHORTEST * 10, (time.monotonic() - begun) / 2)
            process.communicate()
            break
        self.left -= len(killed)
        engine.end(engine.begin(target), target)
        return killed
