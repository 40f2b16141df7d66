# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration costs the clients: writes through the sync triggers, a backfill of a million rows, a long reader in the way of its locks.

    python tests/bench/migrations.py [--engine postgresql] [--part triggers] [--rows 1000000]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import re
import sys
import time
import typing as t

if __name__ == "__main__":
    # In the place of this directory, whose numbers.py would hide the standard library's.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import statistics

from database.cases import Case, cases
from database.clients import Clients, Log
from database.obstacles import Met, meet
from database.protocol import Engine, prepare, set_up
from database.servers import ENGINES, HOST, POSTGRESQL, Place, Servers

ROUNDS = 25  # short ones: what else the machine has to do comes and goes within seconds
WRITES = 10_000  # of a round, by sessions inside of the server's host
WRITERS = 2
ROWS = 1_000_000
QUIET = 6.0


class Writes(t.NamedTuple):
    """Single-row writes a second without triggers and with, and for some with one that does nothing, in several rounds."""

    plain: list[float]
    synced: list[float]
    idle: list[float]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: all sides of one have the same moment of the machine."""
        return self._to_plain(self.synced)

    @property
    def idle_ratio(self) -> float | None:
        return self._to_plain(self.idle) if self.idle else None

    def _to_plain(self, some: list[float]) -> float:
        return round(statistics.median(writes / plain for plain, writes in zip(self.plain, some)), 3)


class Filled(t.NamedTuple):
    """A backfill. In milliseconds the clients' p99 before it (*quiet*), beside a *busy* session that computes and touches no row, and *during* it, and
    their longest statement; in seconds how long it took *loaded* (with the clients) and *alone*, and *one* UPDATE alone, which with clients would stop them
    until its end."""

    quiet: float
    busy: float
    during: float
    longest: float
    loaded: float
    alone: float
    one: float

    @property
    def p99_ratio(self) -> float:
        return round(self.during / self.quiet, 2)

    @property
    def busy_ratio(self) -> float:
        """What a processor less costs the clients on this machine, whatever it is that takes it."""
        return round(self.busy / self.quiet, 2)

    @property
    def time_ratio(self) -> float:
        return round(self.alone / self.one, 2)


def plain_case(engine: str, **changes: t.Any) -> Case:
    """A renamed column in a table with a number as its key, with neither index nor other things in the way."""
    case = cases(engine)["rename_column"]
    return dataclasses.replace(case, setup=tuple(statement for statement in case.setup if "INDEX" not in statement), untouched="", **changes)


def triggers(servers: Servers, engine: str, kind: str, *, canary: bool = True, rounds: int = ROUNDS) -> Writes:
    """Measure single-row writes of old code: *kind* is update (of the column), other (of another one) or insert. The rounds of both are interleaved."""
    case = plain_case(engine)
    names = ("plain", "synced", "idle") if engine == POSTGRESQL and kind == "update" and canary else ("plain", "synced")
    places = {name: prepare(servers, case, f"writes_{name}") for name in names}
    if "idle" in places:
        with places["idle"].connect("root") as session:
            session.run("CREATE FUNCTION idle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
            session.run("CREATE TRIGGER idle BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION idle()")
    work = Engine(places["synced"], case)
    work.job["spec"] = {**case.spec, "canary": canary}
    work.end(work.begin("backfilled"), "backfilled")
    seen: dict[str, list[float]] = {name: [] for name in places}
    try:
        for number in range(rounds):
            for name in sorted(places, reverse=bool(number % 2)):
                seen[name].append(round(_round(servers, places[name], kind, number)))
    finally:
        for place in places.values():
            servers.drop(place)
    return Writes(seen["plain"], seen["synced"], seen.get("idle", []))


@contextlib.contextmanager
def durable(servers: Servers) -> t.Iterator[None]:
    """Have PostgreSQL wait for the disk at each commit, as it does by default: the tests' server doesn't, so that what triggers cost shows most."""
    with servers.root(POSTGRESQL) as session:
        session.script("ALTER SYSTEM SET fsync = on", "ALTER SYSTEM SET synchronous_commit = on", "SELECT pg_reload_conf()")
        yield
        session.script("ALTER SYSTEM RESET fsync", "ALTER SYSTEM RESET synchronous_commit", "SELECT pg_reload_conf()")


def _statements(kind: str, seed: int) -> list[str]:
    chance = random.Random(seed)
    makers: dict[str, t.Callable[[], str]] = {
        "update": lambda: f"UPDATE users SET name = 'n{chance.randrange(10**9)}' WHERE id = {chance.randint(1, 3000)};",
        "other": lambda: f"UPDATE users SET hits = hits + 1 WHERE id = {chance.randint(1, 3000)};",
        "insert": lambda: f"INSERT INTO users (name) VALUES ('n{chance.randrange(10**9)}');",
    }
    return [makers[kind]() for dummy in range(WRITES)]


def _round(servers: Servers, place: Place, kind: str, seed: int) -> float:
    """Return writes a second of sessions that run inside of the server's host: with the client's own work as small as it can be."""
    with place.connect("root") as session:
        if place.engine == POSTGRESQL:
            session.script("VACUUM users", "CHECKPOINT")
    if place.engine == POSTGRESQL:
        script = {
            "update": "\\set id random(1, 3000)\n\\set n random(1, 1000000000)\nUPDATE users SET name = 'n' || :n WHERE id = :id;\n",
            "other": "\\set id random(1, 3000)\nUPDATE users SET hits = hits + 1 WHERE id = :id;\n",
            "insert": "\\set n random(1, 1000000000)\nINSERT INTO users (name) VALUES ('n' || :n);\n",
        }[kind]
        servers.put(HOST, "/tmp/script.sql", script)
        text = servers.shell(
            HOST, f"su postgres -c '/usr/lib/postgresql/15/bin/pgbench -n -M prepared -c {WRITERS} -t {WRITES // WRITERS} -f /tmp/script.sql {place.database}'"
        )
        found = re.search(r"tps = ([\d.]+) \(without", text)
        if not found or "number of failed transactions: 0 " not in text:
            raise RuntimeError(text)
        return float(found[1])
    servers.put(HOST, "/tmp/script.sql", "\n".join(_statements(kind, seed)))
    begin, end = servers.shell(HOST, f"date +%s%N; mariadb {place.database} < /tmp/script.sql; date +%s%N").split()
    return WRITES / (int(end) - int(begin)) * 1e9


def million(servers: Servers, engine: str, name: str, rows: int) -> tuple[Place, Case]:
    """Make a database with *rows* users."""
    case = plain_case(engine, rows=rows)
    place = servers.make(engine, name)
    set_up(place, case, case.setup)
    with place.connect("root") as session:
        if engine == POSTGRESQL:
            session.run(f"INSERT INTO users (name) SELECT 'Zoë ' || n % 7 FROM generate_series(1, {rows}) n")
            session.run("VACUUM ANALYZE users")
            session.run("CHECKPOINT")
        else:
            session.run(f"INSERT INTO users (name) SELECT concat('Zoë ', seq % 7) FROM seq_1_to_{rows}")
            session.rows("ANALYZE TABLE users")
    return place, case


def p99(logs: t.Iterable[Log], begin: float, end: float) -> tuple[float, float]:
    """Return the p99 and the longest, in milliseconds, of the statements that ran between *begin* and *end*."""
    found = sorted(seconds for log in logs for at, seconds in log.samples() if at < end and at + seconds > begin)
    return round(found[int(len(found) * 0.99)] * 1000, 2), round(found[-1] * 1000, 1)


def backfill(servers: Servers, engine: str, rows: int = ROWS) -> Filled:
    """Fill in *rows* rows as we do, under three old clients and alone, and on another copy in one UPDATE, through the same triggers."""
    with _expanded(servers, engine, rows) as (place, case, work):
        clients = Clients(place, case, "old", 3, first=1).start()
        clients.wait(100)
        quiet = time.monotonic()
        time.sleep(QUIET)
        busy = time.monotonic()
        _compute(place)
        begun = time.monotonic()
        loaded = _filled(work)
        logs = clients.stop()
    # What comes after the backfill (the validation, the verification) is none of it.
    during, longest = p99(logs, begun, begun + loaded + 0.5)
    with _expanded(servers, engine, rows) as (place, case, work):
        alone = _filled(work)
    with _expanded(servers, engine, rows) as (place, case, work), place.connect("owner") as session:
        before = time.monotonic()
        if engine == POSTGRESQL:
            with session.transaction():
                session.run("SET LOCAL seamless_rollout.backfill = 'on'")
                session.run("UPDATE users SET full_name = name WHERE full_name IS NULL")
        else:
            session.script("SET @seamless_backfill = 1", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            session.run("UPDATE users SET full_name = name, stamp = stamp WHERE full_name IS NULL")
        one = round(time.monotonic() - before, 2)
    return Filled(p99(logs, quiet, busy)[0], p99(logs, busy, begun)[0], during, longest, loaded, alone, one)


def _compute(place: Place) -> None:
    """Keep a session of the server busy for as long as it was quiet."""
    postgresql = "SELECT sum(length(sha256(n::text::bytea))) FROM generate_series(1, 500000) n"
    end = time.monotonic() + QUIET
    with place.connect("root") as session:
        while time.monotonic() < end:
            session.rows(postgresql if place.engine == POSTGRESQL else "SELECT benchmark(2000000, sha1('x'))")


@contextlib.contextmanager
def _expanded(servers: Servers, engine: str, rows: int) -> t.Iterator[tuple[Place, Case, Engine]]:
    place, case = million(servers, engine, "fill", rows)
    try:
        work = Engine(place, case)
        work.job["spec"] = {key: value for key, value in case.spec.items() if key != "limits"}
        work.end(work.begin("expanded"), "expanded")
        yield place, case, work
    finally:
        servers.drop(place)


def _filled(work: Engine) -> float:
    """Return the seconds of the backfill."""
    text = work.end(work.begin("backfilled"), "backfilled")
    return float(json.loads(text.strip().splitlines()[-1])["fills"][0]["seconds"])


def stalls(servers: Servers, engine: str) -> list[Met]:
    """Measure the longest stall with a reader of five seconds in the way, where the schema expands and where the old shape goes."""
    return [meet(servers, cases(engine)["rename_column"], "long reader", phase=phase) for phase in ("expanded", "quarantined")]


def measure(engine: str, parts: t.Sequence[str] = ("triggers", "backfill", "stalls"), rows: int = ROWS) -> dict[str, t.Any]:
    """Return all numbers of *engine*."""
    found: dict[str, t.Any] = {}
    with Servers([engine]) as servers:
        if "triggers" in parts:
            for kind in ("update", "other", "insert"):
                found[f"{kind} with canary"] = triggers(servers, engine, kind)
                found[kind] = triggers(servers, engine, kind, canary=False)
            if engine == POSTGRESQL:
                with durable(servers):
                    found["update with canary, durable"] = triggers(servers, engine, "update", rounds=ROUNDS // 2)
        if "backfill" in parts:
            found["backfill"] = backfill(servers, engine, rows)
        if "stalls" in parts:
            found["stalls"] = stalls(servers, engine)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", action="append", choices=ENGINES)
    parser.add_argument("--part", action="append", choices=["triggers", "backfill", "stalls"])
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    for engine in options.engine or ENGINES:
        for name, value in measure(engine, options.part or ("triggers", "backfill", "stalls"), options.rows).items():
            ratios = {key: getattr(value, key) for key in ("ratio", "idle_ratio", "p99_ratio", "busy_ratio", "time_ratio") if hasattr(value, key)}
            print(engine, name, value, ratios or "", flush=True)


if __name__ == "__main__":
    main()
