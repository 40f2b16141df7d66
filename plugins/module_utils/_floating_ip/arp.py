# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._addresses import Link, parse_links
from ansible_collections.seamless.rollout.plugins.module_utils._commands import run_command
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip import packets, wire
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.base import Method, Standing
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.checks import Wanted, choose_link, find, refuse_add, refuse_remove
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.record import Record


class Arp(Method):
    """The address is added to an interface of this machine and announced, or removed from it. The kernel has it until the next start, and no file does:
    a machine that was away must not come back with an address that has moved on."""

    name = "arp"

    def __init__(self, wanted: Wanted, params: t.Mapping[str, t.Any]) -> None:
        super().__init__(wanted, params)
        self.record = Record(str(params["state_dir"]), wanted.address)

    @contextlib.contextmanager
    def exclusive(self) -> t.Iterator[None]:
        with self.record.exclusive():
            yield

    def _links(self) -> list[Link]:
        return parse_links(run_command("ip -j address show", "PATH", program="iproute2", timeout=10))

    def look(self) -> Standing:
        links, record = self._links(), self.record.read()
        place = find(links, self.wanted.address)
        if place:
            return Standing(True, True, str(place.held), None, place.link.name, place.link.hardware, record=record)
        with contextlib.suppress(SeamlessError):
            link = choose_link(links, self.wanted, self.params.get("interface"))
            return Standing(False, True, str(self.wanted), None, link.name, link.hardware, record=record)
        return Standing(False, True, str(self.wanted), record=record)

    def ask(self, now: Standing, sought: str = "") -> Standing:
        link, params = self._link(now), self.params
        found = wire.holders(link, self.wanted.address, probes=int(params["probes"]), interval=float(params["probe_interval"]), sought=sought)
        return now._replace(answers=tuple(found))

    def _link(self, now: Standing) -> Link:
        link = choose_link(self._links(), self.wanted, now.interface or self.params.get("interface"))
        try:
            packets.hardware_bytes(link.hardware)
        except ValueError as exc:
            raise SeamlessError(f"interface is {link.name!r}, which is no Ethernet: its neighbours can't be told of an address.") from exc
        return link

    def check(self, comes: bool, now: Standing) -> Standing:
        if os.geteuid() != 0:
            raise SeamlessError("addresses can be changed by root only: use become: true.")
        if comes:
            self._check_here(now)
            return now if now.held else self._check_free(now)
        if now.held:
            self._check_removal(now)
            return self._check_successor(now) if self._successor() else now
        return now

    def _successor(self) -> str:
        """Return the hardware address of who gets the address, "" where nobody is named."""
        word = str(self.params.get("goes_to") or "")
        try:
            return packets.hardware_text(packets.hardware_bytes(word)) if word else ""
        except ValueError as exc:
            raise SeamlessError(f"goes_to is {word!r}: use a hardware address such as 52:54:00:12:34:56.") from exc

    def _check_successor(self, now: Standing) -> Standing:
        asked = self.ask(now, self._successor())
        if self._successor() not in asked.answers:
            raise SeamlessError(
                f"{self._successor()} is to get {self.wanted.address} and does not say on {now.interface} that it has it: it stays here. Bring it there first.",
                answers=list(asked.answers),
            )
        return asked

    def _check_here(self, now: Standing) -> None:
        """Refuse an address that is here already, but not as it is wanted, and one that can't be here."""
        interface, prefix = self.params.get("interface"), self.wanted.prefix
        if now.held and (interface not in (None, now.interface) or (prefix is not None and now.text != str(self.wanted))):
            raise SeamlessError(
                f"{now.text} is on {now.interface} of this machine, not {self.wanted} on {interface or now.interface}: remove it first, with state: absent."
            )
        if not now.held:
            refuse_add(choose_link(self._links(), self.wanted, interface), self.wanted)
            self._link(now)

    def _check_free(self, now: Standing) -> Standing:
        allowed = [str(one).lower() for one in self.params.get("replaces") or []]
        asked = self.ask(now)
        strangers = [one for one in asked.answers if one not in allowed]
        if strangers and not self.params.get("takeover"):
            raise SeamlessError(
                f"{self.wanted.address} is in use: {', '.join(strangers)} on {now.interface} says it has it. Remove it there first (state: absent), name that "
                "hardware address in replaces if it gives the address away in the same move, or set takeover if it is dead and only its kernel answers.",
                answers=strangers,
            )
        return asked

    def _check_removal(self, now: Standing) -> None:
        record, owner = now.record, self.params["owner"]
        # What is there after a start was not added before it: a configuration of the machine has it.
        ours = bool(record) and record["owner"] == owner and record.get("boot") == _boot() if record else False
        if not ours and not self.params.get("force"):
            who = f"was brought here by {record['owner']}" if record and record["owner"] != owner else "was not added by this module"
            raise SeamlessError(f"{now.text} on {now.interface} {who}, so it is left alone: set force to remove it all the same.", record=record)
        place = find(self._links(), self.wanted.address)
        if place:
            connection = os.environ.get("SSH_CONNECTION", "").split()
            refuse_remove(place, ours=ours, promotes=_promotes(place.link.name), connection=connection[2] if len(connection) == 4 else "")

    def take(self, now: Standing) -> None:
        link = self._link(now)
        prefix = refuse_add(link, self.wanted)
        text = f"{self.wanted.address}/{prefix}"
        params = self.params
        self.record.write(
            address=text, interface=link.name, owner=params["owner"], reason=params.get("reason") or "", instead_of=params.get("instead_of") or "", boot=_boot()
        )
        # The kernel's own search for a duplicate would find the machine that is about to give it away.
        more = " nodad" if self.wanted.address.version == 6 else ""
        try:
            run_command(f"ip address add {text} dev {link.name}{more}", "PATH", program="iproute2", timeout=10)
        except SeamlessError:
            self.record.remove()
            raise

    def give(self, now: Standing) -> None:
        run_command(f"ip address del {now.text} dev {now.interface}", "PATH", program="iproute2", timeout=10)
        self.record.remove()
        if self._successor():
            # While both had it, this machine's own requests may have told neighbours that it is here.
            self._announce(now, self._successor())

    def announce(self, now: Standing) -> int:
        return self._announce(now, str(now.hardware))

    def _announce(self, now: Standing, hardware: str) -> int:
        times = int(self.params["announcements"])
        wire.announce(self._link(now), self.wanted.address, hardware, times=times, interval=float(self.params["announce_interval"]))
        return times

    def forget(self) -> None:
        self.record.remove()


def _boot() -> str:
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return ""


def _promotes(interface: str) -> bool:
    for name in ("all", interface):
        with contextlib.suppress(OSError), open(f"/proc/sys/net/ipv4/conf/{name}/promote_secondaries", encoding="ascii") as file:
            if file.read().strip() == "1":
                return True
    return False
