# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import textwrap
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import registry

from conformance.subject import FRONT, INTERVAL, PORTS, Subject, version_of

CONFIG = """\
global
    stats socket {directory}/admin.sock level admin
    stats socket {directory}/operator.sock level operator
    server-state-file {directory}/state
defaults
    mode http
    timeout connect 1s
    timeout client 20s
    timeout server 20s
    timeout tunnel 60s
    {idle}
    load-server-state-from-file global
    option httpchk GET /healthz
    default-server check inter {interval}ms fall 2 rise 2 weight 100
frontend web
    bind 127.0.0.1:{front}
    use_backend api if {{ path_beg /api }}
    default_backend app
backend app
    cookie SERVER insert indirect nocache
{app}
backend api
{api}
"""


class HAProxySubject(Subject):
    driver = "haproxy"
    title = "HAProxy"
    keeps_state = True

    def version(self) -> str:
        return version_of("haproxy", "-v")

    def configure(self) -> None:
        lines = [f"    server {name} 127.0.0.1:{port} cookie {name}" for name, port in PORTS.items()]
        # What keeps a reload from closing idle connections of clients came with 2.6.
        old = tuple(int(number) for number in self.version().split(".")) < (2, 6)
        text = CONFIG.format(
            directory=self.directory, idle="" if old else "option idle-close-on-response", interval=int(INTERVAL * 1000), front=FRONT, app="\n".join(lines),
            api="\n".join(line.partition(" cookie")[0] for line in lines[:2]),
        )
        self.write("haproxy.cfg", text)
        if os.path.exists(self.path("state")):
            os.unlink(self.path("state"))

    def command(self) -> list[str]:
        return ["haproxy", "-db", "-f", self.path("haproxy.cfg")]

    def reload(self) -> None:
        assert self.process
        old = self.process
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen([*self.command(), "-sf", str(old.pid)], stdout=log, stderr=log, cwd=self.directory)
        self.wait(lambda: f"Pid: {self.process.pid}" in self.ask("show info") if self.process else False)
        self.wait(lambda: old.poll() is not None, 5)

    def ask(self, command: str) -> str:
        done = subprocess.run(
            ["socat", "-t5", "-", f"UNIX-CONNECT:{self.path('admin.sock')}"], input=f"{command}\n", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, check=False,
        )
        return done.stdout

    def params(self) -> dict[str, t.Any]:
        return {"socket": [self.path("admin.sock")]}

    def call(self, operation: str, *names: str, check_mode: bool = False, **params: t.Any) -> dict[str, t.Any]:
        if operation == "lb_member":
            params = {"persist_state": self.path("state"), **params}
        return super().call(operation, *names, check_mode=check_mode, **params)

    def wrong_credentials(self) -> dict[str, t.Any]:
        return {"socket": [self.path("operator.sock")]}

    def dead_second(self) -> dict[str, t.Any]:
        return {"socket": [self.path("admin.sock"), self.path("nobody.sock")]}

    def take_out_by_hand(self, name: str) -> None:
        self.ask(f"set server app/{name} state maint")


LIST = r"""#!/bin/sh
printf 'show servers state\nshow stat\n' | awk '1' | while read -r line; do
    printf '%s\n' "$line" | socat -t5 - UNIX-CONNECT:{socket}
done | awk '
    function state(bits) {{ return bits % 2 ? "maint" : int(bits / 8) % 2 ? "drain" : "ready" }}
    /^#/ {{ next }}
    NF >= 19 && $1 ~ /^[0-9]+$/ {{ place[$2 "," $4] = $5 ":" $19; admin[$2 "," $4] = state($7); next }}
    {{ n = split($0, column, ","); key = column[1] "," column[2] }}
    n > 20 && key in place {{
        health = column[18] ~ /^DOWN/ ? "down" : column[18] ~ /^(UP|DRAIN)$/ ? "up" : "starting"
        print column[1], column[2], place[key], admin[key], health, column[5], column[8]
    }}'
"""


class CommandSubject(HAProxySubject):
    """A user's own commands, here in front of HAProxy."""

    driver = "command"
    title = "command (HAProxy by socat)"
    keeps_state = False
    limits: t.Mapping[str, str] = {
        "weight": "there is no command for it",
        "second balancer unreachable": "the commands speak to what they speak to",
    }

    def configure(self) -> None:
        super().configure()
        self.write("list.sh", LIST.format(socket=self.path("admin.sock")))
        order = f"printf 'set server %s state %s\\n' \"$1\" \"$2\" | socat -t5 - UNIX-CONNECT:{self.path('admin.sock')}"
        self.write("set.sh", f'#!/bin/sh\nsaid=$({order})\n[ -z "$said" ] || {{ echo "$said" >&2; exit 1; }}\n')
        self.write("operator.sh", "#!/bin/sh\necho Permission denied >&2\nexit 1\n")

    def params(self) -> dict[str, t.Any]:
        orders = {name: f"sh {self.path('set.sh')} {{backend}}/{{name}} {state}" for name, state in
                  (("drain", "drain"), ("ready", "ready"), ("maintenance", "maint"))}
        return {"commands": {"list": f"sh {self.path('list.sh')}", **orders}}

    def call(self, operation: str, *names: str, check_mode: bool = False, **params: t.Any) -> dict[str, t.Any]:
        return Subject.call(self, operation, *names, check_mode=check_mode, **params)

    def wrong_credentials(self) -> dict[str, t.Any]:
        return {"commands": {**self.params()["commands"], "list": ["sh", self.path("operator.sh")]}}


class ExampleSubject(HAProxySubject):
    """The driver that the guide shows."""

    driver = "example"
    title = "the guide's example (HAProxy)"
    keeps_state = False

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        scope: dict[str, t.Any] = {"__name__": "example"}
        exec(example(), scope)
        registry.DRIVERS["example"] = lambda: scope["Example"]

    def call(self, operation: str, *names: str, check_mode: bool = False, **params: t.Any) -> dict[str, t.Any]:
        return Subject.call(self, operation, *names, check_mode=check_mode, **params)


def example() -> str:
    """Return the code on the page about drivers."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    with open(os.path.join(root, "docs", "docsite", "rst", "balancer_driver.rst"), encoding="utf-8") as file:
        code = file.read().partition(".. code-block:: python\n")[2]
    lines = code.splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines) if line.strip() and not line.startswith("   "))
    return textwrap.dedent("".join(lines[:end]))
