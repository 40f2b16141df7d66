# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


class Entry(t.NamedTuple):
    """One path of a release. *kind* is f, d or l; *data* is the sha256 of a file or the target of a link; *size* is in bytes."""

    path: str
    kind: str
    mode: int
    size: int
    data: str


Manifest = t.Dict[str, Entry]


def digest_of(manifest: t.Mapping[str, Entry]) -> str:
    """Return the sha256 of the canonical form: entries by path, independent of the order in which a tree was walked."""
    canonical = json.dumps([list(manifest[path]) for path in sorted(manifest)], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def check_path(path: str, what: str = "the release") -> str:
    """Return *path*, or refuse one that would leave the tree."""
    parts = path.split("/")
    if not path or path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise SeamlessError(f"{what} has the member {path!r}, which would leave the release's own directory: build it without absolute paths and '..'.")
    return path


def check_link(path: str, target: str, what: str = "the release") -> str:
    """Return the *target* of the link at *path*, or refuse one that points out of the release."""
    resolved = os.path.normpath(os.path.join(os.path.dirname(path), target))
    if target.startswith("/") or resolved == ".." or resolved.startswith("../"):
        raise SeamlessError(
            f"{what} has the link {path} -> {target}, which points out of the release: make it relative and inside, share the target with "
            "linked_dirs or linked_files, or set external_links: true in the source where the target is the same on all hosts (/usr/bin/python3)."
        )
    return target


def check(manifest: t.Mapping[str, Entry], *, external_links: bool = False) -> None:
    """Refuse a manifest with paths or (unless *external_links*) links that leave the tree, unknown kinds, setuid bits, or files below files."""
    for path, entry in manifest.items():
        check_path(path)
        if entry.kind not in ("f", "d", "l"):
            raise SeamlessError(f"the release has {path} of kind {entry.kind!r}: only files, directories and links can be released.")
        if entry.kind == "l" and not external_links:
            check_link(path, entry.data)
        if entry.mode & (stat.S_ISUID | stat.S_ISGID) and entry.kind == "f":
            raise SeamlessError(f"the release has {path} with a setuid or setgid bit: remove it, a release never carries privileges.")
        parent = os.path.dirname(path)
        while parent:
            if parent in manifest and manifest[parent].kind != "d":
                raise SeamlessError(f"the release has {path} below {parent}, which is not a directory.")
            parent = os.path.dirname(parent)


def delta(base: t.Mapping[str, Entry], target: t.Mapping[str, Entry]) -> dict[str, t.Any]:
    """Return what turns *base* into *target*: entries to set and paths to drop."""
    return {
        "set": [list(entry) for path, entry in sorted(target.items()) if base.get(path) != entry],
        "drop": sorted(path for path in base if path not in target),
    }


def apply_delta(base: t.Mapping[str, Entry], change: t.Mapping[str, t.Any]) -> Manifest:
    result = {path: entry for path, entry in base.items() if path not in set(change["drop"])}
    for item in change["set"]:
        entry = Entry(*item)
        result[entry.path] = entry
    return result


def summary(base: t.Mapping[str, Entry], target: t.Mapping[str, Entry]) -> dict[str, list[str]]:
    """Return the names of added, changed and removed files, for people."""
    return {
        "added": sorted(path for path in target if path not in base),
        "changed": sorted(path for path in target if path in base and base[path] != target[path]),
        "removed": sorted(path for path in base if path not in target),
    }


def contents(manifest: t.Mapping[str, Entry]) -> dict[str, int]:
    """Return the sha256 of every file content and its size."""
    return {entry.data: entry.size for entry in manifest.values() if entry.kind == "f"}


def dump(manifest: t.Mapping[str, Entry]) -> bytes:
    return gzip.compress(json.dumps([list(manifest[path]) for path in sorted(manifest)]).encode(), mtime=0)


def load(data: bytes) -> Manifest:
    return {item[0]: Entry(*item) for item in json.loads(gzip.decompress(data))}


def hash_file(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()
