# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Balancers that can't be had here: a fake of their API, which refuses what the real one refuses, and a proxy that obeys it."""

from __future__ import annotations

import json
import sys
import typing as t
import urllib.request

from conformance.subject import ADMIN, FRONT, Subject


class FakeSubject(Subject):
    """A fake at ADMIN, whose proxy listens at FRONT. *fake* is its module in ``conformance.fakes``."""

    fake = ""

    def version(self) -> str:
        return "fake"

    def command(self) -> list[str]:
        return [sys.executable, "-m", f"conformance.fakes.{self.fake}", str(FRONT), str(ADMIN)]

    def configure(self) -> None:
        if self.process:
            self.send("POST", "/_reset")

    def reload(self) -> None:
        """A provider has nothing to be reloaded."""

    def send(self, method: str, path: str, body: t.Any = None, headers: t.Mapping[str, str] | None = None) -> t.Any:
        """Call the API without the driver, as an operator would."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{ADMIN}{path}", data=data, method=method, headers=dict(headers or {}))
        with urllib.request.urlopen(request, timeout=5) as answer:
            text = answer.read()
        return json.loads(text) if text else None
