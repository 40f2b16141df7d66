# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What a database driver must offer, and what it needs to connect: the part that psycopg, psycopg2 and PyMySQL have in common."""

from __future__ import annotations

import dataclasses
import typing as t

# What pg_stat_activity and the processlist show of us.
APPLICATION = "seamless.rollout"


@dataclasses.dataclass(frozen=True)
class ConnectSettings:
    """How to reach a database. What is empty is left to the driver and, for PostgreSQL, to libpq (PGHOST, service files, ~/.pgpass).

    *schema* (PostgreSQL) is put before the role's own search_path; *role* is set with SET ROLE, so that it owns what we make.
    *config_file* (MariaDB) is an option file such as ``~/.my.cnf``; *params* are handed to the driver as they are.
    """

    engine: str
    database: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = dataclasses.field(default="", repr=False)
    unix_socket: str = ""
    ssl_mode: str = ""  # disable, prefer, require, verify-ca, verify-full
    ca_cert: str = ""
    client_cert: str = ""
    client_key: str = ""
    schema: str = ""
    role: str = ""
    config_file: str = ""
    connect_timeout: int = 10
    params: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        where = self.unix_socket or (f"{self.host}:{self.port}" if self.host and self.port else self.host) or "the local socket"
        return f"database {self.database or '(default)'} at {where}" + (f" as {self.user}" if self.user else "")


Rows = t.Callable[..., t.List[t.Tuple[t.Any, ...]]]


class Result(t.NamedTuple):
    """What a statement gave: its rows (none where it returns none), how many rows it touched, and PostgreSQL's command tag."""

    rows: list[tuple[t.Any, ...]]
    touched: int
    tag: str


class Fault(t.NamedTuple):
    """What a driver's exception says: the SQLSTATE (PostgreSQL) or error number (MariaDB), the text, and whether the connection is gone."""

    code: str
    text: str
    lost: bool


class Refused(Exception):
    """The server can't be reached, or does not let us in."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Driver(t.Protocol):
    """One open connection in autocommit mode. *wire_id* is the session's id as told at login, which a pooler makes up."""

    @property
    def wire_id(self) -> int: ...

    @property
    def errors(self) -> tuple[type[BaseException], ...]: ...

    def run(self, sql: str, params: t.Sequence[t.Any] | None) -> Result: ...

    def fault(self, exc: BaseException) -> Fault: ...

    def fileno(self) -> int: ...

    def close(self) -> None: ...
