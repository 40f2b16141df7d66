# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application behind a balancer under test: ``app.py NAME PORT DIRECTORY``. It knows what is under way, and dies abruptly on SIGTERM.

/          its name                      /slow?ms=N   the same, later
/healthz   200, or 503 while DIRECTORY/NAME.down exists
/count     how many requests are under way and how many there were, health checks apart
/ws        a WebSocket that says everything back
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import signal
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class App:
    def __init__(self, name: str, directory: str) -> None:
        self.name = name
        self.down = os.path.join(directory, f"{name}.down")
        self.active = self.total = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether there may be another one."""
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        path = first.split(" ")[1]
        headers = {name.lower(): value.strip() for name, dummy, value in (line.partition(":") for line in lines)}
        await reader.readexactly(int(headers.get("content-length", "0")))
        status, body = 200, self.name
        if path.startswith("/ws"):
            await self.echo(headers, reader, writer)
            return False
        if path == "/count":
            body = json.dumps({"active": self.active, "total": self.total})
        elif path == "/healthz":
            status = 503 if os.path.exists(self.down) else 200
        else:
            self.active += 1
            self.total += 1
            try:
                if "ms=" in path:
                    await asyncio.sleep(int(path.partition("ms=")[2]) / 1000)
            finally:
                self.active -= 1
        stays = headers.get("connection", "").lower() != "close" and not first.endswith("HTTP/1.0")
        end = "" if stays else "Connection: close\r\n"
        writer.write(f"HTTP/1.1 {status} OK\r\nServer-Name: {self.name}\r\nContent-Length: {len(body)}\r\n{end}\r\n{body}".encode())
        await writer.drain()
        return stays

    async def echo(self, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = base64.b64encode(hashlib.sha1(headers.get("sec-websocket-key", "").encode() + GUID).digest()).decode()
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n".encode())
        while data := await reader.read(100):
            writer.write(self.name.encode() + b":" + data)
            await writer.drain()


async def main(name: str, port: int, directory: str) -> None:
    server = await asyncio.start_server(App(name, directory).serve, "127.0.0.1", port, backlog=512)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
