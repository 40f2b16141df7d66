# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two balancers that hold one address between them: s1 is this machine, s2 and the client have network namespaces of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import typing as t

from conformance.subject import ADMIN, FRONT, Subject, listens, version_of

VIP = "203.0.113.100"
KEEPALIVED = """\
global_defs {{
    router_id {name}
}}
track_file drain {{
    file "{directory}/{name}.track"
    weight 1
    init_file 0
}}
vrrp_instance shop {{
    state BACKUP
    interface {interface}
    virtual_router_id 51
    priority {priority}
    advert_int 0.2
    version 3
    virtual_ipaddress {{ {vip}/24 dev {interface} }}
    track_file {{ drain }}
}}
"""
BALANCER = """\
global
    stats socket {directory}/{name}.sock level admin
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend web
    bind 0.0.0.0:{front}
    http-request return status 200 hdr Server-Name {name} content-type text/plain string {name}
frontend health
    bind 127.0.0.1:{health}
    http-request return status 200
"""
# Asks with a new connection each time, as often as it is told or until it is ended, and prints when it got what from whom.
CLIENT = """\
import http.client, itertools, json, sys, time
for number in itertools.count():
    if sys.argv[3] != "0" and number >= int(sys.argv[3]):
        break
    name = ""
    try:
        connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=0.3)
        connection.request("GET", "/")
        name = connection.getresponse().headers.get("Server-Name", "")
        connection.close()
    except OSError:
        pass
    print(json.dumps([time.monotonic(), name]), flush=True)
    time.sleep(0.01)
"""


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def roll(subject: KeepalivedSubject) -> str:
    """A client asks all the time while s1 is drained, its balancer restarted, and s1 comes back."""
    with open(subject.path("answers"), "wb") as file:
        client = subprocess.Popen(subject.client(0), stdout=file)
        try:
            time.sleep(0.5)
            subject.drain("s1")
            subject.kill_app("s1")
            time.sleep(0.3)
            subject.start_app("s1")
            subject.enable("s1")
            subject.wait(lambda: subject.served() == {"s1"})
            time.sleep(0.5)
        finally:
            client.terminate()
            client.wait()
    with open(subject.path("answers"), encoding="utf-8") as answers:
        lines = [json.loads(line) for line in answers if line.endswith("\n")]
    good = [at for at, name in lines if name]
    gap = max(later - earlier for earlier, later in zip(good, good[1:]))
    assert {name for dummy, name in lines} >= {"s1", "s2"}, lines
    assert gap < 2, f"nobody answered for {gap:.2f} s"
    return f"longest gap {gap:.2f} s; {len(lines) - len(good)} of {len(lines)}"


def nobody_else(subject: KeepalivedSubject) -> None:
    """Where the other machine is dead, the address stays, and so does everything else."""
    subject.stop_other()
    refused = subject.refusal(lambda: subject.drain("s1", drain_timeout=2))
    assert "no other machine took it" in refused, refused
    assert subject.standing("s1")["admin"] == "ready" and subject.served() == {"s1"}


