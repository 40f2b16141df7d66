# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._addresses import Address, Held, Link
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


class Wanted(t.NamedTuple):
    """The address that moves. *prefix* is None where the user did not name one."""

    address: Address
    prefix: int | None

    def __str__(self) -> str:
        return str(self.address) if self.prefix is None else f"{self.address}/{self.prefix}"


class Place(t.NamedTuple):
    """Where an address is on this machine."""

    link: Link
    held: Held


def parse_wanted(text: str) -> Wanted:
    """Return the address that *text* names, with or without a prefix. Raises SeamlessError for one that no machine can have."""
    host, slash, bits = text.strip().partition("/")
    try:
        address = ipaddress.ip_address(host)
        prefix = ipaddress.ip_network(f"{address}/{bits}", strict=False).prefixlen if slash else None
    except ValueError as exc:
        raise SeamlessError(f"address is {text!r}: use an address such as 198.51.100.60, or 198.51.100.60/32 with its prefix.") from exc
    kind = next((word for word in ("unspecified", "loopback", "multicast", "link_local") if getattr(address, f"is_{word}")), None)
    if kind:
        raise SeamlessError(f"address is {text!r}, a {kind.replace('_', '-')} address, which can't move between machines.")
    return Wanted(address, prefix)


def find(links: t.Sequence[Link], address: Address) -> Place | None:
    """Return where *address* is on this machine."""
    return next((Place(link, held) for link in links for held in link.addresses if held.address == address), None)


def choose_link(links: t.Sequence[Link], wanted: Wanted, interface: str | None) -> Link:
    """Return the interface for *wanted*: the one that is named, or the one whose network it is in. Raises SeamlessError."""
    usable = [link for link in links if "LOOPBACK" not in link.flags]
    if interface:
        link = next((one for one in links if one.name == interface), None)
        if not link:
            raise SeamlessError(f"interface is {interface!r}, which this machine does not have: there are {_names(usable)}.")
        return link
    near = [link for link in usable if any(_reaches(held, wanted.address) for held in link.addresses)]
    if len(near) != 1:
        what = f"{_names(near)} are all in its network" if near else f"it is in no network of {_names(usable)}"
        raise SeamlessError(f"interface is not set, and for {wanted.address} it can't be found: {what}. Set interface.")
    return near[0]


def _names(links: t.Sequence[Link]) -> str:
    return ", ".join(link.name for link in links) or "none"


def _reaches(held: Held, address: Address) -> bool:
    """Say whether *address* is in the network of *held*. One of a single address is none."""
    return held.address.version == address.version and held.prefix < address.max_prefixlen and held.scope != "link" and address in held.network


def refuse_add(link: Link, wanted: Wanted) -> int:
    """Return the prefix with which *wanted* is added to *link*. Raises SeamlessError for what must not be."""
    if "LOOPBACK" in link.flags or "NOARP" in link.flags:
        raise SeamlessError(f"interface is {link.name!r}, on which no neighbour is asked for addresses: name one of the network that clients come from.")
    if "UP" not in link.flags or "LOWER_UP" not in link.flags:
        raise SeamlessError(f"interface is {link.name!r}, which is down: nobody would reach {wanted.address} there.")
    near = [held for held in link.addresses if _reaches(held, wanted.address)]
    for held in near:
        if wanted.address.version == 4 and held.prefix < 31 and wanted.address in (held.network.network_address, held.network.broadcast_address):
            raise SeamlessError(f"address is {wanted}, which names the network {held.network} itself or all of its machines.")
    if wanted.prefix is not None:
        return wanted.prefix
    if not near:
        known = ", ".join(str(held.network) for held in link.addresses if held.scope == "global") or "no network"
        raise SeamlessError(
            f"address is {wanted}, which is in no network of {link.name} ({known}): neighbours would not ask for it. If a router sends it here, say so "
            f"with its prefix: {wanted.address}/{wanted.address.max_prefixlen}."
        )
    # With a network of its own it is nobody's secondary: it stays when the first address of the interface is changed.
    return wanted.address.max_prefixlen


def refuse_remove(place: Place, *, ours: bool, promotes: bool, connection: str) -> None:
    """Raise SeamlessError where removing would take more with it than the address, or the machine's own. *ours*: added by this module. *promotes*: the
    kernel makes the next address of a network the first one. *connection* is the address that this machine is spoken to by."""
    link, held = place
    if connection and connection == str(held.address):
        raise SeamlessError(f"{held.address} is the address by which Ansible reaches this machine: set ansible_host to another one of its addresses first.")
    others = [one for one in link.addresses if one.address.version == held.address.version and one.scope == "global" and one.address != held.address]
    if not others:
        raise SeamlessError(f"{held} is the only address of {link.name}: this machine would be cut off. A floating IP is one beside the machine's own.")
    same = [one for one in others if one.network == held.network]
    if held.dynamic:
        raise SeamlessError(f"{held} is a lease of {link.name}, which the machine would take again: it is not a floating IP.")
    if not ours and not held.secondary and held.prefix < held.address.max_prefixlen and held.address.version == 4:
        raise SeamlessError(f"{held} is the primary address of {link.name} in {held.network}: it is this machine's own. Remove it by hand if it is not.")
    if not held.secondary and not promotes and held.address.version == 4 and same:
        raise SeamlessError(
            f"{held} is the first address in {held.network}, and the kernel would remove {', '.join(str(one) for one in same)} with it: set "
            f"net.ipv4.conf.{link.name}.promote_secondaries to 1 first."
        )
