# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


@dataclasses.dataclass(frozen=True)
class MemberRef:
    """One member object in one pool on one balancer."""

    balancer: str
    backend: str
    name: str

    @property
    def key(self) -> str:
        return f"{self.balancer}|{self.backend}|{self.name}"

    def __str__(self) -> str:
        return f"{self.backend}/{self.name} on {self.balancer}"


def gone(ref: MemberRef, **details: t.Any) -> SeamlessError:
    return SeamlessError(f"{ref} is not there any more: the balancer's configuration was changed meanwhile.", **details)


@dataclasses.dataclass
class Member:
    """What a balancer says of a member.

    *admin* is ready, drain or maint. *health* is up, starting (passing, not for long enough, or a slow start), stopping (alive, wants no
    new requests), down, nocheck (nobody looks) or unknown (checks are paused). *fully_up*: every check it needs has passed. *requests* are those
    that it got since the balancer began to count, and *errors* those of them that failed.
    """

    ref: MemberRef
    address: str
    port: int | None
    admin: str
    admin_source: str
    health: str
    fully_up: bool
    check: str
    weight: int | None
    sessions: int | None
    queued: int | None
    total: int | None
    requests: int | None = None
    errors: int | None = None
    agent: bool = False
    backup: bool = False

    @property
    def serving(self) -> bool:
        return self.admin == "ready" and self.health in ("up", "nocheck", "starting")


class Change(t.NamedTuple):
    """An order: bring the member to *state*, ready, drain or maint. *weight* is what it had before it was taken out, where that is known."""

    ref: MemberRef
    state: str
    weight: int | None = None


class Setup(t.NamedTuple):
    """How a pool was set up. *sticky* is none, cookie, table (of clients) or hash; *lifetime*, in seconds, is after how long at most a sticky client
    may come to another member, None for never, and *line* what says so. *check* is what a health check asks: http (*check_path*), tcp, none or another."""

    sticky: str
    lifetime: float | None
    line: str
    check: str
    check_path: str | None = None


class Driver:
    """What a balancer must be able to do; everything else is the same for all and lives in ``rotation.py``.

    ``set_states`` must read back what it wrote and raise SeamlessError when the balancer did not take it.

    *needs* are options that must be set, each with what it is. *maintains*: it can tell maintenance from a drain. *counts_sessions*: it says
    what is still under way. *checks_while_drained*: its health checks go on. *proves*: ``ask_for_proof`` works. *knows_pools*: it sees the
    other members, too. *reaches_members*: it runs where their addresses can be connected to. *weights*: the least and the most that a weight
    can be, None where there are no weights. *keeps_weight*: a drained member still has a weight of its own, which is not what drains it.
    """

    name = ""
    needs: t.ClassVar[dict[str, str]] = {}
    maintains = True
    counts_sessions = True
    checks_while_drained = True
    proves = False
    knows_pools = True
    reaches_members = True
    weights: t.ClassVar[tuple[int, int] | None] = None
    keeps_weight = True

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        """Return one driver for each balancer process that *params*, the options of the module, name. Raises SeamlessError for a wrong one."""
        raise NotImplementedError

    def members(self) -> list[Member]:
        """Return every member of every pool."""
        raise NotImplementedError

    def set_states(self, changes: t.Sequence[Change]) -> None:
        """Bring members to ready, drain or maint, and verify it."""
        raise NotImplementedError

    def ask_for_proof(self, refs: t.Sequence[MemberRef]) -> None:
        """Make drained members not fully up until a health check that is still to come has passed. What the balancer says of a
        member's health can be older than the member's death."""

    def weight_range(self, backend: str) -> tuple[int, int] | None:
        """Return :attr:`weights` as they are for one pool, whose way of balancing may know none."""
        return self.weights

    def set_weight(self, ref: MemberRef, weight: int) -> None:
        raise SeamlessError(f"driver {self.name} can't set weights: leave weight out.")

    def set_weights(self, weights: t.Mapping[MemberRef, int]) -> None:
        """Set several at once, by one order where the balancer has such a thing."""
        for ref, weight in weights.items():
            self.set_weight(ref, weight)

    def shutdown_sessions(self, ref: MemberRef) -> None:
        raise SeamlessError(f"driver {self.name} can't end sessions: use another on_timeout.")

    def persist(self, path: str) -> None:
        raise SeamlessError(f"driver {self.name} has no state to keep: leave persist_state out.")

    def setups(self) -> dict[str, Setup]:
        """Return how each pool was set up, by the name of its backend; nothing of a pool of which that can't be read."""
        return {}

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        """Return what an operator should know of the set-up before relying on it."""
        return []
