# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A site without a balancer: hosts of a fleet that one address moves between, by itself or by their keepalived."""

from __future__ import annotations

import ipaddress
import time
import typing as t

from fleet.fleet import Fleet, Played
from fleet.site import Site

TRACK_FILE = "/var/lib/keepalived/floating_ip"
KEEPALIVED = """\
global_defs {{
    router_id {host}
}}
track_file floating_ip {{
    file "{track_file}"
    weight 1
    init_file 0
}}
vrrp_instance shop {{
    state BACKUP
    interface eth0
    virtual_router_id {router}
    priority {priority}
    advert_int 0.2
    version 3
    virtual_ipaddress {{ {address}/32 dev eth0 }}
    track_file {{ floating_ip }}
}}
"""


class Floating:
    """The address of *site*. It is free at first."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.fleet: Fleet = site.fleet
        self.address = str(ipaddress.ip_network(f"{self.fleet.addresses[self.fleet.hosts[0]]}/26", strict=False)[60])
        self.url = f"http://{self.address}:{self.fleet.port}/"

    def keepalived(self, hosts: t.Sequence[str]) -> None:
        """Have keepalived of *hosts* hold the address, the first of them while all are well."""
        for number, host in enumerate(hosts):
            router = int(self.address.rpartition(".")[2])
            text = KEEPALIVED.format(host=host, track_file=TRACK_FILE, address=self.address, priority=100 - 10 * number, router=router)
            self.fleet.put(host, "/etc/keepalived/keepalived.conf", text)
            self.fleet.shell(host, "mkdir -p /var/lib/keepalived && rm -f /var/lib/keepalived/* && systemctl restart keepalived")
        self.wait(lambda: self.holders() == [hosts[0]])

    def free(self) -> None:
        """Have nobody hold the address, as at first."""
        forget = f"systemctl stop keepalived; ip address del {self.address}/32 dev eth0; rm -rf /var/lib/seamless-rollout/floating_ip"
        for host in self.fleet.web:
            self.fleet.shell(host, forget, check=False)
        self.wait(lambda: not self.holders())

    def holders(self) -> list[str]:
        return [host for host in self.fleet.web if f" {self.address}/" in self.fleet.shell(host, "ip -o address", check=False)]

    def wait(self, condition: t.Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"it did not come about; {self.address} is at {self.holders()}"
            time.sleep(0.1)

    def options(self, method: str = "arp") -> dict[str, t.Any]:
        return {"address": self.address, "method": method, **({"path": TRACK_FILE} if method == "keepalived" else {})}

    def variables(self, release: str, method: str = "arp", **changes: t.Any) -> dict[str, t.Any]:
        return {**self.site.variables(release), "rollout_balancers": [], "cutover_floating_ip": self.options(method), **changes}

    def cutover(self, to: str, release: str, *options: str, method: str = "arp", playbook: str = "cutover", **changes: t.Any) -> Played:
        variables = self.variables(release, method, **{**({"cutover_to": to} if to else {}), **changes})
        return self.fleet.play(f"seamless.rollout.{playbook}", variables, *options)
