# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A thousand hosts with local connections and nothing to do on them: what the plan and the window pace cost the controller."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import default_state_dir, ledger_path, read_only

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOSTS, FORKS = 1000, 20
# What does nothing takes as long on the next host: so many say enough.
SOME, SEEN = 200, 50
PAIRS = 3
# The tasks that decide; what reads the hosts is work on the hosts.
PLAN_TASKS = ("Check the variables and name the rollout", "Compute the plan")


class Scale(t.NamedTuple):
    """Seconds: *plan* to check variables and plan, *window* for all hosts in the window, *bare* for as many bare module calls.

    *tasks* are those of the window that ran on a host, for each host. What includes the files that they are in isn't one of them.
    """

    plan: float
    window: float
    tasks: float
    bare: float


class Cost(t.NamedTuple):
    """Seconds until :data:`SEEN` hosts of a thousand are done, with the default callback and with ours, in pairs, one right after the other."""

    default: list[float]
    progress: list[float]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios: a load that lasts longer than a pair changes none of them."""
        return statistics.median(ours / theirs for theirs, ours in zip(self.default, self.progress))


def _environment(directory: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE")},
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join([os.path.join(REPO, "build", "tree"), os.path.join(REPO, "build", "deps")]),
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks", "PROFILE_TASKS_TASK_OUTPUT_LIMIT": "all", "ANSIBLE_FORKS": str(FORKS),
        "HOME": directory, "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8",
    }


def _command(directory: str, playbook: str, *options: str) -> list[str]:
    return [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", os.path.join(directory, "inventory.json"), playbook, *options]


def _play(directory: str, playbook: str, *options: str) -> str:
    done = subprocess.run(
        _command(directory, playbook, *options), env=_environment(directory), cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(done.stdout[-4000:])
    return done.stdout


def _ledger(directory: str) -> str:
    return ledger_path(default_state_dir("scale", os.path.join(directory, "state")))


def _window_seconds(directory: str) -> float:
    """Return the time from the first host's start to the last one's end, from the ledger."""
    with read_only(_ledger(directory), timeout=30) as connection:
        first, last = connection.execute("SELECT min(at), max(at) FROM events WHERE event IN ('in_flight', 'done')").fetchone()
    return float(last - first)


def _seconds(log: str, task: str) -> float:
    found = re.findall(rf"^\S+ : {re.escape(task)} -+ ([\d.]+)s$", log, re.MULTILINE)
    return sum(map(float, found))


def _fleet(directory: str) -> dict[str, t.Any]:
    """Write an inventory of local hosts and a task file that does nothing; return the variables of a rollout of them in a window."""
    hosts = {f"host{number:04}": {"rollout_root": os.path.join(directory, "roots", f"{number:04}")} for number in range(HOSTS)}
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    with open(os.path.join(directory, "inventory.json"), "w", encoding="utf-8") as file:
        json.dump({"app": {"hosts": hosts, "vars": variables}}, file)
    nothing = os.path.join(directory, "nothing.yml")
    with open(nothing, "w", encoding="utf-8") as file:
        file.write("- name: Nothing\n  ansible.builtin.meta: noop\n")
    return {
        "rollout_app": "scale", "rollout_update_tasks": nothing, "rollout_pace": "window", "rollout_max_unavailable": FORKS, "rollout_canary": 0,
        "rollout_state_dir": os.path.join(directory, "state"),
    }


def measure_progress(pairs: int = PAIRS) -> Cost:
    """Roll a thousand hosts with either callback, alternately, in a pseudo-terminal: what the view costs shows only where it is drawn."""
    cost = Cost([], [])
    for number in range(pairs):
        callbacks = [("ansible.builtin.default", cost.default), ("seamless.rollout.progress", cost.progress)]
        for callback, seconds in callbacks if number % 2 == 0 else reversed(callbacks):
            with tempfile.TemporaryDirectory() as directory:
                seconds.append(_in_terminal(directory, callback, _fleet(directory)))
            print(f"{callback} {seconds[-1]:.1f} s", file=sys.stderr, flush=True)
    return cost


def _in_terminal(directory: str, callback: str, extra: t.Mapping[str, t.Any]) -> float:
    """Return the wall time from the start of a rollout, whose output nobody reads but a terminal, to the end of its host number :data:`SEEN`."""
    environment = {**_environment(directory), "ANSIBLE_STDOUT_CALLBACK": callback, "ANSIBLE_NOCOLOR": "0", "TERM": "xterm-256color"}
    for name in ("NO_COLOR", "ANSIBLE_CALLBACKS_ENABLED"):
        environment.pop(name, None)
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    begun = time.time()
    process = subprocess.Popen(_command(directory, "seamless.rollout.rollout", "-e", json.dumps(extra)), env=environment, cwd=directory, stdin=its,
                               stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    tail, looked, done = b"", begun, None
    try:
        with open(mine, "rb", buffering=0) as terminal:
            while done is None:
                if select.select([terminal], [], [], 1)[0]:
                    tail = (tail + terminal.read(65536))[-4000:]
                if time.time() - looked >= 1:
                    looked, done = time.time(), _done(directory)
    except OSError as exc:
        raise SystemExit(f"{exc}\n{tail.decode(errors='replace')}") from exc
    finally:
        _kill(process)
    return done - begun


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a run of ansible-playbook, and each of its workers, which are in sessions of their own."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        workers = [int(pid) for pid in file.read().split()]
    for pid in (process.pid, *workers):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    process.wait()


def _done(directory: str) -> float | None:
    """Return when host number :data:`SEEN` was done, in seconds since 1970; None as long as it isn't."""
    path = _ledger(directory)
    if not os.path.exists(path):
        return None
    with read_only(path, timeout=30) as connection:
        found = connection.execute("SELECT at FROM events WHERE event = 'done' ORDER BY number LIMIT 1 OFFSET ?", (SEEN - 1,)).fetchone()
    return float(found[0]) if found else None


def measure() -> Scale:
    with tempfile.TemporaryDirectory() as directory:
        extra = _fleet(directory)
        log = _play(directory, "seamless.rollout.rollout", "-e", json.dumps(extra))
        window = re.search(r"^PLAY \[Roll in a window\].*?(?=^PLAY )", log, re.MULTILINE | re.DOTALL)
        if window is None:
            raise SystemExit(log[-4000:])
        ran = len(re.findall(r"^(?:ok|changed): \[host", window[0], re.MULTILINE))
        each = max(1, round(ran / HOSTS))
        bare = os.path.join(directory, "bare.yml")
        with open(bare, "w", encoding="utf-8") as file:
            play = {"hosts": "app", "strategy": "host_pinned", "gather_facts": False, "tasks": [{"ansible.builtin.ping": None}] * each}
            json.dump([play], file)
        begun = time.monotonic()
        _play(directory, bare, "--limit", f"app[0:{SOME - 1}]")
        seconds = (time.monotonic() - begun) * HOSTS / SOME
        plan = sum(_seconds(log, name) for name in PLAN_TASKS)
        return Scale(round(plan, 2), round(_window_seconds(directory), 1), ran / HOSTS, round(seconds, 1))


if __name__ == "__main__":
    print(measure()._asdict())
