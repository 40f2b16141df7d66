# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import hashlib
import http.client
import re
import ssl
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._urls import basic_auth, shown

_CHECKSUM = re.compile(r"(sha256|sha384|sha512):([0-9a-fA-F]{64,128})\Z")


def check_checksum(checksum: t.Any, where: str) -> tuple[str, str]:
    """Return (algorithm, hex) of a checksum such as ``sha256:…``, or refuse it."""
    if not checksum:
        raise SeamlessError(f'{where} has no checksum: give one such as checksum: "sha256:…" (sha256sum FILE prints it).')
    match = _CHECKSUM.match(str(checksum))
    if not match or len(match[2]) != hashlib.new(match[1]).digest_size * 2:
        raise SeamlessError(f"{where}: checksum is {checksum!r}, use sha256:, sha384: or sha512: and the hexadecimal sum.")
    return match[1], match[2].lower()


def verify(path: str, checksum: str, where: str) -> None:
    """Raise SeamlessError unless the file at *path* has *checksum*; the message has the sum that it does have."""
    algorithm, wanted = check_checksum(checksum, where)
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    if digest.hexdigest() != wanted:
        raise SeamlessError(f"{where} has the checksum {algorithm}:{digest.hexdigest()}, not {algorithm}:{wanted}. Check what you downloaded or built.")


def download(url: str, path: str, *, timeout: float = 60.0, redirects: int = 5) -> None:
    """Download *url* to *path*. A user and password in it are sent as basic authentication. Follows redirects, not from https to http."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SeamlessError(f"url is {shown(url)!r}: use a complete http or https URL.")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    headers = {"User-Agent": "seamless.rollout", **basic_auth(parts)}
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=headers)
        response = connection.getresponse()
        if response.status in (301, 302, 303, 307, 308) and redirects:
            target = urllib.parse.urljoin(url, response.getheader("Location") or "")
            if parts.scheme == "https" and not target.startswith("https:"):
                raise SeamlessError(f"{shown(url)} redirects to {shown(target)}, away from https: refused.")
            download(target, path, timeout=timeout, redirects=redirects - 1)
            return
        if response.status != 200:
            raise SeamlessError(f"{shown(url)} answered {response.status} {response.reason}: check the url.")
        with open(path, "wb") as file:
            for chunk in iter(lambda: response.read(1 << 20), b""):
                file.write(chunk)
    except (OSError, http.client.HTTPException) as exc:
        raise SeamlessError(f"{shown(url)} can't be downloaded: {exc}") from exc
    finally:
        connection.close()
