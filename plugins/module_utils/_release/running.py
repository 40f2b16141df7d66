# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Since when a host runs what it runs, and what else works in its releases: what somebody has to know who takes the old code's shape away."""

from __future__ import annotations

import calendar
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._release import processes, switch
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Link, Store, boot_id

_SHOWN = 3


class Switched(t.NamedTuple):
    """When ``current`` was switched to what it points to: *ago* in seconds, *monotonic* by the clock of this boot (0 for an earlier one)."""

    ago: float
    monotonic: float


def last_switch(store: Store, current: Link) -> Switched | None:
    """Return when the host was switched to the release that it has, by a clock that nobody sets where that is possible."""
    if current.kind != "link" or current.release is None:
        return None
    now = time.monotonic()
    made = max(0.0, time.time() - os.lstat(store.link_path("current")).st_mtime)
    entry = next((entry for entry in reversed(store.journal()) if entry.get("event") == "switched" and entry.get("link") == "current"), None)
    if entry is None or entry.get("release") != current.release:
        return Switched(made, now - made)  # by hand, or by another tool
    if entry.get("boot") == boot_id():
        return Switched(max(0.0, now - float(entry["monotonic"])), float(entry["monotonic"]))
    return Switched(max(0.0, time.time() - _seconds(str(entry["at"]), time.time() - made)), 0.0)


def _seconds(iso: str, otherwise: float) -> float:
    try:
        return float(calendar.timegm(time.strptime(iso[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return otherwise


def _since(look: t.Mapping[str, t.Any], action: str, switched: Switched | None, handled: t.Container[str]) -> bool | None:
    """Say whether a service's process began after the switch, or was reloaded since. None where there is no process, or nobody can say."""
    if not look["active"] or switched is None:
        return None
    if action == "reload" and look["name"] in handled:
        return True
    started = look.get("started_monotonic")
    return None if started is None else bool(float(started) >= switched.monotonic)


def look(store: Store, current: Link, looks: t.Sequence[t.Mapping[str, t.Any]], services: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Return since when the host runs its release, how each service stands to that, and which processes work in which release."""
    switched = last_switch(store, current)
    handled = switch.handled_services(store, current.release) if current.release else set()
    actions = {str(service["name"]): str(service.get("action", "restart")) for service in services}
    return {
        "switched_ago": None if switched is None else round(switched.ago, 1),
        "services": [
            {
                "name": item["name"],
                "action": actions.get(str(item["name"]), "restart"),
                "loaded": item["loaded"],
                "active": item["active"],
                "releases": item["releases"],
                "since_switch": _since(item, actions.get(str(item["name"]), "restart"), switched, handled),
            }
            for item in looks
        ],
        "processes": {
            release: [f"process {use.pid} ({use.how})" for use in uses[:_SHOWN]] for release, uses in processes.users_of_releases(store.releases).items()
        },
    }