class KeepalivedSubject(Subject):
    driver = "keepalived"
    title = "keepalived (a balancer's own address)"
    pools = False
    keeps_state = True
    why = "connections to an address that moves break; new ones are answered by the other machine"
    settle = 1.0
    instead: t.ClassVar[dict[str, t.Callable[[t.Any], str | None]]] = {
        "roll under load": roll,
        "second balancer unreachable": nobody_else,
    }
    limits: t.Mapping[str, str] = {
        "all pools": "there is one member, the machine itself",
        "sticky clients": "all clients move at once",
        "WebSocket": "connections to an address that moves break",
        "weight": "the priority is in keepalived.conf",
        "wrong credentials": "there are none; whoever may not write the file is told to become another user",
        "mistyped member": "the member is the machine itself",
        "floor, two callers": "a machine sees no other one; the rollout keeps the floor",
        "exchange under load": "a machine sees no other one",
    }

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.other: dict[str, subprocess.Popen[bytes]] = {}

    def version(self) -> str:
        return version_of("keepalived", "--version")

    def configure(self) -> None:
        for name, interface, priority in (("s1", "shop0", 100), ("s2", "eth0", 90)):
            self.write(
                f"{name}.conf", KEEPALIVED.format(name=name, directory=self.directory, interface=interface, priority=priority, vip=VIP),
            )
            self.write(f"{name}.cfg", BALANCER.format(name=name, directory=self.directory, front=FRONT, health=ADMIN))
        self.write("s1.track", "0\n")
        self.write("client.py", CLIENT)

    def _network(self) -> None:
        run("ip", "link", "add", "shop0", "type", "bridge", "forward_delay", "0")
        run("ip", "address", "add", "203.0.113.1/24", "dev", "shop0")
        run("ip", "link", "set", "shop0", "up")
        for number, space in ((2, "other"), (3, "client")):
            run("ip", "netns", "add", space)
            run("ip", "link", "add", f"to-{space}", "type", "veth", "peer", "name", "eth0", "netns", space)
            run("ip", "link", "set", f"to-{space}", "master", "shop0", "up")
            run("ip", "-n", space, "address", "add", f"203.0.113.{number}/24", "dev", "eth0")
            run("ip", "-n", space, "link", "set", "eth0", "up")
            run("ip", "-n", space, "link", "set", "lo", "up")

    def start(self) -> None:
        os.makedirs(self.directory, exist_ok=True)
        self.configure()
        self._network()
        self.start_app("s1")
        self.start_other()
        self.start_balancer()
        self.wait(self.is_ready, 15, "for the address")

    def keepalived(self, name: str) -> list[str]:
        files = ["-f", self.path(f"{name}.conf"), "-p", self.path(f"{name}.pid"), "-r", self.path(f"{name}.vrrp.pid")]
        return ["keepalived", "-n", "-l", "-P", *files]

    def command(self) -> list[str]:
        return self.keepalived("s1")

    def start_balancer(self) -> None:
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)

    def start_other(self) -> None:
        inside = ["ip", "netns", "exec", "other"]
        for name, command in (("haproxy", ["haproxy", "-db", "-f", self.path("s2.cfg")]), ("keepalived", self.keepalived("s2"))):
            if name not in self.other:
                with open(self.path("other.log"), "ab") as log:
                    self.other[name] = subprocess.Popen([*inside, *command], stdout=log, stderr=log)

    def stop_other(self) -> None:
        for process in self.other.values():
            process.terminate()
            process.wait()
        self.other.clear()

    def start_app(self, name: str) -> None:
        with open(self.path("haproxy.log"), "ab") as log:
            self.apps[name] = subprocess.Popen(["haproxy", "-db", "-f", self.path("s1.cfg")], stdout=log, stderr=log)
        self.wait(lambda: listens(ADMIN))

    def reload(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGHUP)
        time.sleep(1)

    def stop(self) -> None:
        self.stop_other()
        if self.process:
            self.process.terminate()
            self.process.wait()
        super().stop()

    def client(self, requests: int) -> list[str]:
        return ["ip", "netns", "exec", "client", sys.executable, self.path("client.py"), VIP, str(FRONT), str(requests)]

    def served(self, path: str = "/", requests: int = 3) -> set[str]:
        done = subprocess.run(self.client(requests), stdout=subprocess.PIPE, check=True)
        return {json.loads(line)[1] for line in done.stdout.splitlines()}

    def is_ready(self) -> bool:
        return self.served() == {"s1"} and self.standing("s1")["health"] == "up"

    def count(self, name: str) -> dict[str, int]:
        done = subprocess.run(["socat", "-t5", "-", f"UNIX-CONNECT:{self.path('s1.sock')}"], input=b"show stat\n", stdout=subprocess.PIPE, check=True)
        row = next(line.split(",") for line in done.stdout.decode().splitlines() if line.startswith("web,FRONTEND"))
        return {"active": int(row[4]), "total": int(row[7])}

    def params(self) -> dict[str, t.Any]:
        return {"path": self.path("s1.track"), "backend": [VIP], "check_url": f"http://127.0.0.1:{ADMIN}/"}

    def standing(self, name: str, pool: str = "app") -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", self.call("lb_info")["pools"][0]["members"][0])

    def take_out_by_hand(self, name: str) -> None:
        self.write("s1.track", "-20\n")
        self.wait(lambda: self.served() == {"s2"})

    def back_to_normal(self) -> None:
        if self.apps["s1"].poll() is not None:
            self.start_app("s1")
        self.start_other()
        self.write("s1.track", "0\n")
        subprocess.run(["rm", "-rf", self.path("records")], check=True)
        self.wait(self.is_ready, 10, "for the address after a case")
