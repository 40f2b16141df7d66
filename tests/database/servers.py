# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real PostgreSQL and MariaDB in a container of their own, reached over TCP. Removed when done, whatever happens.

    with Servers() as servers:
        place = servers.make("postgresql", "shop")
        with place.connect("owner") as session:
            session.run("CREATE TABLE …")
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import typing as t

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import psycopg
import pymysql
from fleet.fleet import Fleet

POSTGRESQL, MARIADB = "postgresql", "mariadb"
ENGINES = (POSTGRESQL, MARIADB)
PORTS = {POSTGRESQL: 5432, MARIADB: 3306}
HOST = "db1"
PASSWORD = "sesame"

# Small and fast: what is tested is what clients see, not whether the disk keeps it. No replication, no binary log.
POSTGRESQL_CONF = """\
listen_addresses = '*'
max_connections = 200
shared_buffers = 512MB
fsync = off
synchronous_commit = off
max_wal_size = 4GB
wal_level = minimal
max_wal_senders = 0
jit = off
"""
MARIADB_CONF = """\
[mariadbd]
bind-address = 0.0.0.0
skip-name-resolve
innodb_buffer_pool_size = 768M
innodb_log_file_size = 512M
innodb_flush_log_at_trx_commit = 2
innodb_doublewrite = 0
innodb_print_all_deadlocks = 1
max_connections = 200
"""
# What systemd can't do inside of a container: mounts.
UNIT = "[Service]\nProtectSystem=false\nProtectHome=false\nPrivateDevices=false\nPrivateTmp=false\nPrivateNetwork=false\n"


class Session:
    """One connection, in autocommit unless inside of :meth:`transaction`; the same for both engines. Parameters are written as %s."""

    def __init__(self, connection: t.Any, engine: str) -> None:
        self.connection, self.engine = connection, engine
        self.cursor = connection.cursor()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *dummy: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.connection.close()

    def run(self, sql: str, values: t.Sequence[t.Any] = ()) -> t.Any:
        """Run a statement and return the cursor: `rowcount`, `fetchall()`, `lastrowid`."""
        self.cursor.execute(sql, tuple(values) or None)
        return self.cursor

    def script(self, *statements: str) -> None:
        for statement in statements:
            self.run(statement)

    def rows(self, sql: str, values: t.Sequence[t.Any] = ()) -> list[tuple[t.Any, ...]]:
        return [tuple(row) for row in self.run(sql, values).fetchall()]

    def value(self, sql: str, values: t.Sequence[t.Any] = ()) -> t.Any:
        rows = self.rows(sql, values)
        return rows[0][0] if rows else None

    @contextlib.contextmanager
    def transaction(self) -> t.Iterator[None]:
        self.run("BEGIN")
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):
                self.run("ROLLBACK")
            raise
        self.run("COMMIT")


class Place(t.NamedTuple):
    """A database with an *owner*, who runs migrations and is no superuser, and an *app*, whose only rights are on rows. *root* may all."""

    engine: str
    host: str
    database: str

    @property
    def port(self) -> int:
        return PORTS[self.engine]

    def user(self, role: str) -> str:
        return role if role == "root" else f"{self.database}_{role}"

    def connect(self, role: str, *, name: str = "") -> Session:
        """Connect as *role*: root, owner or app."""
        if self.engine == POSTGRESQL:
            connection: t.Any = psycopg.connect(
                host=self.host, port=self.port, dbname=self.database, user=self.user(role), password=PASSWORD, autocommit=True, prepare_threshold=None,
                application_name=name or role,
            )
        else:
            connection = pymysql.connect(
                host=self.host, port=self.port, database=self.database, user=self.user(role), password=PASSWORD, autocommit=True, charset="utf8mb4",
                program_name=name or role,
            )
        return Session(connection, self.engine)

    @property
    def settings(self) -> dict[str, t.Any]:
        """What a migration needs to connect as the owner."""
        return {"engine": self.engine, "host": self.host, "port": self.port, "database": self.database, "user": self.user("owner"), "password": PASSWORD}


