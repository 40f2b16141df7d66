# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""How the controller asks an address that a user gave, with what may be secret in it."""

from __future__ import annotations

import typing as t
import urllib.parse

from ansible.module_utils.urls import open_url


def opened(entry: t.Mapping[str, t.Any], url: str, seconds: float) -> t.Any:
    """Return the response of *url* within *seconds*, asked with the ``headers``, ``validate_certs`` and ``ca_path`` of *entry*.

    A user and a password in the URL become a header. A redirect is not followed, for that header would follow it to wherever it points.
    Raises urllib.error.HTTPError for any answer but a good one, OSError, ValueError or http.client.HTTPException for none.
    """
    parts = urllib.parse.urlsplit(url)
    user = urllib.parse.unquote(parts.username or "")
    return open_url(
        urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])),
        headers={str(key): str(value) for key, value in (entry.get("headers") or {}).items()},
        timeout=seconds,
        http_agent="seamless.rollout",
        validate_certs=entry.get("validate_certs", True),
        ca_path=entry.get("ca_path"),
        url_username=user or None,
        url_password=urllib.parse.unquote(parts.password or "") or None,
        force_basic_auth=bool(user),
        follow_redirects="none",
    )
