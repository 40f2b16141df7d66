# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.records import DEFAULT_DIRECTORY
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.registry import DRIVERS

# How a balancer is reached, the same in every module. What a driver needs of it, it says itself.
SPEC: dict[str, t.Any] = {
    "driver": {"type": "str", "choices": list(DRIVERS), "default": "haproxy"},
    "socket": {"type": "list", "elements": "str", "default": []},
    "url": {"type": "list", "elements": "str", "default": []},
    "path": {"type": "path"},
    "backend": {"type": "list", "elements": "str", "default": []},
    "commands": {"type": "dict", "default": {}},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "token": {"type": "str", "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "check_url": {"type": "str"},
    "settle_seconds": {"type": "float", "default": 5},
    "owner": {"type": "str", "default": "ansible"},
    "state_dir": {"type": "path", "default": DEFAULT_DIRECTORY},
}
