# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real runs of ansible-playbook with local connections, in a terminal and without one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing as t

import pytest
from fleet import terminal
from fleet.fleet import REPO

PLAYBOOK = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
BAR = "━"
WORK = """\
- name: Work a little
  ansible.builtin.wait_for:
    timeout: 1
- name: Break
  ansible.builtin.shell: echo some output; echo {{ 'x' * 300 }}; echo some error >&2; exit 3
  changed_when: true
  when: inventory_hostname == bad | default('')
"""
OTHER = """\
- name: Another play
  hosts: app
  gather_facts: false
  tasks:
    - name: Change
      ansible.builtin.copy:
        content: "{{ inventory_hostname }}\\n"
        dest: "{{ directory }}/{{ inventory_hostname }}"
        mode: "0644"
    - name: Loop
      ansible.builtin.debug:
        msg: "{{ item }}"
      loop: [1, 2]
    - name: Fail
      ansible.builtin.fail:
        msg: no
      when: inventory_hostname == 'host2'
      ignore_errors: true
"""


class Ground:
    """Three local hosts, and a rollout that has nothing but a task file."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        hosts = {f"host{number}": {"rollout_root": os.path.join(directory, f"root{number}")} for number in range(1, 4)}
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        self.write("inventory.json", json.dumps({"app": {"hosts": hosts, "vars": variables}}))
        work = self.write("work.yml", WORK)
        self.other = self.write("other.yml", OTHER)
        self.variables = {
            "rollout_app": "live", "rollout_update_tasks": work, "rollout_max_unavailable": 2, "rollout_canary": 1, "rollout_batch": [2],
            "rollout_state_dir": os.path.join(directory, "state"), "directory": directory,
        }

    def write(self, name: str, content: str) -> str:
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        return path

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE", "NO_COLOR", "SEAMLESS", "OTEL"))}
        return {
            **kept, "ANSIBLE_COLLECTIONS_PATH": os.path.join(REPO, "build", "tree"), "HOME": self.directory, "LC_ALL": "C.UTF-8",
            "ANSIBLE_STDOUT_CALLBACK": "seamless.rollout.progress", "ANSIBLE_LOCALHOST_WARNING": "false", **more,
        }

    def command(self, *options: str, playbook: str = "seamless.rollout.rollout", **changes: t.Any) -> list[str]:
        inventory = os.path.join(self.directory, "inventory.json")
        return [PLAYBOOK, "-i", inventory, playbook, "-e", json.dumps({**self.variables, **changes}), *options]

    def seen(self, *options: str, interrupt: t.Any = None, environment: t.Mapping[str, str] | None = None, **changes: t.Any) -> terminal.Seen:
        return terminal.run(self.command(*options, **changes), self.environment(**(environment or {})), interrupt=interrupt, cwd=self.directory)

    def piped(self, *options: str, environment: t.Mapping[str, str] | None = None, **changes: t.Any) -> tuple[int, str]:
        done = subprocess.run(
            self.command(*options, **changes), env=self.environment(**(environment or {})), cwd=self.directory, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture
def ground(tmp_path: t.Any) -> Ground:
    return Ground(str(tmp_path))


def test_a_failing_rollout_in_a_terminal(ground: Ground) -> None:
    """The final screen has every message whole, nothing of the view, and the cursor."""
    seen = ground.seen(bad="host2", environment={"SEAMLESS_PROGRESS_REFRESH": "0.1"})
    assert seen.code == 2 and not seen.cursor_hidden, seen.text
    assert BAR not in seen.text and "/3 hosts" not in seen.text, seen.text
    assert seen.frame("live", "0/3 hosts", "host1  update: Work a little") and seen.frame("1/3 hosts", "left, until", "host2", "host3"), seen.frames[-9:]
    lines = seen.text.splitlines()
    start = lines.index("fatal: [host2]: FAILED! Break")
    block = lines[start:start + 10]
    assert "    non-zero return code (exit code 3)" in block and "      some output" in block and "      some error" in block
    assert "x" * 300 in "".join(line.strip() for line in block)
    assert any(line.startswith("live: failed after") and "2 done, 1 failed" in line for line in lines), seen.text
    assert lines[-2:] == ["Failed:", "  host2: Break: non-zero return code (exit code 3)"]


def test_ctrl_c_ends_in_order_and_gives_the_terminal_back(ground: Ground) -> None:
    seen = ground.seen(interrupt=lambda frame: "host1  update: Work a little" in frame)
    assert seen.code != 0 and not seen.cursor_hidden and BAR not in seen.text, seen.text
    assert "SIGINT: no further host starts" in seen.text and "1 done, 2 untouched" in seen.text, seen.text


@pytest.mark.full
def test_with_v_results_are_shown_as_usual_above_the_view(ground: Ground) -> None:
    seen = ground.seen("-v")
    assert seen.code == 0 and BAR not in seen.text and seen.frame("1/3 hosts", "TASK ["), seen.text
    for words in ("PLAY [Roll]", "TASK [seamless.rollout.rollout : Record the batch]", "ok: [host1] => {", "PLAY RECAP", "live: succeeded after"):
        assert words in seen.text


FULL = pytest.mark.full


@pytest.mark.parametrize("how", ["pipe", *(pytest.param(how, marks=FULL) for how in ("NO_COLOR", "plain", "TERM")), "no rich"])
def test_without_a_terminal_for_it_there_are_plain_lines(ground: Ground, how: str) -> None:
    if how == "no rich":
        os.mkdir(os.path.join(ground.directory, "rich"))
        ground.write("rich/__init__.py", "raise ImportError('there is no rich')\n")
    more = {
        "pipe": {}, "NO_COLOR": {"NO_COLOR": "1"}, "plain": {"SEAMLESS_PROGRESS_STYLE": "plain"}, "TERM": {},
        "no rich": {"PYTHONPATH": os.pathsep.join([ground.directory, os.environ.get("PYTHONPATH", "")])},
    }[how]
    if how == "pipe":
        code, text = ground.piped()
    elif how == "TERM":
        # The terminal says by its name that it can do nothing.
        seen = terminal.run(["env", "TERM=dumb", *ground.command()], ground.environment(), cwd=ground.directory)
        code, text = seen.code, seen.text
    else:
        seen = ground.seen(environment=more)
        code, text = seen.code, "\n".join([seen.text, *seen.frames])
    assert code == 0 and BAR not in text, text
    assert re.search(r"^\d\d:\d\d:\d\d  host1: update$", text, re.MULTILINE), text
    assert re.search(r"^\d\d:\d\d:\d\d  host1: done in \S+ s \(update \S+ s\); 1 of 3 hosts, about .* left, until", text, re.MULTILINE), text
    assert "live: succeeded after" in text and "TASK" not in text


@FULL
def test_a_heartbeat_says_that_something_goes_on(ground: Ground) -> None:
    code, text = ground.piped("-e", "rollout_bake_seconds=5", environment={"SEAMLESS_PROGRESS_HEARTBEAT": "1"})
    assert code == 0 and re.search(r"of 3 hosts done.*; host1: bake for ", text), text


@pytest.mark.parametrize("options", [("-v", "--diff"), *(pytest.param(options, marks=FULL) for options in ((), ("-vv",), ("--check",)))])
def test_other_playbooks_look_as_they_always_did(ground: Ground, options: tuple[str, ...]) -> None:
    texts = []
    for callback in ("ansible.builtin.default", "seamless.rollout.progress"):
        code, text = ground.piped(*options, "-f", "1", playbook=ground.other, environment={"ANSIBLE_STDOUT_CALLBACK": callback})
        assert code == 0, text
        for number in range(1, 4):
            if os.path.exists(os.path.join(ground.directory, f"host{number}")):
                os.unlink(os.path.join(ground.directory, f"host{number}"))
        # Versions' banners of -vv name the callback, and modules tell times and temporary files.
        texts.append([re.sub(r"ansible-tmp-\S+|\.ansible_\w+|\"(a|c|m)time\": [\d.]+|\.source\S*|/tmp\w+", "", line) for line in _after_start(text)])
    assert texts[0] == texts[1] and any("Another play" in line for line in texts[0])


def _after_start(text: str) -> list[str]:
    lines = text.splitlines()
    return lines[next(number for number, line in enumerate(lines) if line.startswith("PLAY [")):]


@FULL
def test_a_plan_alone_has_no_view_and_writes_no_events(ground: Ground) -> None:
    seen = ground.seen("--check", environment={"ANSIBLE_CALLBACKS_ENABLED": "seamless.rollout.events"})
    assert seen.code == 0 and BAR not in "".join(seen.frames) and "plan only, nothing is changed" in seen.text, seen.text
    assert not os.path.exists(os.path.join(ground.directory, "state"))


@FULL
def test_events_lie_beside_the_ledger(ground: Ground) -> None:
    enabled = {"ANSIBLE_CALLBACKS_ENABLED": "seamless.rollout.events"}
    assert ground.piped(environment=enabled)[0] == 0
    path = os.path.join(ground.directory, "state", "live", "events.jsonl")
    with open(path, encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    ends = [event["event"] for event in events if event["event"].startswith(("run", "rollout"))]
    assert ends == ["run_started", "rollout_started", "rollout_ended", "run_ended"]
    order = [event["event"] for event in events if event.get("host") == "host1"]
    assert order == ["host_started", "step_started", "step_ended", "host_ended"]
    assert os.stat(path).st_mode & 0o077 == 0
