# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import datetime
import http.client
import ssl
import time
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.plan import ON, Plan

UTC = datetime.timezone.utc


class Answer(t.NamedTuple):
    """What a visitor of the site got. *notice* is the value of the header of ours."""

    status: int
    notice: str
    retry_after: str

    @property
    def ours(self) -> bool:
        return self.status == 503 and self.notice == ON


def ask(params: t.Mapping[str, t.Any], header: str) -> Answer:
    """Ask the site as a visitor does, without following a redirect. Raises OSError or HTTPException where nothing answers."""
    parts = urllib.parse.urlsplit(params["check_url"])
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SeamlessError(f"check_url is {params['check_url']!r}: use a complete http or https URL of the site.")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if not params["validate_certs"]:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    headers = {"User-Agent": "seamless.rollout", **({"Host": params["check_host"]} if params["check_host"] else {})}
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheader(header) or "", answer.getheader("Retry-After") or "")
    finally:
        connection.close()


def problem(plan: Plan, answer: Answer, now: datetime.datetime) -> str:
    """Return what is wrong with *answer* for a site that is as *plan* says, or an empty string. Pure."""
    seen = f"it answered {answer.status}" + (f" with {plan.header}: {answer.notice}" if answer.notice else f" without {plan.header}")
    if plan.closed(now):
        if not answer.ours:
            return f"{seen}, not 503 with {plan.header}: {ON}"
        return "" if answer.retry_after == plan.retry_after else f"its Retry-After is {answer.retry_after or 'not there'}, not {plan.retry_after}"
    if answer.ours:
        return "it still answered with the maintenance page"
    notice = plan.notice(now)
    if notice and answer.notice != notice:
        return f"{seen}, not with {plan.header}: {notice}"
    if not notice and answer.notice and plan.window is None:
        return f"{seen}, which is to be gone"
    return ""


def verify(params: t.Mapping[str, t.Any], plan: Plan) -> Answer:
    """Ask until the site is as *plan* says. Raises SeamlessError where it does not become so in time."""
    deadline = time.monotonic() + params["check_seconds"]
    while True:
        try:
            answer = ask(params, plan.header)
            wrong = problem(plan, answer, datetime.datetime.now(UTC))
        except (OSError, http.client.HTTPException) as exc:
            wrong = f"it gave no answer ({exc or type(exc).__name__})"
        if not wrong:
            return answer
        if time.monotonic() >= deadline:
            raise SeamlessError(f"check_url {params['check_url']} is not as it should be after {params['check_seconds']:g} s: {wrong}.")
        time.sleep(0.1)
