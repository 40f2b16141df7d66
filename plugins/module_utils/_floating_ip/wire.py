# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import socket
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._addresses import Address, Link
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip import packets


@contextlib.contextmanager
def opened(link: Link, address: Address) -> t.Iterator[socket.socket]:
    """Open *link* for the frames of *address*' family, without any program of the machine."""
    kind = packets.ETH_IPV6 if address.version == 6 else packets.ETH_ARP
    try:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind))
    except PermissionError as exc:
        raise SeamlessError("a raw socket can't be opened: use become: true; a container needs the capability NET_RAW, too.") from exc
    with raw:
        raw.bind((link.name, kind))
        yield raw


def holders(link: Link, address: Address, *, probes: int, interval: float, sought: str = "") -> list[str]:
    """Return the hardware addresses of other machines that say that *address* is theirs, asked *probes* times, each *interval* seconds apart; at once
    when *sought* is among them."""
    own, found = packets.hardware_bytes(link.hardware), []
    with opened(link, address) as raw:
        for dummy in range(probes):
            _send(raw, link, packets.probe(own, address))
            for frame in _received(raw, interval):
                who = packets.claimant(frame, address)
                if who and who != own and who not in found:
                    found.append(who)
                    if packets.hardware_text(who) == sought:
                        return [packets.hardware_text(one) for one in found]
    return [packets.hardware_text(one) for one in found]


def _received(raw: socket.socket, seconds: float) -> t.Iterator[bytes]:
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return
        raw.settimeout(left)
        try:
            yield raw.recv(2048)
        except socket.timeout:
            return


def announce(link: Link, address: Address, hardware: str, *, times: int, interval: float) -> None:
    """Tell every neighbour that *hardware* has *address*, *times* times, *interval* seconds apart: a frame that is lost is not sent again by anybody."""
    frames = packets.announcements(packets.hardware_bytes(link.hardware), packets.hardware_bytes(hardware), address)
    with opened(link, address) as raw:
        for number in range(times):
            if number:
                time.sleep(interval)
            for frame in frames:
                _send(raw, link, frame)


def _send(raw: socket.socket, link: Link, frame: bytes) -> None:
    try:
        raw.send(frame)
    except OSError as exc:
        raise SeamlessError(f"nothing can be sent on {link.name}: {exc.strerror}. Is it up ('ip link set {link.name} up')?") from exc
