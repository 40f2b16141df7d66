# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import os
import re
import shutil
import tempfile
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store


def check_names(linked_dirs: t.Sequence[str], linked_files: t.Sequence[str]) -> None:
    """Refuse linked paths that leave the tree, stand twice, or lie inside one another."""
    names = [("linked_dirs", name) for name in linked_dirs] + [("linked_files", name) for name in linked_files]
    for what, name in names:
        parts = name.split("/")
        if not name or name.startswith("/") or any(part in ("", ".", "..") for part in parts):
            raise SeamlessError(f"{what} has {name!r}: use a path inside the release such as uploads or config/.env.")
    seen = [name for dummy, name in names]
    for name in seen:
        if seen.count(name) > 1:
            raise SeamlessError(f"{name} stands twice in linked_dirs and linked_files: keep one.")
        inside = next((other for other in seen if other != name and name.startswith(other + "/")), None)
        if inside:
            raise SeamlessError(f"{name} lies inside {inside}, and both are linked: link {inside} alone.")


def check_files(store: Store, linked_files: t.Sequence[str]) -> None:
    """Refuse to stage while a shared file is missing: an application must never start without its configuration."""
    missing = [os.path.join(store.shared, name) for name in linked_files if not os.path.isfile(os.path.join(store.shared, name))]
    if missing:
        raise SeamlessError(f"linked_files are missing on this host: {', '.join(missing)}. Put them there first (with the copy or template module).")


def _refuse_links_above(tree: str, name: str) -> None:
    parent = os.path.dirname(name)
    while parent:
        if os.path.islink(os.path.join(tree, parent)):
            raise SeamlessError(f"{name} is to be linked, and the release has a link at {parent}: link {parent} itself, or leave it out of the release.")
        parent = os.path.dirname(parent)


def _copy(source: str, target: str, owner: tuple[int, int] | None) -> None:
    """Copy a directory, which is there in whole and with its *owner*, or not at all."""
    temporary = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(target))
    try:
        shutil.copytree(source, os.path.join(temporary, "tree"), symlinks=True)
        if owner:
            for directory, names, files in os.walk(temporary):
                for name in [*names, *files]:
                    os.chown(os.path.join(directory, name), *owner, follow_symlinks=False)
        os.rename(os.path.join(temporary, "tree"), target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_links(
    store: Store, tree: str, linked_dirs: t.Sequence[str], linked_files: t.Sequence[str], owner: tuple[int, int] | None
) -> list[str]:
    """Link the shared paths into *tree*, relative, as they will be below ``releases/<id>``. Returns warnings.

    What a release brings at a linked directory becomes the shared content the first time and is left out afterwards.
    """
    warnings = []
    for name in [*linked_dirs, *linked_files]:
        shared, place = os.path.join(store.shared, name), os.path.join(tree, name)
        _refuse_links_above(tree, name)
        if os.path.lexists(place):
            brought = os.path.isdir(place) and not os.path.islink(place) and set(os.listdir(place)) - {".gitkeep", ".keep"}
            if brought and not os.path.lexists(shared):
                _files.make_directory(os.path.dirname(shared))
                _copy(place, shared, owner)
                warnings.append(f"{shared} was made from what the release brings at {name}")
            elif brought:
                warnings.append(f"the release brings files at {name}, which is linked to {shared}: they are left out")
            if os.path.isdir(place) and not os.path.islink(place):
                shutil.rmtree(place)
            else:
                os.unlink(place)
        if name in linked_dirs and not os.path.isdir(shared):
            _files.make_directory(shared)
            if owner:
                os.chown(shared, *owner)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        depth = len(name.split("/")) - 1
        os.symlink(os.path.join("../" * (2 + depth) + "shared", name), place)
    return warnings


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def reserve(min_free: str, total: int) -> int:
    """Return the bytes that must stay free of *total*: "5%", "500M" or a number of bytes."""
    match = re.fullmatch(r"(\d+)\s*(%|[KMGT]?)i?B?", str(min_free).strip(), re.IGNORECASE)
    if not match or (match[2] == "%" and int(match[1]) > 99):
        raise SeamlessError(f'min_free is {min_free!r}: use a percentage such as "5%" or an amount such as 500M.')
    return int(match[1]) * total // 100 if match[2] == "%" else int(match[1]) * _UNITS[match[2].upper()]


def check_disk(store: Store, bytes_needed: int, inodes_needed: int, min_free: str) -> None:
    """Refuse to start what would not fit, with the numbers."""
    stats = os.statvfs(store.root)
    free, total = stats.f_bavail * stats.f_frsize, stats.f_blocks * stats.f_frsize
    keep = reserve(min_free, total)
    if free - bytes_needed < keep:
        raise SeamlessError(
            f"{store.root}: {_size(free)} are free, the release needs {_size(bytes_needed)} and min_free keeps {_size(keep)} ({min_free}). "
            "Free space, prune with a lower keep_releases, or lower min_free."
        )
    if stats.f_files and stats.f_favail < inodes_needed:
        raise SeamlessError(f"{store.root}: {stats.f_favail} inodes are free and the release needs {inodes_needed}. Prune with a lower keep_releases.")


def _size(number: int) -> str:
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024 or unit == "GiB":
            return f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{number} B"
