# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.base import FLAG, PAGE, Balancer
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.moments import seconds
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.plan import ON, Plan

CADDYFILE = "/etc/caddy/Caddyfile"


def block(name: str, lines: t.Sequence[str]) -> str:
    return name + " {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


class Caddy(Balancer):
    """Caddy 2: a matcher that looks for a flag file, and one for the time. A window and texts take a reload."""

    config = ("caddy.conf",)

    def render(self, plan: Plan) -> dict[str, bytes]:
        flag = ["file {", "    root /", f"    try_files {plan.path(FLAG)}", "}"]
        # Caddy's path matcher knows no case.
        health = "|".join(re.escape(path) for path in plan.health_paths)
        passing = [f"not remote_ip {' '.join(plan.allow)}"] * bool(plan.allow) + [f"not path_regexp ^(?:{health})$"] * bool(health)
        answer = [
            f'header Retry-After "{plan.retry_after}"', "header Cache-Control no-store", f"header {plan.header} {ON}",
            'header Content-Type "text/html; charset=utf-8"',
            "request_header -Range", "request_header -If-Modified-Since", "request_header -If-None-Match", "method GET",
            f"rewrite * /{PAGE}", "file_server {", f"    root {plan.directory}", "    status 503", "}",
        ]
        text = "# Written by seamless.rollout.maintenance: changes are overwritten.\n"
        text += block(f"@maintenance_{plan.name}_flag", [*flag, *passing]) + block(f"route @maintenance_{plan.name}_flag", answer)
        if plan.window:
            now, begin, end = "int({time.now.unix})", seconds(plan.window.begin), seconds(plan.window.end)
            text += block(f"@maintenance_{plan.name}_window", [f"expression `{now} >= {begin} && {now} < {end}`", *passing])
            text += block(f"route @maintenance_{plan.name}_window", answer)
            text += block(f"@maintenance_{plan.name}_notice", [f"expression `{now} < {begin}`", f"not {flag[0]}", *flag[1:]])
            text += f'header @maintenance_{plan.name}_notice {plan.header} "{plan.window.text}"\n'
        return {PAGE: plan.page, "caddy.conf": text.encode()}

    def lines(self, header: str) -> dict[str, str]:
        return {"site": f"import {self.path('caddy.conf')}"}

    def take_over(self) -> None:
        self.run("test", f"caddy validate --config {CADDYFILE} --adapter caddyfile")
        self.run("reload", f"caddy reload --config {CADDYFILE} --adapter caddyfile")
