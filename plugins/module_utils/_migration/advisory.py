# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""One runner at a time for an application: a lock that the server lets go of when the runner's connection ends.

It is held by the connection that does the work, so that a runner whose last statement still runs on the server after its death keeps the next one
away. It is asked for again and again and never waited for: a session that waits in pg_advisory_lock() has a snapshot, for which another's
CREATE INDEX CONCURRENTLY waits in turn, for ever.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database, DatabaseError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL

_POLL = 0.25

# A lock with one bigint is shown with its upper half as classid, its lower as objid, and objsubid 1.
_HOLDER = """
SELECT l.pid, coalesce(a.usename::text, '?'), coalesce(host(a.client_addr), 'the local socket'), extract(epoch FROM clock_timestamp() - a.backend_start)::float8
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND (l.classid::bigint << 32) | l.objid::bigint = %s::bigint
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"""


def _key(app: str) -> int:
    return int.from_bytes(hashlib.sha256(f"seamless_rollout/{app}".encode()).digest()[:8], "big", signed=True)


def _name(db: Database, app: str) -> str:
    """Return the lock's name, which counts for the whole server in MariaDB."""
    return "seamless_rollout/" + hashlib.sha256(f"{db.default_schema}/{app}".encode()).hexdigest()[:32]


def _try(db: Database, app: str) -> bool:
    if db.engine == POSTGRESQL:
        return bool(db.value("SELECT pg_try_advisory_lock(%s)", (_key(app),)))
    return bool(db.value("SELECT GET_LOCK(%s, 0)", (_name(db, app),)) == 1)


def holder(db: Database, app: str) -> str:
    """Return who holds the lock of *app*, for people, or an empty text when nobody does."""
    if db.engine == POSTGRESQL:
        found = db.rows(_HOLDER, (_key(app),))
        return "session {} of {} from {}, connected for {:.0f} s".format(*found[0][:3], found[0][3] or 0) if found else ""
    session = db.value("SELECT IS_USED_LOCK(%s)", (_name(db, app),))
    if session is None:
        return ""
    found = db.rows("SELECT ID, USER, HOST, TIME FROM information_schema.PROCESSLIST WHERE ID = %s", (session,))
    return "session {} of {} from {}, busy or idle for {} s".format(*found[0]) if found else f"session {session}"


def held(db: Database, app: str) -> bool:
    """Return whether this very session holds the lock of *app*."""
    if db.engine == POSTGRESQL:
        return any(pid == db.backend_id for pid, *dummy in db.rows(_HOLDER, (_key(app),)))
    return bool(db.value("SELECT IS_USED_LOCK(%s)", (_name(db, app),)) == db.backend_id)


@contextlib.contextmanager
def migration_lock(db: Database, app: str, deadline: float = 60.0) -> t.Iterator[None]:
    """Hold the lock of *app* while the block runs. Raises SeamlessError when another session has it for *deadline* seconds, or a pooler is in between."""
    if db.is_pooled():
        raise SeamlessError(
            f"The connection to the {db.settings} goes through a pooler or proxy, which shares the server's sessions: a lock there is nobody's. "
            "Give login_host and login_port of the database server itself for migrations; the application may go on through the pooler."
        )
    until = time.monotonic() + deadline
    while not _try(db, app):
        if time.monotonic() >= until:
            found = holder(db, app) or "a session that has just gone"
            raise SeamlessError(
                f"Another migration of {app} is running: its lock is held by {found}, and was not free within {deadline:g} s. Wait for it. "
                "If its runner is dead, the lock goes when the server has ended its last statement: end that session to have it at once.",
                holder=found,
            )
        time.sleep(_POLL)
    try:
        yield
    finally:
        with contextlib.suppress(DatabaseError):  # with the connection the lock is gone
            if db.engine == POSTGRESQL:
                db.value("SELECT pg_advisory_unlock(%s)", (_key(app),))
            else:
                db.value("SELECT RELEASE_LOCK(%s)", (_name(db, app),))
