# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from conformance.fakes.api import basic
from conformance.subject import ADMIN
from conformance.subjects.fake import FakeSubject


class NginxPlusSubject(FakeSubject):
    driver = "nginx_plus"
    title = "NGINX Plus (fake)"
    fake = "nginx_plus"

    def reload(self) -> None:
        """Without a state file, nginx begins anew with what its configuration says."""
        self.configure()

    def params(self) -> dict[str, t.Any]:
        return {"url": [f"http://127.0.0.1:{ADMIN}/api"], "username": "admin", "password": "secret"}

    def wrong_credentials(self) -> dict[str, t.Any]:
        return {"password": "guess"}

    def dead_second(self) -> dict[str, t.Any]:
        return {"url": [f"http://127.0.0.1:{ADMIN}/api", f"http://127.0.0.1:{ADMIN + 1}/api"]}

    def take_out_by_hand(self, name: str) -> None:
        number = int(name[1:]) - 1
        self.send("PATCH", f"/api/9/http/upstreams/app/servers/{number}", {"down": True}, {"Authorization": basic("admin", "secret")})
