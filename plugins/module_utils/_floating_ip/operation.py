# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.base import Method, Standing
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.checks import Wanted
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.methods import SPEC, open_method

ARGUMENT_SPEC: dict[str, t.Any] = {
    **SPEC,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "replaces": {"type": "list", "elements": "str", "default": []},
    "goes_to": {"type": "str", "default": ""},
    "takeover": {"type": "bool", "default": False},
    "announce": {"type": "bool", "default": False},
    "announcements": {"type": "int", "default": 3},
    "announce_interval": {"type": "float", "default": 0.1},
    "wait": {"type": "bool", "default": True},
    "owner": {"type": "str", "default": "ansible"},
    "instead_of": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": ""},
    "force": {"type": "bool", "default": False},
}
# The least and the most of a number, each with what a sensible one is.
LIMITS = {"probes": (1, 100), "probe_interval": (0.01, 10), "announcements": (1, 100), "announce_interval": (0, 10), "timeout": (0.1, 3600)}


def describe(params: t.Mapping[str, t.Any], now: Standing) -> dict[str, t.Any]:
    return {
        "address": now.text, "method": params["method"], "held": now.held, "willing": now.willing, "holder": now.holder, "interface": now.interface,
        "hardware_address": now.hardware, "answers": list(now.answers), "record": now.record,
    }


def check_limits(params: t.Mapping[str, t.Any]) -> None:
    for name, (least, most) in LIMITS.items():
        if name in params and not least <= params[name] <= most:
            raise SeamlessError(f"{name} is {params[name]:g}: use {least:g} to {most:g}.")


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Bring the address here or send it away, and say who has it."""
    check_limits(params)
    wanted, method = open_method(params)
    comes = params["state"] == "present"
    with contextlib.nullcontext() if check_mode else method.exclusive():
        before = method.look()
        settled = method.settled(comes, before)
        if comes or not settled:
            before = method.check(comes, before)
        after, announced = before, 0
        if not settled:
            after = _predict(wanted, comes, before) if check_mode else _change(method, comes, before)
        if comes and not check_mode and after.held and (params["announce"] or not settled):
            announced = method.announce(after)
        if not comes and settled and before.record and not check_mode:
            method.forget()
    result = {**describe(params, after), "changed": not settled, "announced": announced, "warnings": method.warnings()}
    if not settled:
        result["diff"] = {"before": _text(params, before), "after": _text(params, after)}
    return result


def _predict(wanted: Wanted, comes: bool, before: Standing) -> Standing:
    return before._replace(held=comes, willing=comes)


def _change(method: Method, comes: bool, before: Standing) -> Standing:
    (method.take if comes else method.give)(before)
    after = method.look()._replace(answers=before.answers)
    if not method.settled(comes, after):
        raise SeamlessError(f"{method.wanted} was {'brought here' if comes else 'sent away'}, and right after it is not so: something else changes it, too.")
    return after


def _text(params: t.Mapping[str, t.Any], now: Standing) -> str:
    place = str({"arp": now.interface, "keepalived": "this machine"}.get(params["method"]) or params.get("server") or "this machine")
    wants = "" if params["method"] != "keepalived" else f" ({'wanted' if now.willing else 'left to others'})"
    return f"{now.text}: {'on' if now.held else 'not on'} {place}{wants}\n"
