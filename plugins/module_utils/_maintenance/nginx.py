# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import nginx
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.managed_file import ManagedFile
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.base import FLAG, PAGE, Balancer
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.moments import between, seconds
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.plan import ON, Plan

_HTTP = """\
# Written by seamless.rollout.maintenance: changes are overwritten.
geo $maintenance_{name}_allowed {{
    default 0;
{allow}}}
map $uri $maintenance_{name}_free {{
    volatile;
    default 0;
    "/.maintenance-{name}" 1;
{health}}}
map $msec $maintenance_{name}_window {{
    volatile;
    default "";
{window}}}
map $msec $maintenance_{name}_notice {{
    volatile;
    default "";
{notice}}}
"""
# A code of our own, so that the site's error_page for its own 503 stays what it is.
_SERVER = """\
# Written by seamless.rollout.maintenance: changes are overwritten.
set $maintenance_{name} $maintenance_{name}_window;
set $maintenance_{name}_shown $maintenance_{name}_notice;
if (-f {flag}) {{
    set $maintenance_{name} on;
    set $maintenance_{name}_shown "";
}}
if ($maintenance_{name}_allowed) {{ set $maintenance_{name} ""; }}
if ($maintenance_{name}_free) {{ set $maintenance_{name} ""; }}
if ($maintenance_{name}) {{ return 598; }}
error_page 598 =503 /.maintenance-{name};
add_header {header} $maintenance_{name}_shown always;
location = /.maintenance-{name} {{
    internal;
    alias {page};
    types {{ }}
    default_type "text/html; charset=utf-8";
    etag off;
    add_header Retry-After "{retry_after}" always;
    add_header Cache-Control "no-store" always;
    add_header {header} "{on}" always;
}}
"""


class Nginx(Balancer):
    """nginx: a flag file that every request looks for, and the time matched as text. A window and texts take a reload."""

    config = ("http.conf", "server.conf")

    def render(self, plan: Plan) -> dict[str, bytes]:
        window = notice = ""
        if plan.window:
            begin, end = seconds(plan.window.begin), seconds(plan.window.end)
            window = f'    "~^(?:{between(begin, end - 1)})\\." {ON};\n'
            notice = f'    "~^(?:{between(10**9, begin - 1)})\\." "{plan.window.text}";\n'
        http = _HTTP.format(
            name=plan.name, allow="".join(f"    {network} 1;\n" for network in plan.allow), window=window, notice=notice,
            # Texts in a map are compared without regard to case.
            health="".join(f'    "~^{re.escape(path)}$" 1;\n' for path in plan.health_paths),
        )
        server = _SERVER.format(
            name=plan.name, flag=plan.path(FLAG), page=plan.path(PAGE), header=plan.header, retry_after=plan.retry_after, on=ON,
        )
        return {PAGE: plan.page, "http.conf": http.encode(), "server.conf": server.encode()}

    def lines(self, header: str) -> dict[str, str]:
        return {"http": f"include {self.path('http.conf')};", "server": f"include {self.path('server.conf')};"}

    def take_over(self) -> None:
        _Program(self.directory, self.commands).take_over()


class _Program(nginx.Nginx):
    """The nginx of this machine, of which only tests and reloads are needed."""

    def __init__(self, directory: str, commands: t.Mapping[str, t.Any]) -> None:
        unknown = set(commands) - {"test", "reload", "version", "pid_file"}
        if unknown:
            raise SeamlessError(f"commands has {sorted(unknown)[0]!r}: for nginx there are test, reload, version and pid_file.")
        super().__init__(ManagedFile(directory, directory), [], commands)

    def take_over(self) -> None:
        self._run("test")
        self._reload(self._workers())
