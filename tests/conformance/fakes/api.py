# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every fake has: an API in a thread, the proxy beside it, and a way back to the beginning for the next case."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import re
import sys
import threading
import typing as t
import urllib.parse

from conformance.fakes.proxy import Place, Pool, Proxy

PORTS = {"s1": 9101, "s2": 9102, "s3": 9103}
Answer = t.Tuple[int, t.Any]
Route = t.Callable[..., Answer]
Routed = t.Tuple[str, "re.Pattern[str]", Route]


def route(method: str, path: str) -> t.Callable[[Route], Route]:
    """Mark a method of a fake as the answer to *method* at *path*, a regular expression whose groups are its arguments."""

    def mark(function: Route) -> Route:
        vars(function).setdefault("routes", []).append((method, re.compile(f"{path}/?")))
        return function

    return mark


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Fake:
    """The API of a balancer. *secret* is the value of the header Authorization that it wants."""

    secret = ""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pools: dict[str, Pool] = {}
        self.routes: list[Routed] = [
            (method, pattern, getattr(self, name))
            for name in dir(type(self)) for method, pattern in getattr(getattr(type(self), name), "routes", [])
        ]
        self.reset()

    def reset(self) -> None:
        """Have every member in."""
        self.pools = {"app": self.pool("app", ["s1", "s2", "s3"]), "api": self.pool("api", ["s1", "s2"])}

    def pool(self, name: str, members: t.Sequence[str]) -> Pool:
        return Pool(name, {member: Place(member, PORTS[member], healthy=True) for member in members})

    def error(self, status: int, text: str) -> Answer:
        """Return an error in the form of this API."""
        return status, {"error": text}

    def unauthorised(self) -> Answer:
        return self.error(401, "Unauthorized")

    def answer(self, method: str, target: str, headers: t.Mapping[str, str], data: bytes) -> Answer:
        url = urllib.parse.urlsplit(target)
        if (method, url.path) == ("POST", "/_reset"):
            with self.lock:
                self.reset()
            return 204, None
        if self.secret and headers.get("Authorization") != self.secret:
            return self.unauthorised()
        try:
            body = json.loads(data) if data else None
        except ValueError:
            return self.error(400, "the body is no JSON")
        query = dict(urllib.parse.parse_qsl(url.query))
        found = [(wanted, function, match) for wanted, pattern, function in self.routes if (match := pattern.fullmatch(url.path))]
        for wanted, function, match in found:
            if wanted == method:
                with self.lock:
                    return function(*map(urllib.parse.unquote, match.groups()), body=body, query=query)
        return self.error(405 if found else 404, "there is no such thing")

    def pool_of(self, path: str) -> Pool | None:
        return self.pools.get("api" if path.startswith("/api") else "app")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: t.ClassVar[Fake]

    def handle_request(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, body = self.fake.answer(self.command, self.path, dict(self.headers.items()), data)
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


async def run(fake: Fake, front: int, admin: int) -> None:
    Handler.fake = fake
    threading.Thread(target=Server(("127.0.0.1", admin), Handler).serve_forever, daemon=True).start()
    proxy = Proxy(fake.pool_of, lambda: list(fake.pools.values()))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", front, backlog=512)
    async with server:
        await asyncio.gather(server.serve_forever(), proxy.check_for_ever())


def main(fake: Fake) -> None:
    """Run *fake*: ``python3 -m conformance.fakes.NAME FRONT ADMIN``."""
    asyncio.run(run(fake, int(sys.argv[1]), int(sys.argv[2])))
