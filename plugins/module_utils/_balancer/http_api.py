# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import base64
import functools
import json
import typing as t
import urllib.error
import urllib.request

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


class HttpApi:
    """A balancer's interface by HTTP. *timeout* is in seconds. *proxied*: by the proxy that the environment names, as one far away may need;
    what is asked near by must not go through one. Every way it can refuse has its own message."""

    def __init__(
        self, url: str, *, timeout: float = 5, username: str | None = None, password: str | None = None, token: str | None = None,
        validate_certs: bool = True, proxied: bool = False,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise SeamlessError(f"url is {url!r}: use a complete one such as http://127.0.0.1:8080.")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.validate_certs = validate_certs
        self.proxied = proxied
        self.headers = {"User-Agent": "seamless.rollout"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        elif username:
            self.headers["Authorization"] = "Basic " + base64.b64encode(f"{username}:{password or ''}".encode()).decode()

    @classmethod
    def of(cls, params: t.Mapping[str, t.Any], url: str, *, timeout: float = 5, proxied: bool = False) -> HttpApi:
        """Return the interface at *url* with the credentials that a module was given."""
        return cls(
            url, username=params.get("username"), password=params.get("password"), token=params.get("token"),
            validate_certs=params.get("validate_certs", True), timeout=timeout, proxied=proxied,
        )

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: t.Mapping[str, str] | None = None, missing_ok: bool = False,
    ) -> tuple[int, str, dict[str, str]]:
        """Return status, body and headers (lower case) of an answer of 2xx. With *missing_ok* a 404 is an answer, too."""
        request = urllib.request.Request(f"{self.url}{path}", data=body, method=method, headers={**self.headers, **(headers or {})})
        try:
            with self._opener.open(request, timeout=self.timeout) as answer:
                return answer.status, answer.read().decode(errors="replace"), {name.lower(): value for name, value in answer.headers.items()}
        except urllib.error.HTTPError as exc:
            with exc:
                text = exc.read().decode(errors="replace")
            if exc.code == 404 and missing_ok:
                return 404, text, {}
            raise SeamlessError(self._refusal(method, path, exc.code, text), status=exc.code) from exc
        except urllib.error.URLError as exc:
            raise SeamlessError(self._silence(exc.reason)) from exc
        except OSError as exc:
            raise SeamlessError(self._silence(exc)) from exc

    def json(
        self, method: str, path: str, body: t.Any = None, headers: t.Mapping[str, str] | None = None, missing_ok: bool = False
    ) -> t.Any:
        """Send and read JSON; return None for an empty answer, and with *missing_ok* for a 404."""
        data = None if body is None else json.dumps(body).encode()
        status, text, dummy = self.call(method, path, data, {"Content-Type": "application/json", **(headers or {})}, missing_ok)
        if status == 404 or not text.strip():
            return None
        try:
            return json.loads(text)
        except ValueError as exc:
            raise SeamlessError(f"{self.url}{path} did not answer with JSON but with {text[:100]!r}: is url right?") from exc

    @functools.cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        import ssl

        context = ssl.create_default_context()
        if not self.validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        proxies = urllib.request.ProxyHandler() if self.proxied else urllib.request.ProxyHandler({})
        return urllib.request.build_opener(proxies, urllib.request.HTTPSHandler(context=context))

    def _refusal(self, method: str, path: str, code: int, text: str) -> str:
        what = f"{self.url} answered {method} {path or '/'} with {code}"
        said = f": {' '.join(text.split())[:300]}" if text.strip() else ""
        if code in (401, 403):
            return f"{what}: the credentials are missing, wrong or have too few rights{said and f' ({said[2:]})'}."
        if code == 404:
            return f"{what}: nothing is there. Check url and backend{said and f' ({said[2:]})'}."
        return f"{what}{said}."

    def _silence(self, reason: object) -> str:
        if isinstance(reason, TimeoutError) or "timed out" in str(reason):
            return f"{self.url} gave no answer within {self.timeout:g} s: the process is stuck, or a firewall drops what is sent to it."
        if isinstance(reason, ConnectionRefusedError):
            return f"{self.url} refuses connections: nothing listens there. Start the balancer, or correct url."
        return f"{self.url} can't be asked: {getattr(reason, 'strerror', None) or reason}"
