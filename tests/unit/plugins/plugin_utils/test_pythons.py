# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs on hosts, run by every supported Python of this machine as a host runs it: code and request over stdin, nothing but the standard library."""

from __future__ import annotations

import glob
import io
import json
import os
import subprocess
import sys
import typing as t
import zipfile

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils import _operations
from ansible_collections.seamless.rollout.plugins.plugin_utils import _bundle, _light, _source

OLDEST = (3, 8)


def pythons() -> dict[str, str]:
    """Return the interpreters of this machine by version, the one that runs the tests included."""
    found = {}
    for path in [*glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3")), "/usr/bin/python3", sys.executable]:
        command = [path, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        version = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip() if os.path.exists(path) else ""
        if version and tuple(int(part) for part in version.split(".")) >= OLDEST:
            found[version] = path
    return found


class Host:
    """A directory that an interpreter works in as on a host."""

    def __init__(self, python: str, directory: t.Any) -> None:
        self.python = python
        self.root = str(directory / "shop")
        for part in _operations.APART:
            with zipfile.ZipFile(io.BytesIO(_light.code_archive(part)[1])) as archive:
                archive.extractall(directory / "code")
        self.program = str(directory / "code" / "run.py")

    def __call__(self, operation: str, attachment: bytes | None = None, check_mode: bool = False, **params: t.Any) -> dict[str, t.Any]:
        params = {**{name: option.get("default") for name, option in _operations.load(operation).ARGUMENT_SPEC.items()}, **params}
        request = {"operation": operation, "params": params, "check_mode": check_mode, "attachment": attachment is not None}
        data = json.dumps(request).encode() + b"\n" + (attachment or b"")
        done = subprocess.run([self.python, "-I", self.program], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        marked = [line for line in done.stdout.decode().splitlines() if line.startswith(_operations.RESULT_MARK)]
        assert marked, done.stderr.decode()
        result: dict[str, t.Any] = json.loads(marked[-1][len(_operations.RESULT_MARK):])
        assert "exception" not in result, result["exception"]
        return result


@pytest.mark.parametrize("version", list(pythons()))
def test_a_release_is_staged_switched_checked_and_pruned(version: str, tmp_path: t.Any) -> None:
    host = Host(pythons()[version], tmp_path)
    assert not host("release_info", root=host.root)["exists"]
    assert host("rollout_lock", root=host.root, lock_id="one", survey={"keep_releases": 1})["lock_changed"]
    state = str(tmp_path / "state")
    for release in ("1.0", "2.0"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "VERSION").write_text(release)
        resolved = _source.resolve({"type": "directory", "path": str(tmp_path / release)}, app="shop", release=release, rollout_id=release, state_dir=state)
        common: dict[str, t.Any] = {"root": host.root, "release": release, "digest": resolved.digest, "min_free": "0"}
        staged = _bundle.ship(resolved, state, None, lambda bundle: host("release_stage", bundle, **common))  # noqa: B023
        assert staged["changed"], staged
        health = [{"command": ["grep", release, f"{host.root}/current/VERSION"]}]
        switched = host("release_switch", root=host.root, release=release, health=health, interval=0.01)
        assert switched["healthy"], switched
        assert host("release_prune", root=host.root, good=release, lock_id="one", keep_releases=1)["changed"]
    assert host("health_check", probes=[{"command": "true"}], interval=0.01)["healthy"]
    options = {"driver": "health_file", "path": str(tmp_path / "drain"), "state_dir": str(tmp_path / "records")}
    drained = host("lb_member", state="drained", members=[{"name": "web1"}], settle_seconds=0, **options)
    assert drained["changed"], drained
    assert host("lb_info", **options)["pools"][0]["members"][0]["admin"] == "drain"
    window = {"from": "2099-01-01T01:00:00+01:00", "until": "2099-01-01T02:00Z"}
    for driver in ("nginx", "apache", "caddy"):
        site = {"name": driver, "driver": driver, "check_url": "http://127.0.0.1/", "state_dir": str(tmp_path / "maintenance")}
        assert host("maintenance", state="off", **site)["changed"]
        assert host("maintenance", state="scheduled", check_mode=True, **site, **window)["from"] == "2099-01-01T00:00:00Z"
    missing = host("release_switch", root=host.root, release="9.9")
    assert missing["failed"] and "is not on this host" in missing["msg"]


def test_the_oldest_supported_python_is_what_the_readme_says() -> None:
    with open(os.path.join(os.path.dirname(__file__), "../../../../README.md"), encoding="utf-8") as file:
        assert "Python 3.8 or newer" in file.read()


def test_hosts_of_an_application_get_no_code_of_databases_and_balancers() -> None:
    def packages(archive: bytes) -> set[str]:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return {os.path.basename(os.path.dirname(name)) for name in opened.namelist()} - {"", "module_utils", "operations", "adapters"}

    archives = {part: _light.code_archive(part) for part in ("", *_operations.APART)}
    assert len({digest for digest, dummy in archives.values()}) == len(archives)
    for part, (dummy, archive) in archives.items():
        assert packages(archive) == {"_release", *([part, *_operations.APART[part]] if part else [])}
    assert len(archives[""][1]) < 100_000
