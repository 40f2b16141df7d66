# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What was written into the live release after it went live. A release is what was shipped; whatever is added to it is gone with the next one."""

from __future__ import annotations

import calendar
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._audit import kernel
from ansible_collections.seamless.rollout.plugins.module_utils._release import manifest as manifests
from ansible_collections.seamless.rollout.plugins.module_utils._release import running
from ansible_collections.seamless.rollout.plugins.module_utils._release.build import load_manifest
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store

MOST_ENTRIES = 200_000
SHOWN = 10
_SLACK = 1.0  # seconds: what was made in the moment of the switch belongs to the switch
_HASHED = 64 << 20


def look(store: Store, *, hooks: bool, processes: t.Sequence[int]) -> dict[str, t.Any]:
    """Return files of the live release that are newer than its switch, and files in it that a process has open for writing.

    With *hooks*, tasks of the user run after the switch, and may write: then what counts is newer than when the release was marked good.
    """
    current = store.link("current")
    result: dict[str, t.Any] = {
        "release": current.release, "judged": False, "manifest": False, "entries": 0, "bytes": 0, "truncated": False, "written": [], "count": 0,
        "bytecode": 0, "open": [],
    }
    if current.kind != "link" or current.release is None:
        return result
    path = store.release_path(current.release)
    result["open"] = _open_for_writing(path, processes)
    since = _since(store, hooks)
    if since is None:
        return result
    known = load_manifest(store, current.release)
    result.update(judged=True, manifest=known is not None)
    found: list[dict[str, t.Any]] = []
    hashed = 0
    for entry, relative in _walk(path):
        result["entries"] += 1
        if result["entries"] > MOST_ENTRIES:
            result["truncated"] = True
            break
        about = entry.stat(follow_symlinks=False)
        result["bytes"] += about.st_size
        if about.st_mtime <= since + _SLACK:
            continue
        if "__pycache__" in relative.split("/") or relative.endswith(".pyc"):
            result["bytecode"] += 1
            continue
        if entry.is_symlink() and os.path.realpath(entry.path).startswith(os.path.realpath(store.shared) + "/"):
            continue
        staged = (known or {}).get(relative)
        if staged is not None and entry.is_file(follow_symlinks=False) and about.st_size == staged.size and hashed + about.st_size <= _HASHED:
            hashed += about.st_size
            if manifests.hash_file(entry.path) == staged.data:
                continue
        kind = "changed" if staged is not None else "new"
        found.append({"path": relative, "kind": kind, "at": about.st_mtime, "links": about.st_nlink if kind == "changed" else 1})
    found.sort(key=lambda item: (item["kind"] != "changed", -item["at"]))
    result.update(written=found[:SHOWN], count=len(found))
    return result


def _since(store: Store, hooks: bool) -> float | None:
    """Return from when on nobody but the application has a reason to write, by the wall clock; None where that is not known."""
    current = store.link("current")
    switched = running.last_switch(store, current)
    if switched is None:
        return None
    if not hooks:
        return time.time() - switched.ago
    good = (store.record(str(current.release)) or {}).get("good_at")
    try:
        return float(calendar.timegm(time.strptime(str(good)[:19], "%Y-%m-%dT%H:%M:%S"))) if good else None
    except ValueError:
        return None


def _walk(path: str) -> t.Iterator[tuple[os.DirEntry[str], str]]:
    """Yield every file and link below *path* with its relative path. Links are not followed."""
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        yield entry, os.path.relpath(entry.path, path)
        except OSError:
            continue


def _open_for_writing(path: str, processes: t.Sequence[int]) -> list[str]:
    inside = os.path.realpath(path) + "/"
    return sorted({file[len(inside):] for pid in processes for file in kernel.written_files(pid) if file.startswith(inside)})[:SHOWN]
