# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""How many rows a batch of a backfill takes, and how long the rest will. Pure."""

from __future__ import annotations

import dataclasses

START, LEAST, MOST = 500, 10, 10_000


@dataclasses.dataclass
class Pace:
    """The size of the next batch: doubled while batches are quick, halved when they are slow or somebody else was in the way.

    *aim_ms* is how long a batch should take: that long a client may have to wait for a row.
    """

    aim_ms: float = 80
    batch: int = START

    def __post_init__(self) -> None:
        self.batch = max(LEAST, min(MOST, self.batch))

    def took(self, milliseconds: float, rows: int) -> float:
        """Learn from a batch that walked *rows* rows. Returns the seconds to rest before the next one."""
        if milliseconds > self.aim_ms * 1.25:
            self.batch = max(LEAST, self.batch // 2)
        elif milliseconds < self.aim_ms * 0.625 and rows >= self.batch:
            self.batch = min(MOST, self.batch * 2)
        # Far too slow: the server has more to do than we know of.
        return min(5.0, milliseconds / 1000) if milliseconds > self.aim_ms * 3 else 0.0

    def hindered(self) -> None:
        """Learn that a batch waited for somebody's lock, or lost a deadlock: take fewer rows at once."""
        self.batch = max(LEAST, self.batch // 2)


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a backfill is. *rate* in rows a second, *eta* in seconds; None where nobody can know."""

    done: int
    estimate: int | None
    rate: float | None
    eta: float | None


def progress(done: int, estimate: int | None, seconds: float, finished: bool = False) -> Progress:
    """Return how far a backfill is that walked *done* of about *estimate* rows in *seconds*. An estimate that proves too small is none any more."""
    rate = done / seconds if seconds > 0 and done > 0 else None
    if finished:
        return Progress(done, done, _rounded(rate), 0.0)
    if estimate is None or estimate <= done:
        return Progress(done, None, _rounded(rate), None)
    return Progress(done, estimate, _rounded(rate), None if rate is None else round((estimate - done) / rate, 1))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
