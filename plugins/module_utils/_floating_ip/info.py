# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.methods import SPEC, open_method
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.operation import check_limits, describe

ARGUMENT_SPEC: dict[str, t.Any] = {**SPEC, "ask": {"type": "bool", "default": False}}


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Say whether the address is here, and with *ask* who else in the network says that it has it."""
    check_limits(params)
    dummy, method = open_method(params, only_look=True)
    now = method.look()
    return {**describe(params, method.ask(now) if params["ask"] else now), "changed": False, "warnings": method.warnings()}
