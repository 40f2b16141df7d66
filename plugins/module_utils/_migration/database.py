# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""A connection to the database that a migration changes, the same for every engine and driver.

Statements use ``%s`` for parameters. A ``%`` in a statement without parameters is just a ``%``; in one with parameters it is written ``%%``.
Parameters are str, int, float, bool, bytes, None, dates, and lists of those (an array in PostgreSQL, a list for IN in MariaDB); JSON is handed over as
text, and comes back as Python objects from PostgreSQL's json and jsonb (select ``column::text`` to have text everywhere) and as text from MariaDB.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import driver_mariadb, driver_postgresql
from ansible_collections.seamless.rollout.plugins.module_utils._migration.driver import APPLICATION, ConnectSettings, Driver, Refused, Result
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import ENGINES, POSTGRESQL, Server

__all__ = ["APPLICATION", "ConnectSettings", "Database", "DatabaseError", "connect"]

_KINDS: dict[str, tuple[str, ...]] = {
    # 1205 lock wait timeout; 3572 MySQL's NOWAIT
    "lock": ("55P03", "1205", "3572"),
    # with PostgreSQL's serialization failure: both are cured by doing it again
    "deadlock": ("40P01", "40001", "1213"),
    # a statement that somebody cancelled or a statement timeout ended: 1317 KILL QUERY, 1969 max_statement_time, 3024 max_execution_time
    "cancelled": ("57014", "1317", "1969", "3024"),
    "duplicate": ("23505", "1062", "1586"),
    # 1227 needs SUPER or the like, 1419 a trigger while the binary log is on, 1370 routines
    "privilege": ("42501", "28000", "28P01", "1044", "1045", "1142", "1143", "1227", "1370", "1419", "1698"),
    # 1927 KILL CONNECTION; 1040 and 53300 too many connections
    "connection": ("57P01", "57P02", "57P03", "53300", "1040", "1053", "1927", "2002", "2003", "2006", "2013", "2055"),
    # unknown table, column, schema, function, object; 1091 can't drop, 1360 no such trigger
    "undefined": ("42P01", "42703", "42704", "42883", "3F000", "3D000", "1049", "1054", "1091", "1146", "1305", "1360"),
}


class DatabaseError(SeamlessError):
    """The database refused a statement, or can't be reached.

    *kind* is lock, deadlock, cancelled, duplicate, privilege, connection, undefined or other; *code* is the SQLSTATE (PostgreSQL) or error number (MariaDB).
    """

    def __init__(self, message: str, *, kind: str = "other", code: str = "", **details: t.Any) -> None:
        super().__init__(message, kind=kind, code=code, **details)
        self.kind = kind
        self.code = code


def kind_of(code: str) -> str:
    """Return the kind of the error *code*: see :class:`DatabaseError`."""
    if len(code) == 5 and code.startswith("08"):
        return "connection"
    return next((kind for kind, codes in _KINDS.items() if code in codes), "other")


class Database:
    """An open connection. Every statement commits by itself, except within :meth:`transaction`."""

    def __init__(self, settings: ConnectSettings, driver: Driver) -> None:
        self.settings = settings
        self.engine = settings.engine
        self.in_transaction = False
        self._driver = driver
        ours = driver_postgresql if self.engine == POSTGRESQL else driver_mariadb
        self.backend_id: int
        self._pooled: bool
        self.backend_id, self._pooled = ours.identify(driver.wire_id, self.rows)
        if not self._pooled:  # what a session behind a pooler sets stays there for whoever gets it next
            ours.prepare(settings, self.rows)
        self.server: Server
        self.default_schema: str
        self.server, self.default_schema = ours.describe(settings, self.rows)

    def execute(self, sql: str, params: t.Sequence[t.Any] = ()) -> int:
        """Run a statement and return how many rows it touched (MariaDB: changed). Raises DatabaseError."""
        return self._run(sql, params).touched

    def rows(self, sql: str, params: t.Sequence[t.Any] = ()) -> list[tuple[t.Any, ...]]:
        """Run a statement and return its rows; none where it returns none. Raises DatabaseError."""
        return self._run(sql, params).rows

    def value(self, sql: str, params: t.Sequence[t.Any] = ()) -> t.Any:
        """Run a query and return the first column of its first row, or None when it has no row. Raises DatabaseError."""
        rows = self._run(sql, params).rows
        return rows[0][0] if rows else None

    @contextlib.contextmanager
    def transaction(self) -> t.Iterator[None]:
        """Commit what the block does as a whole, or nothing of it when it raises. READ COMMITTED; not to be nested.

        In MariaDB every DDL statement commits what was before it.
        """
        if self.in_transaction:
            raise RuntimeError("a transaction is open already")
        self._run("BEGIN ISOLATION LEVEL READ COMMITTED" if self.engine == POSTGRESQL else "START TRANSACTION", ())
        self.in_transaction = True
        try:
            yield
        except BaseException:
            with contextlib.suppress(DatabaseError):
                self._run("ROLLBACK", ())
            raise
        else:
            # PostgreSQL answers the COMMIT of a transaction in which a statement had failed with ROLLBACK, and no error.
            if self._run("COMMIT", ()).tag == "ROLLBACK":
                raise DatabaseError("The transaction was rolled back, since a statement in it had failed.")
        finally:
            self.in_transaction = False

    def is_pooled(self) -> bool:
        """Return whether something between us and the server shares its sessions: then no lock and no setting of a session is ours."""
        return self._pooled

    def again(self) -> Database:
        """Return a second connection with the same settings. Raises DatabaseError."""
        return connect(self.settings)

    def fileno(self) -> int:
        """Return the connection's file descriptor: a process that inherits it keeps the session, and its locks, alive."""
        return self._driver.fileno()

    def close(self) -> None:
        self._driver.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _run(self, sql: str, params: t.Sequence[t.Any]) -> Result:
        try:
            return self._driver.run(sql, params or None)
        except self._driver.errors as exc:
            code, text, lost = self._driver.fault(exc)
            kind = "connection" if lost else kind_of(code)
            statement = " ".join(sql.split())
            shown = statement if len(statement) <= 300 else f"{statement[:300]} …"
            raise DatabaseError(f"The database says: {text} ({code or 'no code'}). The statement: {shown}", kind=kind, code=code, statement=sql) from exc


def connect(settings: ConnectSettings) -> Database:
    """Open a connection. Raises SeamlessError when no driver is installed, DatabaseError when the server can't be reached or refuses us."""
    if settings.engine not in ENGINES:
        raise SeamlessError(f"engine is {settings.engine!r}; it must be one of {', '.join(ENGINES)}.")
    try:
        driver = (driver_postgresql if settings.engine == POSTGRESQL else driver_mariadb).connect(settings)
    except Refused as exc:
        kind = kind_of(exc.code)
        if "authentication failed" in exc.text:  # libpq tells no code of a refusal at login
            kind = "privilege"
        raise DatabaseError(
            f"Can't connect to the {settings}: {exc.text.rstrip('.?')}. Check login_host, login_port, login_unix_socket, login_user, login_password "
            "and login_db, and that the server lets this host and user in.",
            kind="connection" if kind == "other" else kind,
            code=exc.code,
        ) from exc
    try:
        return Database(settings, driver)
    except BaseException:
        driver.close()
        raise
