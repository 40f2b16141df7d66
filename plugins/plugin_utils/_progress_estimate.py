# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""When a rollout will be over, from what its plan expected and what its hosts have taken so far. Pure."""

from __future__ import annotations

import typing as t

# The plan's estimate counts as much as so many hosts that were seen.
_BELIEF = 2.0
_UNKNOWN = 10.0


class Estimate:
    """*hosts* are the plan's facts of each host to be updated, *estimate* is the plan's own, from earlier rollouts, where there are any."""

    def __init__(self, hosts: t.Mapping[str, t.Mapping[str, t.Any]], estimate: t.Mapping[str, t.Any] | None) -> None:
        each = float((estimate or {}).get("host_seconds") or _UNKNOWN)
        self._share = {
            host: each + float(entry.get("bake_seconds") or 0) + float(entry.get("ramp_seconds") or 0) for host, entry in hosts.items()
        }
        self._expected = float((estimate or {}).get("seconds") or 0) or None

    def left(self, done: t.Collection[str], begun: float | None, last: float | None, now: float) -> float | None:
        """Return the seconds that are left, or None where nothing is known yet.

        *begun* is when the first host started, *last* when the last one was done (seconds since 1970).
        """
        whole = sum(self._share.values())
        finished = sum(self._share[host] for host in done if host in self._share)
        rest = whole - finished
        if not whole or rest <= 0:
            return 0.0
        seen = last - begun if last is not None and begun is not None and finished else None
        if seen is None and self._expected is None:
            return None
        pace = self._pace(whole, finished, seen)
        since = now - (last if seen is not None and last is not None else begun if begun is not None else now)
        return max(0.0, pace * rest - max(0.0, since))

    def _pace(self, whole: float, finished: float, seen: float | None) -> float:
        """Return the seconds that go by for each second of a host's share; hosts that are under way at once make it less than 1."""
        if seen is None:
            return (self._expected or 0.0) / whole
        if self._expected is None:
            return seen / finished
        belief = _BELIEF * whole / len(self._share)
        return (belief * self._expected / whole + seen) / (belief + finished)
