# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import datetime
import ipaddress
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.moments import Window, http_date, read_moment, read_window
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.page import page_of

ON = "on"  # the header's value on the page itself
RETRY_AFTER = 300
_PATH = re.compile(r"/[A-Za-z0-9._~/+@:,=-]*\Z")


class Plan(t.NamedTuple):
    """What a balancer shall do for a site, whichever it is. *directory* holds all that is written for the site."""

    name: str
    directory: str
    on: bool
    window: Window | None
    retry_after: str
    page: bytes
    allow: tuple[str, ...]
    health_paths: tuple[str, ...]
    header: str

    def path(self, name: str) -> str:
        return f"{self.directory}/{name}"

    def closed(self, now: datetime.datetime) -> bool:
        return self.on or bool(self.window and self.window.contains(now))

    def notice(self, now: datetime.datetime) -> str:
        """Return what the header says of a window that is still to come."""
        return self.window.text if self.window and not self.on and now < self.window.begin else ""


def directory_of(params: t.Mapping[str, t.Any]) -> str:
    if not re.match(r"[A-Za-z][A-Za-z0-9_]{0,39}\Z", params["name"]):
        raise SeamlessError(f"name is {params['name']!r}: use letters, digits and underscores, at most 40, such as shop.")
    directory = _files.expand(params["state_dir"])
    if not re.match(r"[A-Za-z0-9._/-]+\Z", directory):
        raise SeamlessError(f"state_dir is {directory!r}: it stands in the balancer's configuration, so use letters, digits, dots, dashes and slashes.")
    return f"{directory}/{params['name']}"


def _networks(allow: t.Sequence[str]) -> tuple[str, ...]:
    found = []
    for entry in allow:
        try:
            network = ipaddress.ip_network(str(entry).strip(), strict=False)
        except ValueError as exc:
            raise SeamlessError(f"allow has {entry!r}: use addresses and networks such as 198.51.100.7 or 2001:db8::/32.") from exc
        found.append(str(network.network_address) if network.num_addresses == 1 else str(network))
    return tuple(dict.fromkeys(found))


def _health_paths(paths: t.Sequence[str]) -> tuple[str, ...]:
    for path in paths:
        if not _PATH.match(path):
            raise SeamlessError(f"health_paths has {path!r}: use whole paths without a query, such as /health.")
    return tuple(dict.fromkeys(paths))


def read_plan(params: t.Mapping[str, t.Any], now: datetime.datetime) -> Plan:
    """Return the plan that the module's options mean. Raises SeamlessError for one that can't be."""
    state = params["state"]
    if state != "scheduled" and params["from"]:
        raise SeamlessError(f"from is {params['from']!r}, and state is {state}: it belongs to state scheduled.")
    window = read_window(params["from"], params["until"], now) if state == "scheduled" else None
    end = window.end if window else read_moment("until", params["until"]) if params["until"] and state == "on" else None
    if end and end <= now:
        raise SeamlessError(f"until is {params['until']!r}, which has passed: it is when visitors may expect the site back.")
    if not re.match(r"[A-Za-z][A-Za-z0-9-]*\Z", params["header"]):
        raise SeamlessError(f"header is {params['header']!r}: use the name of a header such as X-Maintenance.")
    retry = params["retry_after"]
    if retry is not None and retry < 1:
        raise SeamlessError(f"retry_after is {retry}: use seconds, 1 or more.")
    return Plan(
        name=params["name"], directory=directory_of(params), on=state == "on", window=window,
        retry_after=str(retry) if retry is not None else http_date(end) if end else str(RETRY_AFTER), page=page_of(params, end),
        allow=_networks(params["allow"]), health_paths=_health_paths(params["health_paths"]), header=params["header"],
    )
