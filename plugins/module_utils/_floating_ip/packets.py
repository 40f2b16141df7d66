# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import ipaddress
import struct
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._addresses import Address

ETH_ARP, ETH_IPV6 = 0x0806, 0x86DD
_EVERYBODY = b"\xff" * 6
_REQUEST, _REPLY = 1, 2
_ICMPV6, _SOLICITATION, _ADVERTISEMENT = 58, 135, 136
_OVERRIDE = 0x20000000
_ALL_NODES = ipaddress.IPv6Address("ff02::1")
_NONE = b"\x00" * 6


def hardware_bytes(text: str) -> bytes:
    """Return the six bytes of a hardware address such as ``52:54:00:12:34:56``. Raises ValueError for another one."""
    found = bytes.fromhex(text.replace(":", "").replace("-", ""))
    if len(found) != 6:
        raise ValueError(f"{text!r} does not have six bytes")
    return found


def hardware_text(value: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in value)


def announcements(sender: bytes, hardware: bytes, address: Address) -> list[bytes]:
    """Return the frames with which *sender* tells every neighbour that *hardware*, mostly itself, has *address* now.

    For IPv4 the ARP announcement of RFC 5227, a request, and the same as a reply: some equipment takes one of them only. For IPv6 an unsolicited
    neighbour advertisement with the override flag (RFC 4861, 7.2.6).
    """
    if isinstance(address, ipaddress.IPv6Address):
        body = struct.pack("!I", _OVERRIDE) + address.packed + b"\x02\x01" + hardware
        return [_icmpv6(sender, address, _ALL_NODES, _ADVERTISEMENT, body)]
    return [_arp(sender, hardware, kind, address.packed, _NONE if kind == _REQUEST else hardware, address.packed) for kind in (_REQUEST, _REPLY)]


def probe(hardware: bytes, address: Address) -> bytes:
    """Return the frame that asks who has *address* and changes nobody's mind: an ARP probe (RFC 5227, 2.1.1), or a neighbour solicitation for duplicate
    address detection (RFC 4862, 5.4.2)."""
    if isinstance(address, ipaddress.IPv6Address):
        group = ipaddress.IPv6Address(b"\xff\x02" + b"\x00" * 9 + b"\x01\xff" + address.packed[13:])
        return _icmpv6(hardware, ipaddress.IPv6Address("::"), group, _SOLICITATION, b"\x00" * 4 + address.packed)
    return _arp(hardware, hardware, _REQUEST, b"\x00" * 4, _NONE, address.packed)


def claimant(frame: bytes, address: Address) -> bytes | None:
    """Return the hardware address of who says in *frame* that *address* is its own, or is about to take it; None for any other frame."""
    kind = int.from_bytes(frame[12:14], "big")
    if isinstance(address, ipaddress.IPv6Address):
        return _advertiser(frame, address) if kind == ETH_IPV6 else None
    # Hardware type Ethernet, protocol IPv4, their lengths.
    if kind != ETH_ARP or len(frame) < 42 or frame[14:20] != b"\x00\x01\x08\x00\x06\x04":
        return None
    sender, claimed, wanted = frame[22:28], frame[28:32], frame[38:42]
    probes = int.from_bytes(frame[20:22], "big") == _REQUEST and claimed == b"\x00" * 4 and wanted == address.packed
    return sender if claimed == address.packed or probes else None


def _advertiser(frame: bytes, address: ipaddress.IPv6Address) -> bytes | None:
    if len(frame) < 78 or frame[20] != _ICMPV6 or frame[62:78] != address.packed:
        return None
    source = frame[22:38]
    if frame[54] == _ADVERTISEMENT:
        option = frame[78:86]
        return option[2:] if option[:2] == b"\x02\x01" and len(option) == 8 else frame[6:12]
    # Somebody else looks whether the address is free, to take it.
    return frame[6:12] if frame[54] == _SOLICITATION and source == b"\x00" * 16 else None


def _arp(sender: bytes, hardware: bytes, kind: int, source: bytes, target_hardware: bytes, target: bytes) -> bytes:
    # A switch learns from the sender of the frame where that is: it must be the one that sends.
    return _EVERYBODY + sender + struct.pack("!HHHBBH", ETH_ARP, 1, 0x0800, 6, 4, kind) + hardware + source + target_hardware + target


def _icmpv6(sender: bytes, source: ipaddress.IPv6Address, group: ipaddress.IPv6Address, kind: int, body: bytes) -> bytes:
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = source.packed + group.packed + struct.pack("!IHBB", len(message), 0, 0, _ICMPV6)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, 255) + source.packed + group.packed
    return b"\x33\x33" + group.packed[12:] + sender + struct.pack("!H", ETH_IPV6) + header + message


def checksum(data: bytes) -> int:
    """Return the Internet checksum of *data* (RFC 1071)."""
    total = sum(t.cast("tuple[int, ...]", struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))) + (data[-1] << 8 if len(data) % 2 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
