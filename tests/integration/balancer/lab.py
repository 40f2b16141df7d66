# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real HAProxy and real applications on loopback ports, with a life of their own: they can be killed, reloaded and disabled."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import typing as t
import urllib.request

from ansible_collections.seamless.rollout.plugins.module_utils import _operations

HEAD = """\
global
    stats socket {directory}/admin.sock level admin
    stats socket {directory}/operator.sock level operator
    stats socket ipv4@127.0.0.1:{tcp} level admin
    server-state-file {directory}/state
    maxconn 2000
defaults
    mode http
    timeout connect 1s
    timeout client 20s
    timeout server 20s
    timeout check 400ms
    option idle-close-on-response
    {defaults}
    default-server check inter 300ms fall 2 rise 2
frontend web
    bind 127.0.0.1:{front}
    default_backend shop
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Lab:
    """*apps* applications named s1, s2 … in the backend ``shop``. ``{s1}`` in *config* stands for the port of s1."""

    def __init__(self, directory: str, apps: int = 2, *, config: str | None = None, defaults: str = "") -> None:
        self.directory = directory
        self.ports = {f"s{number}": free_port() for number in range(1, apps + 1)}
        self.front, self.tcp = free_port(), free_port()
        servers = "".join(f"    server {name} 127.0.0.1:{port}\n" for name, port in self.ports.items())
        body = (config or "backend shop\n    option httpchk GET /health\n" + servers).format(**self.ports, directory=directory)
        with open(self.path("haproxy.cfg"), "w", encoding="utf-8") as file:
            file.write(HEAD.format(directory=directory, front=self.front, tcp=self.tcp, defaults=defaults) + body)
        self.apps: dict[str, subprocess.Popen[bytes]] = {}
        self.haproxies: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Lab:
        try:
            for name in self.ports:
                self.start(name)
            self.balancer()
            self.wait(lambda: ",INI," not in self.ask("show stat") and {*self.standing().values()} <= {"UP", "no check", "MAINT"})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *dummy: object) -> None:
        for process in [*self.haproxies, *self.apps.values()]:
            process.kill()
            process.wait()

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.front}/"

    def start(self, name: str) -> None:
        app = os.path.join(os.path.dirname(os.path.abspath(__file__)), "app.py")
        self.apps[name] = subprocess.Popen([sys.executable, app, str(self.ports[name])], cwd=self.directory)
        self.wait(lambda: self._listens(self.ports[name]))

    @staticmethod
    def _listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def kill(self, name: str) -> None:
        self.apps[name].kill()
        self.apps[name].wait()

    def balancer(self) -> None:
        """Start HAProxy, or reload it: the new process takes over and the old one ends with its last request."""
        old = [str(process.pid) for process in self.haproxies if process.poll() is None]
        self.haproxies.append(subprocess.Popen(["haproxy", "-db", "-f", self.path("haproxy.cfg"), *(["-sf", *old] if old else [])]))
        pid = self.haproxies[-1].pid
        self.wait(lambda: f"Pid: {pid}" in self.ask("show info"))

    def ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(self.path("admin.sock"))
            except OSError:
                return ""
            connection.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def standing(self) -> dict[str, str]:
        rows = [line.split(",") for line in self.ask("show stat").splitlines() if line and not line.startswith("#")]
        return {f"{row[0]}/{row[1]}": row[17] for row in rows if row[1] not in ("FRONTEND", "BACKEND")}

    def total(self, server: str) -> int:
        rows = [line.split(",") for line in self.ask("show stat").splitlines() if line.startswith(server.replace("/", ",") + ",")]
        return int(rows[0][7])

    def say(self, name: str, answer: str) -> None:
        """Let an application answer its health check with *answer*, such as ``404 Not Found``."""
        with open(self.path(f"health-{self.ports[name]}"), "w", encoding="utf-8") as file:
            file.write(answer)

    def get(self, path: str = "", timeout: float = 15, cookie: str = "") -> str:
        request = urllib.request.Request(self.url + path, headers={"Cookie": cookie} if cookie else {})
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return t.cast(bytes, response.read()).decode()

    def wait(self, condition: t.Callable[[], bool], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s in vain: {str(self.standing())[:500]}"
            time.sleep(0.02)

    def call(self, operation: str, *names: str, check_mode: bool = False, **params: t.Any) -> dict[str, t.Any]:
        """Run an operation on the members *names* with the defaults of its module."""
        spec = _operations.load(operation).ARGUMENT_SPEC
        values: dict[str, t.Any] = {name: option.get("default") for name, option in spec.items()}
        values.update({"socket": [self.path("admin.sock")], "state_dir": self.path("records"), "owner": "shop"})
        if names:
            values["members"] = [{"name": name} for name in names]
        assert not set(params) - set(spec), params
        result: dict[str, t.Any] = _operations.load(operation).run({**values, **params}, check_mode)
        return result

    def drain(self, *names: str, **params: t.Any) -> dict[str, t.Any]:
        return self.call("lb_member", *names, state="drained", **params)

    def enable(self, *names: str, **params: t.Any) -> dict[str, t.Any]:
        return self.call("lb_member", *names, state="enabled", **{"enable_timeout": 3, **params})

    def info(self, name: str, backend: str = "shop") -> dict[str, t.Any]:
        pools = self.call("lb_info")["pools"]
        return next(member for pool in pools if pool["backend"] == backend for member in pool["members"] if member["name"] == name)

    @property
    def records(self) -> list[str]:
        found = os.listdir(self.path("records")) if os.path.isdir(self.path("records")) else []
        return sorted(re.sub(r"-[0-9a-f]{12}\.json$", "", name) for name in found if name.endswith(".json"))
