# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One call of an adapter, as the module makes it but for the lock, of which it only counts how often it was held."""

from __future__ import annotations

import contextlib
import subprocess
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.base import Settings
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.execute import Execution, Limits
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.registry import adapter_of

from .conftest import Site

held: list[str] = []


@contextlib.contextmanager
def _lock() -> t.Iterator[None]:
    held.append("in")
    try:
        yield
    finally:
        held.append("out")


def call(site: Site, framework: str, phase: str, *, check: bool = False, allow: t.Sequence[str] = (), lock_wait_total: float = 0.0, **options: t.Any) -> t.Any:
    settings = Settings(
        framework, str(site.directory), "expand" if phase == "status" else phase, site.engine, app="shop", **{"bin_dir": site.bin_dir, **options}
    )
    execution = Execution(adapter_of(framework), settings, lock=_lock, limits=Limits(60.0, lock_wait_total), allow=allow)
    return execution.status() if phase == "status" else execution.phase(check)


@contextlib.contextmanager
def reader(site: Site, table: str, seconds: float) -> t.Iterator[None]:
    """Hold *table* for reading in an open transaction for *seconds*, as a long report does."""
    command = ["psql", "-X", "-q", "-h", site.socket, "-U", "postgres", "-d", site.database]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"BEGIN;\nSELECT 'ready' FROM (SELECT count(*) FROM {table}) c;\n")
    process.stdin.flush()
    while "ready" not in process.stdout.readline():
        pass
    process.stdin.write(f"SELECT pg_sleep({seconds});\nCOMMIT;\n")
    process.stdin.close()
    try:
        yield
    finally:
        process.terminate()
        process.wait()
