# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What the attempts to get a lock come to: counted the same for every engine."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database, DatabaseError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ladder import Limits
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Name, Step

# So many blockers are named in the message; all of them are in its details.
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Blocker:
    """A session that is in our way. What the role may not see is empty. In seconds: *age* of its transaction, *idle* since it does nothing in it."""

    pid: int
    user: str = ""
    application: str = ""
    state: str = ""
    age: float | None = None
    idle: float | None = None
    mode: str = ""
    query: str = ""

    def __str__(self) -> str:
        who = ", ".join(filter(None, (f"user {self.user}" if self.user else "", self.application)))
        state = self.state + (f" for {self.idle:.0f} s" if self.idle is not None else "")
        what = ", ".join(filter(None, (self.mode, state, f"its transaction is {self.age:.0f} s old" if self.age is not None else "")))
        name = f"session {self.pid}" if self.pid else "a prepared transaction"
        return f"{name}{f' ({who})' if who else ''}: {what}{f': {self.query}' if self.query else ''}"


@dataclasses.dataclass(frozen=True)
class StepOutcome:
    """How a step went. *skipped*: its effect was there already. *max_wait_ms*: the longest that an attempt kept clients waiting behind it."""

    attempts: int = 0
    max_wait_ms: int = 0
    blockers: tuple[Blocker, ...] = ()
    skipped: bool = False


Record = t.Callable[[StepOutcome], None]


class Attempts:
    """What the attempts of a step have come to."""

    def __init__(self, step: Step, limits: Limits) -> None:
        self.step = step
        self.tables = step.locks
        self.limits = limits
        self.count = 0
        self.longest = 0.0
        self.blockers: tuple[Blocker, ...] = ()
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    @property
    def over(self) -> bool:
        return self.elapsed >= self.limits.lock_wait_total

    def waited(self, seconds: float) -> None:
        self.longest = max(self.longest, seconds)

    def outcome(self) -> StepOutcome:
        return StepOutcome(self.count, round(self.longest * 1000), self.blockers)

    def given_up(self, cause: DatabaseError | None = None) -> DatabaseError:
        """Return the error for a lock that was not to be had."""
        tables = ", ".join(map(str, self.tables)) or "what it changes"
        more = f"; and {len(self.blockers) - _NAMED} more" if len(self.blockers) > _NAMED else ""
        held = "; ".join(map(str, self.blockers[:_NAMED])) + more or "sessions that came and went, or that this role may not see"
        return DatabaseError(
            f"The step {self.step.name} did not get the lock on {tables} in {self.elapsed:.0f} s ({self.count} attempts, lock_wait_total is "
            f"{self.limits.lock_wait_total:g} s). In the way: {held}. Nothing is half done: run it again when they are gone, or end them, or let kill_blockers "
            f"end those that are idle in a transaction. If there are always some that hold it for longer than {self.limits.longest_wait} ms, a higher "
            f"max_stall_ms (now {self.limits.max_stall_ms}) gets it.",
            kind="lock",
            code=cause.code if cause else "",
            step=self.step.name,
            attempts=self.count,
            max_wait_ms=round(self.longest * 1000),
            blockers=[dataclasses.asdict(blocker) for blocker in self.blockers],
        )


def qualified(engine: str, statements: t.Iterable[str]) -> tuple[Name, ...]:
    """Return what *statements* name with its schema, quoted: the tables of a step that does not say itself what it locks, and other things."""
    mark = '"' if engine == POSTGRESQL else "`"
    part = f"{mark}((?:[^{mark}]|{mark}{mark})+){mark}"
    found = (pair for sql in statements for pair in re.findall(rf"{part}\.{part}", sql))
    return tuple(dict.fromkeys(Name(schema.replace(mark * 2, mark), name.replace(mark * 2, mark)) for schema, name in found))


@contextlib.contextmanager
def unset_after(db: Database, step: Step) -> t.Iterator[None]:
    """Take back what the step set in the session, whatever happens. A connection that is gone has taken it along."""
    try:
        yield
    except BaseException:
        for statement in step.unset:
            with contextlib.suppress(DatabaseError):
                db.execute(statement)
        raise
    for statement in step.unset:
        db.execute(statement)
