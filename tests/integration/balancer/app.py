# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An application to put behind a balancer: ``app.py PORT``. What it says of its health is in the file ``health-PORT``, if there is one."""

from __future__ import annotations

import http.server
import os
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    port = 0

    def do_GET(self) -> None:
        status, reason = 200, "OK"
        marker = f"health-{self.port}"
        if self.path == "/health" and os.path.exists(marker):
            with open(marker, encoding="utf-8") as file:
                number, dummy, reason = file.read().partition(" ")
            status = int(number)
        elif self.path.startswith("/slow/"):
            time.sleep(float(self.path.rpartition("/")[2]))
        body = str(self.port).encode()
        self.send_response(status, reason)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *dummy: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


if __name__ == "__main__":
    Handler.port = int(sys.argv[1])
    Server(("127.0.0.1", Handler.port), Handler).serve_forever()
