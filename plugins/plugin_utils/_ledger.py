# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The controller's record of rollouts: one SQLite file per application. What it says is intent and outcome; what a host
really runs is on the host, and what is in rotation is in the balancer: those are read, never remembered."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import platform
import sqlite3
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._orders import Orders
from ansible_collections.seamless.rollout.plugins.plugin_utils._orders import standing as what_stands
from ansible_collections.seamless.rollout.plugins.plugin_utils._process import lives

_SCHEMA = """
CREATE TABLE IF NOT EXISTS rollouts (
    id TEXT PRIMARY KEY, app TEXT NOT NULL, release TEXT, mode TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    owner TEXT NOT NULL, controller TEXT NOT NULL, pid INTEGER NOT NULL, process_start TEXT NOT NULL, started_at REAL NOT NULL,
    finished_at REAL, halted TEXT, plan TEXT NOT NULL DEFAULT '{}'
);
CREATE TABLE IF NOT EXISTS hosts (
    rollout_id TEXT NOT NULL REFERENCES rollouts(id), host TEXT NOT NULL, position INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL,
    from_release TEXT, to_release TEXT, detail TEXT NOT NULL DEFAULT '', drained INTEGER NOT NULL DEFAULT 0, seconds_out REAL,
    updated_at REAL NOT NULL, PRIMARY KEY (rollout_id, host)
);
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, rollout_id TEXT NOT NULL, at REAL NOT NULL, host TEXT, event TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT '{}'
);
CREATE TABLE IF NOT EXISTS orders (
    number INTEGER PRIMARY KEY AUTOINCREMENT, rollout_id TEXT NOT NULL, verb TEXT NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL,
    given_at REAL NOT NULL, at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS beats (rollout_id TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (rollout_id, kind));
CREATE TABLE IF NOT EXISTS totals (rollout_id TEXT PRIMARY KEY, at REAL NOT NULL, counts TEXT NOT NULL);
"""

ACTIVE_STATES = ("planned", "running", "paused", "rolling_back")
# Events that are numbers for views and the report: nobody wants to be told of each.
NUMBERS = ("steps", "counted")
BEGUN, BAD_STATES = ("in_flight", "rolling_back"), ("failed", "unreachable", "rollback_failed")
HOST_COLUMNS = ("state", "from_release", "to_release", "detail", "drained", "seconds_out", "position")

Totals = t.Mapping[str, t.Sequence[int]]


def default_state_dir(app: str, chosen: str | None = None) -> str:
    """Return the directory that keeps ledger, cache and reports of *app* (``$XDG_STATE_HOME`` or ``~/.local/state``)."""
    base = chosen or os.path.join(os.environ.get("XDG_STATE_HOME") or "~/.local/state", "seamless-rollout")
    return os.path.join(os.path.expanduser(base), app)


def ledger_path(state_dir: str) -> str:
    return os.path.join(state_dir, "ledger.sqlite3")