class Servers(Fleet):
    """Both servers, or those of *engines*, on one container host; beside it *web* hosts of an application and *lb* balancers.

    *more* are further lines of an engine's configuration.
    """

    def __init__(
        self, engines: t.Sequence[str] = ENGINES, *, prefix: str | None = None, web: int = 0, lb: int = 0, more: t.Mapping[str, str] | None = None
    ) -> None:
        super().__init__(web=web, lb=lb, db=1, prefix=prefix)
        self.engines = engines
        self.more = dict(more or {})

    def up(self) -> None:
        super().up()
        for engine in self.engines:
            self.start_server(engine)

    def start_server(self, engine: str) -> None:
        if engine == POSTGRESQL:
            self.put(HOST, "/etc/postgresql/15/main/conf.d/ground.conf", POSTGRESQL_CONF + self.more.get(engine, ""))
            self.shell(HOST, "cat >> /etc/postgresql/15/main/pg_hba.conf", data=b"host all all 0.0.0.0/0 scram-sha-256\n")
            unit, client = "postgresql@15-main", "su postgres -c 'psql -qX -v ON_ERROR_STOP=1'"
            sql = f"CREATE ROLE root SUPERUSER LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE root;"
        else:
            self.put(HOST, "/etc/mysql/mariadb.conf.d/99-ground.cnf", MARIADB_CONF + self.more.get(engine, ""))
            self.put(HOST, "/etc/systemd/system/mariadb.service.d/container.conf", UNIT)
            unit, client = "mariadb", "mariadb"
            sql = f"CREATE USER root@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION; CREATE DATABASE root;"
        self.shell(HOST, f"systemctl daemon-reload && systemctl start {unit} || {{ systemctl status {unit}; journalctl -n 30 -u {unit}; exit 1; }}")
        deadline = time.monotonic() + 30
        while True:
            try:
                self.shell(HOST, client, data=sql.encode())
                return
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def root(self, engine: str) -> Session:
        return Place(engine, self.addresses[HOST], "root").connect("root")

    def make(self, engine: str, name: str) -> Place:
        """Create the database *name* and its two roles, afresh."""
        place = Place(engine, self.addresses[HOST], name)
        self.drop(place)
        owner, app = place.user("owner"), place.user("app")
        with self.root(engine) as session:
            if engine == POSTGRESQL:
                session.script(
                    f"CREATE ROLE {owner} LOGIN PASSWORD '{PASSWORD}'", f"CREATE ROLE {app} LOGIN PASSWORD '{PASSWORD}'",
                    f"CREATE DATABASE {name} OWNER {owner}", f"REVOKE ALL ON DATABASE {name} FROM PUBLIC", f"GRANT CONNECT ON DATABASE {name} TO {app}",
                )
            else:
                session.script(
                    f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", f"CREATE USER {owner}@'%' IDENTIFIED BY '{PASSWORD}'",
                    f"CREATE USER {app}@'%' IDENTIFIED BY '{PASSWORD}'", f"GRANT ALL ON {name}.* TO {owner}@'%'",
                    f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO {app}@'%'",
                )
        return place

    def drop(self, place: Place) -> None:
        name, engine = place.database, place.engine
        with self.root(engine) as session:
            if engine == POSTGRESQL:
                session.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
                session.script(*(f"DROP ROLE IF EXISTS {place.user(role)}" for role in ("owner", "app")))
            else:
                for number, user in session.rows("SELECT id, user FROM information_schema.processlist"):
                    if user in (place.user("owner"), place.user("app")):
                        with contextlib.suppress(pymysql.err.OperationalError):
                            session.run(f"KILL {number}")
                session.run(f"DROP DATABASE IF EXISTS {name}")
                session.script(*(f"DROP USER IF EXISTS {place.user(role)}@'%'" for role in ("owner", "app")))
