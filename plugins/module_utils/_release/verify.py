# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Whether a release on a host still is what was staged, by its manifest. Only reads."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._release import manifest as manifests
from ansible_collections.seamless.rollout.plugins.module_utils._release.manifest import Entry
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store

QUICK, FULL = "quick", "full"
HOW = ("none", QUICK, FULL)
_SHOWN = 5


class _Tree:
    """The tree of a release, with what is linked to shared places told from what is not."""

    def __init__(self, store: Store, release: str) -> None:
        self.place = store.release_path(release)
        self._shared = os.path.realpath(store.shared)
        self._above: dict[str, bool] = {"": False}

    def linked(self, path: str) -> bool:
        """Say whether *path* is, or is below, a link to a shared place: its content is no release's."""
        if path not in self._above:
            full = os.path.join(self.place, path)
            own = os.path.islink(full) and (os.path.realpath(full) + "/").startswith(self._shared + "/")
            self._above[path] = own or self.linked(os.path.dirname(path))
        return self._above[path]


def _differs(full: str, entry: Entry, how: str, staged_at: float) -> tuple[bool, bool]:
    """Say whether what is at *full* is not *entry*, and whether its bytes were read to know."""
    try:
        found = os.lstat(full)
        if entry.kind == "d":
            return not stat.S_ISDIR(found.st_mode), False
        if entry.kind == "l":
            return not stat.S_ISLNK(found.st_mode) or os.readlink(full) != entry.data, False
        if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size:
            return True, False
        if how == FULL or found.st_mtime > staged_at:
            return manifests.hash_file(full) != entry.data, True
    except OSError:
        return True, False
    return False, False


def compare(store: Store, release: str, how: str) -> dict[str, t.Any] | None:
    """Compare *release* with its manifest: ``files`` that were looked at, ``read`` in full, and how many ``differ``, with the first ``paths``.

    ``quick`` looks at kinds, sizes and times, and reads only what was written after the release was staged; ``full`` reads every file.
    Modes and owners are what staging was told, and files that the manifest does not know may be the application's: neither counts.
    None where there is no manifest, as with a release that another tool put there.
    """
    path = store.manifest_path(release)
    try:
        with open(path, "rb") as file:
            manifest = manifests.load(file.read())
        # It is written when all files are there, and before the release appears.
        staged_at = os.stat(path).st_mtime
    except (OSError, ValueError, TypeError):
        return None
    tree = _Tree(store, release)
    differ, read, files = [], 0, 0
    for name, entry in sorted(manifest.items()):
        if tree.linked(name):
            continue
        files += entry.kind == "f"
        wrong, hashed = _differs(os.path.join(tree.place, name), entry, how, staged_at)
        read += hashed
        if wrong:
            differ.append(name)
    return {"release": release, "how": how, "files": files, "read": read, "differ": len(differ), "paths": differ[:_SHOWN]}
