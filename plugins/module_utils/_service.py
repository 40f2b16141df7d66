# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import os
import subprocess
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import processes

ACTIONS = ("restart", "reload", "start", "none")
_KEYS = ("name", "action", "scope", "timeout")
_PROPERTIES = "Id,LoadState,ActiveState,SubState,MainPID,ExecMainStartTimestampMonotonic,NRestarts,Result,ControlGroup,CanReload"

Service = t.Mapping[str, t.Any]


def validate(services: t.Sequence[Service]) -> None:
    """Refuse services that are not written as they must be, naming the key and what would do."""
    for index, service in enumerate(services):
        where = f"service {service.get('name') or index + 1}"
        if not service.get("name"):
            raise SeamlessError(f"{where} has no name: write {{name: shop, action: restart}}.")
        for key in service:
            if key not in _KEYS:
                import difflib

                near = difflib.get_close_matches(str(key), _KEYS, n=1)
                raise SeamlessError(f"{where} has {key!r}: known are {', '.join(_KEYS)}." + (f" Did you mean {near[0]}?" if near else ""))
        if service.get("action", "restart") not in ACTIONS:
            raise SeamlessError(f"{where}: action is {service['action']!r}, use one of {', '.join(ACTIONS)}.")
        if service.get("scope", "system") not in ("system", "user"):
            raise SeamlessError(f"{where}: scope is {service['scope']!r}, use system or user.")


def unit(service: Service) -> str:
    name = str(service["name"])
    return name if "." in name else f"{name}.service"


