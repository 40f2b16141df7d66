# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Member, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


def endpoint(member: Member) -> tuple[str, int] | None:
    """Return where a member listens, or None where that is not known: a server whose name is not resolved has no address."""
    return (member.address, member.port) if member.address not in ("", "-", "0.0.0.0", "::") and member.port else None


def find(members: t.Sequence[Member], wanted: t.Mapping[str, t.Any]) -> list[Member]:
    """Return *wanted* in every pool: by server name, or else by address (and port, where one is given).

    Servers of other names at the same address and port are the same process, so they belong to it.
    """
    found = [member for member in members if member.ref.name == wanted["name"]]
    if not found:
        # Where members have no names, as targets of a provider, what stands for one is an address, too: that of an instance is its id.
        addresses = (wanted.get("address") or wanted["name"], wanted["name"])
        found = [member for member in members if member.address in addresses and wanted.get("port") in (None, member.port)]
        if len({endpoint(member) for member in found}) > 1 and len({member.ref.name for member in found}) > 1:
            names = ", ".join(dict.fromkeys(f"{member.ref.name} ({member.address}:{member.port})" for member in found))
            raise SeamlessError(
                f"{found[0].address} is the address of several servers on {found[0].ref.balancer}: {names}. Say which one: by its name, or with port."
            )
    places = {endpoint(member) for member in found} - {None}
    return [member for member in members if member in found or endpoint(member) in places]


def unknown(wanted: t.Mapping[str, t.Any], members: t.Sequence[Member]) -> SeamlessError:
    names = sorted({member.ref.name for member in members})
    pools = ", ".join(sorted({f"{member.ref.backend} on {member.ref.balancer}" for member in members})) or "the balancer"
    near = difflib.get_close_matches(str(wanted["name"]), names, n=1)
    return SeamlessError(
        f"{wanted['name']} is not a server of {pools}; there are {', '.join(names) or 'none'}." + (f" Did you mean {near[0]}?" if near else "")
    )


def floor_of(amount: str, total: int) -> int:
    """Return how many of *total* members must stay up: a number, or a percentage that rounds up (as PodDisruptionBudget does)."""
    text = str(amount).strip()
    number = text[:-1] if text.endswith("%") else text
    if not number.isdigit() or (text.endswith("%") and int(number) > 100):
        raise SeamlessError(f'min_available is {amount!r}: use a number of members such as 2, or a percentage such as "50%".')
    return -(-int(number) * total // 100) if text.endswith("%") else int(number)


def check_floor(
    members: t.Sequence[Member], leaving: t.Collection[MemberRef], amount: str, ramping: t.Collection[str] = (),
    amounts: t.Mapping[str, t.Any] | None = None,
) -> None:
    """Refuse to take out *leaving* where a pool would fall below its floor. Members that don't serve now cost nothing, and backup
    servers are no capacity: they get no requests while another one is up. Nor are those *ramping*, by the keys of their references:
    what they get is a part of their share. A pool that *amounts* names has that floor, the others have *amount*."""
    pools: dict[tuple[str, str], list[Member]] = {}
    for member in members:
        if not member.backup:
            pools.setdefault((member.ref.balancer, member.ref.backend), []).append(member)
    for (balancer, backend), pool in pools.items():
        serving = [member for member in pool if member.serving and member.ref.key not in ramping]
        going = [member for member in serving if member.ref in leaving]
        floor = floor_of(str((amounts or {}).get(backend, amount)), len(pool))
        if going and len(serving) - len(going) < floor:
            names = ", ".join(member.ref.name for member in going)
            raise SeamlessError(
                f"{names} can't be taken out of {backend} on {balancer}: {len(serving)} of {len(pool)} members are up and {floor} must stay up. "
                "Repair the others first, take out fewer at once, or lower min_available.",
                floor={"backend": backend, "up": len(serving), "total": len(pool), "min_available": floor},
            )
