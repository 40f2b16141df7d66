# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What an operator may order while a rollout runs, and what stands of it. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._release.lock import ORDERS

VERBS = ORDERS


@dataclasses.dataclass(frozen=True)
class Orders:
    """What stands: the order that pauses the rollout, the one that ends it (stop or abort), and whether it was promoted past its canary."""

    paused: t.Mapping[str, t.Any] | None = None
    ended: t.Mapping[str, t.Any] | None = None
    promoted: bool = False


def standing(orders: t.Iterable[t.Mapping[str, t.Any]], since: float = 0.0) -> Orders:
    """Return what stands of *orders*, oldest first, that were given after *since* (seconds since 1970).

    Whoever runs a stopped or paused rollout again wants it to go on: orders of before its start don't bind it, but a promotion stays true.
    """
    paused = ended = None
    promoted = False
    for order in orders:
        verb = order["verb"]
        promoted = promoted or verb == "promote"
        if order["at"] < since:
            continue
        if verb in ("stop", "abort"):
            ended = order
        elif verb == "pause":
            paused = order
        elif verb in ("resume", "promote"):
            paused = None
    return Orders(paused, ended, promoted)


def worded(order: t.Mapping[str, t.Any]) -> str:
    """Return what was ordered by whom and why, for people."""
    done = {"pause": "paused", "resume": "resumed", "promote": "promoted", "stop": "stopped", "abort": "aborted"}[order["verb"]]
    return f"{done} by {order['by']}" + (f" ({order['reason']})" if order["reason"] else "")
