# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.
"""Writes down what the balancers have counted of every host, whenever somebody has read them anyway."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count, since
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._verdict import by_host

# Seconds between two records, and for how many hosts each second more there has to be: the ledger of a thousand hosts is not to grow without end.
EVERY, HOSTS_A_SECOND = 5.0, 50


def pause(hosts: int) -> float:
    """Return how many seconds lie between two records of so many hosts."""
    return max(EVERY, hosts / HOSTS_A_SECOND)


def tally(ledger: Ledger, rollout_id: str, counters: t.Callable[[], t.Mapping[str, Count]], every: float) -> None:
    """Record what each host was asked since the last record, unless that was less than *every* seconds ago. *counters* are those of the balancers, or none."""
    ledger.count(rollout_id, every, lambda: {name: [count.requests, count.errors] for name, count in counters().items()}, added)


def added(before: t.Mapping[str, t.Sequence[int]], now: t.Mapping[str, t.Sequence[int]]) -> dict[str, dict[str, int]]:
    """Return the requests and errors of each host between two readings of its counters. A counter that has gone down was reset."""
    new = by_host(since(_counts(before), _counts(now)))
    return {host: {"requests": count.requests, "errors": count.errors} for host, count in new.items()}


def _counts(numbers: t.Mapping[str, t.Sequence[int]]) -> dict[str, Count]:
    return {name: Count(*pair) for name, pair in numbers.items()}
