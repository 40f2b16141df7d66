# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One migration under clients of both versions, from the schema before to the schema after, and what was wrong with it.

Old clients run; the schema expands and old rows are filled in; new clients come; both run. Then, by the outcome:
contract: the old clients go, the old shape is quarantined and then dropped under the new ones;
abort: the new clients go, and the new shape is taken back under the old ones;
restore: as contract up to the quarantine, which is undone under the new ones; old clients come back, the new ones go, and it is aborted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import subprocess
import sys
import time
import typing as t

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from database import catalogs, checker
from database.cases import Case
from database.clients import Clients, Log
from database.kill import Killer, reader
from database.servers import POSTGRESQL, Place, Servers

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = 3
KILLED_ROWS = 9000  # where the runner is killed: more work to be killed at
STATEMENTS = 150  # that each client does before, between and after the phases
PHASE_TIMEOUT = 120
SHOWN = 6
MOST_STALL = 150.0  # milliseconds


@dataclasses.dataclass
class Result:
    """What became of one case. *wrong* says what isn't as it must be; *stalls* the longest statement of any client in each phase, in milliseconds."""

    case: str
    engine: str
    outcome: str
    wrong: list[str] = dataclasses.field(default_factory=list)
    errors: int = 0
    rows: int = 0
    statements: int = 0
    kills: int = 0
    p99: float = 0.0
    longest: float = 0.0
    stalls: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    phases: dict[str, float] = dataclasses.field(default_factory=dict)
    killed_in: list[str] = dataclasses.field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.wrong


class Broken(Exception):
    """The engine did not do what it was asked for; nothing after that means anything."""


