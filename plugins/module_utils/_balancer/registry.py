# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Driver
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

# Each is imported where it is needed: a call for one balancer does not pay for the others, and Ansible ships to a host what it sees imported.


def _haproxy() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.haproxy import HAProxy

    return HAProxy


def _health_file() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.health_file import HealthFile

    return HealthFile


def _nginx() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.nginx import Nginx

    return Nginx


def _traefik() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.traefik import Traefik

    return Traefik


def _envoy() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.envoy import Envoy

    return Envoy


def _command() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.command import Command

    return Command


def _none() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.none import NoBalancer

    return NoBalancer


def _nginx_plus() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.nginx_plus import NginxPlus

    return NginxPlus


def _haproxy_dataplane() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.haproxy_dataplane import HAProxyDataPlane

    return HAProxyDataPlane


def _aws_target_group() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.aws_target_group import AwsTargetGroup

    return AwsTargetGroup


def _hetzner() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.hetzner import Hetzner

    return Hetzner


def _digitalocean() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.digitalocean import DigitalOcean

    return DigitalOcean


def _linode() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.linode import Linode

    return Linode


def _cloudflare() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.cloudflare import Cloudflare

    return Cloudflare


def _apache() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.apache import Apache

    return Apache


def _varnish() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.varnish import Varnish

    return Varnish


def _caddy() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.caddy import Caddy

    return Caddy


def _keepalived() -> type[Driver]:
    from ansible_collections.seamless.rollout.plugins.module_utils._balancer.keepalived import Keepalived

    return Keepalived


DRIVERS: dict[str, t.Callable[[], type[Driver]]] = {
    "haproxy": _haproxy,
    "health_file": _health_file,
    "nginx": _nginx,
    "traefik": _traefik,
    "envoy": _envoy,
    "command": _command,
    "none": _none,
    "nginx_plus": _nginx_plus,
    "haproxy_dataplane": _haproxy_dataplane,
    "aws_target_group": _aws_target_group,
    "hetzner": _hetzner,
    "digitalocean": _digitalocean,
    "linode": _linode,
    "cloudflare": _cloudflare,
    "apache": _apache,
    "varnish": _varnish,
    "caddy": _caddy,
    "keepalived": _keepalived,
}


def find_driver(name: str) -> type[Driver]:
    """Return the driver of that name. Raises SeamlessError where there is none."""
    if name not in DRIVERS:
        near = difflib.get_close_matches(name, DRIVERS, n=1)
        raise SeamlessError(f"driver is {name!r}: there are {', '.join(DRIVERS)}." + (f" Did you mean {near[0]}?" if near else ""))
    return DRIVERS[name]()


def open_drivers(params: t.Mapping[str, t.Any]) -> list[Driver]:
    """Return one driver for each balancer process that *params* name."""
    driver = find_driver(params["driver"])
    for name, what in missing(driver, params).items():
        raise SeamlessError(f"{name} is not set: the driver {driver.name} needs {what}.")
    return driver.open(params)


def missing(driver: type[Driver], params: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return what *driver* needs and *params* don't have, each with what it is."""
    return {name: what for name, what in driver.needs.items() if not params.get(name)}
