# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.
"""SIGINT and SIGTERM to ansible-playbook end a rollout in order: no further host starts, and what is in flight is finished.

By itself ansible-playbook drops everything where it stands, without rescue or always: hosts stay out of rotation. The handlers live in the main
process; it only writes the order into the ledger, where the gate, which runs in a process of its own, finds it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import types
import typing as t

from ansible.utils.display import Display
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_before: dict[int, t.Any] = {}
# State directory and id of the rollout that a signal is meant for. One ansible-playbook may run several, one after another.
_target: list[str] = []


def install(state_dir: str, rollout_id: str) -> None:
    """Handle the first SIGINT or SIGTERM in order; the second one does what it did before. Only the main thread of a process can.

    Installed again, it is the latest rollout that hears the signal. One that is over hears none: the signal does what it did before.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    _target[:] = [state_dir, rollout_id]
    if _before:
        return
    main = os.getpid()

    def handle(number: int, frame: types.FrameType | None) -> None:
        if os.getpid() != main:
            # A worker, forked from the main process. Ctrl-C goes to all of them and shall not tear a host out of its update.
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        ledger, target = Ledger(_target[0]), _target[1]
        if ledger.is_over(target):
            restore(exactly=True)
            os.kill(main, number)
            return
        restore()
        name = signal.Signals(number).name
        ledger.order(target, "stop", name, "", time.time())
        Display().warning(
            f"{name}: no further host starts; what is in flight is finished, and the run ends. Once more, and it ends at once, where it stands."
        )

    for number in SIGNALS:
        _before[number] = signal.signal(number, handle)


def restore(*, exactly: bool = False) -> None:
    """Give the signals back to whoever handled them before; one that was ignored, as under nohup, ends the process from now on, unless *exactly*."""
    while _before:
        number, handler = _before.popitem()
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, default if handler is None or handler is signal.SIG_IGN and not exactly else handler)
