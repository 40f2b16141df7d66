# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import options, ramp
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.exchange import Exchange
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.pools import floor_of
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.rotation import Rotation
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

MEMBERS: dict[str, t.Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {"name": {"type": "str", "required": True}, "address": {"type": "str"}, "port": {"type": "int"}},
}
ARGUMENT_SPEC: dict[str, t.Any] = {
    **options.SPEC,
    "members": MEMBERS,
    "instead_of": MEMBERS,
    "balancers": {"type": "list", "elements": "dict", "default": []},
    "state": {"type": "str", "choices": ["enabled", "drained", "maintenance"], "default": "enabled"},
    "weight": {"type": "int"},
    "weight_ramp": {"type": "dict", "options": ramp.SPEC},
    "wait": {"type": "bool", "default": True},
    "drain_timeout": {"type": "float", "default": 30},
    "on_timeout": {"type": "str", "choices": ["fail", "maintenance", "shutdown_sessions", "continue"], "default": "fail"},
    "enable_timeout": {"type": "float", "default": 30},
    "min_available": {"type": "str", "default": "1"},
    "pool_min_available": {"type": "dict", "default": {}},
    "poll_interval": {"type": "float", "default": 0.1},
    "settle_polls": {"type": "int", "default": 3},
    "sticky": {"type": "str", "choices": ["keep", "move"], "default": "keep"},
    "rollout_id": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": ""},
    "force": {"type": "bool", "default": False},
    "persist_state": {"type": "path"},
}


WANTED = {"enabled": "ready", "drained": "drain", "maintenance": "maint"}


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Bring members to a state on every balancer process named, and verify it. ``changed`` speaks of admin states and weights."""
    if params["driver"] == "haproxy" and not params["owner"]:
        raise SeamlessError("owner is empty: name who takes members out, for example the application.")
    if params["balancers"]:
        raise SeamlessError("balancers works in a task only: run the module on each balancer's machine.")
    if not params["members"]:
        raise SeamlessError("members is not set: name the servers to bring to a state, or balancers, each with its member.")
    for amount in (params["min_available"], *params["pool_min_available"].values()):
        floor_of(str(amount), 1)
    if ramp.read(params["weight_ramp"]) and (params["state"] != "enabled" or params["instead_of"] or not params["wait"]):
        raise SeamlessError("weight_ramp is set: it goes with state: enabled and wait: true, and without instead_of.")
    wanted = WANTED[params["state"]]
    if params["instead_of"]:
        return _exchange(params, check_mode)
    rotation = Rotation(params, check_mode)
    if wanted == "ready":
        rotation.put_back()
    else:
        # A drain leaves sticky clients on the member for as long as they come, which may be for ever.
        rotation.take_out("maint" if params["sticky"] == "move" else wanted)
    weights = rotation.set_weights()
    return {
        "changed": weights or any(target.changed for target in rotation.targets),
        "state": params["state"],
        **rotation.details(),
        "diff": {
            "before": {str(target.member.ref): target.before for target in rotation.targets},
            "after": {str(target.member.ref): wanted if target.changed else target.before for target in rotation.targets},
        },
    }


def _exchange(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    if params["state"] != "enabled" or params["weight"] is not None:
        what = f"state is {params['state']!r}" if params["state"] != "enabled" else f"weight is {params['weight']}"
        raise SeamlessError(f"{what}, and instead_of is set: it goes with state: enabled and without weight.")
    exchange = Exchange(params, check_mode)
    exchange.exchange()
    wanted = {**{target.member.ref: "ready" for target in exchange.coming}, **{target.member.ref: "drain" for target in exchange.leaving}}
    return {
        "changed": any(target.changed for target in exchange.targets),
        "state": params["state"],
        **exchange.details(),
        "diff": {
            "before": {str(target.member.ref): target.before for target in exchange.targets},
            "after": {str(target.member.ref): wanted[target.member.ref] if target.changed else target.before for target in exchange.targets},
        },
    }
