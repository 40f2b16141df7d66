# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import time
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils import _urls as urls
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

KINDS = ("url", "tcp", "command", "systemd")
HTTP_KEYS = (
    "method", "status", "headers", "expect_headers", "json", "contains", "version", "host_header", "validate_certs", "ca_path",
)
COMMON_KEYS = ("name", "timeout")
_BODY_LIMIT = 1 << 20


class Probe(t.NamedTuple):
    """One checked health probe. *timeout* is in seconds."""

    kind: str
    target: t.Any
    name: str
    timeout: float
    options: dict[str, t.Any]


class HealthResult(t.NamedTuple):
    """The outcome of waiting. *elapsed* and *healthy_for* are in seconds; *flaps* counts good rounds that a bad one followed."""

    healthy: bool
    results: list[dict[str, t.Any]]
    attempts: int
    elapsed: float
    healthy_for: float
    flaps: int
    reason: str
    served_version: str | None


def validate_probes(probes: t.Sequence[t.Mapping[str, t.Any]]) -> list[Probe]:
    """Return *probes* checked. Raises SeamlessError naming the probe, the key, its value and what would do."""
    return [_validate(index, dict(probe)) for index, probe in enumerate(probes)]


def _validate(index: int, probe: dict[str, t.Any]) -> Probe:
    where = f"health probe {probe.get('name') or index + 1}"
    kinds = [kind for kind in KINDS if probe.get(kind)]
    if len(kinds) != 1:
        raise SeamlessError(f"{where} has {' and '.join(kinds) or 'nothing to check'}: give exactly one of {', '.join(KINDS)}.")
    kind = kinds[0]
    known = (kind, *COMMON_KEYS, *(HTTP_KEYS if kind == "url" else ()))
    for key in probe:
        if key not in known:
            import difflib

            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise SeamlessError(f"{where} has {key!r}, which means nothing for {kind}: known are {', '.join(known)}.{hint}")
    target = probe[kind]
    if kind == "url":
        urls.check(str(target), where)
    if kind == "tcp" and not re.match(r".+:\d+\Z", str(target)):
        raise SeamlessError(f"{where}: tcp is {target!r}, use host:port such as 127.0.0.1:8000.")
    try:
        timeout = float(probe.get("timeout", 5))
    except (TypeError, ValueError):
        timeout = 0.0
    if timeout <= 0:
        raise SeamlessError(f"{where}: timeout is {probe.get('timeout')!r}, use seconds above 0 such as 5.")
    _statuses(probe.get("status", 200), where)
    for key in ("headers", "expect_headers", "json", "version"):
        if key in probe and not isinstance(probe[key], dict):
            raise SeamlessError(f"{where}: {key} is {probe[key]!r}, use a dictionary.")
    version = probe.get("version")
    if version is not None and (("json" in version) == ("header" in version) or "equals" not in version):
        raise SeamlessError(f"{where}: version needs equals and one of json (a path) or header, such as {{json: version, equals: 1.2.0}}.")
    options = {key: value for key, value in probe.items() if key in HTTP_KEYS}
    return Probe(kind, target, str(probe.get("name") or (urls.shown(str(target)) if kind == "url" else target)), timeout, options)


def _statuses(value: t.Any, where: str = "status") -> t.Callable[[int], bool]:
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not re.fullmatch(r"[1-5](\d\d|xx)", str(item)):
            raise SeamlessError(f"{where}: status is {item!r}, use a number such as 200, a list of them, or a class such as 2xx.")
    return lambda status: any(str(item) == str(status) or (str(item).endswith("xx") and str(item)[0] == str(status)[0]) for item in items)


def probe_once(probes: t.Sequence[Probe]) -> list[dict[str, t.Any]]:
    """Run every probe once and say how it went, in plain words."""
    results = []
    for probe in probes:
        started = time.monotonic()
        check = {"url": _http, "tcp": _tcp, "command": _command, "systemd": _systemd}[probe.kind]
        try:
            answer = check(probe)
        except (OSError, ValueError, http.client.HTTPException, subprocess.SubprocessError) as exc:
            answer = {"ok": False, "detail": _plain_error(probe, exc)}
        result = {"name": probe.name, "ok": False, "detail": "", "status": None, "version": None, **answer}
        results.append({**result, "elapsed": round(time.monotonic() - started, 3)})
    return results


