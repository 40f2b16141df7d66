# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same APIs as far as floating IPs go. An order takes a moment, in which the address is locked and another one refused."""

from __future__ import annotations

import threading
import time
import typing as t

from conformance.fakes.api import Answer, Fake, Handler, Server, route
from conformance.fakes.digitalocean import DROPLETS, DigitalOcean
from conformance.fakes.hetzner import SERVERS, Hetzner
from conformance.fakes.linode import Linode

ADDRESS, OTHER = "203.0.113.60", "203.0.113.61"
TAKES = 0.15


class Moving(Fake):
    """One that has addresses, each at one of its servers or nowhere."""

    def reset(self) -> None:
        super().reset()
        self.holders: dict[str, str | None] = {ADDRESS: "s1", OTHER: None}
        self.until: dict[str, float] = {}
        self.orders: list[tuple[str, str | None]] = []
        self.fails = False

    def locked(self, address: str) -> bool:
        return self.until.get(address, 0.0) > time.monotonic()

    def move(self, address: str, server: str | None) -> None:
        if not self.fails:
            self.holders[address] = server
        self.until[address] = time.monotonic() + TAKES
        self.orders.append((address, server))


class HetznerAddresses(Moving, Hetzner):
    """*steps*: an address must be given back before another server gets it."""

    steps = False

    @route("GET", "/v1/floating_ips")
    def floating_ips(self, query: dict[str, str], **dummy: t.Any) -> Answer:
        every = [
            {"id": number, "ip": address, "type": "ipv4", "name": f"ip{number}", "server": SERVERS[holder] if holder else None, "blocked": False}
            for number, (address, holder) in enumerate(self.holders.items(), 1)
        ]
        page = int(query.get("page", 1))
        more = page + 1 if page < len(every) else None
        return 200, {"floating_ips": every[page - 1 : page], "meta": {"pagination": {"page": page, "per_page": 1, "next_page": more}}}

    @route("GET", "/v1/servers")
    def servers(self, query: dict[str, str], **dummy: t.Any) -> Answer:
        found = [{"id": number, "name": name} for name, number in SERVERS.items() if query.get("name") in (None, name)]
        return 200, {"servers": found, "meta": {"pagination": {"page": 1, "next_page": None}}}

    @route("POST", "/v1/floating_ips/([0-9]+)/actions/(assign|unassign)")
    def order(self, number: str, what: str, body: t.Any, **dummy: t.Any) -> Answer:
        address = dict(enumerate(self.holders, 1)).get(int(number))
        if not address:
            return self.error(404, "floating IP not found")
        if self.locked(address):
            return self.error(423, "cannot perform operation because another action is running")
        server = next((name for name, known in SERVERS.items() if known == (body or {}).get("server")), None)
        if what == "assign" and (server is None or set(body) != {"server"}):
            return self.error(422, "invalid input in field 'server'")
        if what == "assign" and (self.holders[address] == server or (self.steps and self.holders[address])):
            return self.error(422, "the Floating IP is already assigned", "floating_ip_assigned")
        self.move(address, server if what == "assign" else None)
        key = len(self.actions) + 1
        action = {"id": key, "command": f"{what}_floating_ip", "status": "running", "progress": 0, "error": None, "resources": [{"id": 0}]}
        self.actions[key], self.began[key] = action, time.monotonic()
        return 201, {"action": action}

    def action(self, number: int) -> dict[str, t.Any]:
        action = super().action(number)
        if self.fails and action["status"] == "success":
            return {**action, "status": "error", "error": {"code": "action_failed", "message": "Action failed"}}
        return action


