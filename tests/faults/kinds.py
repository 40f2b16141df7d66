# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of faults: what each one breaks, what it must cost, and how it is healed."""

from __future__ import annotations

import os
import random
import signal
import time
import typing as t

from fleet.fleet import Played

from faults.ground import PROGRAM, Ground
from faults.steps import Run

# From here on a signal ends the rollout in order.
IN_ORDER = (
    "Roll", "Roll in a window", "Sum up the window", "Undo", "Undo what had no room before", "Do what comes once after the hosts", "Finish",
)
# What HAProxy needs to take a dead host out: two failed checks, each begun within 0.5 s and given up after 1 s at most, and the connections of then.
DETECTION = 3.0
RESTART = 2.0


class Fault:
    """One fault. *cost* is the seconds after it in which requests may fail, *down* how many members it takes from the capacity itself."""

    name: t.ClassVar[str] = ""
    cost: t.ClassVar[float] = 0.0
    down: t.ClassVar[int] = 0
    scenarios: t.ClassVar[tuple[str, ...]] = ("good", "broken")
    points: t.ClassVar[tuple[str, ...]] = ("start", "result", "mid")
    until: t.ClassVar[str] = ""
    """The last task before which the fault means something, "" for any."""
    between: t.ClassVar[tuple[str, str]] = ("", "")
    """Tasks after and before which the fault means something, "" for any."""
    settings: t.ClassVar[dict[str, t.Any]] = {}
    kills = False
    """The controller dies of it."""
    in_order = False
    """From the first batch on the controller does not die of it: it ends the rollout in order."""
    must_succeed = False
    """A good release must get out all the same."""
    must_fail = False
    """A good release can't get out."""
    disk = False
    sampled = True
    """Has its place in the sample that every test run has."""

    def __init__(self, ground: Ground, release: str, chance: random.Random) -> None:
        self.ground, self.fleet, self.release, self.chance = ground, ground.fleet, release, chance
        self.victim = ""
        self.scenario = ""
        self.run: Run | None = None
        self.in_rotation = True
        self.balancer = self.chance.choice(self.fleet.lb)
        self.notes: list[str] = []
        self.effective = True

    @property
    def lost_balancers(self) -> list[str]:
        """The balancers that clients lose by the fault itself: no load is put on them."""
        return []

    def prepare(self) -> None:
        """Done before the run starts."""

    def inject(self) -> None:
        raise NotImplementedError

    def heal(self) -> None:
        """Done before the command is run again."""

    def explains(self, error: str, server: str, balancer: str) -> bool:
        """Say whether the fault itself must cost a request that failed with *error*: *server* had it, sent by *balancer*; "" where nobody knows of it."""
        # HAProxy writes no line when the host of a kept connection is gone, and that host may not have read the request. Any other has noted it.
        return server == self.victim or (not server and error in ("reset-idle", "timeout"))

    def choose(self) -> str:
        """Take a host that is being worked on more often than not; remember whether it was in rotation."""
        standing = self.fleet.standing(next(name for name in self.fleet.lb if name not in self.lost_balancers))
        working = [host for host in self.fleet.web if not standing[host].startswith("UP")]
        self.victim = self.chance.choice(working) if working and self.chance.random() < 0.7 else self.chance.choice(self.fleet.web)
        self.in_rotation = standing[self.victim].startswith("UP")
        return self.victim

    def next_host(self) -> str:
        """Take the first host that has not been switched yet; there may be none left."""
        waiting = [host for host in self.fleet.web if self.ground.live_on(host) != self.release]
        self.victim = waiting[0] if waiting else ""
        self.effective = bool(waiting)
        return self.victim


class ControllerKilled(Fault):
    name = "controller SIGKILL"
    kills = True
    number = signal.SIGKILL

    def inject(self) -> None:
        assert self.run is not None
        self.run.signal(self.number)


class ControllerTerminated(ControllerKilled):
    name = "controller SIGTERM"
    sampled = False
    in_order = True
    number = signal.SIGTERM


class ControllerInterrupted(ControllerKilled):
    name = "controller SIGINT"
    number = signal.SIGINT
    sampled = False
    in_order = True


