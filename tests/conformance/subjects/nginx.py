# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import signal
import subprocess
import typing as t

from conformance.subject import FRONT, PORTS, Subject, version_of

CONFIG = """\
daemon off; worker_processes 2; user root; pid {directory}/nginx.pid; error_log {directory}/error.log info;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
    uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    {extra}
    include {directory}/upstreams.conf;
    server {{
        listen 127.0.0.1:{front};
        proxy_http_version 1.1; proxy_set_header Connection ""; proxy_connect_timeout 1s;
        location / {{ proxy_pass http://app; }}
        location /api {{ proxy_pass http://api; }}
        location /ws {{ proxy_pass http://app; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; }}
    }}
}}
"""


class NginxSubject(Subject):
    driver = "nginx"
    title = "nginx"
    keeps_state = True
    limits: t.Mapping[str, str] = {
        "wrong credentials": "there are none; whoever may not write the file is told to become another user",
        "second balancer unreachable": "each machine is a call of its own; lb_member's balancers and the rollout make them together",
    }

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        numbers = tuple(int(number) for number in self.version().split("."))
        self.holds_connections, self.drains = numbers >= (1, 27, 4), numbers >= (1, 29, 6)
        if not self.holds_connections:
            self.costs = ("reset-idle",)
            self.why = "a reload closes idle connections of clients; keepalive_min_timeout (since 1.27.4) prevents it"
        if not self.drains:
            self.limits = {**self.limits, "sticky clients": "nginx has none below 1.29.6"}

    def version(self) -> str:
        return version_of("nginx", "-v")

    def configure(self) -> None:
        self.write("nginx.conf", CONFIG.format(directory=self.directory, front=FRONT, extra="keepalive_min_timeout 2s;" if self.holds_connections else ""))
        lines = [f"    server 127.0.0.1:{port} max_fails=0;  # {name}" for name, port in PORTS.items()]
        app, api = "\n".join(lines), "\n".join(lines[:2])
        sticky = "    sticky cookie server path=/;\n" if self.drains else ""
        self.write("upstreams.conf", f"upstream app {{\n    zone app 64k;\n{sticky}{app}\n}}\nupstream api {{\n    zone api 64k;\n{api}\n}}\n")

    def command(self) -> list[str]:
        return ["nginx", "-c", self.path("nginx.conf")]

    def workers(self) -> set[str]:
        assert self.process
        found = subprocess.run(["pgrep", "-P", str(self.process.pid), "-f", "worker process$"], stdout=subprocess.PIPE, text=True, check=False)
        return set(found.stdout.split())

    def reload(self) -> None:
        assert self.process
        old = self.workers()
        self.process.send_signal(signal.SIGHUP)
        self.wait(lambda: bool(self.workers()) and not self.workers() & old)

    def params(self) -> dict[str, t.Any]:
        config = self.path("nginx.conf")
        return {"path": self.path("upstreams.conf"), "commands": {"test": f"nginx -t -q -c {config}", "pid_file": self.path("nginx.pid")}}

    def take_out_by_hand(self, name: str) -> None:
        with open(self.path("upstreams.conf"), encoding="utf-8") as file:
            text = file.read()
        self.write("upstreams.conf", text.replace(f":{PORTS[name]} max_fails=0;", f":{PORTS[name]} max_fails=0 down;", 1))
        self.reload()
