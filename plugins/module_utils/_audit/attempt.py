# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What only a restart and a dead application show, on a host that is out of rotation: does a request survive, and does the health endpoint notice?"""

from __future__ import annotations

import http.client
import os
import threading
import time
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils import _files, _health, _service
from ansible_collections.seamless.rollout.plugins.module_utils._audit import kernel, units
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import info as releases
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store
from ansible_collections.seamless.rollout.plugins.module_utils._urls import shown

ARGUMENT_SPEC: dict[str, t.Any] = {
    "root": {"type": "path", "required": True},
    "services": {"type": "list", "elements": "dict", "required": True},
    "health": {"type": "list", "elements": "dict", "default": []},
    "endpoints": {"type": "list", "elements": "str", "default": []},
    "slow_url": {"type": "str"},
    "host_header": {"type": "str"},
    "healthy_deadline": {"type": "float", "default": 60},
    "request_timeout": {"type": "float", "default": 60},
}
_UNDER_WAY = 0.7  # seconds after which a request that has no answer yet counts as under way
_GONE = 10.0  # seconds that an endpoint has to notice a dead application


class Request(threading.Thread):
    """One request whose answer is read to its end, at its own pace."""

    def __init__(self, url: str, host_header: str | None, timeout: float) -> None:
        super().__init__(daemon=True)
        self._url, self._host, self._timeout = url, host_header, timeout
        self.status: int | None = None
        self.error = ""
        self.seconds = 0.0

    def run(self) -> None:
        begun = time.monotonic()
        try:
            self._ask()
        except (OSError, http.client.HTTPException) as exc:
            self.error = f"{type(exc).__name__}: {exc}"
        self.seconds = round(time.monotonic() - begun, 2)

    def _ask(self) -> None:
        parts = urllib.parse.urlsplit(self._url)
        if parts.scheme == "https":
            import ssl

            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(parts.netloc, timeout=self._timeout, context=context)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=self._timeout)
        try:
            headers = {"User-Agent": "seamless.rollout", **({"Host": self._host} if self._host else {})}
            connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=headers)
            answer = connection.getresponse()
            answer.read()
            self.status = answer.status
        finally:
            connection.close()

    @property
    def outcome(self) -> dict[str, t.Any]:
        return {"url": shown(self._url), "status": self.status, "error": self.error, "seconds": self.seconds}


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Restart the services with a request under way, then stop each for a moment and ask the health endpoint. Everything runs again afterwards.

    Raises SeamlessError where something does not run, or is not healthy, as it was before.
    """
    store = Store(_files.expand(params["root"]))
    services = [service for service in params["services"] if service.get("action", "restart") in ("restart", "reload")]
    _service.validate(services)
    if not services:
        raise SeamlessError("no service of rollout_services is restarted or reloaded: there is nothing to try.")
    probes = _health.validate_probes(releases.with_current(params["health"], store.link("current").release))
    if check_mode:
        return {"changed": True, "request": None, "dead": [], "tried": [str(service["name"]) for service in services]}
    result: dict[str, t.Any] = {"changed": True, "tried": [str(service["name"]) for service in services], "request": None, "dead": []}
    looks = {unit["name"]: unit for unit in units.look(services, store.root, kernel.listeners())}
    idle = [name for name, unit in looks.items() if not unit["active"]]
    if idle:
        raise SeamlessError(f"{', '.join(idle)} does not run: nothing was tried.")
    try:
        result["request"] = _restart_under_way(services, params)
        _wait(probes, params, "after the restart", result)
        result["dead"] = [_stop_and_ask(service, looks[str(service["name"])], probes, params["endpoints"]) for service in services]
    finally:
        for service in services:
            _service.systemctl(service, "start", _service.unit(service), timeout=float(service.get("timeout", 60)))
    _wait(probes, params, "after it was stopped and started", result)
    return result


def _restart_under_way(services: t.Sequence[t.Mapping[str, t.Any]], params: t.Mapping[str, t.Any]) -> dict[str, t.Any] | None:
    request = Request(params["slow_url"], params["host_header"], params["request_timeout"]) if params["slow_url"] else None
    if request is not None:
        request.start()
        request.join(_UNDER_WAY)
    in_time = request is not None and request.is_alive()
    verbs = []
    for service in services:
        verb = str(service.get("action", "restart"))
        done = _service.systemctl(service, verb, _service.unit(service), timeout=float(service.get("timeout", 60)))
        if done.returncode != 0:
            raise SeamlessError(f"systemctl {verb} {_service.unit(service)} failed: {done.stdout.strip()}")
        verbs.append(f"{verb} {_service.unit(service)}")
    if request is None:
        return None
    request.join(params["request_timeout"] + 1)
    return {**request.outcome, "in_time": in_time, "orders": verbs}


def _stop_and_ask(
    service: t.Mapping[str, t.Any], look: t.Mapping[str, t.Any], probes: t.Sequence[_health.Probe], endpoints: t.Sequence[str]
) -> dict[str, t.Any]:
    """Stop one service for a moment and say which endpoints still answer as if nothing had happened."""
    asked = [*(probe for probe in probes if probe.kind == "url"), *_health.validate_probes([{"url": url, "status": ["2xx", "3xx"]} for url in endpoints])]
    seen: dict[str, t.Any] = {"service": str(service["name"]), "unit": look["unit"], "asked": [], "why": ""}
    if not look["listens"]:
        return {**seen, "why": "it listens nowhere, so no health endpoint need notice it"}
    if any(name.endswith(".socket") for name in look["triggered_by"]):
        return {**seen, "why": f"{', '.join(look['triggered_by'])} starts it again with the next request"}
    try:
        done = _service.systemctl(service, "stop", _service.unit(service), timeout=float(service.get("timeout", 60)))
        if done.returncode != 0:
            raise SeamlessError(f"systemctl stop {_service.unit(service)} failed: {done.stdout.strip()}")
        deadline = time.monotonic() + _GONE
        while True:
            answers = _health.probe_once(asked)
            if not any(answer["ok"] for answer in answers) or time.monotonic() >= deadline:
                break
            time.sleep(0.3)
    finally:
        _service.systemctl(service, "start", _service.unit(service), timeout=float(service.get("timeout", 60)))
    return {**seen, "asked": [{"url": shown(str(probe.target)), "alive": answer["ok"], "detail": answer["detail"]} for probe, answer in zip(asked, answers)]}


def _wait(probes: t.Sequence[_health.Probe], params: t.Mapping[str, t.Any], when: str, result: t.Mapping[str, t.Any]) -> None:
    if not probes:
        return
    outcome = _health.wait_healthy(probes, interval=0.5, rise=2, deadline=params["healthy_deadline"])
    if not outcome.healthy:
        raise SeamlessError(f"{os.uname().nodename} is not healthy {when}: {outcome.reason}", **{key: result[key] for key in ("request", "dead")})
