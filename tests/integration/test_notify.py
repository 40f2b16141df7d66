# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is told what in whole rollouts, of hosts that are all this machine; and that nobody who is told can hold one up."""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import textwrap
import threading
import time
import typing as t

import pytest
from fleet.fleet import REPO
from fleet.here import Here

SECRET = "T0KEN-that-nobody-may-see"


class Listener:
    """Takes what is posted and keeps it."""

    def __init__(self) -> None:
        self.got: list[dict[str, t.Any]] = []
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                listener.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *dummy: t.Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{SECRET}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def until(self, *events: str) -> list[dict[str, t.Any]]:
        """Wait until these events were told, which may be after the rollout, and in any order."""
        deadline = time.monotonic() + 60
        while sorted(one["event"] for one in self.got) != sorted(events):
            assert time.monotonic() < deadline, self.got
            time.sleep(0.1)
        return sorted(self.got, key=lambda one: events.index(one["event"]))


@pytest.fixture
def listener() -> t.Iterator[Listener]:
    made = Listener()
    yield made
    made.server.shutdown()
    made.server.server_close()


def nothing_secret(here: Here, told: str) -> None:
    assert SECRET not in told
    for path in (here.directory / "state").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


@pytest.fixture
def here(tmp_path: pathlib.Path) -> Here:
    return Here(tmp_path)


def test_start_and_end_are_told_and_who_never_answers_is_not_waited_for(here: Here, listener: Listener) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        deaf = {"type": "slack", "url": f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}", "name": "deaf"}
        code, told = here.run(rollout_notify=[deaf, {"type": "webhook", "url": listener.url}], rollout_reason="why")
        # It has ended, and nobody has answered yet: it can't have waited for that.
        assert code == 0, told
    assert "deaf has not taken the message of its start yet" in told and "deaf has not taken the message of its end yet" in told
    start, end = listener.until("start", "end")
    assert (start["state"], start["reason"], end["state"], end["id"]) == ("running", "why", "succeeded", start["id"])
    assert {host["state"] for host in end["hosts"].values()} == {"done"}
    nothing_secret(here, told)


def test_a_failure_is_told_when_it_happens_and_only_to_who_wants_it(here: Here, listener: Listener) -> None:
    code, told = here.run(rollout_notify=[{"type": "webhook", "url": listener.url, "events": ["failure", "end"]}], broken=True)
    assert code != 0
    failure, end = listener.until("failure", "end")
    assert "it is broken" in failure["why"] and failure["finished_at"] is None and end["state"] == "failed"
    nothing_secret(here, told)


@pytest.mark.full
def test_who_has_to_approve_is_told_that_it_waits(here: Here, listener: Listener) -> None:
    waits = here.command("rollout", rollout_notify=[{"type": "webhook", "url": listener.url, "events": ["pause"]}], rollout_auto_promote=False)
    process = subprocess.Popen(waits, **here.how)
    try:
        (pause,) = listener.until("pause")
        assert pause["state"] == "paused" and "waits for promote" in pause["why"]
        assert here.run("control", rollout_order="promote")[0] == 0
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.communicate()


def test_what_is_wrong_is_refused_before_anything_happens(here: Here) -> None:
    code, told = here.run(rollout_notify=[{"type": "slack", "url": f"hooks.example.com/{SECRET}"}, {"type": "mail", "to": "ops@example.com"}])
    assert code != 0 and "rollout_notify[0].url is not a complete address" in told and "rollout_notify[1].from is None" in told
    assert SECRET not in told.replace(json.dumps(SECRET), "") and not (here.directory / "state" / "shop" / "ledger.sqlite3").exists()


class Services(http.server.BaseHTTPRequestHandler):
    """Takes the requests that Grafana, Sentry and Datadog take, as their documentation describes them, and no others."""

    taken: t.ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        bearer = self.headers.get("Authorization") == f"Bearer {SECRET}" and self.headers["Content-Type"] == "application/json"
        known = self.headers.get("DD-API-KEY") == SECRET and body.get("alert_type") in ("error", "warning", "info", "success")
        sound, good = {
            "/api/annotations": (bearer and isinstance(body.get("text"), str) and isinstance(body.get("tags"), list), 200),
            "/api/0/organizations/acme/releases/": (bearer and body.get("version") == "shop@2.0" and body.get("projects") == ["web"], 201),
            "/api/0/organizations/acme/releases/shop%402.0/deploys/": (bearer and bool(body.get("environment")), 201),
            "/api/v1/events": (known and bool(body.get("title") and body.get("text")) and all(":" in tag for tag in body.get("tags", [])), 202),
        }.get(self.path, (False, 0))
        status = good if sound else 400
        self.taken.append(f"{self.path} {status}")
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *dummy: t.Any) -> None:
        pass


def markers(here: Here) -> dict[str, t.Any]:
    """Put the task files of the guide where its reader would; return the variables that name them."""
    with open(os.path.join(REPO, "docs", "docsite", "rst", "notifications.rst"), encoding="utf-8") as guide:
        blocks = [textwrap.dedent(block) for block in re.findall(r"^\.\. code-block:: yaml\n\n((?:   .*\n|\n)+)", guide.read(), re.MULTILINE)]
    (here.directory / "markers").mkdir()
    files = {match[1]: block for block in blocks if (match := re.match(r"# markers/(\w+\.yml)\n", block))}
    for name, block in files.items():
        (here.directory / "markers" / name).write_text(block)
    (used,) = [block for block in blocks if block.startswith("rollout_once_after:")]
    assert sorted(re.findall(r"markers/(\w+\.yml)", used)) == sorted(files)
    return {"rollout_once_after": re.findall(r"markers/\w+\.yml", used), "rollout_release": "2.0"}


def test_the_markers_of_the_guide_are_what_the_services_take_and_their_failure_fails_nothing(here: Here) -> None:
    Services.taken.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Services)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    variables = {
        **markers(here), **{f"{name}_url": url for name in ("grafana", "sentry", "datadog")}, "grafana_token": SECRET, "sentry_token": SECRET,
        "datadog_api_key": SECRET, "sentry_organization": "acme", "sentry_project": "web",
    }
    try:
        code, told = here.run(**variables)
    finally:
        server.shutdown()
        server.server_close()
    assert code == 0, told
    assert sorted(Services.taken) == [
        "/api/0/organizations/acme/releases/ 201", "/api/0/organizations/acme/releases/shop%402.0/deploys/ 201", "/api/annotations 200", "/api/v1/events 202",
    ]
    assert "Grafana answered 200" in told and "Sentry answered 201, 201" in told and "Datadog answered 202" in told
    nothing_secret(here, told)
    code, told = here.run(**{**variables, "rollout_state_dir": str(here.directory / "another")})
    assert code == 0 and "Grafana answered -1" in told, told
