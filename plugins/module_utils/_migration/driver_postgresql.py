# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""psycopg 3 and psycopg2, made alike, and what is special in a session of PostgreSQL."""

from __future__ import annotations

import contextlib
import importlib
import sys
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.driver import APPLICATION, ConnectSettings, Driver, Fault, Refused, Result, Rows
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Server

MISSING = (
    "No driver for PostgreSQL is installed for {python}: install the package python3-psycopg (psycopg 3.1 or newer) or python3-psycopg2 of the "
    "distribution, or with pip 'psycopg[binary]' or psycopg2-binary, on the host that runs the migration."
)

# What must not end our statements or our session half way. Those that a server's version does not know are left out.
# client_connection_check_interval: the server ends the statement of a runner that died, else its locks are held until the statement is through.
# row_security off: a query that a policy would filter fails, so that a backfill never passes over rows without a word.
_SESSION = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "default_transaction_isolation": "read committed",
    "standard_conforming_strings": "on",
    "row_security": "off",
}


class _Psycopg:
    """A connection of psycopg 3 or of psycopg2."""

    def __init__(self, module: t.Any, connection: t.Any, pid: int) -> None:
        self._connection = connection
        self.wire_id = pid
        self.errors: tuple[type[BaseException], ...] = (module.Error,)

    def run(self, sql: str, params: t.Sequence[t.Any] | None) -> Result:
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql, params)
            rows = [tuple(row) for row in cursor.fetchall()] if cursor.description is not None else []
            return Result(rows, max(cursor.rowcount, 0), cursor.statusmessage or "")
        finally:
            cursor.close()

    def fault(self, exc: BaseException) -> Fault:
        code = getattr(exc, "sqlstate", None) or getattr(exc, "pgcode", None) or ""
        return Fault(code, _first_line(exc), bool(self._connection.closed))

    def fileno(self) -> int:
        return int(self._connection.fileno())

    def close(self) -> None:
        with contextlib.suppress(*self.errors):
            self._connection.close()


def _first_line(exc: BaseException) -> str:
    """Return what the server said: its message and detail, without the excerpt of the statement, which we show ourselves."""
    lines = [line.strip() for line in str(exc).strip().splitlines()]
    kept = [line for line in lines if line and not line.startswith("LINE ") and line.strip("^ ")]
    return "; ".join(kept[:2]).replace("DETAIL:  ", "") or type(exc).__name__


def _arguments(settings: ConnectSettings) -> dict[str, t.Any]:
    arguments = {
        "dbname": settings.database,
        "host": settings.unix_socket or settings.host,
        "port": settings.port,
        "user": settings.user,
        "password": settings.password,
        "sslmode": settings.ssl_mode,
        "sslrootcert": settings.ca_cert,
        "sslcert": settings.client_cert,
        "sslkey": settings.client_key,
        "connect_timeout": settings.connect_timeout,
        "application_name": APPLICATION,
        "client_encoding": "UTF8",
        "keepalives": 1,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    return {**{key: value for key, value in arguments.items() if value not in ("", 0)}, **settings.params}


def connect(settings: ConnectSettings) -> Driver:
    """Open a connection. Raises Refused, and SeamlessError when neither psycopg nor psycopg2 is there."""
    module = _module("psycopg")
    # ClientCursor, of 3.1, puts the parameters in by itself as psycopg2 does: so they may stand in any statement, and nothing is prepared on the server.
    if module is not None and hasattr(module, "ClientCursor"):
        extra = {"autocommit": True, "prepare_threshold": None, "cursor_factory": module.ClientCursor}
        try:
            connection = module.connect(**_arguments(settings), **extra)
        except module.Error as exc:
            raise Refused(getattr(exc, "sqlstate", None) or "", _first_line(exc)) from exc
        return _Psycopg(module, connection, connection.info.backend_pid)
    module = _module("psycopg2")
    if module is None:
        raise SeamlessError(MISSING.format(python=sys.executable))
    try:
        connection = module.connect(**_arguments(settings))
    except module.Error as exc:
        raise Refused(getattr(exc, "pgcode", None) or "", _first_line(exc)) from exc
    connection.autocommit = True
    return _Psycopg(module, connection, connection.get_backend_pid())


def _module(name: str) -> t.Any:
    try:
        return importlib.import_module(name)
    except ImportError:  # also when psycopg is there without a libpq
        return None


def identify(wire_id: int, rows: Rows) -> tuple[int, bool]:
    """Return the session's id on the server, and whether a pooler is between: that tells a process id of its own at login (pgbouncer: a random one)."""
    backend = int(rows("SELECT pg_backend_pid()")[0][0])
    return backend, backend != wire_id


def prepare(settings: ConnectSettings, rows: Rows) -> None:
    """Set up the session."""
    for name, value in _SESSION.items():
        rows("SELECT set_config(name, %s, false) FROM pg_catalog.pg_settings WHERE name = %s AND setting <> %s", (value, name, value))
    with contextlib.suppress(SeamlessError):  # not every operating system can tell
        rows("SELECT set_config(name, '2000', false) FROM pg_catalog.pg_settings WHERE name = 'client_connection_check_interval'")
    if settings.role:
        rows("SELECT set_config('role', %s, false)", (settings.role,))
    if settings.schema:
        rows("SELECT set_config('search_path', concat_ws(', ', quote_ident(%s), nullif(current_setting('search_path'), '')), false)", (settings.schema,))


def describe(settings: ConnectSettings, rows: Rows) -> tuple[Server, str]:
    """Return what server it is, and the schema in which a name without one is looked up first."""
    number, schema = rows("SELECT current_setting('server_version_num')::int, current_schema()")[0]
    return Server(POSTGRESQL, (number // 10000, number % 10000, 0)), settings.schema or schema or "public"
