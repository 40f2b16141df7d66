# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Looks at the clock for a callback: draws the view, or says now and then that something still goes on."""

from __future__ import annotations

import threading
import typing as t


class Ticker:
    """Calls *tick* every *seconds*, in a thread, with *lock* held: Ansible forks under that lock, so no process is forked in the middle of a tick."""

    def __init__(self, seconds: float, lock: t.Any, tick: t.Callable[[], None]) -> None:
        self.seconds, self.lock, self.tick = seconds, lock, tick
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seamless progress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it. Does not wait: whoever calls may hold the lock."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self.seconds):
            with self.lock:
                if not self._stop.is_set():
                    self.tick()
