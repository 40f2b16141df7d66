# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module migration_framework by Ansible itself: under the lock in the database, and once, however many call it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.run import settings_of

from .conftest import Site
from .ground import REPO

INSERT = 'psql -X -q -h "$PGHOST" -U postgres -d "$PGDATABASE" -c "INSERT INTO runs VALUES (1)"'
MIGRATE = f'test -e done || {{ sleep 1; {INSERT}; touch done; echo "token $SHOP_TOKEN"; }}'


def start(site: Site, **options: t.Any) -> subprocess.Popen[str]:
    arguments = {
        "framework": "command", "app": "shop", "directory": str(site.directory), "phase": "expand", "login_unix_socket": site.socket, "login_user": "postgres",
        "login_db": site.database, "environment": {"PGHOST": site.socket, "PGDATABASE": site.database},
        "secret_environment": {"SHOP_TOKEN": "very-secret-token"},
        "expand_cmd": MIGRATE, "status_cmd": "test -e done || echo 001", **options,
    }  # fmt: skip
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": f"{REPO}/build/tree"}
    command = [os.path.join(os.path.dirname(sys.executable), "ansible"), "localhost", "--one-line", "-i", "localhost,", "-c", "local", "-e"]
    command += [f"ansible_python_interpreter={sys.executable}", "-m", "seamless.rollout.migration_framework", "-a", json.dumps(arguments)]
    return subprocess.Popen(command, cwd=site.directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")


def result(process: subprocess.Popen[str]) -> dict[str, t.Any]:
    output, errors = process.communicate(timeout=120)
    assert "very-secret-token" not in output + errors
    assert "=> {" in output, output + errors
    found: dict[str, t.Any] = json.loads(output[output.index("=> {") + 3 :])
    return {"failed": "| FAILED! =>" in output, **found}


def test_once_however_many_call(postgresql_site: Site) -> None:
    postgresql_site.sql("CREATE TABLE runs (n int)")
    found = [result(process) for process in [start(postgresql_site) for dummy in range(3)]]
    assert sorted(one["changed"] for one in found) == [False, False, True], found
    assert postgresql_site.sql("SELECT count(*) FROM runs") == "1"
    done = next(one for one in found if one["changed"])
    assert done["ran"] == ["001"] and done["lock_timeout_by"] == "PGOPTIONS" and done["output"].strip() == "token ********"
    assert done["commands"][0]["environment"]["SHOP_TOKEN"] == "********"


def test_the_lock_outlives_a_killed_runner(postgresql_site: Site) -> None:
    site = postgresql_site
    program = (
        "import json, sys\nfrom ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.run import ARGUMENT_SPEC, run\n"
        "run({**{name: option.get('default') for name, option in ARGUMENT_SPEC.items()}, **json.loads(sys.argv[1])}, False)"
    )
    params = {"framework": "command", "app": "shop", "directory": str(site.directory), "phase": "expand", "login_unix_socket": site.socket,
              "login_user": "postgres", "login_db": site.database, "expand_cmd": "touch begun; sleep 4; touch ended"}
    runner = subprocess.Popen([sys.executable, "-c", program, json.dumps(params)])
    _wait_for((site.directory / "begun").exists)
    runner.kill()
    runner.wait()
    holders = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    time.sleep(1)
    assert site.sql(holders) == "1" and not (site.directory / "ended").exists()
    _wait_for((site.directory / "ended").exists)
    _wait_for(lambda: site.sql(holders) == "0")


def _wait_for(condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_failures(postgresql_site: Site, tmp_path: pathlib.Path) -> None:
    found = result(start(postgresql_site, expand_cmd="echo very-secret-token >&2; exit 4"))
    assert found["failed"] and "ended with 4" in found["msg"] and found["output"] == "********\n"
    found = result(start(postgresql_site, login_db="nonexistent"))
    assert found["failed"] and "nonexistent" in found["msg"]
    (tmp_path / "001_a.expand.sql").write_text("CREATE TABLE a (b int);")
    found = result(start(postgresql_site, framework="sql", release="42", phase="status"))
    assert found["specs"][0]["operations"] == [{"sql": {"expand": ["CREATE TABLE a (b int)"]}}]
    found = result(start(postgresql_site, framework="sql", release="42"))
    assert "goes through the module migration" in found["msg"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("environment", {"DB_PASSWORD": "x"}, "environment.DB_PASSWORD holds a secret"),
        ("environment", {"URL": "postgresql://a:b@c/d"}, "environment.URL holds a secret"),
        ("environment", {"DEBUG": True}, "environment.DEBUG is bool: write it as a text"),
        ("expand_cmd", {"a": 1}, "write a list such as"),
        ("timeout", 0.0, "timeout is 0.0: use a number above 0"),
    ],
)
def test_parameters(option: str, value: t.Any, message: str) -> None:
    params: dict[str, t.Any] = {
        "framework": "command", "directory": "/srv", "phase": "expand", "engine": "postgresql", "app": "shop", "split": "", "expand": [], "contract": [],
        "binary": [], "bin_dir": "", "arguments": [], "environment": {}, "secret_environment": {}, "expand_cmd": "true", "contract_cmd": None,
        "status_cmd": None, "lock_timeout_ms": 500, "lock_wait_total": 1.0, "lock_deadline": 1.0, "timeout": 1.0,
    }  # fmt: skip
    assert settings_of(params).commands == {"expand_cmd": "true"}
    with pytest.raises(SeamlessError, match=message):
        settings_of({**params, option: value})
