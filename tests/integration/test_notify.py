# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is told what in whole rollouts, of hosts that are all this machine; and that nobody who is told can hold one up."""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from fleet.fleet import REPO

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


class Here:
    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        hosts = {host: {"rollout_root": str(directory / "roots" / host)} for host in ("web1", "web2")}
        connection = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        (directory / "inventory.yml").write_text(json.dumps({"app": {"hosts": hosts, "vars": connection}}))
        (directory / "update.yml").write_text("- name: Update\n  ansible.builtin.fail:\n    msg: it is broken\n  when: broken | default(false)\n")

    def command(self, playbook: str, **variables: t.Any) -> list[str]:
        extra = {
            "rollout_app": "shop", "rollout_update_tasks": str(self.directory / "update.yml"), "rollout_state_dir": str(self.directory / "state"), **variables,
        }
        ansible = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
        return [ansible, "-i", "inventory.yml", f"seamless.rollout.{playbook}", "-e", json.dumps(extra)]

    @property
    def how(self) -> dict[str, t.Any]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE")},
            "ANSIBLE_COLLECTIONS_PATH": os.path.join(REPO, "build", "tree"), "ANSIBLE_NOCOLOR": "1", "HOME": str(self.directory),
        }
        return {"cwd": self.directory, "env": environment, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}

    def run(self, playbook: str = "rollout", **variables: t.Any) -> tuple[int, str]:
        done = subprocess.run(self.command(playbook, **variables), check=False, **self.how)
        return done.returncode, " ".join(done.stdout.split())

    def nothing_secret(self, told: str) -> None:
        assert SECRET not in told
        for path in (self.directory / "state").rglob("*"):
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
    here.nothing_secret(told)


def test_a_failure_is_told_when_it_happens_and_only_to_who_wants_it(here: Here, listener: Listener) -> None:
    code, told = here.run(rollout_notify=[{"type": "webhook", "url": listener.url, "events": ["failure", "end"]}], broken=True)
    assert code != 0
    failure, end = listener.until("failure", "end")
    assert "it is broken" in failure["why"] and failure["finished_at"] is None and end["state"] == "failed"
    here.nothing_secret(told)


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
