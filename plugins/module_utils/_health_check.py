# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _health
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

ARGUMENT_SPEC: dict[str, t.Any] = {
    "probes": {"type": "list", "elements": "dict", "required": True},
    "interval": {"type": "float", "default": 1},
    "rise": {"type": "int", "default": 3},
    "min_healthy_seconds": {"type": "float", "default": 0},
    "healthy_deadline": {"type": "float", "default": 60},
}


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Wait until the probes pass, or fail with what they saw last. In check mode: look once, and only say how it is."""
    probes = _health.validate_probes(params["probes"])
    if not probes:
        raise SeamlessError("probes is empty: give at least one, such as {url: http://127.0.0.1:8000/health}.")
    if params["rise"] < 1 or params["interval"] <= 0:
        raise SeamlessError(f"rise is {params['rise']} and interval {params['interval']}: use at least 1 round, and seconds above 0.")
    if check_mode:
        results = _health.probe_once(probes)
        return {"changed": False, "healthy": all(item["ok"] for item in results), "health": results, "attempts": 1}
    outcome = _health.wait_healthy(
        probes,
        interval=params["interval"],
        rise=params["rise"],
        min_healthy_seconds=params["min_healthy_seconds"],
        deadline=params["healthy_deadline"],
    )
    result = {
        "changed": False,
        "healthy": outcome.healthy,
        "health": outcome.results,
        "attempts": outcome.attempts,
        "elapsed": round(outcome.elapsed, 3),
        "flaps": outcome.flaps,
        "served_version": outcome.served_version,
    }
    if not outcome.healthy:
        raise SeamlessError(f"not healthy {outcome.reason}", **result)
    return result
