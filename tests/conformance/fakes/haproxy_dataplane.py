# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Data Plane API, version 3, as far as runtime servers and statistics go, before a real HAProxy: ``… SOCKET PORT``."""

from __future__ import annotations

import csv
import socket
import sys
import typing as t

from conformance.fakes.api import Answer, Fake, Handler, Server, basic, route

NUMBERS = {
    "backend_id": 0, "weight": 7, "uweight": 7, "iweight": 8, "last_time_change": 9, "check_status": 10, "check_result": 11, "check_health": 12,
    "check_state": 13, "agent_state": 14, "port": 18, "check_port": 21,
}
WORDS = {"operational_state": ("up", "down", "stopping"), "admin_state": ("ready", "maint", "drain")}


class DataPlane(Fake):
    secret = basic("admin", "secret")

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def reset(self) -> None:
        """HAProxy is reloaded instead."""

    def error(self, status: int, text: str) -> Answer:
        return status, {"code": status, "message": text}

    def ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.address)
            connection.sendall(f"{command}\n".encode())
            found = b""
            while data := connection.recv(65536):
                found += data
        return found.decode()

    def states(self, backend: str) -> list[dict[str, t.Any]] | None:
        """Return the servers of *backend*, or None where there is none."""
        lines = self.ask(f"show servers state {backend}").splitlines()
        if not lines or lines[0] != "1":
            return None
        return [self.state(line.split(" ")) for line in lines[1:] if line and not line.startswith("#")]

    @staticmethod
    def state(fields: list[str]) -> dict[str, t.Any]:
        bits = int(fields[6])
        found = {
            "id": fields[2], "name": fields[3], "backend_name": fields[1], "address": fields[4],
            "operational_state": {"0": "down", "3": "stopping"}.get(fields[5], "up"),
            "admin_state": "maint" if bits & 0x23 else "drain" if bits & 0x18 else "ready",
        }
        return {**found, **{name: int(fields[column]) for name, column in NUMBERS.items() if fields[column].isdigit()}}

    @route("GET", "/v3/services/haproxy/runtime/backends/([^/]+)/servers")
    def servers(self, backend: str, **dummy: t.Any) -> Answer:
        found = self.states(backend)
        return (200, found) if found is not None else self.error(404, f"Can't find backend {backend}.")

    @route("PUT", "/v3/services/haproxy/runtime/backends/([^/]+)/servers/([^/]+)")
    def replace(self, backend: str, name: str, body: t.Any, **dummy: t.Any) -> Answer:
        known = {one["name"]: one for one in self.states(backend) or []}
        if name not in known:
            return self.error(404, f"server state for {backend}/{name}: not found")
        for key, words in WORDS.items():
            if key in body and body[key] not in words:
                return self.error(422, f"{key} in body should be one of {list(words)}")
        target = f"set server {backend}/{name}"
        if body.get("operational_state", known[name]["operational_state"]) != known[name]["operational_state"]:
            self.ask(f"{target} health {body['operational_state']}")
        if body.get("admin_state", known[name]["admin_state"]) != known[name]["admin_state"]:
            self.ask(f"{target} state {body['admin_state']}")
        if body.get("weight", known[name]["weight"]) != known[name]["weight"]:
            self.ask(f"{target} weight {body['weight']}")
        return 200, next(one for one in self.states(backend) or [] if one["name"] == name)

    @route("GET", "/v3/services/haproxy/stats/native")
    def stats(self, query: dict[str, str], **dummy: t.Any) -> Answer:
        rows = csv.DictReader(self.ask("show stat")[2:].splitlines())
        found = []
        for row in rows:
            kind = {"0": "frontend", "1": "backend", "2": "server"}.get(row["type"], "")
            if query.get("type") in (None, kind):
                values = {key: int(value) if value.isdigit() else value for key, value in row.items() if key and value}
                place = {"name": row["svname"], "backend_name": row["pxname"]} if kind == "server" else {"name": row["pxname"]}
                found.append({"type": kind, **place, "stats": values})
        return 200, {"runtimeAPI": self.address, "stats": found}


if __name__ == "__main__":
    Handler.fake = DataPlane(sys.argv[1])
    Server(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