def _plain_error(probe: Probe, exc: Exception) -> str:
    if isinstance(exc, (socket.timeout, subprocess.TimeoutExpired)):
        return f"{probe.name}: no answer within {probe.timeout:g} s"
    if isinstance(exc, ConnectionRefusedError):
        return f"{probe.name}: connection refused, nothing listens there"
    if isinstance(exc, ValueError) and not isinstance(exc, OSError) and probe.kind in ("url", "tcp"):
        # What the exception says may be the header itself.
        return f"{probe.name}: the name of the host, or a header, has characters that can't be sent"
    return f"{probe.name}: {getattr(exc, 'strerror', None) or exc or type(exc).__name__}"


def _http(probe: Probe) -> dict[str, t.Any]:
    return _judge(probe, str(probe.options.get("method", "GET")), *fetch(probe))


def fetch(probe: Probe) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask the URL of *probe* and return the answer with the first part of its body. Raises OSError or HTTPException where there is none."""
    parts = urllib.parse.urlsplit(str(probe.target))
    options = probe.options
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        import ssl

        context = ssl.create_default_context(cafile=options.get("ca_path"))
        if not options.get("validate_certs", True):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=probe.timeout, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=probe.timeout)
    headers = {"User-Agent": "seamless.rollout", **{str(key): str(value) for key, value in options.get("headers", {}).items()}}
    if not any(name.lower() == "authorization" for name in headers):
        headers.update(urls.basic_auth(parts))
    if options.get("host_header"):
        headers["Host"] = str(options["host_header"])
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(str(options.get("method", "GET")), path, headers=headers)
        response = connection.getresponse()
        return response, response.read(_BODY_LIMIT)
    finally:
        connection.close()


def find_version(probe: Probe, version: str) -> list[dict[str, str]]:
    """Return where the answer to *probe* has *version*: as ``header``, or as ``json`` by a dotted path."""
    try:
        response, body = fetch(probe)
    except (OSError, ValueError, http.client.HTTPException):
        return []
    found = [{"header": name} for name, value in response.getheaders() if value == version]
    try:
        waiting = [("", json.loads(body.decode(errors="replace")))]
    except ValueError:
        return found
    while waiting:
        path, value = waiting.pop(0)
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(f"{path}.{key}" if path else str(key), item) for key, item in items]
        if path and _same(value, version):
            found.append({"json": path})
    return found


def _judge(probe: Probe, method: str, response: http.client.HTTPResponse, body: bytes) -> dict[str, t.Any]:
    options = probe.options
    answer: dict[str, t.Any] = {"ok": False, "status": response.status}
    start = f"{method} {urls.shown(str(probe.target))}"
    text = body.decode(errors="replace")
    if not _statuses(options.get("status", 200))(response.status):
        location = response.getheader("Location")
        where = f" (to {urls.shown(location)})" if location else ""
        answer["detail"] = f"{start} answered {response.status} {response.reason}{where}, wanted {options.get('status', 200)}: {text[:200].strip()}"
        return answer
    document: t.Any = None
    version = options.get("version") or {}
    if options.get("json") or "json" in version:
        try:
            document = json.loads(text)
        except ValueError:
            answer["detail"] = f"{start} answered no JSON: {text[:200].strip()}"
            return answer
    for header, wanted in options.get("expect_headers", {}).items():
        if response.getheader(header) != str(wanted):
            answer["detail"] = f"{start}: header {header} is {response.getheader(header)!r}, wanted {wanted!r}"
            return answer
    if options.get("contains") is not None and str(options["contains"]) not in text:
        answer["detail"] = f"{start}: the body does not contain {options['contains']!r}: {text[:200].strip()}"
        return answer
    wanted_values = {**options.get("json", {})}
    for path, wanted in wanted_values.items():
        found = _dig(document, str(path))
        if re.search(r"version\Z", str(path)):
            answer["version"] = None if found is None else str(found)
        if not _same(found, wanted):
            answer["detail"] = f"{start}: {path} is {found!r}, wanted {wanted!r}"
            return answer
    if version:
        found = _dig(document, str(version["json"])) if "json" in version else response.getheader(str(version["header"]))
        answer["version"] = None if found is None else str(found)
        if not _same(found, version["equals"]):
            answer["detail"] = f"{start}: served version is {found!r}, wanted {version['equals']!r}"
            return answer
    return {**answer, "ok": True, "detail": f"{start} answered {response.status}"}


def _dig(document: t.Any, path: str) -> t.Any:
    """Return the value at a dotted *path* such as ``build.version`` or ``nodes.0.name``, or None."""
    for part in path.split("."):
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            return None
    return document


def _same(found: t.Any, wanted: t.Any) -> bool:
    if isinstance(found, bool) or isinstance(wanted, bool):
        return str(found).lower() == str(wanted).lower()
    return found == wanted or (found is not None and str(found) == str(wanted))


def _tcp(probe: Probe) -> dict[str, t.Any]:
    host, dummy, port = str(probe.target).rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=probe.timeout):
        return {"ok": True, "detail": f"{probe.target} accepts connections"}


def _command(probe: Probe) -> dict[str, t.Any]:
    shell = isinstance(probe.target, str)
    command = probe.target if shell else [str(item) for item in probe.target]
    done = subprocess.run(
        command, shell=shell, timeout=probe.timeout, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    output = done.stdout.decode(errors="replace").strip()[-300:]
    return {"ok": done.returncode == 0, "status": done.returncode, "detail": f"{probe.name} ended with {done.returncode}: {output}"}


def _systemd(probe: Probe) -> dict[str, t.Any]:
    done = subprocess.run(
        ["systemctl", "is-active", str(probe.target)],
        timeout=probe.timeout,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    state = done.stdout.decode(errors="replace").strip()
    return {"ok": done.returncode == 0, "detail": f"unit {probe.target} is {state}"}


def wait_healthy(
    probes: t.Sequence[Probe],
    *,
    interval: float = 1.0,
    rise: int = 3,
    min_healthy_seconds: float = 0.0,
    deadline: float = 60.0,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
    check: t.Callable[[t.Sequence[Probe]], list[dict[str, t.Any]]] = probe_once,
) -> HealthResult:
    """Wait until every probe has passed *rise* rounds in a row and for *min_healthy_seconds* without a break.

    A failed round starts both over (the rule of Nomad's min_healthy_time and of Kubernetes' minReadySeconds). Rounds are
    *interval* seconds apart; until the first good one they come faster, so that a start is noticed at once.
    """
    begun = clock()
    good = attempts = flaps = 0
    since: float | None = None
    while True:
        asked = clock()
        results = check(probes)
        attempts += 1
        now = clock()
        if all(result["ok"] for result in results):
            good += 1
            since = asked if since is None else since
        else:
            flaps += 1 if good else 0
            good, since = 0, None
        lasted = now - since if since is not None else 0.0
        version = next((result["version"] for result in results if result.get("version") is not None), None)
        if good >= rise and lasted >= min_healthy_seconds:
            return HealthResult(True, results, attempts, now - begun, lasted, flaps, "", version)
        pause = interval if good else min(interval, 0.1)
        if now - begun + pause > deadline:
            reason = _why(results, good, rise, lasted, min_healthy_seconds, deadline, flaps)
            return HealthResult(False, results, attempts, now - begun, lasted, flaps, reason, version)
        sleep(pause)


def _why(results: t.Sequence[t.Mapping[str, t.Any]], good: int, rise: int, lasted: float, needed: float, deadline: float, flaps: int) -> str:
    failing = "; ".join(str(result["detail"]) for result in results if not result["ok"])
    if failing:
        return f"after {deadline:g} s: {failing}" + (f" (healthy in between, {flaps} times)" if flaps else "")
    if flaps:
        return f"for good within {deadline:g} s: it was healthy in between {flaps} times and failed again each time"
    return (
        f"healthy at last, but only {good} of {rise} rounds and {lasted:.1f} of {needed:g} s before the deadline of {deadline:g} s: "
        "raise healthy_deadline or lower min_healthy_seconds."
    )
