# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients of one version of an application: each a process that reads and writes all the time and keeps a log of what the database acknowledged.

Nothing is retried. A statement that fails is an error, and a row that can't have been written like this is wrong.
"""

from __future__ import annotations

import array
import collections
import contextlib
import dataclasses
import multiprocessing
import random
import time
import typing as t

from database.cases import Case, RowKey, Shape, Wrong
from database.servers import POSTGRESQL, Place, Session

PAUSE = 0.002
HOT = 30  # rows that get half of the writes
RECONNECT = 400  # statements on one connection
FORK = multiprocessing.get_context("fork")
KEPT = 20  # errors and wrong rows of a client that are kept as text


@dataclasses.dataclass
class Log:
    """What one client did. *inserted* has the number that each of its rows began with, *added* how often it added one, *hits* its writes to each row."""

    version: str
    client: int
    inserted: dict[RowKey, int] = dataclasses.field(default_factory=dict)
    added: collections.Counter[RowKey] = dataclasses.field(default_factory=collections.Counter)
    deleted: set[RowKey] = dataclasses.field(default_factory=set)
    unsure: set[RowKey] = dataclasses.field(default_factory=set)  # written to by a statement that failed
    also: int = 0
    errors: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    wrong: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    failed: int = 0
    mistaken: int = 0
    latencies: array.array[float] = dataclasses.field(default_factory=lambda: array.array("d"))  # when it began, how long it took, and again

    def samples(self) -> t.Iterator[tuple[float, float]]:
        values = iter(self.latencies)
        return zip(values, values)


class Client:
    """The statements of one client, on rows that are there and on rows of its own."""

    def __init__(self, place: Place, case: Case, version: str, number: int, *, first_own: int = 0) -> None:
        self.place, self.case, self.number = place, case, number
        self.shape: Shape = case.old if version == "old" else case.new
        self.log = Log(version, number)
        self.random = random.Random()
        self.own: list[RowKey] = []
        self.numbered = first_own
        self.seen: dict[RowKey, int] = {}
        self.session: Session | None = None
        key, shape = case.key, self.shape
        columns = ", ".join(shape.values)
        sets = ", ".join(f"{column} = %s" for column in shape.values)
        self.select = f"SELECT {columns} FROM {shape.table} WHERE {key.match}"
        self.scan = f"SELECT {', '.join(key.columns)}, {columns} FROM {shape.table} WHERE {key.columns[0]} >= %s ORDER BY {', '.join(key.columns)} LIMIT 20"
        self.bump = f"UPDATE {shape.table} SET {shape.bump.replace('@', '')}, hits = hits + 1 WHERE {key.match}"
        self.update = f"UPDATE {shape.table} SET {sets}, hits = hits + 1 WHERE {key.match}"
        # By the key in MariaDB, too: by an index on the value it would take its locks the other way round and run into deadlocks all by itself.
        same = "{} IS NOT DISTINCT FROM %s" if case.engine == POSTGRESQL else "coalesce({}) <=> %s"
        self.optimistic = self.update + "".join(f" AND {same.format(column)}" for column in shape.values)
        self.delete = f"DELETE FROM {shape.table} WHERE {key.match}"
        every = [*key.columns, *shape.values]
        marks = ", ".join(["%s"] * len(every))
        if case.engine == POSTGRESQL:
            on_conflict = f"ON CONFLICT ({', '.join(key.columns)}) DO UPDATE SET {shape.bump.replace('@', 'me.')}, hits = me.hits + 1"
            self.upsert = f"INSERT INTO {shape.table} AS me ({', '.join(every)}) VALUES ({marks}) {on_conflict}"
        else:
            on_conflict = f"ON DUPLICATE KEY UPDATE {shape.bump.replace('@', '')}, hits = hits + 1"
            self.upsert = f"INSERT INTO {shape.table} ({', '.join(every)}) VALUES ({marks}) {on_conflict}"
        self.insert = f"INSERT INTO {shape.table} ({', '.join(every)}) VALUES ({marks})"
        self.insert_counted = f"INSERT INTO {shape.table} ({columns}) VALUES ({', '.join(['%s'] * len(shape.values))})" + (
            f" RETURNING {key.columns[0]}" if case.engine == POSTGRESQL else ""
        )
        self.acts: list[tuple[t.Callable[[], None], int]] = [
            (self.do_read, 18), (self.do_scan, 4), (self.do_bump, 24), (self.do_read_and_write, 14), (self.do_optimistic, 12), (self.do_upsert, 10),
            (self.do_insert, 12), (self.do_delete, 4), *([(self.do_also, 4)] if shape.also else []),
        ]

    @property
    def db(self) -> Session:
        assert self.session is not None
        return self.session

    def loop(self, stop: t.Any, count: t.Any) -> None:
        acts, weights = zip(*self.acts)
        left = 0
        while not stop.is_set():
            begun = time.monotonic()
            try:
                if left <= 0:
                    self.connect()
                    left = RECONNECT
                    begun = time.monotonic()
                self.random.choices(acts, weights)[0]()
            except Wrong as exc:
                self.log.mistaken += 1
                if len(self.log.wrong) < KEPT:
                    self.log.wrong.append((begun, str(exc)))
            except Exception as exc:  # every driver has its own
                self.log.failed += 1
                if len(self.log.errors) < KEPT:
                    self.log.errors.append((begun, f"{type(exc).__name__}: {exc}".strip()))
                left = 0
            self.log.latencies.extend((begun, time.monotonic() - begun))
            left -= 1
            count.value += 1
            time.sleep(PAUSE)
        if self.session:
            self.session.close()

    def connect(self) -> None:
        if self.session:
            self.session.close()
        self.session = self.place.connect("app", name=f"shop@{self.log.version}")

    def some_key(self) -> RowKey:
        """One of the rows that all write, or one of its own."""
        if self.own and self.random.random() < 0.2:
            return self.random.choice(self.own)
        return self.case.key.seeded(self.random.randint(1, HOT if self.random.random() < 0.5 else self.case.rows))

    def saw(self, key: RowKey, row: tuple[t.Any, ...] | None) -> int:
        """Return the row's number; it never is less than this client saw before. Raises Wrong."""
        if row is None:
            raise Wrong(f"{key}: the row is gone")
        try:
            number = self.shape.decode(row)
        except Wrong as exc:
            raise Wrong(f"{key}: {exc}") from exc
        before = self.seen.get(key, 0)
        self.seen[key] = max(before, number)
        if number < before:
            raise Wrong(f"{key}: was {before} and is {number}")
        return number

    @contextlib.contextmanager
    def writing(self, key: RowKey) -> t.Iterator[None]:
        """A write to *key* whose end is known unless it fails."""
        try:
            yield
        except Wrong:
            raise
        except BaseException:
            self.log.unsure.add(key)
            raise

    def added(self, key: RowKey, rows: int) -> None:
        if rows < 1:
            raise Wrong(f"{key}: the row is gone")
        self.log.added[key] += 1
        self.seen[key] = self.seen.get(key, 0) + (1 if key in self.own else 0)

    def read(self, key: RowKey, end: str = "") -> tuple[t.Any, ...] | None:
        return next(iter(self.db.rows(self.select + end, key)), None)

    def do_read(self) -> None:
        key = self.some_key()
        self.saw(key, self.read(key))

    def do_scan(self) -> None:
        width = len(self.case.key.columns)
        for row in self.db.rows(self.scan, (self.some_key()[0],)):
            try:
                self.shape.decode(row[width:])
            except Wrong as exc:
                raise Wrong(f"{row[:width]}: {exc}") from exc

    def do_bump(self) -> None:
        key = self.some_key()
        with self.writing(key):
            self.added(key, self.db.run(self.bump, key).rowcount)

    def do_read_and_write(self) -> None:
        key = self.some_key()
        with self.writing(key):
            with self.db.transaction():
                number = self.saw(key, self.read(key, " FOR UPDATE"))
                rows = self.db.run(self.update, (*self.shape.encode(number + 1), *key)).rowcount
            self.added(key, rows)

    def do_optimistic(self) -> None:
        key = self.some_key()
        row = self.read(key)
        number = self.saw(key, row)
        with self.writing(key):
            if self.db.run(self.optimistic, (*self.shape.encode(number + 1), *key, *(row or ()))).rowcount:
                self.added(key, 1)

    def do_upsert(self) -> None:
        key = self.some_key()
        with self.writing(key):
            self.added(key, self.db.run(self.upsert, (*key, *self.shape.encode(1))).rowcount)

    def do_insert(self) -> None:
        number = self.random.randint(1, 50)
        values = self.shape.encode(number)
        key = self.case.key.own(self.number, self.numbered)
        self.numbered += 1
        if key is None:
            cursor = self.db.run(self.insert_counted, values)
            key = tuple(cursor.fetchone()) if self.case.engine == POSTGRESQL else (cursor.lastrowid,)
        else:
            with self.writing(key):
                self.db.run(self.insert, (*key, *values))
        self.own.append(key)
        self.seen[key] = self.log.inserted[key] = number

    def do_delete(self) -> None:
        if len(self.own) < 5:
            return
        key = self.own.pop(self.random.randrange(len(self.own)))
        with self.writing(key):
            if self.db.run(self.delete, key).rowcount != 1:
                raise Wrong(f"{key}: the row is gone")
            self.log.deleted.add(key)

    def do_also(self) -> None:
        self.db.run(self.shape.also)
        self.log.also += 1


