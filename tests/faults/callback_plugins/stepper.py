# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stops an ansible-playbook run at every task boundary and asks over a Unix socket whether it may go on. For the fault suite only."""

from __future__ import annotations

import json
import os
import socket
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: stepper
type: aggregate
short_description: Stops a run at every task boundary
description:
  - Writes one JSON line for every start of a task and for every result of it to the Unix socket in C(FAULTS_SOCKET), and waits for a line after each.
requirements:
  - The fault suite, which sets C(FAULTS_SOCKET).
"""


class CallbackModule(CallbackBase):
    """The boundaries of a run: the start of each task, and each host's result of it."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "stepper"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._play = ""
        self._alone = False
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(os.environ["FAULTS_SOCKET"])
        self._stream = connection.makefile("rw", encoding="utf-8")

    def _step(self, point: str, task: str, host: str = "", verdict: str = "") -> None:
        if self._alone:
            return
        try:
            self._stream.write(json.dumps({"point": point, "play": self._play, "task": task, "host": host, "verdict": verdict}) + "\n")
            self._stream.flush()
            self._stream.readline()
        except (OSError, ValueError):
            # Nobody listens any more: the run goes on by itself.
            self._alone = True

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        self._play = play.get_name()

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self._step("start", task.get_name().rpartition(" : ")[2])

    def _result(self, result: t.Any, verdict: str) -> None:
        # What is done on the controller says nothing of the host that it is done for.
        host = "" if result._task.delegate_to == "localhost" else result._host.get_name()
        self._step("result", result._task.get_name().rpartition(" : ")[2], host, verdict)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._result(result, "ok")

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._result(result, "failed")

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._result(result, "unreachable")
