# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two sites for the audit, with what a good one has: a Python program under systemd, and nginx with php-fpm. What is bad in them is planted by the tests."""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t

from fleet.fleet import Fleet, Played
from fleet.load import Load
from fleet.site import Site

# Ends in order: no new connections, what is under way is answered, then it exits. What it does wrong, its environment says.
SERVER = '''\
import http.server, json, os, secrets, signal, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "VERSION")) as file:
    VERSION = file.read().strip()
BUSY = 0
COUNT = threading.Condition()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global BUSY
        with COUNT:
            BUSY += 1
        try:
            self.answer()
        finally:
            with COUNT:
                BUSY -= 1
                COUNT.notify_all()

    def answer(self):
        if self.path == "/slow":
            time.sleep(3)
        if self.path == "/visit" and os.environ.get("SHOP_LOG"):
            with open(os.path.join(HERE, os.environ["SHOP_LOG"]), "a") as file:
                file.write("visited\\n")
        if self.path == "/visit" and os.environ.get("SHOP_SESSIONS"):
            with open(os.path.join(os.environ["SHOP_SESSIONS"], "sess_" + secrets.token_hex(13)), "w") as file:
                file.write("{}")
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


def finish():
    server.shutdown()
    server.socket.close()
    with COUNT:
        COUNT.wait_for(lambda: not BUSY, 20)
    os._exit(0)


def stop(*arguments):
    if os.environ.get("SHOP_STOPS") == "at once":
        os._exit(0)
    threading.Thread(target=finish).start()


server = Server(("0.0.0.0", int(os.environ.get("SHOP_PORT", "8000"))), Handler)
if os.environ.get("SHOP_STOPS") != "unasked":
    signal.signal(signal.SIGTERM, stop)
server.serve_forever()
'''

# Answers for its health by itself, whatever becomes of the application behind it.
FRONT = '''\
import http.client, http.server, json


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            with open("/srv/shop/current/VERSION") as file:
                status, body = 200, json.dumps({"version": file.read().strip()}).encode()
        else:
            try:
                behind = http.client.HTTPConnection("127.0.0.1", 8001, timeout=20)
                behind.request("GET", self.path)
                answer = behind.getresponse()
                status, body = answer.status, answer.read()
            except OSError:
                status, body = 502, b"nobody there"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
'''
FRONT_UNIT = "[Service]\nExecStart=/usr/bin/python3 /usr/local/bin/front.py\n"

NGINX = """\
server {
    listen 8000 default_server;
    root /srv/shop/current/public;
    index index.php;
    location = /health {
        include fastcgi_params;
        fastcgi_param SCRIPT_FILENAME $realpath_root/health.php;
        fastcgi_pass unix:/run/php/php8.2-fpm.sock;
    }
    location ~ \\.php$ {
        include fastcgi_params;
        fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
        fastcgi_param DOCUMENT_ROOT $realpath_root;
        fastcgi_pass unix:/run/php/php8.2-fpm.sock;
    }
}
"""
PHP = {
    "public/index.php": "<?php echo 'shop ' . trim(file_get_contents(__DIR__ . '/../VERSION'));",
    "public/health.php": "<?php header('Content-Type: application/json'); echo json_encode(['version' => trim(file_get_contents(__DIR__ . '/../VERSION'))]);",
    # A signal cuts sleep() short.
    "public/slow.php": "<?php for ($until = microtime(true) + 3; microtime(true) < $until; usleep(50000)) {} echo 'slow';",
    "public/login.php": "<?php session_start(); $_SESSION['user'] = 1; echo 'hello';",
}
SLOW = {"python": "http://127.0.0.1:8000/slow", "php": "http://127.0.0.1:8000/slow.php"}


