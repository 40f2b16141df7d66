# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a playbook step by step: every task boundary is seen, and something can be done exactly there, or a moment into the task."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
import typing as t

from fleet.fleet import REPO

if t.TYPE_CHECKING:
    from faults.ground import Ground


class Boundary(t.NamedTuple):
    """A place in a run: before a task, at a host's result of it, or *delay* seconds into it. *nth* counts equal ones from 1."""

    play: str
    task: str
    nth: int
    point: str
    delay: float = 0.0

    def __str__(self) -> str:
        where = {"start": "before", "result": "result of", "mid": f"{self.delay:.2f} s into"}[self.point]
        return f"{where} {self.play} / {self.task} #{self.nth}"

    @property
    def stop(self) -> tuple[str, str, int, str]:
        """The event at which the run is stopped for it."""
        return (self.play, self.task, self.nth, "start" if self.point == "mid" else self.point)


class Event(t.NamedTuple):
    """One line of the stepper, and when it came."""

    at: float
    point: str
    play: str
    task: str
    nth: int
    host: str
    verdict: str


class Run:
    """One ansible-playbook process. *act* is called once, in a thread, at *boundary*; the run waits for it unless that is a "mid" one.

    Without *act* the controller dies there.
    """

    def __init__(self, ground: Ground, variables: t.Mapping[str, t.Any], boundary: Boundary | None = None, act: t.Callable[[], None] | None = None) -> None:
        self.events: list[Event] = []
        self.acted_at: float | None = None
        self.error: BaseException | None = None
        self._patience = ground.patience
        self._boundary = boundary
        self._act = act or (lambda: self.signal(signal.SIGKILL))
        self._counts: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self._actor: threading.Thread | None = None
        directory = ground.fleet.directory
        path = os.path.join(directory, "step")
        if os.path.exists(path):
            os.unlink(path)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        environment = {
            "FAULTS_SOCKET": path,
            "ANSIBLE_CALLBACK_PLUGINS": os.path.join(REPO, "tests", "faults", "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "stepper",
        }
        self.log = os.path.join(directory, "run.log")
        self.process = ground.fleet.begin("seamless.rollout.rollout", variables, self.log, environment)
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def _listen(self) -> None:
        # The other end may be gone at any moment: that is what the suite is about.
        with contextlib.suppress(OSError, ValueError):
            connection, dummy = self._listener.accept()
            with connection, connection.makefile("r", encoding="utf-8") as stream:
                for line in stream:
                    self._step(json.loads(line))
                    connection.sendall(b"go\n")

    def _step(self, message: dict[str, str]) -> None:
        key = (message["play"], message["task"], message["point"])
        self._counts[key] += 1
        self.events.append(Event(time.time(), nth=self._counts[key], **message))
        if self._boundary is None or (key[0], key[1], self._counts[key], key[2]) != self._boundary.stop:
            return
        self._actor = threading.Thread(target=self._perform, args=(self._boundary.delay,), daemon=True)
        self._actor.start()
        if self._boundary.point != "mid":
            self._actor.join()

    def _perform(self, delay: float) -> None:
        time.sleep(delay)
        self.acted_at = time.time()
        try:
            self._act()
        except BaseException as exc:
            self.error = exc

    def signal(self, number: int) -> None:
        """SIGKILL goes to the whole process group, as when a machine or a CI job dies; others to the playbook process."""
        if self.process.poll() is not None:
            return
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            os.kill(self.process.pid, number)

    def wait(self) -> int | None:
        """Return the exit code, negative for a signal, or None after killing a run that hangs."""
        try:
            code: int | None = self.process.wait(self._patience)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            code = None
        self._listener.close()
        if self._actor:
            self._actor.join(60)
        if self.error:
            raise self.error
        return code

    @property
    def text(self) -> str:
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def boundaries(self) -> list[tuple[Boundary, float]]:
        """Return what was seen, in order, each start with the seconds until the next event of the run."""
        found: list[tuple[Boundary, float]] = []
        for event, later in zip(self.events, [*self.events[1:], self.events[-1]]):
            found.append((Boundary(event.play, event.task, event.nth, event.point), later.at - event.at if event.point == "start" else 0.0))
        return found
