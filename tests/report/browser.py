# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Headless Chromium, driven by Debian's chromedriver with the W3C's WebDriver protocol, which needs no library."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import typing as t
import urllib.error
import urllib.request

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
)
START = 60.0


class Browser:
    """One Chromium with a profile of its own, which is gone with it."""

    def __init__(self) -> None:
        self.profile = tempfile.mkdtemp(prefix="seamless-report-")
        self.process = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True
        )
        self.session = ""
        try:
            self.url = f"http://127.0.0.1:{self._port()}"
            options = {"args": [*FLAGS, f"--user-data-dir={self.profile}"], "binary": shutil.which("chromium")}
            capabilities = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
            self.session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]
        except BaseException:
            self.close()
            raise

    def _port(self) -> int:
        assert self.process.stdout
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            line = self.process.stdout.readline()
            if "started successfully on port" in line:
                return int(line.rstrip().rstrip(".").rpartition(" ")[2])
        raise RuntimeError("chromedriver does not start")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *dummy: object) -> None:
        self.close()

    def close(self) -> None:
        if self.session:
            with contextlib.suppress(OSError):
                self._call("DELETE", f"/session/{self.session}")
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def _call(self, method: str, path: str, body: t.Any = None) -> t.Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as exc:
            raise RuntimeError(exc.read().decode(errors="replace")) from exc

    def _tell(self, path: str, **body: t.Any) -> t.Any:
        return self._call("POST", f"/session/{self.session}{path}", body)

    def command(self, name: str, **params: t.Any) -> t.Any:
        """Send a command of the DevTools protocol."""
        return self._tell("/goog/cdp/execute", cmd=name, params=params)

    def look(self, *, width: int, dark: bool, script: bool = True) -> None:
        """Have the window be so many pixels wide, and the system like it dark or light."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 700)
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.command("Emulation.setScriptExecutionDisabled", value=not script)

    def open(self, url: str) -> None:
        self._tell("/url", url=url)

    def run(self, script: str) -> t.Any:
        return self._tell("/execute/sync", script=script, args=[])

    def complaints(self) -> list[str]:
        """Return what was written to the console since this was asked last, whatever its level."""
        return [f"{entry['level']} {entry['message']}" for entry in self._tell("/se/log", type="browser")]

    def requests(self) -> list[str]:
        """Return what was requested since this was asked last."""
        messages = [json.loads(entry["message"])["message"] for entry in self._tell("/se/log", type="performance")]
        return [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]

    def picture(self, path: str) -> None:
        """Write a picture of the whole page, 4,000 pixels of it at most."""
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 4000), "scale": 1}
        taken = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        with open(path, "wb") as file:
            file.write(base64.b64decode(taken["data"]))
