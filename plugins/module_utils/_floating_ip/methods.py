# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.base import Method, check_needs
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.checks import Wanted, parse_wanted

# Each is imported where it is needed: a call for one does not pay for the others.


def _arp() -> type[Method]:
    from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.arp import Arp

    return Arp


def _keepalived() -> type[Method]:
    from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.keepalived import Keepalived

    return Keepalived


def _hetzner() -> type[Method]:
    from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.hetzner import Hetzner

    return Hetzner


def _digitalocean() -> type[Method]:
    from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.digitalocean import DigitalOcean

    return DigitalOcean


def _linode() -> type[Method]:
    from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.linode import Linode

    return Linode


def _aws() -> type[Method]:
    from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.aws import Aws

    return Aws


METHODS: dict[str, t.Callable[[], type[Method]]] = {
    "arp": _arp, "keepalived": _keepalived, "hetzner": _hetzner, "digitalocean": _digitalocean, "linode": _linode, "aws": _aws,
}
# How an address is found and moved, the same for the module that moves it and the one that only looks.
SPEC: dict[str, t.Any] = {
    "address": {"type": "str", "required": True},
    "method": {"type": "str", "choices": list(METHODS), "default": "arp"},
    "interface": {"type": "str"},
    "path": {"type": "path"},
    "server": {"type": "str"},
    "region": {"type": "str"},
    "url": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "token": {"type": "str", "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "check_url": {"type": "str"},
    "probes": {"type": "int", "default": 3},
    "probe_interval": {"type": "float", "default": 0.2},
    "timeout": {"type": "float", "default": 30},
    "state_dir": {"type": "path", "default": "/var/lib/seamless-rollout/floating_ip"},
}


def open_method(params: t.Mapping[str, t.Any], *, only_look: bool = False) -> tuple[Wanted, Method]:
    """Return what moves, and what moves it. Who only looks need not name a server."""
    wanted = parse_wanted(str(params["address"]))
    method = METHODS[params["method"]]()
    check_needs(method, {**params, "server": params.get("server") or "any"} if only_look else params)
    return wanted, method(wanted, params)