class DigitalOceanAddresses(Moving, DigitalOcean):
    @route("GET", "/v2/droplets")
    def droplets(self, **dummy: t.Any) -> Answer:
        return 200, {"droplets": [{"id": number, "name": name} for name, number in DROPLETS.items()], "links": {}, "meta": {"total": len(DROPLETS)}}

    @route("GET", "/v2/reserved_ips")
    def reserved_ips(self, **dummy: t.Any) -> Answer:
        return 200, {"reserved_ips": [self.reserved(address) for address in self.holders], "links": {}, "meta": {"total": len(self.holders)}}

    def reserved(self, address: str) -> dict[str, t.Any]:
        holder = self.holders[address]
        droplet = {"id": DROPLETS[holder], "name": holder} if holder else None
        return {"ip": address, "droplet": droplet, "region": {"slug": "fra1"}, "locked": self.locked(address)}

    @route("GET", "/v2/reserved_ips/([0-9.]+)")
    def one_reserved(self, address: str, **dummy: t.Any) -> Answer:
        return (200, {"reserved_ip": self.reserved(address)}) if address in self.holders else self.error(404, "The resource you requested could not be found.")

    @route("POST", "/v2/reserved_ips/([0-9.]+)/actions")
    def order(self, address: str, body: t.Any, **dummy: t.Any) -> Answer:
        if address not in self.holders:
            return self.error(404, "The resource you requested could not be found.")
        if self.locked(address):
            return self.error(422, "The reserved IP already has a pending event.")
        kind = (body or {}).get("type")
        droplet = next((name for name, number in DROPLETS.items() if number == (body or {}).get("droplet_id")), None)
        if kind not in ("assign", "unassign") or (kind == "assign" and not droplet):
            return self.error(422, "droplet_id is invalid")
        if kind == "unassign" and not self.holders[address]:
            return self.error(422, "The reserved IP is not assigned to a droplet.")
        self.move(address, droplet if kind == "assign" else None)
        return 201, {"action": self.event(address, kind)}

    def event(self, address: str, kind: str) -> dict[str, t.Any]:
        status = "in-progress" if self.locked(address) else "errored" if self.fails else "completed"
        return {"id": 68212728, "status": status, "type": f"{kind}_ip", "resource_type": "reserved_ip"}

    @route("GET", "/v2/reserved_ips/([0-9.]+)/actions/([0-9]+)")
    def one_event(self, address: str, number: str, **dummy: t.Any) -> Answer:
        return 200, {"action": self.event(address, "assign" if self.holders[address] else "unassign")}


class LinodeAddresses(Moving, Linode):
    """s3 is in another region; s1 has no other address than ADDRESS once *lonely* is set."""

    linodes: t.ClassVar[dict[str, int]] = {"s1": 501, "s2": 502, "s3": 503}
    lonely = False

    def reset(self) -> None:
        super().reset()
        self.holders = {ADDRESS: "s1", OTHER: "s2"}

    @route("GET", "/v4/linode/instances")
    def instances(self, query: dict[str, str], **dummy: t.Any) -> Answer:
        return self.page([{"id": number, "label": name} for name, number in self.linodes.items()], query)

    @route("GET", "/v4/linode/instances/([0-9]+)")
    def instance(self, number: str, **dummy: t.Any) -> Answer:
        found = next((name for name, known in self.linodes.items() if str(known) == number), None)
        return (200, {"id": int(number), "label": found}) if found else self.error(404, "Not found")

    def known(self, address: str) -> dict[str, t.Any]:
        holder = self.holders[address]
        return {"address": address, "type": "ipv4", "public": True, "region": "eu-central", "linode_id": self.linodes[holder] if holder else None}

    @route("GET", "/v4/networking/ips")
    def ips(self, query: dict[str, str], **dummy: t.Any) -> Answer:
        return self.page([self.known(address) for address in self.holders], query)

    @route("GET", "/v4/networking/ips/([0-9.]+)")
    def one_ip(self, address: str, **dummy: t.Any) -> Answer:
        return (200, self.known(address)) if address in self.holders else self.error(404, "Not found")

    @route("POST", "/v4/networking/ips/assign")
    def assign(self, body: t.Any, **dummy: t.Any) -> Answer:
        if (body or {}).get("region") != "eu-central" or not isinstance(body.get("assignments"), list):
            return self.error(400, "region is not valid", "region")
        for one in body["assignments"]:
            name = next((name for name, known in self.linodes.items() if known == one.get("linode_id")), None)
            if one.get("address") not in self.holders or name is None or name == "s3":
                return self.error(400, "One or more of the IPs or Linodes are not in this region", "assignments")
            if self.lonely and self.holders[one["address"]] == "s1":
                return self.error(400, "Linode must have at least one public IPv4 address after assignment", "assignments")
            self.move(one["address"], name)
        return 200, {}


class Running(t.NamedTuple):
    """A fake that answers at *url*."""

    fake: Moving
    url: str
    server: Server


def serve(fake: Moving) -> Running:
    """Have *fake* answer at a port of its own. Whoever calls shuts the server down."""
    server = Server(("127.0.0.1", 0), type("Own", (Handler,), {"fake": fake}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return Running(fake, f"http://127.0.0.1:{server.server_address[1]}", server)
