# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A shop that keeps people in PostgreSQL or MariaDB. Releases 1.x know the columns as they were, later ones as the migration makes them.

``/write?KEY`` writes a row of each table, changes another one, and reads both back: 200 says that all of it is in the database.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import queue
import random
import signal

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "VERSION"), encoding="utf-8") as file:
    VERSION = file.read().strip()
OLD = VERSION.startswith("1")
# table -> its columns that hold a name
SHAPE = {"users": ("name",), "people": ("name",)} if OLD else {"users": ("full_name",), "people": ("first", "last")}
LOG = "visits" if OLD else "visit_log"
RECENT = 200


def named(token: str, revision: int, columns: int) -> tuple[str, ...]:
    """Return what the name of a row must be: it follows from the row's other columns, so that every row can be checked."""
    first, last = f"Ada{revision}-{token}", f"Lovelace{revision}"
    return (first, last) if columns == 2 else (f"{first} {last}",)


def connect():
    given = {"host": os.environ["DB_HOST"], "user": os.environ["DB_USER"], "password": os.environ["DB_PASSWORD"]}
    if os.environ["DB_ENGINE"] == "postgresql":
        import psycopg2

        return psycopg2.connect(dbname=os.environ["DB_NAME"], application_name=f"shop@{VERSION}", connect_timeout=5, **given)
    import pymysql

    made = pymysql.connect(database=os.environ["DB_NAME"], program_name=f"shop@{VERSION}", charset="utf8mb4", connect_timeout=5, **given)
    with made.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    return made


POOL: queue.LifoQueue = queue.LifoQueue()


@contextlib.contextmanager
def transaction():
    """Give a cursor in a transaction. A connection is used again only after a commit."""
    try:
        connection = POOL.get_nowait()
    except queue.Empty:
        connection = connect()
    try:
        with connection.cursor() as cursor:
            yield cursor
        connection.commit()
    except BaseException:
        connection.close()
        raise
    POOL.put(connection)


def check(cursor, table: str, number: int) -> tuple[str, int]:
    """Read a row and check it; return its token and revision."""
    columns = SHAPE[table]
    cursor.execute(f"SELECT token, revision, {', '.join(columns)} FROM {table} WHERE id = %s FOR UPDATE", (number,))
    token, revision, *values = cursor.fetchone()
    if tuple(values) != named(token, revision, len(columns)):
        raise ValueError(f"row {number} of {table} is {values}, its token {token}, its revision {revision}")
    return token, revision


def write(key: str) -> None:
    with transaction() as cursor:
        for table, columns in SHAPE.items():
            marks = ", ".join("%s" for dummy in columns)
            cursor.execute(
                f"INSERT INTO {table} (token, revision, {', '.join(columns)}) VALUES (%s, 0, {marks}) RETURNING id", (key, *named(key, 0, len(columns)))
            )
            number = cursor.fetchone()[0]
            check(cursor, table, number)
            cursor.execute(f"SELECT id FROM {table} WHERE id < %s AND id > %s ORDER BY id LIMIT 1", (number, number - 1 - random.randint(RECENT // 2, RECENT)))
            other = cursor.fetchone()[0]
            token, revision = check(cursor, table, other)
            changes = ", ".join(f"{column} = %s" for column in columns)
            cursor.execute(
                f"UPDATE {table} SET revision = revision + 1, {changes} WHERE id = %s", (*named(token, revision + 1, len(columns)), other)
            )
            check(cursor, table, other)
        cursor.execute(f"INSERT INTO {LOG} (token, served_by) VALUES (%s, %s)", (key, VERSION))


def look() -> None:
    """Make sure that the database has the shape that this release needs."""
    with transaction() as cursor:
        for table, columns in SHAPE.items():
            cursor.execute(f"SELECT {', '.join(columns)} FROM {table} LIMIT 1")
        cursor.execute(f"SELECT token FROM {LOG} LIMIT 1")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, dummy, key = self.path.partition("?")
        status, answer = 200, {"version": VERSION}
        try:
            if path == "/write":
                # The key says which request wrote the row; a client that gives none gets one.
                key = key or f"{random.getrandbits(64):016x}"
                write(key)
                answer["wrote"] = f"{VERSION} {key}"
            else:
                look()
        except Exception as exc:  # whatever it is, the client must see that it failed, and the journal why
            status, answer["error"] = 503, f"{type(exc).__name__}: {exc}"
            print(f"{self.path}: {answer['error']}", flush=True)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 200
    daemon_threads = True


if __name__ == "__main__":
    server = Server(("0.0.0.0", 8000), Handler)
    signal.signal(signal.SIGTERM, lambda *arguments: os._exit(0))
    server.serve_forever()