class Audited(Site):
    """A site that an audit finds nothing wrong with, of the *kind* python or php."""

    def __init__(self, fleet: Fleet, kind: str) -> None:
        super().__init__(fleet)
        self.kind = kind
        self.fine: dict[str, t.Any] = {"audit_consent": "web2", "audit_slow_url": SLOW[kind]}

    def begin(self) -> None:
        """Put release 1.0 on every host, good and in rotation."""
        if self.kind == "python":
            self.prepare()
            self.build("1.0", broken=SERVER)
        else:
            self._prepare_php()
        first = self.rollout("1.0")
        assert first.code == 0, first.text

    def _prepare_php(self) -> None:
        for host in self.fleet.web:
            self.fleet.put(host, "/etc/nginx/conf.d/shop.conf", NGINX)
            self.fleet.shell(
                host, "rm -f /etc/nginx/sites-enabled/default;"
                " sed -i 's/^;process_control_timeout.*/process_control_timeout = 30s/' /etc/php/8.2/fpm/php-fpm.conf;"
                " systemctl enable -q --now php8.2-fpm nginx",
            )
        place = self.build("1.0", broken="# nothing\n")
        for name, text in PHP.items():
            path = os.path.join(place, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)

    def variables(self, release: str, **changes: t.Any) -> dict[str, t.Any]:
        services = {"services": [{"name": "php8.2-fpm", "action": "reload"}]} if self.kind == "php" else {}
        return super().variables(release, **{**services, **changes})

    def audit(self, *options: str, **changes: t.Any) -> tuple[Played, dict[str, t.Any]]:
        """Run the playbook and return what it said and what it wrote."""
        path = os.path.join(self.fleet.directory, "audit.json")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        variables = self.variables("1.0", audit_json=path, **changes)
        # Nobody names a release, or where it comes from, who only asks.
        for name in ("rollout_release", "rollout_source"):
            if name.removeprefix("rollout_") not in changes:
                del variables[name]
        played = self.fleet.play("seamless.rollout.audit", variables, *options, timeout=300)
        if not os.path.exists(path):
            return played, {}
        with open(path, encoding="utf-8") as file:
            return played, json.load(file)

    def settle(self) -> None:
        """Wait until every balancer sees every member up."""
        deadline = time.monotonic() + 60
        while not self.all_up():
            if time.monotonic() > deadline:
                raise RuntimeError(str({name: self.fleet.standing(name) for name in self.fleet.lb}))
            time.sleep(0.3)

    def everywhere(self, command: str) -> None:
        for host in self.fleet.web:
            self.fleet.shell(host, command)

    @contextlib.contextmanager
    def unit(self, *lines: str, hosts: t.Sequence[str] = (), before: str = "true", after: str = "true") -> t.Iterator[None]:
        """Have other lines in the unit of the application on *hosts*, all by default; run *before* there first and *after* at the end."""
        drop_in = "/etc/systemd/system/shop.service.d/planted.conf"
        chosen = hosts or self.fleet.web
        try:
            for host in chosen:
                self.fleet.put(host, drop_in, "\n".join(["[Service]", *lines, ""]))
                self.fleet.shell(host, f"{before}; systemctl daemon-reload; systemctl restart shop")
            self.settle()
            yield
        finally:
            for host in chosen:
                self.fleet.shell(host, f"rm {drop_in}; systemctl daemon-reload; {after}; systemctl restart shop")
            self.settle()

    @contextlib.contextmanager
    def file(self, hosts: t.Sequence[str], path: str, change: t.Callable[[str], str], apply: str) -> t.Iterator[None]:
        """Have *path* changed on *hosts*, with the command *apply* after that, and after it is put back."""
        kept = {host: self.fleet.shell(host, f"cat {path}") for host in hosts}
        try:
            for host, text in kept.items():
                assert change(text) != text, path
                self.fleet.put(host, path, change(text))
                self.fleet.shell(host, apply)
            yield
        finally:
            for host, text in kept.items():
                self.fleet.put(host, path, text)
                self.fleet.shell(host, apply)
            self.settle()

    def haproxy(self, change: t.Callable[[str], str]) -> contextlib.AbstractContextManager[None]:
        return self.file(self.fleet.lb, "/etc/haproxy/haproxy.cfg", change, "systemctl restart haproxy")

    def load(self) -> Load:
        return Load([f"http://{self.fleet.addresses[host]}/" for host in self.fleet.lb], rate=50, clients=8, version_key="version")
