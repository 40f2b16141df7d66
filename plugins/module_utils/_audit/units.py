# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The application's services: what their units say, which processes they have, and how those end."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _service
from ansible_collections.seamless.rollout.plugins.module_utils._audit import kernel

# What of a unit may name a directory of the application.
PLACES = (
    "WorkingDirectory", "RootDirectory", "ExecStart", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop", "Environment", "EnvironmentFiles", "PIDFile",
)
_PROPERTIES = (
    "Id", "LoadState", "ActiveState", "MainPID", "ControlGroup", "FragmentPath", "DropInPaths", "KillMode", "KillSignal", "TimeoutStopUSec", "TriggeredBy",
    "CanReload", "StateDirectory", "ReadWritePaths", *PLACES,
)
_SPANS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "month": 2629800.0, "y": 31557600.0}


def seconds(span: str) -> float | None:
    """Return a time span of systemd such as "1min 30s" in seconds, None for "infinity"."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(us|ms|min|month|s|h|d|w|y)\b", span)
    return sum(float(number) * _SPANS[unit] for number, unit in parts) if parts else None


def references(texts: t.Mapping[str, str], root: str) -> list[dict[str, str]]:
    """Return every mention of a directory of *root*: in which setting, as what (current, preview, release), and the path."""
    pattern = re.compile(re.escape(root.rstrip("/")) + r"/(current|preview|releases/[A-Za-z0-9][A-Za-z0-9._+-]*)(?![\w-])(/[^\s;,:\"'{}()]*)?")
    found = []
    for setting, text in texts.items():
        for match in pattern.finditer(text):
            kind = "release" if match[1].startswith("releases/") else match[1]
            found.append({"setting": setting, "kind": kind, "path": match[0]})
    return [dict(item) for item in {tuple(sorted(item.items())): None for item in found}]


def places(properties: t.Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a unit that hold paths, with the command lines as they were written."""
    found = {}
    for name in PLACES:
        value = properties.get(name, "")
        if name.startswith("Exec"):
            value = "; ".join(re.findall(r"argv\[\]=(.*?) ;", value))
        if value:
            found[name] = value
    return found


def look(services: t.Sequence[t.Mapping[str, t.Any]], root: str, sockets: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
    """Return what each of *services* is and does. *sockets* are those of :func:`kernel.listeners`."""
    _service.validate(services)
    found = []
    for service in services:
        properties = _service.show(service, ",".join(_PROPERTIES))
        main = int(properties.get("MainPID") or 0)
        members = _service.members(properties["ControlGroup"]) if properties.get("ControlGroup") else []
        pids = [pid for pid in dict.fromkeys([main, *members]) if pid]
        signal = int(properties.get("KillSignal") or 15)
        texts = places(properties)
        serving = [pid for pid in pids if kernel.listening(pid, sockets)]
        # By default systemd sends the signal to all processes of a unit, else to the main one, and the others are killed after it or live on.
        signalled = serving if properties.get("KillMode") == "control-group" else [main] if serving and main else []
        deaf = [pid for pid in signalled if kernel.catches(pid, signal) is False]
        found.append(
            {
                "name": str(service["name"]),
                "action": str(service.get("action", "restart")),
                "unit": properties.get("Id") or str(service["name"]),
                "loaded": properties.get("LoadState") == "loaded",
                "active": properties.get("ActiveState") in ("active", "reloading"),
                "file": properties.get("FragmentPath", ""),
                "drop_ins": properties.get("DropInPaths", "").split(),
                "references": references(texts, root),
                # Values of Environment may be secret.
                "starts": {name: texts[name][:200] for name in ("WorkingDirectory", "ExecStart") if name in texts},
                "stops_itself": "ExecStop" in texts,
                "kill_mode": properties.get("KillMode", ""),
                "kill_signal": signal,
                "stop_seconds": seconds(properties.get("TimeoutStopUSec", "")),
                "triggered_by": properties.get("TriggeredBy", "").split(),
                "pid": main,
                "pids": pids,
                "deaf": kernel.comm(deaf[0]) if deaf else None,
                "listens": sorted({where for pid in serving for where in kernel.listening(pid, sockets)}),
                "writes": sorted({path for pid in pids for path in kernel.written_files(pid)})[:50],
                "state_directories": properties.get("StateDirectory", "").split(),
                "writable": [path.lstrip("-+") for path in properties.get("ReadWritePaths", "").split()],
                "named": kernel.environment_directories(main) if main else [],
            }
        )
    return found
