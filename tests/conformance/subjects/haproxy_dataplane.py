# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys
import typing as t

from conformance.subject import ADMIN, Subject, listens
from conformance.subjects.haproxy import HAProxySubject


class DataPlaneSubject(HAProxySubject):
    """A fake of the Data Plane API in front of a real HAProxy."""

    driver = "haproxy_dataplane"
    title = "HAProxy Data Plane API, before HAProxy"
    keeps_state = False
    api: subprocess.Popen[bytes] | None = None

    def start_balancer(self) -> None:
        command = [sys.executable, "-m", "conformance.fakes.haproxy_dataplane", self.path("admin.sock"), str(ADMIN)]
        with open(self.path("log"), "ab") as log:
            self.api = subprocess.Popen(command, stdout=log, stderr=log)
        super().start_balancer()
        self.wait(lambda: listens(ADMIN))

    def stop(self) -> None:
        if self.api:
            self.api.kill()
            self.api.wait()
        super().stop()

    def params(self) -> dict[str, t.Any]:
        return {"url": [f"http://127.0.0.1:{ADMIN}"], "username": "admin", "password": "secret"}

    def call(self, operation: str, *names: str, check_mode: bool = False, **params: t.Any) -> dict[str, t.Any]:
        return Subject.call(self, operation, *names, check_mode=check_mode, **params)

    def wrong_credentials(self) -> dict[str, t.Any]:
        return {"password": "guess"}

    def dead_second(self) -> dict[str, t.Any]:
        return {"url": [f"http://127.0.0.1:{ADMIN}", f"http://127.0.0.1:{ADMIN + 1}"]}