def _live(place: Place, case: Case, version: str, number: int, stop: t.Any, count: t.Any, results: t.Any) -> None:
    client = Client(place, case, version, number)
    try:
        client.loop(stop, count)
    finally:
        results.send(client.log)
        results.close()


class Clients:
    """*count* clients of one version, from :meth:`start` to :meth:`stop`. Their numbers begin with *first*, which no other client may have."""

    def __init__(self, place: Place, case: Case, version: str, count: int, *, first: int) -> None:
        self.version = version
        self.stopping = FORK.Event()
        self.counts = [FORK.Value("L", 0, lock=False) for dummy in range(count)]
        self.pipes = []
        self.processes = []
        for number, done in enumerate(self.counts):
            here, there = FORK.Pipe(duplex=False)
            self.pipes.append(here)
            self.processes.append(FORK.Process(target=_live, args=(place, case, version, first + number, self.stopping, done, there), daemon=True))

    def start(self) -> Clients:
        for process in self.processes:
            process.start()
        return self

    def wait(self, more: int, timeout: float = 30) -> None:
        """Wait until each client has done *more* statements. Raises RuntimeError where one doesn't."""
        goals = [count.value + more for count in self.counts]
        deadline = time.monotonic() + timeout
        while any(count.value < goal for count, goal in zip(self.counts, goals)):
            if time.monotonic() > deadline or not all(process.is_alive() for process in self.processes):
                raise RuntimeError(f"clients of the {self.version} version stand still: {[count.value for count in self.counts]} of {goals}")
            time.sleep(0.02)

    def stop(self) -> list[Log]:
        """End the clients after the statement that each of them is at, and return their logs. Raises RuntimeError where one has none."""
        self.stopping.set()
        logs = []
        for pipe, process in zip(self.pipes, self.processes):
            if process.pid is None:
                continue
            if not pipe.poll(60):
                process.kill()
                raise RuntimeError(f"a client of the {self.version} version hangs")
            logs.append(pipe.recv())
            process.join()
        return logs
