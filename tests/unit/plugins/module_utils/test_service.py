# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services against a systemctl that is a script: what it is asked, in which order, and what is believed of its answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils import _service
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store

SYSTEMCTL = """\
#!{python} -IS
import json, os, sys, time
place = {place!r}
words = sys.argv[1:]
with open(place + "/log", "a") as file:
    file.write(" ".join(word for word in words if word not in ("--property", {properties!r})) + "\\n")
verb, unit = [word for word in words if not word.startswith("--")][0], words[-1]
with open(place + "/" + unit) as file:
    state = json.load(file)
if verb in ("start", "restart"):
    state["shown"].update(ActiveState="active", SubState="running", MainPID=state["next_pid"])
    state["shown"]["ExecMainStartTimestampMonotonic"] = max(0, int((time.monotonic() - state["late"]) * 1e6))
    with open(place + "/" + unit, "w") as file:
        json.dump(state, file)
if verb == "show":
    print("\\n".join(f"{{name}}={{value}}" for name, value in state["shown"].items()))
sys.exit(state["exit"].get(verb, 0))
"""


class Systemd:
    """Units of a fake systemctl. A unit's *pid* is what runs, *next_pid* what runs after a (re)start, *late* by how much that is said to have begun before."""

    def __init__(self, place: str) -> None:
        self.place = place

    def unit(
        self, name: str, *, active: bool = True, pid: int = 0, next_pid: int = 0, late: float = 0.0, can_reload: bool = False, known: bool = True,
        started: float | None = None, **codes: int,
    ) -> None:
        shown = {
            "Id": f"{name}.service", "LoadState": "loaded" if known else "not-found", "ActiveState": "active" if active else "inactive",
            "SubState": "running" if active else "dead", "MainPID": pid, "NRestarts": 0, "CanReload": "yes" if can_reload else "no",
            "ExecMainStartTimestampMonotonic": int((time.monotonic() - 100 if started is None else started) * 1e6),
        }
        with open(os.path.join(self.place, f"{name}.service"), "w", encoding="utf-8") as file:
            json.dump({"shown": shown, "next_pid": next_pid, "late": late, "exit": codes}, file)

    @property
    def calls(self) -> list[str]:
        """What systemctl was told to do, without the questions."""
        try:
            with open(os.path.join(self.place, "log"), encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        return [line for line in lines if not line.startswith(("show ", "--user show ", "reset-failed ", "--user reset-failed "))]


@pytest.fixture
def systemd(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    place = tmp_path / "systemd"
    place.mkdir()
    programs = {
        "systemctl": SYSTEMCTL.format(python=sys.executable, place=str(place), properties=_service._PROPERTIES),
        "journalctl": "#!/bin/sh\necho what the unit said\n",
    }
    for name, text in programs.items():
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.defpath}")
    return Systemd(str(place))


@pytest.fixture
def process() -> t.Iterator[subprocess.Popen[bytes]]:
    """A process that has run for a moment and works in no release."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd="/") as running:
        time.sleep(0.1)
        yield running
        running.kill()


def switch(perform: t.Any, store: Store, services: list[dict[str, t.Any]], release: str = "2.0") -> list[dict[str, t.Any]]:
    result: list[dict[str, t.Any]] = perform("release_switch", root=store.root, release=release, services=services)["services"]
    return result


def test_services_are_restarted_in_the_order_given(systemd: Systemd, store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("2.0")
    for name in ("web", "worker", "cron"):
        systemd.unit(name)
    done = switch(perform, store, [{"name": "worker"}, {"name": "cron", "action": "none"}, {"name": "web"}])
    assert systemd.calls == ["restart worker.service", "restart web.service"]
    assert [(item["name"], item["acted"], item["restarted"]) for item in done] == [("worker", True, True), ("cron", False, False), ("web", True, True)]
    assert not any(item["acted"] for item in switch(perform, store, [{"name": "worker"}, {"name": "web"}]))
    assert len(systemd.calls) == 2


def test_start_starts_what_does_not_run_and_leaves_the_rest(systemd: Systemd, store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("2.0")
    systemd.unit("web", active=False)
    systemd.unit("proxy")
    done = switch(perform, store, [{"name": "web", "action": "start"}, {"name": "proxy", "action": "start"}])
    assert systemd.calls == ["start web.service"]
    assert [(item["acted"], item["restarted"]) for item in done] == [(True, False), (False, False)]


def test_none_fails_for_a_unit_that_does_not_run(systemd: Systemd, store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("2.0")
    systemd.unit("web", active=False)
    with pytest.raises(SeamlessError, match="web.service is dead after the switch to 2.0. Last lines of web.service:\nwhat the unit said"):
        switch(perform, store, [{"name": "web", "action": "none"}])
    assert systemd.calls == []


def test_a_users_units_are_asked_of_the_users_manager(systemd: Systemd, store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("2.0")
    systemd.unit("web")
    switch(perform, store, [{"name": "web", "scope": "user"}])
    assert systemd.calls == ["--user restart web.service"]
    with open(os.path.join(systemd.place, "log"), encoding="utf-8") as file:
        assert all(line.startswith("--user ") for line in file)


@pytest.mark.parametrize(
    ("unit", "service", "message"),
    [
        ({}, {"action": "reload"}, "has no ExecReload"),
        ({"known": False}, {}, "not known to systemd"),
        ({}, {"action": "reloaded"}, "use one of restart, reload"),
        ({}, {"scop": "user"}, "Did you mean scope"),
    ],
)
def test_what_cannot_be_is_refused_before_the_switch(
    systemd: Systemd, store: Store, releases: t.Any, perform: t.Any, unit: dict[str, bool], service: dict[str, str], message: str
) -> None:
    releases("2.0")
    systemd.unit("worker")
    systemd.unit("web", **unit)
    with pytest.raises(SeamlessError, match=message):
        switch(perform, store, [{"name": "worker"}, {"name": "web", **service}])
    assert systemd.calls == [] and store.link("current").kind == "missing"


def test_a_reload_is_done_once_a_switch_and_keeps_its_main_process(systemd: Systemd, store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("1.0", "2.0")
    systemd.unit("web", can_reload=True)
    services = [{"name": "web", "action": "reload"}]
    for release in ("2.0", "2.0", "1.0"):
        switch(perform, store, services, release)
    assert systemd.calls == ["reload web.service"] * 2


def test_a_restart_that_fails_says_what_the_unit_said(systemd: Systemd, store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("2.0")
    systemd.unit("web", restart=1)
    with pytest.raises(SeamlessError, match="(?s)systemctl restart web.service failed.*what the unit said"):
        switch(perform, store, [{"name": "web"}])
    assert (store.record("2.0") or {})["state"] == "failed"


@pytest.mark.parametrize("action", ["restart", "start"])
def test_a_main_process_that_started_before_the_switch_is_not_believed(
    systemd: Systemd, store: Store, releases: t.Any, perform: t.Any, action: str
) -> None:
    releases("2.0")
    systemd.unit("web", active=action == "restart", late=50)
    with pytest.raises(SeamlessError, match=rf"started before the switch to 2.0: the {action} did not end it. Correct the unit's PIDFile"):
        switch(perform, store, [{"name": "web", "action": action}])
    assert systemd.calls == [f"{action} web.service"]


def test_a_daemon_that_survives_its_restart_is_found_out_though_systemd_takes_it_for_new(
    systemd: Systemd, store: Store, releases: t.Any, perform: t.Any, process: subprocess.Popen[bytes]
) -> None:
    releases("2.0")
    systemd.unit("web", pid=process.pid, next_pid=process.pid)
    with pytest.raises(SeamlessError, match=rf"still has process {process.pid}, which started before the switch"):
        switch(perform, store, [{"name": "web"}])


def test_a_process_that_started_after_the_switch_is_left_alone(systemd: Systemd, store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("2.0")
    perform("release_switch", root=store.root, release="2.0")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd="/") as fresh:
        systemd.unit("web", pid=fresh.pid, next_pid=fresh.pid, started=time.monotonic())
        done = switch(perform, store, [{"name": "web"}])
        fresh.kill()
    assert not done[0]["acted"] and systemd.calls == []


def test_a_unit_without_a_main_process_is_judged_by_what_its_processes_show(systemd: Systemd, store: Store, releases: t.Any, perform: t.Any) -> None:
    """A forking unit without a PIDFile, whose main process systemd could not guess."""
    releases("2.0")
    systemd.unit("web", late=1e9)
    assert switch(perform, store, [{"name": "web"}])[0]["acted"]


def test_a_process_that_works_in_another_release_is_named(systemd: Systemd, store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("1.0", "2.0")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=store.release_path("1.0")) as old:
        systemd.unit("web", pid=old.pid, next_pid=old.pid)
        with pytest.raises(SeamlessError, match=rf"still works in release 1.0 \(process {old.pid}, cwd\), not in 2.0"):
            switch(perform, store, [{"name": "web", "action": "none"}])
        old.kill()
