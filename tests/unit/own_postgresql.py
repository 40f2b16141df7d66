# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PostgreSQL server of the tests' own, where its programs are on this machine."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import subprocess
import tempfile
import time
import typing as t

import pytest

psycopg = pytest.importorskip("psycopg")
BIN = next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)), "")
needed = pytest.mark.skipif(not BIN, reason="no PostgreSQL server on this machine")


class Server(t.NamedTuple):
    directory: str

    def connect(self, name: str, database: str = "shop", user: str = "postgres") -> t.Any:
        return psycopg.connect(host=self.directory, dbname=database, user=user, autocommit=True, application_name=name)

    def params(self, **more: t.Any) -> dict[str, t.Any]:
        return {"login_unix_socket": self.directory, "login_user": "postgres", "login_db": "shop", **more}

    def renew(self) -> None:
        """Make the database shop, empty."""
        with self.connect("test", "postgres") as admin:
            admin.execute("DROP DATABASE IF EXISTS shop WITH (FORCE)")
            admin.execute("CREATE DATABASE shop")


@contextlib.contextmanager
def started() -> t.Iterator[Server]:
    """Start a server on a socket in a directory of its own, as a user that may: PostgreSQL refuses to run as root."""
    directory = tempfile.mkdtemp(prefix="seamless-unit-", dir="/tmp")
    data = os.path.join(directory, "data")
    user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(directory, "nobody", "nogroup")
    initdb = [*user, f"{BIN}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory)
    options = ["-c", "fsync=off", "-c", "listen_addresses=", "-c", f"unix_socket_directories={directory}", "-c", "max_connections=40"]
    process = subprocess.Popen([*user, f"{BIN}/postgres", "-D", data, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory)
    try:
        made = Server(directory)
        for dummy in range(200):
            try:
                made.connect("test", "postgres").close()
                break
            except psycopg.Error:
                time.sleep(0.1)
        yield made
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(directory, ignore_errors=True)


def run(operation: t.Any, server: Server, check_mode: bool = False, **params: t.Any) -> dict[str, t.Any]:
    """Run a module's *operation* on the database shop, with the defaults of what *params* leaves out."""
    spec = operation.ARGUMENT_SPEC
    assert set(params) <= set(spec)
    result: dict[str, t.Any] = operation.run({**{name: option.get("default") for name, option in spec.items()}, **server.params(**params)}, check_mode)
    return result


def host(name: str = "web1", **changes: t.Any) -> dict[str, t.Any]:
    """Return what the gate is told of a host that runs release 42 and nothing else, but for *changes*."""
    sound = {
        "host": name, "answered": True, "kind": "link", "release": "42", "state": "good", "releases": ["41", "42"], "carriers": ["42"], "services": [],
        "processes": {}, "switched_ago": 5000.0, "lock": None,
    }
    return {**sound, **changes}
