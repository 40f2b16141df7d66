# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small site on a fleet: an application that takes a second to start and says its version, and releases of it."""

from __future__ import annotations

import os
import random
import shutil
import typing as t

from fleet.fleet import Fleet, Played

SERVER = '''\
import http.server, json, os, signal, socketserver, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "VERSION")) as file:
    VERSION = file.read().strip()
START = float(os.environ.get("START_SECONDS", "1.0"))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({"version": VERSION, "path": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 200
    daemon_threads = True

    def handle_error(self, request, address):
        # Health checks hang up without a word, several times a second: to log each costs more than to answer it.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, address)


time.sleep(START)
server = Server(("0.0.0.0", 8000), Handler)
signal.signal(signal.SIGTERM, lambda *arguments: os._exit(0))
server.serve_forever()
'''

UNIT = """\
[Unit]
Description=Shop
[Service]
WorkingDirectory=/srv/shop/current
ExecStart=/usr/bin/python3 server.py
Restart=on-failure
RestartSec=1
[Install]
WantedBy=multi-user.target
"""

VARIABLES: dict[str, t.Any] = {
    "rollout_app": "shop",
    "rollout_root": "/srv/shop",
    "rollout_services": [{"name": "shop", "action": "restart"}],
    "rollout_balancers": [{"driver": "haproxy", "hosts": "lb", "socket": "/run/haproxy/admin.sock", "backend": "shop"}],
    "rollout_healthy_deadline": 10,
    "rollout_max_unavailable": 1,
}


class Site:
    """The application on *fleet*. Releases are directories of *files* files of *size* bytes besides the program."""

    def __init__(self, fleet: Fleet, *, files: int = 20, size: int = 2000) -> None:
        self.fleet = fleet
        self.files, self.size = files, size
        self.builds = os.path.join(fleet.directory, "builds")

    def prepare(self) -> None:
        for host in self.fleet.web:
            self.fleet.put(host, "/etc/systemd/system/shop.service", UNIT)
            self.fleet.shell(host, "systemctl daemon-reload && systemctl enable -q shop")

    def build(self, release: str, *, like: str | None = None, change: float = 0.0, broken: str = "", seed: int = 1) -> str:
        """Make a release; *like* another with a share of *change* of its files replaced. *broken* replaces the program."""
        place = os.path.join(self.builds, release)
        if like:
            shutil.copytree(os.path.join(self.builds, like), place)
        else:
            os.makedirs(os.path.join(place, "data"))
        source = random.Random(f"{release}{seed}")
        for number in range(self.files if not like else int(self.files * change)):
            with open(os.path.join(place, "data", f"{number:05}.bin"), "wb") as file:
                file.write(source.randbytes(self.size))
        for name, content in (("VERSION", release), ("server.py", broken or SERVER)):
            with open(os.path.join(place, name), "w", encoding="utf-8") as file:
                file.write(content)
        return place

    def variables(self, release: str, **changes: t.Any) -> dict[str, t.Any]:
        return {
            **VARIABLES,
            "rollout_release": release,
            "rollout_source": {"type": "directory", "path": os.path.join(self.builds, release)},
            "rollout_health": [{"url": "http://127.0.0.1:8000/health", "json": {"version": "{{ rollout_release }}"}}],
            **{f"rollout_{name}": value for name, value in changes.items()},
        }

    def rollout(self, release: str, *options: str, playbook: str = "rollout", timeout: float = 300, **changes: t.Any) -> Played:
        return self.fleet.play(f"seamless.rollout.{playbook}", self.variables(release, **changes), *options, timeout=timeout)

    def release_of(self, host: str) -> str:
        return os.path.basename(self.fleet.shell(host, "readlink /srv/shop/current", check=False).strip())

    def releases(self) -> dict[str, str]:
        return {host: self.release_of(host) for host in self.fleet.web}

    def all_up(self) -> bool:
        return all(state.startswith("UP") for balancer in self.fleet.lb for state in self.fleet.standing(balancer).values())
