# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store

_CAPISTRANO = re.compile(r"\d{14}\Z")
_ANSISTRANO = re.compile(r"\d{14}Z\Z")
_DEPLOYER = re.compile(r"\d+\Z")


def layout(store: Store) -> str:
    """Say whose tree this is, by what only that tool leaves: seamless, capistrano, deployer, ansistrano, unknown or none."""
    if not os.path.isdir(store.root):
        return "none"
    if os.path.isdir(store.records):
        return "seamless"
    names = store.foreign()
    if os.path.isdir(os.path.join(store.root, ".dep")):
        return "deployer"
    if os.path.exists(os.path.join(store.root, "revisions.log")) or any(_CAPISTRANO.match(name) for name in names):
        return "capistrano"
    if any(_ANSISTRANO.match(name) for name in names):
        return "ansistrano"
    return "unknown" if names or os.path.lexists(store.link_path("current")) else "none"


def foreign_releases(store: Store) -> list[dict[str, t.Any]]:
    """Return the releases that another tool put here, oldest first by their names: never by mtime, which any write changes.

    They can be switched to and from, and are never pruned.
    """
    found = []
    for name in store.foreign():
        origin = (
            "capistrano"
            if _CAPISTRANO.match(name)
            else "ansistrano"
            if _ANSISTRANO.match(name)
            else "deployer"
            if _DEPLOYER.match(name) and os.path.isdir(os.path.join(store.root, ".dep"))
            else "unknown"
        )
        bad = os.path.exists(os.path.join(store.releases, name, "BAD_RELEASE"))
        record = store.record(name) or {}
        found.append(
            {
                "id": name,
                "managed": False,
                "origin": origin,
                "state": "bad" if bad else record.get("state", "ready"),
                "digest": None,
                "revision": _revision(os.path.join(store.releases, name)),
                "good_at": None if bad else record.get("good_at"),
                "good_sequence": None if bad else record.get("good_sequence"),
            }
        )
    return sorted(found, key=lambda item: _age(str(item["id"])))


def _revision(release: str) -> str | None:
    """Return what stands in the file REVISION, which all three tools write."""
    try:
        with open(os.path.join(release, "REVISION"), encoding="utf-8", errors="replace") as file:
            return file.readline(200).strip() or None
    except OSError:
        return None


def _age(name: str) -> tuple[bool, int, str]:
    """Sort by the time or number in the name; names without one come last."""
    digits = name[:-1] if name.endswith("Z") else name
    return (not digits.isdigit(), int(digits) if digits.isdigit() else 0, name)
