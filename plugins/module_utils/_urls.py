# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""URLs that are asked: which make sense, what may be shown of them, and how a user and a password in them are sent."""

from __future__ import annotations

import base64
import re
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


def shown(url: str) -> str:
    """Return *url* without user, password and query, which may be secrets."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return _guessed(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _guessed(url: str) -> str:
    """Return what may be shown of a *url* of which nobody can tell where its password ends."""
    return re.sub(r"\A(https?://)?.*@", r"\1", url, flags=re.DOTALL).partition("?")[0]


def check(url: str, where: str) -> None:
    """Raise SeamlessError, without anything secret, where *url* can't be asked."""
    told = f"{where}: url is {_guessed(url)!r}"
    complete = "such as http://127.0.0.1:8000/health."
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or not re.match(r"https?://[^/\s]+", url):
        raise SeamlessError(f"{told}, use a complete one {complete}")
    try:
        dummy = parts.port
    except ValueError as exc:
        raise SeamlessError(f"{told}, and its port is no number up to 65535: use one {complete}") from exc
    if re.search(r"[^!-~]", parts.path + parts.query):
        raise SeamlessError(f"{where}: url is {shown(url)!r}, and its path or query has characters that can't be sent: write %20 for a space.")


def basic_auth(parts: urllib.parse.SplitResult) -> dict[str, str]:
    """Return the header for the user and the password in a URL, nothing where there are none."""
    if not parts.username and not parts.password:
        return {}
    user = ":".join(urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
    return {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
