# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Everything that an audit asks of one host, in one call that changes nothing."""

from __future__ import annotations

import os
import re
import time
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils import _files, _health
from ansible_collections.seamless.rollout.plugins.module_utils._audit import kernel, mentions, nginx, php, places, tree, units
from ansible_collections.seamless.rollout.plugins.module_utils._release import info as releases
from ansible_collections.seamless.rollout.plugins.module_utils._release.processes import pids
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store
from ansible_collections.seamless.rollout.plugins.module_utils._urls import shown

ARGUMENT_SPEC: dict[str, t.Any] = {
    "root": {"type": "path", "required": True},
    "services": {"type": "list", "elements": "dict", "default": []},
    "health": {"type": "list", "elements": "dict", "default": []},
    "linked_dirs": {"type": "list", "elements": "str", "default": []},
    "data_dirs": {"type": "list", "elements": "path", "default": []},
    "hooks": {"type": "bool", "default": False},
}
# Programs that hand requests on: that one of them answers says nothing of the application behind it.
FRONTS = ("nginx", "apache2", "httpd", "haproxy", "caddy", "traefik", "envoy", "varnishd", "lighttpd", "openresty")


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Return the evidence of this host. Changes nothing, in check mode or not."""
    store = Store(_files.expand(params["root"]))
    health = releases.with_current(params["health"], store.link("current").release)
    survey = releases.survey(store, {"services": params["services"], "health": health})
    sockets = kernel.listeners()
    services = units.look(params["services"], store.root, sockets) if params["services"] else []
    web = _nginx()
    interpreters = php.look()
    processes = sorted({pid for unit in services for pid in unit["pids"]})
    for unit in services:
        del unit["pids"]
    result = {
        "changed": False,
        "root": store.root,
        "survey": survey,
        "units": services,
        "endpoints": [_endpoint(str(probe["url"]), sockets, web) for probe in health if probe.get("url")],
        "says": _says(health, survey),
        "tree": tree.look(store, hooks=params["hooks"], processes=processes),
        "mentions": mentions.look(store.root, nginx.files(web)),
        "scripts": nginx.scripts(web, store.root),
        "php": interpreters,
        "directories": places.look(store, params["linked_dirs"], services, _own_pools(interpreters, web, store.root), params["data_dirs"]),
        "databases": places.databases(services),
        "time": kernel.time_keeping(),
        "root_user": os.geteuid() == 0,
    }
    # Last, so that little time passes until the controller looks at its own clock.
    return {**result, "clock": time.time()}


def _says(health: t.Sequence[t.Mapping[str, t.Any]], survey: t.Mapping[str, t.Any]) -> list[dict[str, str]]:
    """Say where the answers to *health* have the live release although no probe looks for it: as ``json``, a dotted path, or as ``header``."""
    release = (survey["current"] or {}).get("release")
    if survey["served_version"] is not None or not release:
        return []
    return [found for probe in _health.validate_probes(health) if probe.kind == "url" for found in _health.find_version(probe, str(release))]


def _nginx() -> list[nginx.Directive]:
    """Return the configuration of the nginx that runs here, nothing where none does."""
    for pid in pids():
        title = kernel.title(pid)
        if title.startswith("nginx: master process"):
            named = re.search(r"\s-c\s+(\S+)", title)
            return nginx.read_tree(named[1] if named else "/etc/nginx/nginx.conf")
    return []


def _own_pools(interpreters: t.Sequence[t.Mapping[str, t.Any]], web: t.Sequence[nginx.Directive], root: str) -> list[dict[str, t.Any]]:
    """Return the pools of PHP that get the application's scripts; all of them where nobody says which."""
    sockets = {item["pass"].replace("unix:", "") for item in nginx.scripts(web, root)}
    pools = [pool for interpreter in interpreters for pool in interpreter["pools"]]
    return [pool for pool in pools if pool["listen"] in sockets] or pools


def _endpoint(url: str, sockets: t.Mapping[str, str], web: t.Sequence[nginx.Directive]) -> dict[str, t.Any]:
    """Say who listens where *url* is asked, and whether it is known to be answered without the application."""
    parts = urllib.parse.urlsplit(url)
    port = str(parts.port or (443 if parts.scheme == "https" else 80))
    here = (parts.hostname or "") in ("localhost", "127.0.0.1", "::1") or port in sockets.values()
    holders = kernel.listener_of(port, sockets) if here else []
    programs = sorted({kernel.comm(pid) for pid in holders})
    return {
        "url": shown(url),
        "listeners": sorted({kernel.unit_of(pid) or kernel.comm(pid) for pid in holders}),
        "programs": programs,
        "front": any(program in FRONTS for program in programs),
        "fixed": nginx.fixed_answer(web, port, parts.path or "/") if "nginx" in programs else None,
    }
