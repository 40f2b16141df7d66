# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import datetime
import shutil

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.base import FLAG, PAGE, Balancer
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.moments import seconds
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.plan import ON, Plan

# The environment keeps what was decided when the request came in; an <If> is decided earlier and can't see it.
_CONFIG = """\
# Written by seamless.rollout.maintenance: changes are overwritten.
RewriteEngine On
RewriteCond expr "{closed}"
RewriteRule ^ - [E=MAINTENANCE_{name}:{on},R=503,L]
<If "{closed}">
    ErrorDocument 503 "%{{file:{page}}}"
</If>
Header always set Retry-After "{retry_after}" "expr={decided}"
Header always set Cache-Control "no-store" "expr={decided}"
Header always set Content-Type "text/html; charset=utf-8" "expr={decided}"
Header always set {header} "{on}" "expr={decided}"
"""
_NOTICE = """\
Header always set {header} "{text}" "expr=%{{TIME}} -lt {begin} && ! -f '{flag}'"
"""


def stamp(moment: datetime.datetime) -> str:
    """Return *moment* as Apache's ``%{TIME}`` will be then, by the clock of this machine."""
    return moment.astimezone().strftime("%Y%m%d%H%M%S")


class Apache(Balancer):
    """Apache httpd 2.4: an expression that looks for a flag file and at the time. A window and texts take a graceful restart."""

    config = ("apache.conf",)

    def render(self, plan: Plan) -> dict[str, bytes]:
        closed = f"-f '{plan.path(FLAG)}'"
        if plan.window:
            closed += f" || (%{{TIME}} -ge {stamp(plan.window.begin)} && %{{TIME}} -lt {stamp(plan.window.end)})"
        closed = f"({closed})" + "".join(f" && ! -R '{network}'" for network in plan.allow)
        if plan.health_paths:
            listed = ", ".join(f"'{path}'" for path in plan.health_paths)
            closed += f" && ! (%{{REQUEST_URI}} in {{{listed}}})"
        text = _CONFIG.format(
            closed=closed, decided=f"reqenv('MAINTENANCE_{plan.name}') == '{ON}'", name=plan.name, on=ON, page=plan.path(PAGE), header=plan.header,
            retry_after=plan.retry_after,
        )
        if plan.window:
            text += _NOTICE.format(header=plan.header, text=plan.window.text, begin=stamp(plan.window.begin), flag=plan.path(FLAG))
        return {PAGE: plan.page, "apache.conf": text.encode()}

    def check(self, plan: Plan) -> None:
        """Refuse a window that Apache, which knows the local time only, would open twice."""
        near = datetime.timedelta(hours=2)
        if plan.window and clocks_go_back(plan.window.begin - near, plan.window.end + near):
            raise SeamlessError(
                f"from is {plan.window.begin.isoformat()}, and about then this machine's clock is set back: Apache compares local time, of which an hour "
                "comes twice. Schedule it for another night, or turn it on and off by hand."
            )

    def lines(self, header: str) -> dict[str, str]:
        return {"VirtualHost": f"Include {self.path('apache.conf')}"}

    def take_over(self) -> None:
        control = next((name for name in ("apache2ctl", "apachectl") if shutil.which(name)), "apachectl")
        self.run("test", f"{control} configtest")
        self.run("reload", f"{control} graceful")


def clocks_go_back(begin: datetime.datetime, end: datetime.datetime) -> bool:
    """Whether an hour of local time comes twice between the two moments."""
    step = datetime.timedelta(minutes=30)
    previous = begin.astimezone().utcoffset()
    for number in range(1, max(0, seconds(end) - seconds(begin)) // 1800 + 2):
        offset = min(begin + number * step, end).astimezone().utcoffset()
        if previous is not None and offset is not None and offset < previous:
            return True
        previous = offset
    return False
