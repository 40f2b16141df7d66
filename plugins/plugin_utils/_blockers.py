# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What forbids a rollout now: an URL that does not answer as expected, a file that is there, a command that fails. All on the controller."""

from __future__ import annotations

import concurrent.futures
import datetime
import difflib
import http.client
import json
import os
import re
import signal
import subprocess
import typing as t
import urllib.error

from ansible_collections.seamless.rollout.plugins.module_utils import _health
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._urls import shown
from ansible_collections.seamless.rollout.plugins.plugin_utils import _windows
from ansible_collections.seamless.rollout.plugins.plugin_utils._asking import opened
from ansible_collections.seamless.rollout.plugins.plugin_utils._plan_text import refusal

PASS = "If it has to be now, set rollout_override to the reason: it is shown and recorded."
KINDS = ("url", "file", "command")
_URL_KEYS = ("status", "json", "contains", "headers", "validate_certs", "ca_path")
_BODY_LIMIT = 1 << 20
_TIMEOUT = 10.0


def blocker_problems(blockers: t.Any) -> list[str]:
    """Return a sentence for every entry of ``rollout_blockers`` that can't be read."""
    if not isinstance(blockers, list):
        return [f"rollout_blockers is {blockers!r}: use a list, for example [{{file: /etc/no-rollout}}]."]
    return [f"rollout_blockers[{index}]{problem}" for index, entry in enumerate(blockers) for problem in _problem(entry)]


def _problem(entry: t.Any) -> t.Iterator[str]:
    if not isinstance(entry, dict):
        yield f" is {entry!r}: use a dictionary with one of {', '.join(KINDS)}."
        return
    kinds = [kind for kind in KINDS if entry.get(kind)]
    if len(kinds) != 1:
        yield f" has {' and '.join(kinds) or 'nothing to ask'}: give exactly one of {', '.join(KINDS)}."
        return
    kind = kinds[0]
    known = (kind, "name", *(("timeout",) if kind != "file" else ()), *(_URL_KEYS if kind == "url" else ()))
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            yield f" has {key!r}, which means nothing for {kind}: known are {', '.join(known)}." + (f" Did you mean {near[0]}?" if near else "")
    if kind == "url" and not [key for key in entry if key not in known]:
        try:
            _health.validate_probes([{**{key: value for key, value in entry.items() if key != "name"}, "timeout": 5}])
        except SeamlessError as exc:
            yield str(exc).replace("health probe 1", "", 1)
    if kind == "command" and not isinstance(entry["command"], (str, list)):
        yield f".command is {entry['command']!r}: use a command line for the shell, or a list of words."
    if kind != "file":
        try:
            seconds = float(entry.get("timeout", _TIMEOUT))
        except (TypeError, ValueError):
            seconds = 0
        if not 0 < seconds <= 600:
            yield f".timeout is {entry['timeout']!r}: use seconds above 0 and up to 600, such as 10."


