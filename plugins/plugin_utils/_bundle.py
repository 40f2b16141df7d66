# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import hashlib
import os
import tempfile
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import manifest as manifests
from ansible_collections.seamless.rollout.plugins.module_utils._release import unpack
from ansible_collections.seamless.rollout.plugins.plugin_utils import _source

_KEEP_BUNDLES = 20


def choose_base(state_dir: str, target: manifests.Manifest, digests: t.Sequence[str]) -> str | None:
    """Return which of *digests*, that a host has, spares the most bytes; only those whose manifest this controller knows."""
    wanted = manifests.contents(target)
    best: tuple[int, str] | None = None
    for digest in dict.fromkeys(digests):
        base = _source.load_manifest(state_dir, digest)
        if base is None:
            continue
        shared = sum(size for sha, size in manifests.contents(base).items() if sha in wanted)
        if best is None or shared >= best[0]:
            best = (shared, digest)
    return best[1] if best else None


def make_bundle(resolved: _source.Resolved, base_digest: str | None, state_dir: str, extra: t.Sequence[str] = ()) -> bytes:
    """Return the bundle that turns *base_digest* (or nothing) into the release, packed once for all hosts that need the same.

    *extra* names contents that a host should have found in its earlier releases and did not.
    """
    target = _source.load_manifest(state_dir, resolved.digest)
    base = _source.load_manifest(state_dir, base_digest) if base_digest else {}
    if target is None or base is None:
        raise SeamlessError(f"the cache in {state_dir} lost a manifest: run again.")
    known = manifests.contents(base)
    contents = sorted({entry.data for entry in target.values() if entry.kind == "f"} - (set(known) - set(extra)))
    key = hashlib.sha256(repr((resolved.digest, base_digest, contents)).encode()).hexdigest()[:32]
    directory = os.path.join(state_dir, "bundles")
    path = os.path.join(directory, key)
    with _source.locked(state_dir, "bundle"):
        os.makedirs(directory, exist_ok=True)
        if not os.path.exists(path):
            header = {"base": base_digest, "delta": manifests.delta(base, target), "contents": contents}
            _pack(path, header, _blobs(resolved.tree, target, contents))
            _tidy(directory)
        with open(path, "rb") as file:
            return file.read()


def _blobs(tree: str, target: manifests.Manifest, contents: t.Sequence[str]) -> t.Iterator[bytes]:
    places = {entry.data: path for path, entry in target.items() if entry.kind == "f"}
    for sha in contents:
        path = os.path.join(tree, places[sha])
        with open(path, "rb") as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != sha:
            raise SeamlessError(f"{path} changed while the release was packed: build into a directory that nothing writes to, and run again.")
        yield data


def _pack(path: str, header: t.Mapping[str, t.Any], blobs: t.Iterable[bytes]) -> None:
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in unpack.write_bundle(header, blobs):
                file.write(piece)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _tidy(directory: str) -> None:
    bundles = sorted((os.path.join(directory, name) for name in os.listdir(directory)), key=os.path.getmtime, reverse=True)
    for bundle in bundles[_KEEP_BUNDLES:]:
        os.unlink(bundle)
