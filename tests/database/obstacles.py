# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in the way of a migration's locks: a long reader, a transaction that nobody ends, autovacuum, many who lock for a moment.

Says how long clients stood still because of it, and whether the migration came through when it had gone.
"""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t

import psycopg
import pymysql

from database.cases import Case
from database.clients import Clients
from database.protocol import Broken, Engine, prepare
from database.servers import MARIADB, POSTGRESQL, Place, Servers, Session

SECONDS = 5.0
LOCKERS = 12
LOCKED = 0.01  # seconds that each of them holds its row
SETTLED = 0.3


class Met(t.NamedTuple):
    """What a phase with an obstacle in its way came to. In milliseconds *stall*, the longest of any client during it, and *quiet*, that before it."""

    engine: str
    obstacle: str
    phase: str
    stall: float
    quiet: float
    took: float  # seconds of the phase
    gone: float  # seconds after which the obstacle was gone, 0 where it stays
    failed: str
    errors: int
    ended: bool = False


class Gone(threading.Event):
    """Set when the obstacle has gone. *ended* says that somebody ended its session."""

    ended = False


@contextlib.contextmanager
def _beside(place: Place, name: str, hold: t.Callable[[Session], None]) -> t.Iterator[Gone]:
    """Have a session *hold* the table, and say by the event when it has gone."""
    gone = Gone()

    def work() -> None:
        with place.connect("app", name=name) as session:
            try:
                hold(session)
            except (psycopg.OperationalError, pymysql.err.Error):
                gone.ended = True
        gone.set()

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(SETTLED)
    try:
        yield gone
    finally:
        thread.join()


def reader(place: Place, case: Case) -> contextlib.AbstractContextManager[Gone]:
    """One query that reads the table for SECONDS."""

    def read(session: Session) -> None:
        if place.engine == POSTGRESQL:
            session.run(f"SELECT count(*), pg_sleep({SECONDS}) FROM {case.old.table}")
        else:
            session.run(f"SELECT sleep({SECONDS}) FROM {case.old.table} LIMIT 1")
        session.cursor.fetchall()

    return _beside(place, "report", read)


def idle(place: Place, case: Case) -> contextlib.AbstractContextManager[Gone]:
    """A transaction that has read the table and then does nothing for SECONDS."""

    def wait(session: Session) -> None:
        session.run("BEGIN")
        session.rows(f"SELECT * FROM {case.old.table} LIMIT 1")
        time.sleep(SECONDS)
        session.run("ROLLBACK")

    return _beside(place, "console", wait)


@contextlib.contextmanager
def autovacuum(place: Place, case: Case) -> t.Iterator[Gone]:
    """An autovacuum that takes minutes, since it is told to go slowly."""
    with place.connect("root") as session:
        session.script(
            "ALTER SYSTEM SET autovacuum_naptime = '1s'", "SELECT pg_reload_conf()",
            f"ALTER TABLE {case.old.table} SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, autovacuum_analyze_threshold = 1000000,"
            " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)",
        )
        try:
            deadline = time.monotonic() + 30
            while not session.value(f"SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid = '{case.old.table}'::regclass"):
                if time.monotonic() > deadline:
                    raise Broken("autovacuum does not come")
                time.sleep(0.1)
            yield Gone()
        finally:
            session.script(f"ALTER TABLE {case.old.table} SET (autovacuum_enabled = off)", "ALTER SYSTEM RESET autovacuum_naptime", "SELECT pg_reload_conf()")


@contextlib.contextmanager
def lockers(place: Place, case: Case) -> t.Iterator[Gone]:
    """Many transactions that each hold a row for a moment, so that there always is one."""
    stop = threading.Event()

    def lock(number: int) -> None:
        with place.connect("app", name="worker") as session:
            while not stop.is_set():
                with session.transaction():
                    session.rows(f"SELECT hits FROM {case.old.table} WHERE {case.key.match} FOR UPDATE", case.key.seeded(2000 + number))
                    time.sleep(LOCKED)

    threads = [threading.Thread(target=lock, args=(number,)) for number in range(LOCKERS)]
    for thread in threads:
        thread.start()
    time.sleep(SETTLED)
    try:
        yield Gone()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


OBSTACLES: dict[str, t.Callable[[Place, Case], contextlib.AbstractContextManager[Gone]]] = {
    "long reader": reader, "idle transaction": idle, "autovacuum": autovacuum, "many lockers": lockers,
}
ENGINES_OF = {name: (POSTGRESQL,) if name == "autovacuum" else (POSTGRESQL, MARIADB) for name in OBSTACLES}


def meet(servers: Servers, case: Case, obstacle: str, *, phase: str = "expanded", **more: t.Any) -> Met:
    """Run *case* to *phase* under clients with *obstacle* in its way (the phases before it without)."""
    place = prepare(servers, case, "shop_lock")
    clients = Clients(place, case, "old" if phase in ("expanded", "backfilled", "aborted") else "new", 3, first=1)
    engine = Engine(place, case, **more)
    logs = []
    failed = ""
    try:
        if phase not in ("expanded", "backfilled"):
            engine.end(engine.begin("backfilled"), "backfilled")
        clients.start()
        clients.wait(200)
        with OBSTACLES[obstacle](place, case) as gone:
            begun = time.monotonic()
            left: list[float] = []
            watcher = threading.Thread(target=lambda: left.append(time.monotonic()) if gone.wait(60) else None, daemon=True)
            watcher.start()
            try:
                engine.end(engine.begin(phase), phase)
            except Broken as exc:
                failed = str(exc)
            ended = time.monotonic()
        clients.wait(50)
        logs = clients.stop()
    finally:
        for process in clients.processes:
            if process.pid is not None:
                process.kill()
        servers.drop(place)
    samples = [sample for log in logs for sample in log.samples()]
    stall = max((seconds for at, seconds in samples if at < ended and at + seconds > begun), default=0.0)
    quiet = max((seconds for at, seconds in samples if at + seconds < begun), default=0.0)
    return Met(
        case.engine, obstacle, phase, round(stall * 1000, 1), round(quiet * 1000, 1), round(ended - begun, 2), round(left[0] - begun, 2) if left else 0.0,
        failed, sum(log.failed for log in logs), gone.ended,
    )