def check(blockers: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Ask every blocker at the same moment and return the reasons of those that forbid a rollout."""
    if not blockers:
        return []
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(len(blockers), 8)) as pool:
        answers = list(pool.map(_ask, blockers))
    return [answer for answer in answers if answer]


def what_forbids(
    windows: t.Sequence[t.Mapping[str, t.Any]], blockers: t.Sequence[t.Mapping[str, t.Any]], now: datetime.datetime | None = None
) -> list[str]:
    """Return why no host may be touched now, by the change windows and the blockers; nothing when nothing forbids it."""
    verdict = _windows.judge(windows, now or datetime.datetime.now(datetime.timezone.utc))
    return ([] if verdict.open else [f"rollout_windows: {verdict.why}."]) + check(blockers)


def gate(mode: str, windows: list[dict[str, t.Any]], blockers: list[dict[str, t.Any]], override: str, *, dry: bool) -> dict[str, t.Any]:
    """Return what the facts of a rollout say of windows and blockers, with what forbids it now as ``closed``. Raises SeamlessError then, unless *dry*.

    A rollback is the way out of trouble: neither a freeze nor the alarm that it answers to may stand in its way.
    """
    if mode in ("rollback", "recover"):
        return {"windows": [], "blockers": [], "override": "", "closed": [], "windows_now": ""}
    now = datetime.datetime.now(datetime.timezone.utc)
    closed = what_forbids(windows, blockers, now)
    if closed and not override and not dry:
        raise SeamlessError(refusal([*closed, PASS]))
    return {"windows": windows, "blockers": blockers, "override": override, "closed": closed, "windows_now": _windows.judge(windows, now).why}


def _ask(blocker: t.Mapping[str, t.Any]) -> str | None:
    kind = next(kind for kind in KINDS if blocker.get(kind))
    seconds = float(blocker.get("timeout", _TIMEOUT))
    reason = {"url": _ask_url, "file": _ask_file, "command": _ask_command}[kind](blocker, seconds)
    if reason is None:
        return None
    name = str(blocker.get("name") or (shown(str(blocker["url"])) if kind == "url" else blocker[kind]))
    return f"rollout_blockers: {name} {reason}"


def _ask_url(blocker: t.Mapping[str, t.Any], seconds: float) -> str | None:
    """Judge the answer as a health probe does. No answer blocks too: nobody knows what it would have been."""
    try:
        response = opened(blocker, str(blocker["url"]), seconds)
    except urllib.error.HTTPError as exc:
        response = exc
    except (OSError, ValueError, http.client.HTTPException) as exc:
        reason = getattr(exc, "reason", None) or exc
        return f"gave no answer, so nobody knows whether a rollout is allowed ({getattr(reason, 'strerror', None) or reason or type(reason).__name__})"
    try:
        body = response.read(_BODY_LIMIT)
    except (OSError, http.client.HTTPException) as exc:
        return f"gave no whole answer, so nobody knows whether a rollout is allowed ({exc})"
    problem = _misses(blocker, int(response.code), body.decode(errors="replace"))
    return None if problem is None else f"forbids a rollout: {problem}"


def _misses(blocker: t.Mapping[str, t.Any], status: int, text: str) -> str | None:
    """Say what an answer has that it should not have, or return None. Conditions are those of health probes."""
    wanted = blocker.get("status", 200)
    if not _health._statuses(wanted)(status):
        return f"it answered {status}, wanted {wanted}" + (f" ({_first_line(text)})" if _first_line(text) else "")
    if blocker.get("contains") is not None and str(blocker["contains"]) not in text:
        return f"its answer does not contain {blocker['contains']!r} ({_first_line(text)})"
    try:
        document = json.loads(text) if blocker.get("json") else None
    except ValueError:
        return f"it answered no JSON ({_first_line(text)})"
    for path, expected in (blocker.get("json") or {}).items():
        found = _health._dig(document, str(path))
        if not _health._same(found, expected):
            return f"{path} is {json.dumps(found)[:200]}, wanted {json.dumps(expected)}"
    return None


def _ask_file(blocker: t.Mapping[str, t.Any], seconds: float) -> str | None:
    path = os.path.expanduser(str(blocker["file"]))
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return f"forbids a rollout: {_first_line(file.read(4096)) or 'the file is there'}"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        if os.path.isdir(path):
            return "forbids a rollout: the directory is there"
        return f"can't be read, so nobody knows whether a rollout is allowed ({exc.strerror})"


def _ask_command(blocker: t.Mapping[str, t.Any], seconds: float) -> str | None:
    command = blocker["command"]
    try:
        process = subprocess.Popen(
            command if isinstance(command, str) else [str(word) for word in command],
            shell=isinstance(command, str), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
    except OSError as exc:
        return f"could not be run, so nobody knows whether a rollout is allowed ({exc.strerror})"
    with process:
        try:
            output = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            # The whole group: a shell's children would keep its output open.
            os.killpg(process.pid, signal.SIGKILL)
            return f"gave no answer within {seconds:g} s, so nobody knows whether a rollout is allowed"
    if process.returncode == 0:
        return None
    return f"forbids a rollout: {_first_line(output.decode(errors='replace')) or f'exit code {process.returncode}'}"


def _first_line(text: str) -> str:
    lines = [re.sub(r"[\x00-\x1f\x7f]", "", line).strip() for line in text.splitlines()]
    return next((line[:300] for line in lines if line), "")
