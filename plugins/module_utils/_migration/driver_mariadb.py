# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""PyMySQL, and what is special in a session of MariaDB and MySQL."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import socket
import ssl
import sys
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.driver import APPLICATION, ConnectSettings, Driver, Fault, Refused, Result, Rows
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import MARIADB, Server

MISSING = (
    "No driver for MariaDB and MySQL is installed for {python}: install the package python3-pymysql of the distribution, or with pip PyMySQL, "
    "on the host that runs the migration."
)

SOCKETS = ("/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")

# One mode whatever the server's: strict, so that a value that does not fit raises and is not cut; double quotes and backslashes as quote.py writes
# them; zero dates that are there already may be copied. Triggers keep the mode that they were made under.
SQL_MODE = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"

# REPEATABLE READ would lock the gaps of a backfill's range, and with them the application's INSERTs. Who waits for a row holds those it has locked.
# wait_timeout: the session holds the migration's lock, so it must not be ended for being idle. The rest: no statement of ours waits for long unasked.
_SESSION = (
    f"SET SESSION sql_mode = '{SQL_MODE}'",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION wait_timeout = 86400",
    "SET SESSION lock_wait_timeout = 10",
    "SET SESSION innodb_lock_wait_timeout = 1",
    "SET SESSION foreign_key_checks = 1, unique_checks = 1",
)
# The one exists in MariaDB, the other in MySQL.
_STATEMENT_TIMEOUT = {False: "SET SESSION max_statement_time = 0", True: "SET SESSION max_execution_time = 0"}


class _PyMySQL:
    """A connection of PyMySQL."""

    def __init__(self, module: t.Any, connection: t.Any) -> None:
        self._connection = connection
        self.wire_id = int(connection.thread_id())
        self.errors: tuple[type[BaseException], ...] = (module.err.Error, OSError)

    def run(self, sql: str, params: t.Sequence[t.Any] | None) -> Result:
        with self._connection.cursor() as cursor:
            count = cursor.execute(sql, params)
            return Result(list(cursor.fetchall()) if cursor.description else [], count, "")

    def fault(self, exc: BaseException) -> Fault:
        code, text = _said(exc)
        return Fault(code, text, not self._connection.open or isinstance(exc, OSError) or code == "0")

    def fileno(self) -> int:
        return int(self._connection._sock.fileno())  # PyMySQL offers no other way

    def close(self) -> None:
        with contextlib.suppress(*self.errors):
            self._connection.close()


def _said(exc: BaseException) -> tuple[str, str]:
    arguments = exc.args
    if len(arguments) >= 2 and isinstance(arguments[0], int):
        return str(arguments[0]), str(arguments[1]) or "the connection is closed"
    return "", str(exc) or type(exc).__name__


def _tls(settings: ConnectSettings) -> dict[str, t.Any]:
    mode = settings.ssl_mode or ("verify-ca" if settings.ca_cert else "")
    if mode == "disable":
        return {"ssl_disabled": True}
    if mode in ("", "prefer") and not settings.client_cert:
        return {}
    context = ssl.create_default_context(cafile=settings.ca_cert or None)
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if mode.startswith("verify") else ssl.CERT_NONE
    if settings.client_cert:
        context.load_cert_chain(settings.client_cert, settings.client_key or None)
    return {"ssl": context}


def _arguments(settings: ConnectSettings) -> dict[str, t.Any]:
    path = settings.unix_socket
    if not path and not settings.host and not settings.config_file:
        path = next((known for known in SOCKETS if os.path.exists(known)), "")
    arguments = {
        "database": settings.database,
        "host": settings.host,
        "port": settings.port,
        "user": settings.user,
        "password": settings.password,
        "unix_socket": path,
        "read_default_file": settings.config_file,
        "connect_timeout": settings.connect_timeout,
        "program_name": APPLICATION,
    }
    given = {key: value for key, value in arguments.items() if value not in ("", 0)}
    return {**given, "charset": "utf8mb4", "autocommit": True, **_tls(settings), **settings.params}


def connect(settings: ConnectSettings) -> Driver:
    """Open a connection. Raises Refused, and SeamlessError when PyMySQL is missing or a certificate can't be read."""
    try:
        module = importlib.import_module("pymysql")
    except ImportError:
        raise SeamlessError(MISSING.format(python=sys.executable)) from None
    try:
        arguments = _arguments(settings)
    except (OSError, ssl.SSLError) as exc:
        raise SeamlessError(
            f"The certificates for the connection can't be used: {exc}. Check ca_cert {settings.ca_cert!r}, client_cert {settings.client_cert!r} "
            f"and client_key {settings.client_key!r}."
        ) from exc
    try:
        connection = module.connect(**arguments)
    except (module.err.Error, OSError, RuntimeError) as exc:  # RuntimeError: a login method that needs the package cryptography
        raise Refused(*_said(exc)) from exc
    _keep_alive(getattr(connection, "_sock", None))
    return _PyMySQL(module, connection)


def _keep_alive(connected: t.Any) -> None:
    """Let the kernel notice within a minute that the server's host is gone. (PyMySQL asks for keep-alive, but the kernel's default is two hours.)"""
    for option, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        with contextlib.suppress(OSError, AttributeError):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


def identify(wire_id: int, rows: Rows) -> tuple[int, bool]:
    """Return the session's id on the server, and whether a proxy is between: that tells an id of its own at login.

    ProxySQL answers a plain SELECT CONNECTION_ID() by itself, and names itself in the version's comment.
    """
    backend = int(rows("SELECT CONNECTION_ID() + 0")[0][0])
    comment = str(rows("SELECT @@version_comment LIMIT 1")[0][0])
    return backend, backend != wire_id or "proxysql" in comment.lower()


def _server(rows: Rows) -> Server:
    said = str(rows("SELECT VERSION()")[0][0])
    numbers = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)", said)
    return Server(MARIADB, tuple(map(int, numbers.groups())) if numbers else (0, 0, 0), mysql="mariadb" not in said.lower())


def prepare(settings: ConnectSettings, rows: Rows) -> None:
    """Set up the session."""
    for statement in _SESSION:
        rows(statement)
    rows(_STATEMENT_TIMEOUT[_server(rows).mysql])
    if settings.role:
        rows(f"SET ROLE `{settings.role.replace('`', '``')}`")


def describe(settings: ConnectSettings, rows: Rows) -> tuple[Server, str]:
    """Return what server it is, and the database in which a name without one is looked up. Raises SeamlessError when there is none."""
    database = rows("SELECT DATABASE()")[0][0]
    if not database:
        raise SeamlessError(f"No database is chosen for the {settings}: give login_db the name of the application's database.")
    return _server(rows), str(database)