@contextlib.contextmanager
def read_only(path: str, timeout: float) -> t.Iterator[sqlite3.Connection]:
    """Open the ledger at *path* for reading, which neither makes nor changes one. A writer is waited for *timeout* seconds at most."""
    with contextlib.closing(sqlite3.connect(f"{pathlib.Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=timeout)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


class Ledger:
    """One application's ledger. Every method is one transaction and safe between processes."""

    def __init__(self, state_dir: str) -> None:
        self.path = ledger_path(state_dir)
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
        with self._open() as connection:
            connection.executescript(_SCHEMA)

    @classmethod
    def existing(cls, state_dir: str) -> Ledger | None:
        """Return the ledger in *state_dir*, or None where there is none: to look for one makes none."""
        return cls(state_dir) if os.path.exists(ledger_path(state_dir)) else None

    @contextlib.contextmanager
    def _open(self, *, exclusive: bool = False) -> t.Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=30)
        connection.row_factory = sqlite3.Row
        try:
            with connection:
                if exclusive:
                    connection.execute("BEGIN IMMEDIATE")
                yield connection
        finally:
            connection.close()

    def _rows(self, sql: str, *values: t.Any) -> list[sqlite3.Row]:
        with self._open() as connection:
            return connection.execute(sql, values).fetchall()

    def begin(self, rollout: t.Mapping[str, t.Any]) -> None:
        """Record a rollout, or that another process goes on with it.

        Raises SeamlessError when one that lives does so already: two that were started at once both found it dead.
        """
        columns = ("id", "app", "release", "mode", "state", "reason", "owner", "controller", "pid", "process_start", "started_at")
        with self._open(exclusive=True) as connection:
            left = connection.execute("SELECT 1 FROM beats WHERE rollout_id=? AND kind='left'", (rollout["id"],)).fetchone()
            known = connection.execute("SELECT pid, process_start, finished_at FROM rollouts WHERE id=?", (rollout["id"],)).fetchone()
            if known is not None and not left and not known["finished_at"] and known["pid"] != rollout["pid"] and lives(known):
                raise SeamlessError(f"process {known['pid']} goes on with {rollout['id']} already: wait until it is done, and run again.")
            connection.execute(
                f"INSERT INTO rollouts ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
                "ON CONFLICT (id) DO UPDATE SET state=excluded.state, pid=excluded.pid, process_start=excluded.process_start, "
                "owner=excluded.owner, controller=excluded.controller, halted=NULL, finished_at=NULL",
                [rollout[column] for column in columns],
            )
            for kind in ("begun", "locks", "listen"):
                connection.execute("INSERT OR REPLACE INTO beats (rollout_id, kind, at) VALUES (?, ?, ?)", (rollout["id"], kind, time.time()))
            connection.execute("DELETE FROM beats WHERE rollout_id=? AND kind='left'", (rollout["id"],))
            # What was counted while nobody worked on it is nothing that it did.
            connection.execute("DELETE FROM totals WHERE rollout_id=?", (rollout["id"],))

    def leave(self, rollout_id: str) -> None:
        """Record that the process which worked on the rollout is done with it, though it may go on with something else."""
        with self._open() as connection:
            connection.execute("INSERT OR REPLACE INTO beats (rollout_id, kind, at) VALUES (?, 'left', ?)", (rollout_id, time.time()))

    def save_plan(self, rollout_id: str, plan: t.Mapping[str, t.Any]) -> None:
        """Record the plan and its hosts; hosts that an interrupted run had recorded keep nothing but their way back.

        Those that this run leaves out, as with ``--limit``, are skipped unless they are done: it can do nothing about them.
        """
        now = time.time()
        with self._open() as connection:
            known = [row["host"] for row in connection.execute("SELECT host FROM hosts WHERE rollout_id=? AND state!='done'", (rollout_id,))]
            connection.executemany(
                "UPDATE hosts SET state='skipped' WHERE rollout_id=? AND host=?", [(rollout_id, host) for host in known if host not in plan["hosts"]]
            )
            connection.execute(
                "UPDATE rollouts SET plan=?, state='running', release=? WHERE id=?", (json.dumps(plan), plan["release"], rollout_id)
            )
            for position, (host, entry) in enumerate(plan["hosts"].items()):
                connection.execute(
                    "INSERT INTO hosts (rollout_id, host, position, state, from_release, to_release, detail, drained, updated_at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (rollout_id, host) DO UPDATE SET "
                    "state=CASE WHEN excluded.state='skipped' AND hosts.state='done' THEN 'done' ELSE excluded.state END, "
                    "position=excluded.position, detail=excluded.detail, drained=excluded.drained, updated_at=excluded.updated_at, "
                    "from_release=COALESCE(hosts.from_release, excluded.from_release), to_release=excluded.to_release",
                    (rollout_id, host, position, entry["state"], entry["from"], entry["target"], entry["detail"], int(bool(entry.get("drained"))), now),
                )

    def update_host(self, rollout_id: str, host: str, **changes: t.Any) -> None:
        """Change columns of one host: state, detail, drained, seconds_out …"""
        unknown = set(changes) - set(HOST_COLUMNS)
        if unknown:
            raise ValueError(f"no such columns: {', '.join(sorted(unknown))}")
        with self._open() as connection:
            connection.execute(
                f"UPDATE hosts SET {', '.join(f'{name}=?' for name in changes)}, updated_at=? WHERE rollout_id=? AND host=?",
                [*changes.values(), time.time(), rollout_id, host],
            )
            self._event(connection, rollout_id, host, str(changes.get("state", "note")), changes)

    def drain_lost(self, rollout_id: str, host: str, balancers: t.Sequence[str]) -> None:
        """Record that *balancers* had *host* back in rotation while it was to be out, beside whatever else is told of the host."""
        told = f"was back in rotation too early on {', '.join(balancers)} (reloaded?)"
        with self._open() as connection:
            connection.execute(
                "UPDATE hosts SET detail=CASE WHEN detail='' THEN ? ELSE detail || '; ' || ? END WHERE rollout_id=? AND host=? AND instr(detail, ?)=0",
                (told, told, rollout_id, host, told),
            )
            self._event(connection, rollout_id, host, "drain_lost", {"balancers": list(balancers)})

    def take_slot(self, rollout_id: str, host: str, judge: t.Callable[[dict[str, dict[str, t.Any]]], str], *, drained: bool) -> str:
        """Ask *judge* about all hosts and, unless it says why *host* has to wait, record that it starts (and may be *drained* from now on).

        Nobody else decides meanwhile. Returns what *judge* said.
        """
        with self._open(exclusive=True) as connection:
            why = judge(self._hosts(connection, rollout_id))
            if not why:
                connection.execute(
                    "UPDATE hosts SET state='in_flight', detail='', drained=?, updated_at=? WHERE rollout_id=? AND host=?",
                    (int(drained), time.time(), rollout_id, host),
                )
                self._event(connection, rollout_id, host, "in_flight", {})
        return why

    def add_steps(self, rollout_id: str, hosts: t.Sequence[str], steps: t.Callable[[str, float, float | None], list[dict[str, t.Any]]]) -> None:
        """Record the steps of each of *hosts* in its last pass (the rollout, or its undo), once.

        *steps* is given the host, when the pass began, and when the host failed in it, None where it did not.
        """
        with self._open() as connection:
            for host in hosts:
                begun, failed = self._pass(connection, rollout_id, host)
                found = steps(host, begun, failed) if begun is not None else []
                if found:
                    self._event(connection, rollout_id, host, "steps", {"steps": found})

    @staticmethod
    def _pass(connection: sqlite3.Connection, rollout_id: str, host: str) -> tuple[float | None, float | None]:
        """Return when the last pass of *host* began and when it failed; it began never where its steps are recorded already."""
        names = ("steps", *BEGUN, *BAD_STATES)
        rows = connection.execute(
            f"SELECT at, event FROM events WHERE rollout_id=? AND host=? AND event IN ({', '.join('?' * len(names))}) ORDER BY number DESC",
            (rollout_id, host, *names),
        )
        failed = None
        for row in rows:
            if row["event"] == "steps":
                break
            if row["event"] in BEGUN:
                return float(row["at"]), failed
            failed = float(row["at"])
        return None, None

    def count(self, rollout_id: str, every: float, read: t.Callable[[], Totals], added: t.Callable[[Totals, Totals], dict[str, t.Any]]) -> None:
        """Record what *read* counters have *added*, by host, since they were read last; *every* so many seconds, whoever of all processes asks."""
        now = time.time()
        with self._open(exclusive=True) as connection:
            last = connection.execute("SELECT at, counts FROM totals WHERE rollout_id=?", (rollout_id,)).fetchone()
            if last is not None and 0 <= now - last["at"] < every:
                return
            totals = read()
            if not totals:
                return
            connection.execute("INSERT OR REPLACE INTO totals (rollout_id, at, counts) VALUES (?, ?, ?)", (rollout_id, now, json.dumps(totals)))
            if last is not None:
                detail = {"hosts": added(json.loads(last["counts"]), totals), "seconds": round(now - last["at"], 3)}
                self._event(connection, rollout_id, None, "counted", detail)

    def is_counted(self, rollout_id: str) -> bool:
        """Say whether anybody has counted the requests of this run of the rollout."""
        return bool(self._rows("SELECT 1 FROM totals WHERE rollout_id=?", rollout_id))

    def order(self, rollout_id: str, verb: str, by: str, reason: str, given_at: float) -> None:
        """Write down an order to a rollout (pause, resume, promote, stop, abort), once. *given_at* is by the clock of whoever gave it."""
        with self._open(exclusive=True) as connection:
            known = connection.execute(
                "SELECT 1 FROM orders WHERE rollout_id=? AND verb=? AND by=? AND given_at=?", (rollout_id, verb, by, given_at)
            ).fetchone()
            if not known:
                connection.execute(
                    "INSERT INTO orders (rollout_id, verb, by, reason, given_at, at) VALUES (?, ?, ?, ?, ?, ?)",
                    (rollout_id, verb, by, reason, given_at, time.time()),
                )
                self._event(connection, rollout_id, None, verb, {"by": by, "reason": reason})

    def orders(self, rollout_id: str) -> list[dict[str, t.Any]]:
        """Return the orders to a rollout, oldest first; ``at`` is when they were heard here."""
        return [dict(row) for row in self._rows("SELECT * FROM orders WHERE rollout_id=? ORDER BY number", rollout_id)]

    def standing(self, rollout_id: str) -> Orders:
        """Return what stands of the orders to a rollout, for the process that works on it now."""
        return what_stands(self.orders(rollout_id), self.begun(rollout_id))

    def forget_beat(self, rollout_id: str, kind: str) -> None:
        """Have :meth:`due` be true for whoever asks next."""
        with self._open() as connection:
            connection.execute("DELETE FROM beats WHERE rollout_id=? AND kind=?", (rollout_id, kind))

    def begun(self, rollout_id: str) -> float:
        """Return when the process that works on the rollout now began (seconds since 1970), which is later than its start where it was resumed."""
        return next((float(row["at"]) for row in self._rows("SELECT at FROM beats WHERE rollout_id=? AND kind='begun'", rollout_id)), 0.0)

    def due(self, rollout_id: str, kind: str, every: float) -> bool:
        """Say whether *every* seconds have gone by since this was true last, to one of all processes that ask."""
        now = time.time()
        with self._open(exclusive=True) as connection:
            row = connection.execute("SELECT at FROM beats WHERE rollout_id=? AND kind=?", (rollout_id, kind)).fetchone()
            if row is not None and 0 <= now - row["at"] < every:
                return False
            connection.execute("INSERT OR REPLACE INTO beats (rollout_id, kind, at) VALUES (?, ?, ?)", (rollout_id, kind, now))
        return True

    def set_state(self, rollout_id: str, state: str, *, halted: str | None = None) -> None:
        finished = None if state in ACTIVE_STATES else time.time()
        with self._open() as connection:
            connection.execute(
                "UPDATE rollouts SET state=?, finished_at=?, halted=COALESCE(?, halted) WHERE id=?", (state, finished, halted, rollout_id)
            )
            self._event(connection, rollout_id, None, state, {"halted": halted} if halted else {})

    def event(self, rollout_id: str, event: str, host: str | None = None, **detail: t.Any) -> None:
        with self._open() as connection:
            self._event(connection, rollout_id, host, event, detail)

    @staticmethod
    def _event(connection: sqlite3.Connection, rollout_id: str, host: str | None, event: str, detail: t.Mapping[str, t.Any]) -> None:
        connection.execute(
            "INSERT INTO events (rollout_id, at, host, event, detail) VALUES (?, ?, ?, ?, ?)",
            (rollout_id, time.time(), host, event, json.dumps(dict(detail))),
        )

    def rollout(self, rollout_id: str) -> dict[str, t.Any] | None:
        return next((dict(row) for row in self._rows("SELECT * FROM rollouts WHERE id=?", rollout_id)), None)

    def rollouts(self, limit: int = 20) -> list[dict[str, t.Any]]:
        """Return the newest rollouts, newest first."""
        return [dict(row) for row in self._rows("SELECT * FROM rollouts ORDER BY started_at DESC, rowid DESC LIMIT ?", limit)]

    def unfinished(self) -> list[dict[str, t.Any]]:
        """Return rollouts that never came to an end, each with ``alive``: whether the process that ran it still runs and works on it."""
        left = {row["rollout_id"] for row in self._rows("SELECT rollout_id FROM beats WHERE kind='left'")}
        return [{**row, "alive": row["id"] not in left and lives(row)} for row in self.rollouts(limit=1000) if row["state"] in ACTIVE_STATES]

    def is_over(self, rollout_id: str) -> bool:
        """Say whether nothing is left to be done by the process that worked on the rollout: it has an end, or is paused without one."""
        rollout = self.rollout(rollout_id)
        left = self._rows("SELECT 1 FROM beats WHERE rollout_id=? AND kind='left'", rollout_id)
        return rollout is not None and bool(rollout["finished_at"] or left)

    def of_this_controller(self, *, alive: bool) -> list[dict[str, t.Any]]:
        """Return the unfinished rollouts of this machine whose process runs, or those whose process is gone; newest first."""
        return [row for row in self.unfinished() if row["alive"] is alive and row["controller"] == platform.node()]

    def working(self) -> dict[str, t.Any] | None:
        """Return the rollout that is at work on this machine: one that has its locks and its plan before one that still waits for them."""
        living = self.of_this_controller(alive=True)
        return next((row for row in living if row["state"] != "planned"), living[0] if living else None)

    def paused(self) -> list[dict[str, t.Any]]:
        """Return the rollouts that ended on this machine as paused: they keep their locks until somebody decides about them."""
        return [row for row in self.of_this_controller(alive=False) if row["state"] == "paused"]

    def hosts(self, rollout_id: str) -> dict[str, dict[str, t.Any]]:
        with self._open() as connection:
            return self._hosts(connection, rollout_id)

    @staticmethod
    def _hosts(connection: sqlite3.Connection, rollout_id: str) -> dict[str, dict[str, t.Any]]:
        rows = connection.execute("SELECT * FROM hosts WHERE rollout_id=? ORDER BY position", (rollout_id,)).fetchall()
        return {row["host"]: dict(row) for row in rows}

    def events(self, rollout_id: str) -> list[dict[str, t.Any]]:
        rows = self._rows("SELECT * FROM events WHERE rollout_id=? ORDER BY number", rollout_id)
        return [{**dict(row), "detail": json.loads(row["detail"])} for row in rows]
