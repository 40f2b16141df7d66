# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _health
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Driver, Member
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.pools import endpoint
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._urls import shown

NAMED = 3  # of many that are silent
TIMEOUT = 2  # seconds that an application has for one answer


def probe_of(member: Member, driver: Driver, check_url: str | None) -> _health.Probe | None:
    """Return how the application of *member* is asked: by *check_url*, in which ``{address}`` and ``{port}`` stand for where it listens, or
    else by a connection to there. None where that is not known. Where members are not to be reached, only a *check_url* says that this one is."""
    if not driver.knows_pools or not (driver.reaches_members or check_url):
        return None
    place = endpoint(member)
    if not check_url:
        return _health.validate_probes([{"tcp": f"{place[0]}:{place[1]}", "timeout": TIMEOUT}])[0] if place else None
    if place is None and ("{address}" in check_url or "{port}" in check_url):
        raise SeamlessError(f"check_url is {shown(check_url)!r}, and {driver.name} does not say where {member.ref} listens: write the address out.")
    url = check_url.replace("{address}", place[0]).replace("{port}", str(place[1])) if place else check_url
    return _health.validate_probes([{"url": url, "status": "2xx", "timeout": TIMEOUT}])[0]


def wait_for_answers(asked: t.Sequence[tuple[Member, _health.Probe | None]], deadline: float, interval: float) -> None:
    """Wait until every application answers, until *deadline* of the monotonic clock. Raises SeamlessError with what the last ones said."""
    waiting = [(member, probe) for member, probe in asked if probe]
    while waiting:
        answers = [(member, probe, _health.probe_once([probe])[0]) for member, probe in waiting]
        silent = [(member, probe, answer) for member, probe, answer in answers if not answer["ok"]]
        if silent and time.monotonic() >= deadline:
            more = f", and {len(silent) - NAMED} more" if len(silent) > NAMED else ""
            raise SeamlessError("; ".join(f"{member.ref}: {answer['detail']}" for member, dummy, answer in silent[:NAMED]) + more + ".")
        waiting = [(member, probe) for member, probe, dummy in silent]
        if waiting:
            time.sleep(interval)
