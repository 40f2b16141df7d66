# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A balancer under test: a real program in front of three applications, in the same container as the test."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import typing as t
import urllib.request

from ansible_collections.seamless.rollout.plugins.module_utils import _operations
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

NAMES = ("s1", "s2", "s3")
PORTS = {"s1": 9101, "s2": 9102, "s3": 9103}
FRONT, ADMIN = 9200, 9210
INTERVAL = 0.3  # seconds between two health checks of a balancer
Result = t.Dict[str, t.Any]


class Subject:
    """What a driver needs to be tested. The pool ``app`` has s1, s2 and s3 and answers at FRONT, the pool ``api`` has s1 and s2.

    *limits* says why a case can't be: it goes into the documentation. *costs* names the errors that a client may see in a roll although
    all is done as it must be, and why. *instead* has cases that are told in another way for this subject.
    """

    driver = ""
    title = ""
    limits: t.Mapping[str, str] = {}
    costs: t.Sequence[str] = ()
    why = ""
    instead: t.ClassVar[dict[str, t.Callable[[t.Any], str | None]]] = {}
    pools = True
    keeps_state = False
    settle = 0.6

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.apps: dict[str, subprocess.Popen[bytes]] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self) -> None:
        """Write the configuration, with every member in."""
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def reload(self) -> None:
        """Have the balancer read its configuration again, as an operator would, and wait until it has."""
        raise NotImplementedError

    def params(self) -> dict[str, t.Any]:
        """Return the options that the module needs to find the balancer."""
        raise NotImplementedError

    def wrong_credentials(self) -> dict[str, t.Any]:
        """Return options with which the balancer must refuse."""
        raise NotImplementedError

    def dead_second(self) -> dict[str, t.Any]:
        """Return options that name a second process which does not answer, beside the one that does."""
        raise NotImplementedError

    def take_out_by_hand(self, name: str) -> None:
        """Take *name* out of the pool ``app`` as an operator would, without the module."""
        raise NotImplementedError

    def version(self) -> str:
        """Return the version of the program under test."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        return self.served() == set(NAMES) and all(self.standing(name)["health"] in ("up", "nocheck") for name in NAMES)

    def start(self) -> None:
        os.makedirs(self.directory, exist_ok=True)
        for name in NAMES:
            self.start_app(name)
        self.configure()
        self.start_balancer()
        self.wait(self.is_ready, 15, "for every member")

    def start_balancer(self) -> None:
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.directory)
        self.wait(lambda: listens(FRONT) and bool(self.served()), 15, "for an answer")

    def stop(self) -> None:
        for process in [*([self.process] if self.process else []), *self.apps.values()]:
            process.kill()
            process.wait()
        self.apps.clear()
        shutil.rmtree(self.path("records"), ignore_errors=True)

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def write(self, name: str, text: str) -> None:
        with open(self.path(f"{name}.new"), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(self.path(f"{name}.new"), self.path(name))

    def start_app(self, name: str) -> None:
        app = os.path.join(os.path.dirname(os.path.abspath(__file__)), "app.py")
        self.apps[name] = subprocess.Popen([sys.executable, app, name, str(PORTS[name]), self.directory])
        self.wait(lambda: listens(PORTS[name]))

    def kill_app(self, name: str) -> None:
        self.apps[name].terminate()
        self.apps[name].wait()

    def count(self, name: str) -> dict[str, int]:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORTS[name]}/count", timeout=5) as answer:
            return t.cast("dict[str, int]", json.load(answer))

    def served(self, path: str = "/", requests: int = 12) -> set[str]:
        """Return which applications answer a dozen requests through the balancer."""
        found = set()
        for dummy in range(requests):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{FRONT}{path}", timeout=5) as answer:
                found.add(answer.headers.get("Server-Name", ""))
        return found

    def wait(self, condition: t.Callable[[], bool], seconds: float = 10, what: str = "") -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds} s in vain {what}\n{self.log()}")
            time.sleep(0.03)

    def log(self) -> str:
        with contextlib.suppress(OSError), open(self.path("log"), encoding="utf-8", errors="replace") as file:
            return file.read()[-1500:]
        return ""

    def member(self, name: str) -> dict[str, t.Any]:
        """Return how the module is told of *name*: as a rollout does, by the name of the host and its address."""
        return {"name": name, "address": "127.0.0.1", "port": PORTS.get(name)}

    def place(self, name: str) -> tuple[str, int]:
        """Return where *name* listens, as the balancer says."""
        return "127.0.0.1", PORTS[name]

    def pool(self, backend: str) -> str:
        """Return which pool *backend* is, app or api."""
        return backend.rpartition("/")[2]

    def app_only(self) -> dict[str, t.Any]:
        """Return the options that leave only the pool ``app``."""
        return {"backend": ["app"]}

    def call(self, operation: str, *names: str, check_mode: bool = False, **params: t.Any) -> Result:
        """Run an operation with the defaults of its module."""
        spec = _operations.load(operation).ARGUMENT_SPEC
        values: dict[str, t.Any] = {name: option.get("default") for name, option in spec.items()}
        values.update({"driver": self.driver, "state_dir": self.path("records"), "owner": "shop", "settle_seconds": self.settle, **self.params()})
        if names:
            values["members"] = [self.member(name) for name in names]
        unknown = set(params) - set(spec)
        if unknown:
            raise TypeError(f"{operation} has no {unknown}")
        return t.cast(Result, _operations.load(operation).run({**values, **params}, check_mode))

    def drain(self, *names: str, **params: t.Any) -> Result:
        return self.call("lb_member", *names, **{"state": "drained", "drain_timeout": 10, **params})

    def enable(self, *names: str, **params: t.Any) -> Result:
        return self.call("lb_member", *names, **{"state": "enabled", "enable_timeout": 8, **params})

    def refusal(self, call: t.Callable[[], object]) -> str:
        """Return the message with which *call* is refused."""
        try:
            call()
        except SeamlessError as exc:
            return str(exc)
        raise AssertionError("it was not refused")

    def standing(self, name: str, pool: str = "app") -> dict[str, t.Any]:
        """Return what lb_info says of *name*."""
        found = [
            member for one in self.call("lb_info")["pools"] if self.pool(one["backend"]) == pool or not self.pools
            for member in one["members"] if member["name"] == name or member["port"] == PORTS[name]
        ]
        assert len(found) == 1, f"{name} is {len(found)} times in {pool}"
        return t.cast("dict[str, t.Any]", found[0])

    def back_to_normal(self) -> None:
        """Bring everything back after a case, whatever it left."""
        for name in NAMES:
            if self.apps[name].poll() is not None:
                self.start_app(name)
        shutil.rmtree(self.path("records"), ignore_errors=True)
        self.configure()
        self.reload()
        self.wait(self.is_ready, 10, "for every member after a case")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def version_of(*command: str) -> str:
    """Return the version that *command* prints."""
    text = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout.decode(errors="replace")
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return found[0] if found else "?"
