# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The plan of a rollout: which hosts, in which order, how many at once. Pure: hosts in, plan out."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

Amount = t.Union[int, str]


@dataclasses.dataclass(frozen=True)
class HostView:
    """What the plan knows of one host. ``serving`` is the balancer's word, or the probe's where there is none."""

    name: str
    current: str | None = None
    skip: str | None = None
    serving: bool = True
    drained_by_us: bool = False
    reachable: bool = True


@dataclasses.dataclass(frozen=True)
class Plan:
    order: list[str]
    batches: list[list[str]]
    canary: list[str]
    skipped: dict[str, str]
    notes: list[str]
    unavailable: list[str]
    max_unavailable: int
    max_fail: int

    @property
    def serial(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def resolve_amount(amount: Amount, total: int, *, up: bool = False) -> int:
    """Turn "25%" or 3 into a number of hosts out of *total*.

    Integers only: floats lose a host (29 % of 100 is 28 in ansible-core). Percentages round down, or up with *up*,
    as Kubernetes does for maxUnavailable and PodDisruptionBudget.
    """
    text = str(amount).strip()
    if not text.endswith("%"):
        return int(text)
    percent = int(text[:-1])
    return -(-percent * total // 100) if up else percent * total // 100


def at_least_one(amount: Amount, total: int, what: str, notes: list[str]) -> int:
    """Resolve *amount*, rounding down; what rounds to nothing becomes one host, and the plan says so."""
    number = resolve_amount(amount, total)
    if number == 0 and total:
        notes.append(f"{what} {amount} of {total} is less than one host: 1 host at a time ({100 // total} %).")
        return 1
    return number


def budget(max_unavailable: Amount, min_available: Amount | None, total: int, notes: list[str]) -> int:
    """Return how many of *total* hosts may be out of service at once; refuse a floor that leaves none."""
    if min_available is None:
        return min(at_least_one(max_unavailable, total, "rollout_max_unavailable", notes), total)
    floor = resolve_amount(min_available, total, up=True)
    if floor >= total > 0:
        most = total - 1
        raise SeamlessError(
            f"rollout_min_available is {min_available!r}: of {total} hosts {floor} would have to stay up, so none could ever be "
            f"updated. Use at most {most} ({100 * most // total}%)."
        )
    return total - floor


def choose_canaries(canary: int | str | list[str], candidates: t.Sequence[HostView], names: t.Container[str]) -> list[str]:
    """Return the canary hosts: the named ones, or the first serving ones in inventory order. A broken host never is one."""
    if isinstance(canary, list):
        unknown = [name for name in canary if name not in names]
        if unknown:
            raise SeamlessError(f"rollout_canary names {', '.join(unknown)}: not among the hosts of this rollout. Name hosts of rollout_hosts.")
        pending = {host.name for host in candidates}
        return [name for name in canary if name in pending]
    number = resolve_amount(canary, len(candidates), up=True)
    return [host.name for host in candidates if host.serving][:number]


def make_plan(
    hosts: t.Sequence[HostView],
    *,
    batch: t.Sequence[Amount],
    canary: int | str | list[str],
    max_unavailable: Amount,
    min_available: Amount | None = None,
    max_parallel: int | None = None,
    max_fail: Amount = 0,
) -> Plan:
    """Order the hosts and cut them into batches.

    Order: canaries, then hosts that are out of service already (they cost no capacity), then the rest as in the inventory.
    The exception: when the hosts already out use up the whole budget, they go first, since no canary could be drained.
    Batch sizes are read from left to right, the last one repeats, percentages are of all hosts; no batch exceeds
    *max_parallel* or the availability budget. Raises SeamlessError for amounts that can't work.
    """
    notes: list[str] = []
    total = len(hosts)
    allowed = budget(max_unavailable, min_available, total, notes)
    skipped = {host.name: host.skip for host in hosts if host.skip}
    pending = [host for host in hosts if not host.skip and host.reachable]
    broken = [host.name for host in pending if not host.serving]
    canaries = choose_canaries(canary, pending, {host.name for host in hosts})
    down = [host.name for host in hosts if not host.serving or not host.reachable]
    rest = [host.name for host in pending if host.name not in canaries and host.name not in broken]
    broken = [name for name in broken if name not in canaries]
    cap = min(allowed, max_parallel or allowed)
    batches: list[list[str]] = []
    if canaries and broken and len(down) >= allowed:
        notes.append(
            f"{len(down)} of {total} hosts are out of service, as many as may be at once: they are updated before the canary."
        )
        batches += _cut(broken, batch, cap, total, notes)
        broken = []
    if canaries:
        batches += _cut(canaries, [len(canaries)], cap, total, notes)
    batches += _cut(broken + rest, _sizes_after_canary(batch, bool(canaries)), cap, total, notes)
    return Plan(
        order=[name for part in batches for name in part],
        batches=batches,
        canary=canaries,
        skipped=skipped,
        notes=list(dict.fromkeys(notes)),
        unavailable=down,
        max_unavailable=allowed,
        max_fail=resolve_amount(max_fail, total),
    )


def _sizes_after_canary(batch: t.Sequence[Amount], canary: bool) -> t.Sequence[Amount]:
    """A list that starts with 1 means the canary by it: don't send a second host alone after the canary."""
    if canary and len(batch) > 1 and str(batch[0]) == "1":
        return batch[1:]
    return batch


def _cut(names: t.Sequence[str], sizes: t.Sequence[Amount], cap: int, total: int, notes: list[str]) -> list[list[str]]:
    batches = []
    position = index = 0
    while position < len(names):
        written = sizes[min(index, len(sizes) - 1)]
        size = at_least_one(written, total, "rollout_batch", notes)
        if size > cap:
            notes.append(f"rollout_batch {written} means {size} hosts: held to {cap} by rollout_max_unavailable and rollout_max_parallel.")
            size = cap
        batches.append(list(names[position:position + size]))
        position += size
        index += 1
    return batches
