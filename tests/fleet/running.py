# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rollout that runs in a process of its own, so that a test can meddle with it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
import typing as t

from fleet.site import Site


class Running:
    """A rollout in a process of its own."""

    def __init__(self, site: Site, release: str, **changes: t.Any) -> None:
        variables = site.variables(release, **{"canary": 1, "batch": [1], **changes})
        self.log = os.path.join(site.fleet.directory, "running.log")
        self.process = site.fleet.begin("seamless.rollout.rollout", variables, self.log)

    @property
    def text(self) -> str:
        with open(self.log, encoding="utf-8") as log:
            return log.read()

    def until(self, pattern: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline and self.process.poll() is None, f"{pattern} did not come:\n{self.text}"
            time.sleep(0.05)

    def end(self, seconds: float = 90) -> int:
        return self.process.wait(seconds)


@contextlib.contextmanager
def running(site: Site, release: str, **changes: t.Any) -> t.Iterator[Running]:
    run = Running(site, release, **changes)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
