# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Driver
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


def _haproxy(params: t.Mapping[str, t.Any]) -> list[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.haproxy import HAProxy

    if not params.get("socket"):
        raise SeamlessError("socket is not set: the driver haproxy needs its runtime socket, such as /run/haproxy/admin.sock.")
    return [HAProxy(address, params.get("backend") or []) for address in params["socket"]]


def _health_file(params: t.Mapping[str, t.Any]) -> list[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.health_file import HealthFile

    owner = str(params.get("owner") or "ansible")
    members = params.get("members") or [{}]
    if len(members) != 1:
        raise SeamlessError(f"the driver health_file runs on the application's own host and takes one member, not {len(members)}.")
    path = params.get("path") or f"/run/seamless-rollout/{owner}.drain"
    return [HealthFile(path, str(members[0].get("name") or "self"), owner, params.get("check_url"))]


DRIVERS: dict[str, t.Callable[[t.Mapping[str, t.Any]], list[Driver]]] = {
    "haproxy": _haproxy,
    "health_file": _health_file,
}


def open_drivers(params: t.Mapping[str, t.Any]) -> list[Driver]:
    """Return one driver for each balancer process that *params* name."""
    name = params["driver"]
    if name not in DRIVERS:
        near = difflib.get_close_matches(name, DRIVERS, n=1)
        raise SeamlessError(f"driver is {name!r}: there are {', '.join(DRIVERS)}." + (f" Did you mean {near[0]}?" if near else ""))
    return DRIVERS[name](params)