def systemctl(service: Service, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    command = ["systemctl"]
    environment = dict(os.environ)
    if service.get("scope") == "user":
        command.append("--user")
        environment.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")
    try:
        return subprocess.run(
            [*command, *arguments], timeout=timeout, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace", check=False,
        )
    except FileNotFoundError as exc:
        raise SeamlessError("services need systemd, and there is no systemctl on this host.") from exc
    except subprocess.TimeoutExpired as exc:
        raise SeamlessError(f"systemctl {' '.join(arguments)} took more than {timeout:g} s. {_story(service)}") from exc


def show(service: Service, names: str = _PROPERTIES) -> dict[str, str]:
    """Return the properties *names*, with commas, of a unit, as systemd knows them. Raises SeamlessError where it can't be asked."""
    done = systemctl(service, "show", "--property", names, unit(service))
    properties = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode != 0 or "LoadState" not in properties:
        raise SeamlessError(f"systemctl show {unit(service)} failed: {done.stdout.strip()}")
    return properties


def _story(service: Service) -> str:
    """Return the last lines that the unit logged, for an error message."""
    command = ["journalctl", "--no-pager", "--lines", "20", "--output", "cat", "--unit", unit(service)]
    if service.get("scope") == "user":
        command.insert(1, "--user")
    try:
        done = subprocess.run(
            command, timeout=10, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", errors="replace", check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"Last lines of {unit(service)}:\n{done.stdout.strip()[-2000:]}" if done.stdout.strip() else ""


def members(control_group: str) -> list[int]:
    """Return the pids of a unit's control group, whichever hierarchy systemd uses."""
    for base in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"):
        try:
            with open(f"{base}{control_group}/cgroup.procs", encoding="ascii") as file:
                return [int(line) for line in file.read().split()]
        except (OSError, ValueError):
            continue
    return []


def _releases_of(properties: t.Mapping[str, str], releases_dir: str) -> dict[str, processes.Use]:
    """Return the releases that the unit's processes show to work in, each with one process as evidence."""
    main = int(properties.get("MainPID") or 0)
    others = members(properties["ControlGroup"]) if properties.get("ControlGroup") else []
    pids = [pid for pid in dict.fromkeys([main, *others]) if pid]
    return {use.release: use for pid in pids for use in processes.uses(pid, releases_dir)}


def _started(properties: t.Mapping[str, str]) -> float:
    """Return when the main process started, by the monotonic clock; 0 where there is none or nobody can say.

    systemd's own time is that at which it learned of the process, which may be long after the start: a daemon that survives its restart is found
    again by its PIDFile. The kernel counts in ticks, and in the tick of the start the benefit of the doubt goes to the process.
    """
    learned = int(properties.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    try:
        with open(f"/proc/{int(properties.get('MainPID') or 0)}/stat", encoding="utf-8", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return learned
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - (ticks + 1) / os.sysconf("SC_CLK_TCK")
    began = time.monotonic() - age
    return min(learned, began) if learned else began


def _look(service: Service, releases_dir: str) -> dict[str, t.Any]:
    properties = show(service)
    started = _started(properties)
    shown = _releases_of(properties, releases_dir)
    return {
        "name": service["name"],
        "loaded": properties.get("LoadState") == "loaded",
        "active": properties.get("ActiveState") in ("active", "reloading"),
        "sub": properties.get("SubState"),
        "pid": int(properties.get("MainPID") or 0),
        "started_at": round(time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - started), 3) if started else None,
        "started_monotonic": started or None,
        "restarts": int(properties.get("NRestarts") or 0),
        "can_reload": properties.get("CanReload") == "yes",
        "releases": sorted(shown),
        "release": next(iter(sorted(shown)), None),
        "evidence": {release: f"process {use.pid}, {use.how}" for release, use in shown.items()},
    }


def inspect(services: t.Sequence[Service], releases_dir: str, current: str | None = None) -> list[dict[str, t.Any]]:
    """Say of every service whether it runs and in which release; ``stale`` when it shows another release than *current*."""
    validate(services)
    found = []
    for service in services:
        state = _look(service, releases_dir)
        state["stale"] = bool(current) and any(release != current for release in state["releases"])
        found.append({key: value for key, value in state.items() if key != "evidence"})
    return found


def check(services: t.Sequence[Service], releases_dir: str) -> None:
    """Refuse units that systemd does not know and reloads that it can't do, while nothing has been touched."""
    validate(services)
    for service in services:
        _refuse_what_cannot_be(service, _look(service, releases_dir))


def _refuse_what_cannot_be(service: Service, look: t.Mapping[str, t.Any]) -> None:
    if not look["loaded"]:
        raise SeamlessError(f"unit {unit(service)} is not known to systemd on this host: install it, or correct the name in services.")
    if service.get("action") == "reload" and not look["can_reload"] and look["active"]:
        raise SeamlessError(f"unit {unit(service)} can't be reloaded (it has no ExecReload): use action: restart.")


def apply(
    services: t.Sequence[Service], *, release: str, releases_dir: str, switched_monotonic: float | None, handled: t.Collection[str]
) -> list[dict[str, t.Any]]:
    """Restart, reload or start what does not run *release* yet, in the order given; say of each what was done.

    A restart is due unless the main process started after the switch and shows no other release; a reload unless it was done
    since the switch. Raises SeamlessError when a unit is unknown (before anything is touched), can't be reloaded, or fails.
    """
    looks = [_look(service, releases_dir) for service in services]
    for service, look in zip(services, looks):
        _refuse_what_cannot_be(service, look)
    results = []
    for service, look in zip(services, looks):
        action = str(service.get("action", "restart"))
        due = _is_due(action, look, release, switched_monotonic, str(service["name"]) in handled)
        if due:
            verb = action if look["active"] else "start" if action == "reload" else action
            # A release that crashed in a loop leaves the unit at systemd's start limit, which would refuse the way back.
            systemctl(service, "reset-failed", unit(service))
            done = systemctl(service, verb, unit(service), timeout=float(service.get("timeout", 60)))
            if done.returncode != 0:
                raise SeamlessError(f"systemctl {verb} {unit(service)} failed: {done.stdout.strip()} {_story(service)}".strip())
        after = _look(service, releases_dir) if due else look
        results.append({**after, "action": action, "acted": due, "restarted": due and action == "restart"})
    return results


def _is_due(action: str, look: t.Mapping[str, t.Any], release: str, switched: float | None, handled: bool) -> bool:
    if action == "none":
        return False
    if not look["active"]:
        return True
    if action == "start":
        return False
    elsewhere = any(seen != release for seen in look["releases"])
    if action == "reload":
        return elsewhere or not handled
    if switched is None:
        return elsewhere or not look["releases"] and not handled
    return elsewhere or look["started_monotonic"] is None or look["started_monotonic"] < switched


def confirm(
    services: t.Sequence[Service], before: t.Sequence[t.Mapping[str, t.Any]], *, release: str, releases_dir: str, switched_monotonic: float
) -> None:
    """Make sure that every service still runs, did not restart by itself meanwhile, and works in *release* alone.

    The main process of one that was restarted or started must have begun after *switched_monotonic*. Old workers of a graceful reload get the
    service's ``timeout`` to finish. Raises SeamlessError with what was seen.
    """
    for service, earlier in zip(services, before):
        deadline = time.monotonic() + (float(service.get("timeout", 60)) if service.get("action") == "reload" else 0.0)
        while True:
            look = _look(service, releases_dir)
            others = [seen for seen in look["releases"] if seen != release]
            if not look["active"]:
                raise SeamlessError(f"unit {unit(service)} is {look['sub']} after the switch to {release}. {_story(service)}")
            if look["restarts"] > earlier["restarts"] or (look["pid"] != earlier["pid"] and service.get("action") != "reload"):
                raise SeamlessError(f"unit {unit(service)} died and was started again by systemd after the switch to {release}. {_story(service)}")
            if earlier["acted"] and service.get("action") != "reload" and (look["started_monotonic"] or switched_monotonic) < switched_monotonic:
                raise SeamlessError(
                    f"unit {unit(service)} still has process {look['pid']}, which started before the switch to {release}: the "
                    f"{earlier['action']} did not end it. Correct the unit's PIDFile or ExecStop, so that systemd knows the process and can end it."
                )
            if not others:
                break
            if time.monotonic() >= deadline:
                raise SeamlessError(
                    f"unit {unit(service)} still works in release {others[0]} ({look['evidence'][others[0]]}), not in {release}: a process keeps "
                    "the directory it was started in. Use action: restart, and start it through the current link."
                )
            time.sleep(0.1)
