# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Runs a step of a migration under the lock ladder: never an unbounded wait, never more than ``max_stall_ms`` for a client, and who is in the way is named."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import locks_mariadb, locks_postgresql
from ansible_collections.seamless.rollout.plugins.module_utils._migration.attempts import Blocker, Record, StepOutcome
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ladder import Limits
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Name, Step

__all__ = ["Blocker", "Limits", "Record", "StepOutcome", "blockers", "run_step"]


def run_step(db: Database, step: Step, limits: Limits, record: Record) -> StepOutcome:
    """Run *step* as a whole, and *record* inside a transaction: on PostgreSQL in that of the step, so both are there or neither.

    A step whose effect is there already is recorded and not run. Raises DatabaseError: of kind ``lock`` with the blockers in its message and details
    when the lock was not to be had within ``lock_wait_total``; then nothing has happened (MariaDB: nothing that can't be repeated) and it may be run again.
    """
    if step.done is not None and db.value(step.done):
        outcome = StepOutcome(skipped=True)
        with db.transaction():
            record(outcome)
        return outcome
    if db.engine == POSTGRESQL:
        return locks_postgresql.run(db, step, limits, record)
    return locks_mariadb.run(db, step, limits, record)


def blockers(db: Database, tables: t.Sequence[Name], older_than: float = 0.0) -> tuple[Blocker, ...]:
    """Return the sessions that hold a lock on *tables* (whose transaction is older than *older_than* seconds), the oldest first."""
    found = (locks_postgresql if db.engine == POSTGRESQL else locks_mariadb).blockers(db, tables)
    return tuple(blocker for blocker in found if older_than <= 0 or (blocker.age or 0.0) >= older_than)
