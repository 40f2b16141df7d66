# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Looks at the clock for a callback: draws the view, or says now and then that something still goes on."""

from __future__ import annotations

import threading
import time
import typing as t

# Of a processor, at most. A slow or busy machine sees fewer ticks, not a slower rollout.
SHARE = 0.01


class Ticker:
    """Calls *tick* every *seconds*, in a thread, until it is stopped. What *tick* does with a lock that others need after a fork, it does under Ansible's own
    lock, which Ansible holds while it forks."""

    def __init__(self, seconds: float, tick: t.Callable[[], None]) -> None:
        self.seconds, self.tick = seconds, tick
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seamless progress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it. Does not wait: whoever calls may hold what a tick waits for."""
        self._stop.set()

    def _run(self) -> None:
        cost = 0.0
        while not self._stop.wait(max(self.seconds, cost / SHARE)):
            begun = time.thread_time()
            self.tick()
            cost = time.thread_time() - begun
