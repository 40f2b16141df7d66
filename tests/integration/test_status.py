# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Status and history of hosts that are all this machine: what is asked of them, in which ways they are read, and how the playbooks end."""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import re
import subprocess
import threading
import time
import typing as t

import pytest
from fleet.here import Here


class Application(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"version": "1.0"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *dummy: t.Any) -> None:
        pass


@pytest.fixture
def serving(tmp_path: pathlib.Path) -> t.Iterator[tuple[Here, dict[str, t.Any]]]:
    """Two hosts whose link says 1.0, which is what is served, and the variables that ask for it."""
    here = Here(tmp_path)
    for host in ("web1", "web2"):
        os.makedirs(tmp_path / "roots" / host / "releases" / "1.0")
        os.symlink("releases/1.0", tmp_path / "roots" / host / "current")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    yield here, {"rollout_health": [{"url": url, "version": {"json": "version", "equals": "{{ rollout_release }}"}}]}
    server.shutdown()
    server.server_close()


def status(here: Here, **variables: t.Any) -> tuple[int, str, dict[str, t.Any]]:
    code, told = here.run("status", rollout_status_format="json", **variables)
    found = re.search(r" (\{ \"app\".*? \}) (?:ok|TASK|PLAY)", told)
    return code, told, json.loads(found[1]) if found else {}


def test_health_is_that_of_the_release_that_each_host_runs_whichever_is_named(serving: tuple[Here, dict[str, t.Any]]) -> None:
    here, variables = serving
    code, told, found = status(here, rollout_release="7.7", **variables)
    assert code == 0 and found["verdict"] == "ok", told
    assert [(row["current"], row["served"], row["healthy"]) for row in found["hosts"].values()] == [("1.0", "1.0", True)] * 2


WAYS = [{}, {"rollout_pipelining": False}, pytest.param({"ansible_python_interpreter": "auto_silent"}, marks=pytest.mark.full)]


@pytest.mark.parametrize("how", WAYS, ids=["light", "modules", "any python"])
def test_hosts_are_read_in_whichever_way_they_can_be(serving: tuple[Here, dict[str, t.Any]], how: dict[str, t.Any]) -> None:
    here, variables = serving
    code, told, found = status(here, **variables, **how)
    assert code == 0 and found["headline"] == "OK - shop 1.0 on 2 hosts", told
    assert ("Show the status]" in told) == ("rollout_pipelining" in how)


def test_the_exit_code_follows_what_the_monitoring_wants(serving: tuple[Here, dict[str, t.Any]]) -> None:
    here, variables = serving
    os.unlink(here.directory / "roots" / "web2" / "current")
    os.makedirs(here.directory / "roots" / "web2" / "releases" / "2.0")
    os.symlink("releases/2.0", here.directory / "roots" / "web2" / "current")
    code, told, found = status(here, rollout_status_fail_on="critical")
    assert code == 0 and found["verdict"] == "warning" and [one["code"] for one in found["findings"]] == ["mixed_releases"]
    code, told, found = status(here, rollout_status_fail_on="warning", rollout_pipelining=False)
    assert code == 2 and "WARNING - shop 1.0, 2.0 on 2 hosts - no rollout is under way" in told
    code, told, found = status(here, rollout_status_fail_on="critical", **variables)
    assert code == 2 and {(one["code"], one["host"]) for one in found["findings"]} == {("mixed_releases", None), ("not_healthy", "web2")}
    assert status(here, **variables)[0] == 0


def test_who_follows_a_rollout_hears_of_it_until_it_ends_and_sees_the_status_then(tmp_path: pathlib.Path) -> None:
    here = Here(tmp_path)
    code, told = here.run("status", rollout_watch=True)
    assert code == 0 and "No rollout runs on this controller." in told and "Status of shop" in told
    rolling = subprocess.Popen(here.command("rollout", rollout_auto_promote=False), **here.how)
    following = None
    log = tmp_path / "followed.log"
    try:
        until(lambda: (tmp_path / "state" / "shop" / "ledger.sqlite3").exists() and rolling.poll() is None)
        with log.open("w") as output:
            following = subprocess.Popen(here.command("status", rollout_watch=True), **{**here.how, "stdout": output})
        until(lambda: bool(re.search(r"web1 +done", log.read_text())))
        assert here.run("control", rollout_order="promote")[0] == 0
        assert following.wait(180) == 0 and rolling.wait(180) == 0
        said = " ".join(log.read_text().split())
        assert "rollout succeeded" in said and "web2 done" in said and "Status of shop" in said, said
    finally:
        for process in filter(None, (rolling, following)):
            process.kill()
            process.communicate()


def until(true: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_is_wrong_is_refused_and_nothing_is_made(tmp_path: pathlib.Path) -> None:
    here = Here(tmp_path)
    code, told, dummy = status(here, rollout_status_fail_on="citical")
    assert code != 0 and "rollout_status_fail_on is 'citical': use one of never, critical, warning (nearest: critical)." in told
    code, told = here.run("history", rollout_history_limit=0, rollout_history_frmat="json")
    assert code != 0 and "rollout_history_limit is 0: use a whole number of at least 1." in told and "Did you mean rollout_history_format?" in told
    assert here.run("history")[0] == 0 and here.run("status")[0] == 0
    assert not (tmp_path / "state").exists() and not (tmp_path / "roots").exists()


def test_the_history_has_what_was_done_and_how_well(tmp_path: pathlib.Path) -> None:
    here = Here(tmp_path)
    assert here.run(rollout_reason="INC-7")[0] == 0 and here.run(broken=True)[0] != 0
    code, told = here.run("history")
    assert code == 0 and re.search(r"update - -> - 2 [\d s]+ succeeded INC-7", told), told
    assert "it is broken" in told and "change fail rate 50 % 1 of 2 failed or were taken back" in told, told