class Engine:
    """Runs a migration of *case* in *place* to a state, in a process of its own."""

    def __init__(self, place: Place, case: Case, command: t.Sequence[str] = (sys.executable, os.path.join(HERE, "engine.py")), **more: t.Any) -> None:
        self.command = list(command)
        self.job: dict[str, t.Any] = {**place.settings, "spec": case.spec, "name": case.name, **more}

    def begin(self, target: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, json.dumps({**self.job, "target": target})], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )

    def end(self, process: subprocess.Popen[str], target: str) -> str:
        """Wait for the process. Returns what it printed; raises Broken where it failed."""
        try:
            text, dummy = process.communicate(timeout=PHASE_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            text, dummy = process.communicate()
            raise Broken(f"{target}: not done after {PHASE_TIMEOUT} s: {text[-900:]}") from None
        if process.returncode != 0:
            raise Broken(f"{target}: ended with {process.returncode}: {text[-900:]}")
        return text


def prepare(servers: Servers, case: Case, name: str) -> Place:
    """Make a database with the schema before and its rows."""
    place = servers.make(case.engine, name)
    set_up(place, case, case.setup)
    with place.connect("root") as session:
        columns = (*case.key.columns, *case.old.values, *([case.untouched] if case.untouched else []))
        marks = f"({', '.join(['%s'] * len(columns))})"
        for low in range(1, case.rows + 1, 500):
            numbers = range(low, min(low + 500, case.rows + 1))
            values = [
                value for number in numbers
                for value in (*case.key.seeded(number), *case.old.encode(number % 7), *(["2020-01-01 00:00:00"] if case.untouched else []))
            ]
            session.run(f"INSERT INTO {case.old.table} ({', '.join(columns)}) VALUES {', '.join([marks] * len(numbers))}", values)
        if case.engine == POSTGRESQL and case.key.kind == "serial":
            session.run(f"SELECT setval(pg_get_serial_sequence('{case.old.table}', 'id'), {case.rows})")
        session.run(f"{'ANALYZE' if case.engine == POSTGRESQL else 'ANALYZE TABLE'} {case.old.table}")
        session.cursor.fetchall() if case.engine != POSTGRESQL else None
    return place


def set_up(place: Place, case: Case, statements: t.Sequence[str]) -> None:
    with place.connect("owner") as session:
        if place.engine == POSTGRESQL:
            session.script("CREATE SCHEMA IF NOT EXISTS app", f"GRANT USAGE ON SCHEMA app TO {place.user('app')}")
        session.script(*(statement.replace("{app}", place.user("app")) for statement in statements))


def expected_catalog(servers: Servers, case: Case, name: str) -> catalogs.Catalog:
    """Return the catalog that a database has where the change was made at once, without us."""
    place = servers.make(case.engine, name)
    try:
        set_up(place, case, (*case.setup, *case.after))
        with place.connect("root") as session:
            return catalogs.catalog(session, name)
    finally:
        servers.drop(place)


class Protocol:
    """One run of *case* to *outcome*."""

    def __init__(
        self, servers: Servers, case: Case, outcome: str, name: str, *, kills: int = 0, seed: int = 1, command: t.Sequence[str] = (), **more: t.Any
    ) -> None:
        if kills:
            case = dataclasses.replace(case, rows=KILLED_ROWS)
        self.servers, self.case, self.outcome, self.name = servers, case, outcome, name
        self.result = Result(case.name, case.engine, outcome)
        chance = random.Random(f"{seed} {case.engine} {case.name} {outcome}")
        self.killer = Killer(kills, {"contract": 4, "abort": 3, "restore": 5}[outcome], chance, f"{case.engine} {case.name}")
        self.command, self.more = command, more
        self.logs: list[Log] = []
        self.running: dict[str, Clients] = {}
        self.first = 1
        self.spans: list[tuple[str, float, float]] = []

    def run(self) -> Result:
        begun = time.monotonic()
        expected = expected_catalog(self.servers, self.case, f"{self.name}_then") if self.outcome == "contract" else {}
        place = prepare(self.servers, self.case, self.name)
        try:
            with place.connect("root") as session:
                before = catalogs.catalog(session, self.name)
            self.engine = Engine(place, self.case, **({"command": self.command} if self.command else {}), **self.more)
            self.place = place
            try:
                with reader(place, self.case) if any(self.killer.shares) else contextlib.nullcontext():
                    self._protocol()
            except (Broken, RuntimeError) as exc:
                self.result.wrong.append(str(exc))
            finally:
                for version in list(self.running):
                    with self._complaining():
                        self._stop(version)
            self._check(expected or before)
        finally:
            for clients in self.running.values():
                for process in clients.processes:
                    if process.pid is not None:
                        process.kill()
            self.servers.drop(place)
        self.result.seconds = round(time.monotonic() - begun, 1)
        return self.result

    @contextlib.contextmanager
    def _complaining(self) -> t.Iterator[None]:
        try:
            yield
        except Exception as exc:  # whatever a checker meets is a finding
            self.result.wrong.append(f"{type(exc).__name__}: {exc}")

    def _protocol(self) -> None:
        self._start("old")
        self._wait()
        self._phase("expanded")
        self._wait()
        self._phase("backfilled")
        self._compare("after the backfill")
        self._start("new")
        self._wait()
        self._compare("with both versions")
        if self.outcome == "abort":
            self._stop("new")
            self._phase("aborted")
        else:
            self._stop("old")
            self._phase("quarantined")
            self._wait()
            if self.outcome == "contract":
                self._phase("contracted")
            else:
                self._phase("restored")
                self._compare("after the restore")
                self._start("old")
                self._wait()
                self._compare("with both versions after the restore")
                self._stop("new")
                self._phase("aborted")
        self._wait()

    def _start(self, version: str) -> None:
        self.running[version] = Clients(self.place, self.case, version, CLIENTS, first=self.first).start()
        self.first += CLIENTS

    def _stop(self, version: str) -> None:
        self.logs += self.running.pop(version).stop()

    def _wait(self) -> None:
        for clients in self.running.values():
            clients.wait(STATEMENTS)

    def _phase(self, target: str) -> None:
        begun = time.monotonic()
        try:
            self.result.killed_in += self.killer.drive(self.engine, target, self._ledger)
        finally:
            self.spans.append((target, begun, time.monotonic()))
            self.result.phases[target] = round(time.monotonic() - begun, 2)

    def _ledger(self) -> str:
        """Return what the ledger says of where the migration is."""
        prefix = "seamless_rollout." if self.case.engine == POSTGRESQL else "seamless_rollout_"
        with self.place.connect("root") as session:
            try:
                rows = session.rows(f"SELECT state, (SELECT count(*) FROM {prefix}step) FROM {prefix}migration")
            except Exception:  # every driver has its own
                return "no ledger"
        return f"{rows[0][0]}, {rows[0][1]} steps done" if rows else "not begun"

    def _compare(self, when: str) -> None:
        found = checker.diverged(self.place, self.case)
        self.result.rows += len(found)
        self._say(f"diverged {when}", found)

    def _say(self, what: str, found: t.Sequence[str], count: int | None = None) -> None:
        if found or count:
            self.result.wrong.append(f"{what}, {count or len(found)}: {'; '.join(found[:SHOWN])}")

    def _check(self, expected: catalogs.Catalog) -> None:
        result = self.result
        result.errors, texts = checker.client_errors(self.logs)
        self._say("client errors", texts, result.errors)
        if any("1213" in line for line in texts):
            with self.place.connect("root") as session:
                status = str(session.rows("SHOW ENGINE INNODB STATUS")[0][2])
            self.result.wrong.append(status.partition("LATEST DETECTED DEADLOCK")[2].partition("WE ROLL BACK")[0])
        mistaken, texts = checker.wrong_reads(self.logs)
        result.rows += mistaken
        self._say("wrong reads", texts, mistaken)
        with self._complaining():
            found = checker.lost(self.place, self.case, self.case.new if self.outcome == "contract" else self.case.old, self.logs)
            result.rows += len(found)
            self._say("rows", found)
        with self._complaining(), self.place.connect("root") as session:
            self._say("catalog", catalogs.catalog_differences(catalogs.catalog(session, self.name), expected))
            self._say("leftovers", catalogs.leftovers(session))
        samples = sorted((seconds, at) for log in self.logs for at, seconds in log.samples())
        result.statements, result.kills = len(samples), len(result.killed_in)
        if samples:
            result.p99 = round(samples[int(len(samples) * 0.99)][0] * 1000, 1)
            result.longest = round(samples[-1][0] * 1000, 1)
        for name, begin, end in self.spans:
            inside = [seconds for seconds, at in samples if at < end and at + seconds > begin]
            result.stalls[name] = round(max(inside, default=0.0) * 1000, 1)
