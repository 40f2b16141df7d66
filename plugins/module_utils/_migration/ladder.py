# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""How long to wait for a lock, and how long to leave the clients alone in between: pure, no I/O.

Who waits for an exclusive lock makes everybody wait who comes after, so a client's stall is the wait of the attempt, and success comes when the holder
leaves, not sooner (PostgreSQL 15, a reader of 4 s and 6 writers: with no limit clients stalled for 4,032 ms, with 500 ms for 501, with 100 ms for 105, with
NOWAIT for 15). NOWAIT alone never succeeded where 16 clients hold a row for 10 ms each (96 attempts in 8 s); any wait of 20 ms or more did at once.
Hence a ladder: attempts that do not wait, then ever longer waits, and after each a pause of several times its length.

A longer wait helps only against holders that come and go all the time and stay for longer than the wait. A single long one is waited for outside the
queue (locks_postgresql.py, locks_mariadb.py), or costs some attempts. So the waits stay at 100 ms or less for the first 15 s, and later go up to
*max_stall_ms*, less what a stall has beside the wait. Its default of 150 keeps every stall that we cause below 150 ms, at the price of giving up in the end
where holders of more than 120 ms always overlap; then the message says that a higher one would get the lock.
"""

from __future__ import annotations

import dataclasses
import random
import typing as t

WAITS = (20, 50, 50, 100, 100)
LATER_WAITS = (200, 200, 500)
LATER = 15.0

# What a client's stall has beside our wait: the statements under the lock, the commit, waking up.
ALLOWANCE = 30
SHORTEST = 20


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a step may cost the clients.

    *max_stall_ms* 0: never wait, only try whether the lock is free. *kill_blockers*: end sessions that hold the lock and have been idle in their transaction
    for so many seconds.
    """

    max_stall_ms: int = 150
    lock_wait_total: float = 600.0
    kill_blockers: float | None = None

    @property
    def longest_wait(self) -> int:
        """The longest that an attempt may wait, in ms."""
        return max(SHORTEST, self.max_stall_ms - ALLOWANCE) if self.max_stall_ms > 0 else 0


class Ladder:
    """The attempts of one step.

    *probes* attempts come first that do not wait at all, and *between* more after each that waits: where such an attempt costs the clients nothing, it is also
    the way to notice that a long holder has gone. *rest*: how many ms are between two of them.
    *costly*: a failed attempt loses work (an index that was built), so the first waits are as long as they may be.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        probes: int = 3,
        between: int = 0,
        rest: int = 50,
        costly: bool = False,
        chance: t.Callable[[], float] = random.random,
    ) -> None:
        self._longest = limits.longest_wait
        self._probes = probes
        self._between = between
        self._rest = rest
        self._chance = chance
        self._waited = len(WAITS) if costly else 0
        self._waited_late = 0

    def wait(self, elapsed: float) -> int:
        """Return for how many ms the next attempt waits, 0 for not at all, *elapsed* seconds after the first."""
        if self._probes:
            self._probes -= 1
            return 0
        self._probes = self._between
        wait = WAITS[min(self._waited, len(WAITS) - 1)]
        self._waited += 1
        if elapsed >= LATER:
            wait = LATER_WAITS[min(self._waited_late, len(LATER_WAITS) - 1)]
            self._waited_late += 1
        return min(wait, self._longest)

    def pause(self, waited: int) -> float:
        """Return for how many seconds to leave the clients alone after an attempt that *waited* ms: at most a fifth of the time is stalled by us.

        Jittered, since two that try in step with each other, or with a job that comes at a fixed pace, fail for ever.
        """
        return (0.5 + self._chance()) * max(self._rest, 4 * waited) / 1000
