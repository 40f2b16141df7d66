# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of the adapters stand on: a virtual environment with the frameworks, and a PostgreSQL of their own."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(REPO, "build", "adapters-venv")
PACKAGES = ("alembic>=1.13", "django>=4.2", "django-syzygy>=1.2", "psycopg[binary]>=3.1", "squawk-cli>=2", "sqlglot>=25")


def venv_bin() -> str:
    """Return the bin directory of the virtual environment with the frameworks and linters, which is made from PyPI where it is not there yet."""
    os.makedirs(os.path.join(REPO, "build"), exist_ok=True)
    stamp = os.path.join(VENV, "stamp-" + hashlib.sha256(repr(PACKAGES).encode()).hexdigest()[:12])
    with open(VENV + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(stamp):
            subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True, stdout=subprocess.PIPE)
            pip = [os.path.join(VENV, "bin", "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
            subprocess.run([*pip, *PACKAGES], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            with open(stamp, "w", encoding="ascii"):
                pass
    return os.path.join(VENV, "bin")


def postgresql_bin() -> str | None:
    """Return where the distribution's PostgreSQL has its programs, or None."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    return os.path.dirname(found[-1]) if found else None


@contextlib.contextmanager
def postgresql() -> t.Iterator[str]:
    """Run a PostgreSQL on a Unix socket of its own, and yield the socket's directory. The superuser is ``postgres``, no password."""
    programs = postgresql_bin()
    assert programs is not None
    home = tempfile.mkdtemp(prefix="seamless-adapters-")
    user = "postgres" if _has_user("postgres") else "nobody"
    options: dict[str, t.Any] = {"cwd": "/", "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.chown(home, entry.pw_uid, entry.pw_gid)
        options.update(user=entry.pw_uid, group=entry.pw_gid, extra_groups=[])
    data = os.path.join(home, "data")
    server: subprocess.Popen[bytes] | None = None
    try:
        subprocess.run([f"{programs}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "--no-locale", "-E", "UTF8"], check=True, **options)
        options.update(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server = subprocess.Popen([f"{programs}/postgres", "-D", data, "-k", home, "-c", "listen_addresses=", "-c", "fsync=off"], **options)
        os.chmod(home, 0o755)
        for dummy in range(100):
            if subprocess.run([f"{programs}/pg_isready", "-q", "-h", home], check=False).returncode == 0:
                break
            time.sleep(0.1)
        yield home
    finally:
        if server is not None:
            server.terminate()  # SIGTERM waits for its clients
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(home, ignore_errors=True)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
