# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import datetime
import hashlib
import http.client
import re
import shutil
import time
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.base import FLAG, PAGE, Balancer, read
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.check import ask
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.moments import seconds
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.plan import ON, Plan

_IN_A_ROW = 3  # answers by the new configuration: for a moment, old processes take connections, too
# The environment keeps what was decided when the request came in; an <If> is decided earlier and can't see it.
_CONFIG = """\
# Written by seamless.rollout.maintenance: changes are overwritten.
RewriteEngine On
RewriteRule "^/\\.maintenance-{name}-{digest}$" - [R=204,L]
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
    unseen = False  # it never answered by our file: there is nothing to wait for when that is put back

    def render(self, plan: Plan) -> dict[str, bytes]:
        closed = f"-f '{plan.path(FLAG)}'"
        if plan.window:
            closed += f" || (%{{TIME}} -ge {stamp(plan.window.begin)} && %{{TIME}} -lt {stamp(plan.window.end)})"
        closed = f"({closed})" + "".join(f" && ! -R '{network}'" for network in plan.allow)
        if plan.health_paths:
            listed = ", ".join(f"'{path}'" for path in plan.health_paths)
            closed += f" && ! (%{{REQUEST_URI}} in {{{listed}}})"
        notice = ""
        if plan.window:
            notice = _NOTICE.format(header=plan.header, text=plan.window.text, begin=stamp(plan.window.begin), flag=plan.path(FLAG))
        values = (plan.header, plan.retry_after, closed, notice)
        text = _CONFIG.format(
            digest=hashlib.sha256(repr(values).encode()).hexdigest()[:12], closed=closed, decided=f"reqenv('MAINTENANCE_{plan.name}') == '{ON}'",
            name=plan.name, on=ON, page=plan.path(PAGE), header=plan.header, retry_after=plan.retry_after,
        )
        return {PAGE: plan.page, "apache.conf": (text + notice).encode()}

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
        self._wait()

    def _wait(self) -> None:
        """Wait until Apache answers by the new configuration: a graceful restart goes on after its command has ended."""
        found = re.search(rb"/\\\.(maintenance-[\w-]+)\$", read(self.path("apache.conf")) or b"")
        if not found or self.unseen:
            return
        url = urllib.parse.urljoin(self.params["check_url"], f"/.{found[1].decode()}")
        deadline, good = time.monotonic() + self.params["check_seconds"], 0
        while good < _IN_A_ROW:
            status: object
            try:
                status = ask({**self.params, "check_url": url}, "").status
            except (OSError, http.client.HTTPException) as exc:
                status = exc
            good = good + 1 if status == 204 else 0
            if time.monotonic() >= deadline:
                self.unseen = True
                raise SeamlessError(f"Apache did not take {self.path('apache.conf')} over within {self.params['check_seconds']:g} s ({url}: {status}).")
            if not good:
                time.sleep(0.05)


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