class Recovered(ControllerKilled):
    """The controller dies, and another one settles what it left, before the command is run again where it was begun."""

    name = "controller SIGKILL, then recover"
    points = ("start", "result", "mid")
    way = ""
    played: Played | None = None

    def heal(self) -> None:
        # Where no host runs it yet, nobody else knows whether what comes once before the hosts is done: that is refused.
        held = all(self.ground.holds(host, self.release) for host in self.fleet.web)
        held = held and any(self.ground.live_on(host) == self.release for host in self.fleet.web)
        self.way = self.chance.choice(("restore", "finish")) if held and self.scenario == "good" else "restore"
        settings = {
            **self.ground.settings(), "state_dir": os.path.join(self.fleet.directory, "elsewhere"), "break_lock": True, "recover": self.way,
            **({"to": self.release} if self.way == "finish" else {}),
        }
        # Another controller knows neither the release's source nor the ledger.
        known = {name: value for name, value in self.ground.variables(self.release, **settings).items() if name not in ("rollout_release", "rollout_source")}
        self.played = self.fleet.play("seamless.rollout.recover", known)


class HostPower(Fault):
    name = "host power cut"
    cost, down = DETECTION, 1

    def inject(self) -> None:
        self.fleet.kill(self.choose())

    def heal(self) -> None:
        if self.victim:
            self.ground.forget(self.victim)
            self.fleet.start(self.victim)


class HostNetwork(Fault):
    name = "host network cut"
    cost, down = DETECTION, 1

    def inject(self) -> None:
        self.fleet.disconnect(self.choose())

    def heal(self) -> None:
        if self.victim:
            self.fleet.connect(self.victim)


class BalancerFault(Fault):
    @property
    def lost_balancers(self) -> list[str]:
        return [self.balancer]


class BalancerPower(BalancerFault):
    name = "balancer power cut"

    def inject(self) -> None:
        self.victim = self.balancer
        self.fleet.kill(self.victim)

    def heal(self) -> None:
        self.ground.forget(self.balancer)
        self.fleet.start(self.balancer)


class BalancerNetwork(BalancerFault):
    name = "balancer network cut"
    sampled = False

    def inject(self) -> None:
        self.victim = self.balancer
        self.fleet.disconnect(self.victim)

    def heal(self) -> None:
        self.fleet.connect(self.balancer)


class Reload(Fault):
    name = "HAProxy reload"

    def inject(self) -> None:
        self.victim = self.balancer
        self.fleet.shell(self.victim, "systemctl reload haproxy")


class Restart(Fault):
    name = "HAProxy restart"
    cost = RESTART

    def inject(self) -> None:
        self.victim = self.balancer
        self.fleet.shell(self.victim, "systemctl restart haproxy")

    def explains(self, error: str, server: str, balancer: str) -> bool:
        # Connections break off, and new ones are refused for a moment. What it answers is its own.
        return balancer == self.victim and not error.startswith("status-")


class FullDisk(Fault):
    """The application's file system has not a byte left, on one host."""

    disk = True

    def inject(self) -> None:
        fill = "dd if=/dev/zero of=/srv/shop/filler bs=64k 2>/dev/null; dd if=/dev/zero of=/srv/shop/filler2 bs=1 2>/dev/null; true"
        self.fleet.shell(self.next_host() or self.choose(), fill)

    def heal(self) -> None:
        if self.victim:
            self.fleet.shell(self.victim, "rm -f /srv/shop/filler /srv/shop/filler2")


class FullAtStaging(FullDisk):
    name = "disk full at staging"
    sampled = False
    points = ("start",)
    until = "Stop unless every host holds the same release"


class FullAtSwitch(FullDisk):
    name = "disk full at the switch"
    points = ("start", "result")


class Clock(Fault):
    name = "clock 2 h ahead"
    offset = 7200
    must_succeed = True

    def inject(self) -> None:
        self.ground.set_clock(self.choose(), self.offset)

    def heal(self) -> None:
        if self.victim:
            self.ground.set_clock(self.victim, 0)


class ClockBehind(Clock):
    name = "clock 2 h behind"
    offset = -7200
    sampled = False


