# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import ipaddress
import json
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


class Held(t.NamedTuple):
    """One address of an interface. *secondary*: the kernel removes it together with the first one of its network; *dynamic*: a lease."""

    address: Address
    prefix: int
    scope: str
    secondary: bool
    dynamic: bool

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        return ipaddress.ip_network(f"{self.address}/{self.prefix}", strict=False)

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"


class Link(t.NamedTuple):
    """An interface, with its hardware address, its flags as the kernel writes them, and its addresses in their order."""

    name: str
    hardware: str
    flags: frozenset[str]
    addresses: tuple[Held, ...]


def parse_links(text: str) -> list[Link]:
    """Return the interfaces in the answer of ``ip -j address show``. What has no address in it is passed over."""
    try:
        links = json.loads(text)
    except ValueError as exc:
        raise SeamlessError(f"ip did not answer with JSON but with {text[:100]!r}: an iproute2 that knows -j is needed.") from exc
    return [
        Link(
            str(link.get("ifname") or ""), str(link.get("address") or ""), frozenset(map(str, link.get("flags") or [])),
            tuple(held for one in _dicts(link.get("addr_info")) for held in _read(one)),
        )
        for link in _dicts(links)
    ]


def _read(one: t.Mapping[str, t.Any]) -> t.Iterator[Held]:
    try:
        address = ipaddress.ip_address(str(one.get("local")))
    except ValueError:
        return
    yield Held(address, int(one.get("prefixlen", address.max_prefixlen)), str(one.get("scope") or ""), bool(one.get("secondary")), bool(one.get("dynamic")))


def _dicts(value: t.Any) -> list[dict[str, t.Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
