# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._release import floor as floors
from ansible_collections.seamless.rollout.plugins.module_utils._release import layouts, lock
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store

ARGUMENT_SPEC: dict[str, t.Any] = {
    "root": {"type": "path", "required": True},
    "services": {"type": "list", "elements": "dict", "default": []},
    "health": {"type": "list", "elements": "dict", "default": []},
    "keep_releases": {"type": "int"},
    "coming": {"type": "str"},
    "migrations_directory": {"type": "str"},
    "migrations_of": {"type": "str"},
    "running": {"type": "bool", "default": False},
    "verify": {"type": "str", "choices": ["none", "quick", "full"], "default": "none"},
    "journal_days": {"type": "float", "default": 0},
}

# What of a host's journal tells of rollouts.
JOURNALED = ("staged", "switching", "switched", "failed", "good")

# Stands in a health probe for the release that the host runs, where the reader can't know which that is.
CURRENT = "@current@"


def with_current(value: t.Any, current: str | None) -> t.Any:
    """Return *value* with the release *current* wherever :data:`CURRENT` stands."""
    if isinstance(value, dict):
        return {key: with_current(item, current) for key, item in value.items()}
    if isinstance(value, list):
        return [with_current(item, current) for item in value]
    return value.replace(CURRENT, current or "none") if isinstance(value, str) else value


def survey(store: Store, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Read everything that a plan or a status needs to know of this host, without changing or creating anything."""
    exists = os.path.isdir(store.root)
    current = store.link("current")
    managed = store.managed()
    preview = store.link("preview")
    releases = [{**item} for item in layouts.foreign_releases(store)] if exists else []
    releases += [{**record, "managed": True} for record in managed.values()]
    floor = floors.read(store) if exists else None
    directory = str(params.get("migrations_directory") or (floor or {}).get("directory") or floors.DIRECTORY)
    for item in releases:
        item["migrations"] = floors.carried(os.path.join(store.releases, str(item["id"])), directory)
    result: dict[str, t.Any] = {
        "exists": exists,
        "root": store.root,
        "layout": layouts.layout(store),
        "current": current._asdict(),
        "preview": preview.release if preview.kind == "link" else None,
        "releases": releases,
        "floor": floor,
        "last_good": store.last_good(),
        "previous": store.last_good(besides=current.release),
        "lock": lock.read(store) if exists else None,
        "unfinished": sorted(os.listdir(store.staging)) if os.path.isdir(store.staging) else [],
        "disk": _disk(store.root),
        "clock": time.time(),
        "services": [],
        "healthy": None,
        "health": [],
        "served_version": None,
    }
    if params.get("services"):
        from ansible_collections.seamless.rollout.plugins.module_utils import _service

        result["services"] = _service.inspect(params["services"], store.releases, current.release)
    if params.get("health"):
        from ansible_collections.seamless.rollout.plugins.module_utils import _health

        results = _health.probe_once(_health.validate_probes(with_current(params["health"], current.release)))
        result["health"] = results
        result["healthy"] = all(item["ok"] for item in results)
        result["served_version"] = next((item["version"] for item in results if item["version"] is not None), None)
    if params.get("migrations_of"):
        result["migrations"] = floors.files(store, str(params["migrations_of"]), directory)
    if params.get("running"):
        from ansible_collections.seamless.rollout.plugins.module_utils._release import running

        result["running"] = running.look(store, current, result["services"], params["services"])
    if params.get("verify", "none") != "none":
        from ansible_collections.seamless.rollout.plugins.module_utils._release import verify

        result["verified"] = verify.compare(store, current.release, params["verify"]) if current.kind == "link" and current.release in managed else None
    if params.get("journal_days"):
        result["journal"] = _journal(store, time.time() - 86400 * float(params["journal_days"]))
    if params.get("keep_releases"):
        from ansible_collections.seamless.rollout.plugins.module_utils._release import prune

        result["would_prune"] = prune.choose(store, int(params["keep_releases"]), protect=[], coming=params.get("coming") or None).prune
    return result


def _journal(store: Store, since: float) -> list[dict[str, t.Any]]:
    """Return what the journal says of rollouts after *since* (seconds since 1970), oldest first, the newest thousand lines at most."""
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since))
    entries = [entry for entry in store.journal() if entry.get("event") in JOURNALED and str(entry.get("at")) >= start]
    return [{key: value for key, value in entry.items() if key not in ("boot", "monotonic")} for entry in entries[-1000:]]


def _disk(path: str) -> dict[str, int]:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    stats = os.statvfs(path)
    return {
        "free_bytes": stats.f_bavail * stats.f_frsize,
        "total_bytes": stats.f_blocks * stats.f_frsize,
        "free_inodes": stats.f_favail,
        "total_inodes": stats.f_files,
    }


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Read the releases of an application on this host. Never changes anything, in check mode or not."""
    return {"changed": False, **survey(Store(_files.expand(params["root"])), params)}
