# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import os
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import options
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Member
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.records import SPLITS, Records
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.registry import open_drivers
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

ARGUMENT_SPEC: dict[str, t.Any] = {
    **options.SPEC,
    "balancers": {"type": "list", "elements": "dict", "default": []},
    "setup": {"type": "bool", "default": False},
}


def describe(member: Member, record: t.Mapping[str, t.Any] | None, split: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    """Return *member* as data. ``operator`` means: out of service, and not by anybody who left a record, or further than the record says."""
    lowered = (split, record if record and (record.get("ramp") or not member.weight) else None)
    before = [one["prior_weight"] for one in lowered if one and one.get("prior_weight")]
    escalated = member.admin == "maint" and bool(record) and (record or {}).get("state") == "drain"
    return {
        "name": member.ref.name,
        "address": member.address,
        "port": member.port,
        "admin": member.admin,
        "admin_source": member.admin_source,
        "health": member.health,
        "check": member.check,
        "weight": member.weight,
        "sessions": member.sessions,
        "queued": member.queued,
        "total": member.total,
        "requests": member.requests,
        "errors": member.errors,
        "drained_by": record.get("owner") if record else None,
        "ramping": bool(record and record.get("ramp")),
        "split_by": split.get("owner") if split else None,
        "weight_before": before[0] if before else None,
        "backup": member.backup,
        "operator": member.admin != "ready" and (not record or escalated),
    }


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Read pools and members of the balancers on this machine. Changes nothing."""
    if params["balancers"]:
        raise SeamlessError("balancers works in a task only: run the module on each balancer's machine.")
    records, splits = Records(params["state_dir"]), Records(os.path.join(params["state_dir"], SPLITS))
    pools: dict[tuple[str, str], list[dict[str, t.Any]]] = {}
    serving: dict[tuple[str, str], int] = {}
    weights: dict[tuple[str, str], t.Sequence[int] | None] = {}
    setups: dict[tuple[str, str], dict[str, t.Any]] = {}
    hints: list[str] = []
    for driver in open_drivers(params):
        members = driver.members()
        hints += driver.hints(members)
        known = driver.setups() if params["setup"] else {}
        for member in members:
            key = (member.ref.balancer, member.ref.backend)
            pools.setdefault(key, []).append(describe(member, records.get(member.ref), splits.get(member.ref)))
            if member.ref.backend in known:
                setups[key] = known[member.ref.backend]._asdict()
            weights[key] = driver.weight_range(member.ref.backend)
            serving[key] = serving.get(key, 0) + (member.serving and not member.backup)
    return {
        "changed": False,
        "pools": [
            {
                "balancer": key[0], "backend": key[1], "members": members, "up": serving[key], "total": sum(not member["backup"] for member in members),
                "weights": weights[key], **({"setup": setups.get(key)} if params["setup"] else {}),
            }
            for key, members in pools.items()
        ],
        "hints": hints,
    }