class Dies(Fault):
    name = "application dies after 3 s"
    scenarios: t.ClassVar[tuple[str, ...]] = ("good",)
    points = ("start", "result")
    until = "Switch, restart and check"
    flag = "dies"
    settings: t.ClassVar[dict[str, t.Any]] = {"min_healthy_seconds": 3.5, "healthy_deadline": 9}
    must_fail = True

    def inject(self) -> None:
        if self.next_host():
            self.ground.flag(self.victim, self.flag, self.release)

    def heal(self) -> None:
        if self.victim:
            self.fleet.shell(self.victim, f"rm -f /var/lib/fault-{self.flag}")


class OldVersion(Dies):
    name = "application answers as the old version"
    flag = "old"
    settings: t.ClassVar[dict[str, t.Any]] = {"healthy_deadline": 4}


class Hangs(Dies):
    name = "application hangs on stop"
    flag = "hangs"
    settings: t.ClassVar[dict[str, t.Any]] = {}
    scenarios = ("good", "broken")
    until = ""
    must_fail = False
    must_succeed = True

    def inject(self) -> None:
        self.ground.flag(self.choose(), self.flag, "any")


class SecondController(Fault):
    name = "second controller"
    points = ("start", "result")
    # Before and after, some hosts are not locked, and a rollout of somebody else is none of the first one's business.
    between = ("Read every host and take its lock", "Clean up and give the lock back")
    must_succeed = True

    def __init__(self, ground: Ground, release: str, chance: random.Random) -> None:
        super().__init__(ground, release, chance)
        self.other = f"{release}-other"
        self.code: int | None = None

    def prepare(self) -> None:
        self.ground.build(self.other, like=self.release, broken=PROGRAM)

    def inject(self) -> None:
        held = [host for host in self.fleet.web if self.ground.lock_on(host)]
        before = self.ground.releases()
        settings = {**self.ground.settings(), "state_dir": os.path.join(self.fleet.directory, "second"), "on_failure": "stop"}
        played = self.ground.rollout(self.other, **settings)
        self.code = played.code
        if held and self.code == 0:
            self.notes.append(f"P8: a second controller rolled out {self.other} while {', '.join(held)} were locked")
        if held and self.ground.releases() != before:
            self.notes.append(f"P8: a second controller changed {before} to {self.ground.releases()} while {', '.join(held)} were locked")
        if held and self.code != 0 and "is locked by rollout" not in " ".join(played.text.split()):
            self.notes.append(f"P8: the second controller was not told of the lock: {played.text[-600:]}")


class SshDropped(Fault):
    name = "SSH connection dropped"
    points = ("mid",)

    def inject(self) -> None:
        self.fleet.shell(self.choose(), "for pid in $(pgrep -f '^sshd: root@'); do kill -9 $pid; done", check=False)


class SshDroppedBalancer(Fault):
    name = "SSH connection to a balancer dropped"
    sampled = False
    points = ("mid",)

    def inject(self) -> None:
        self.victim = self.balancer
        self.fleet.shell(self.victim, "for pid in $(pgrep -f '^sshd: root@'); do kill -9 $pid; done", check=False)


class Operator(Fault):
    name = "operator's maintenance"
    down = 1

    def inject(self) -> None:
        self.ground.set_member(self.choose(), "maint")

    def heal(self) -> None:
        if self.victim:
            for balancer in self.fleet.lb:
                if not self.ground.admin(balancer)[self.victim] & 1:
                    self.notes.append(f"P4: {balancer} has {self.victim} in rotation, which an operator had put into maintenance")
            self.ground.set_member(self.victim, "ready")
            time.sleep(0.3)


KINDS: dict[str, type[Fault]] = {
    kind.name: kind
    for kind in (
        ControllerKilled, Recovered, ControllerTerminated, ControllerInterrupted, HostPower, HostNetwork, BalancerPower, BalancerNetwork, Reload,
        Restart, Clock, ClockBehind, Dies, OldVersion, Hangs, SecondController, SshDropped, SshDroppedBalancer, Operator, FullAtStaging, FullAtSwitch,
    )
}
