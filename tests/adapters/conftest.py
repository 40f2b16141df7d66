# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import pathlib
import subprocess
import typing as t

import pytest

from . import ground

_numbers = itertools.count(1)


class Site(t.NamedTuple):
    """A database and the directory of an application's release."""

    engine: str
    directory: pathlib.Path
    bin_dir: str
    socket: str  # PostgreSQL's directory, or empty
    database: str

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@/{self.database}?host={self.socket}" if self.socket else f"sqlite:///{self.directory}/t.db"

    def sql(self, query: str) -> str:
        """Return what *query* prints, a row a line."""
        if self.socket:
            command = ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.socket, "-U", "postgres", "-d", self.database, "-c", query]
        else:
            program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); [print('|'.join(map(str, row))) for row in c.execute(sys.argv[2])]; c.commit()"
            command = [f"{self.bin_dir}/python", "-c", program, f"{self.directory}/t.db", query]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout.strip()

    def columns(self, table: str) -> list[str]:
        if self.socket:
            found = self.sql(f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' ORDER BY 1")
        else:
            found = self.sql(f"SELECT name FROM pragma_table_info('{table}') ORDER BY 1")
        return found.split()


@pytest.fixture(scope="session")
def bin_dir() -> str:
    return ground.venv_bin()


@pytest.fixture(scope="session")
def server() -> t.Iterator[str]:
    if ground.postgresql_bin() is None:
        pytest.skip("PostgreSQL's programs are not installed")
    with ground.postgresql() as socket:
        yield socket


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, bin_dir: str, tmp_path: pathlib.Path) -> Site:
    if request.param == "sqlite":
        return Site("sqlite", tmp_path, bin_dir, "", "t")
    return _site_on(request.getfixturevalue("server"), bin_dir, tmp_path)


@pytest.fixture
def sqlite_site(bin_dir: str, tmp_path: pathlib.Path) -> Site:
    return Site("sqlite", tmp_path, bin_dir, "", "t")


@pytest.fixture
def postgresql_site(server: str, bin_dir: str, tmp_path: pathlib.Path) -> Site:
    return _site_on(server, bin_dir, tmp_path)


def _site_on(socket: str, bin_dir: str, directory: pathlib.Path) -> Site:
    database = f"t{next(_numbers)}"
    subprocess.run(["createdb", "-h", socket, "-U", "postgres", database], check=True)
    return Site("postgresql", directory, bin_dir, socket, database)
