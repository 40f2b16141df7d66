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
_MOST_EXCHANGES = 6


class Base(t.NamedTuple):
    """A release that a host has, by its digest, and the manifest of it; without either, nothing."""

    digest: str | None
    manifest: manifests.Manifest


def choose_base(state_dir: str, target: manifests.Manifest, digests: t.Sequence[str]) -> Base:
    """Return which of *digests*, that a host has, spares the most bytes; only those whose manifest this controller knows."""
    wanted = manifests.contents(target)
    best, most = Base(None, {}), -1
    for digest in dict.fromkeys(digests):
        manifest = _source.load_manifest(state_dir, digest)
        if manifest is None:
            continue
        shared = sum(size for sha, size in manifests.contents(manifest).items() if sha in wanted)
        if shared >= most:
            best, most = Base(digest, manifest), shared
    return best


def ship(
    resolved: _source.Resolved, state_dir: str, digests: t.Sequence[str] | None, send: t.Callable[[bytes | None], dict[str, t.Any]]
) -> dict[str, t.Any]:
    """Bring the release to a host by *send*, which gives it a bundle and returns its answer, in as few exchanges as can be.

    *digests* are those of the releases that the host has, or None when it has to be asked. Where this controller knows one of them, one
    bundle with the difference does; where it knows none, the host says first what it lacks.
    """
    target = _source.load_manifest(state_dir, resolved.digest)
    if target is None:
        raise SeamlessError(f"the cache in {state_dir} lost a manifest: run again.")
    base = Base(None, {})
    contents: set[str] | None = None
    sent = 0
    for dummy in range(_MOST_EXCHANGES):
        if digests is None:
            answer = send(None)
            if answer.get("failed") or not answer.get("lacks_base"):
                return answer
            digests = [str(digest) for digest in answer.get("digests") or [] if digest]
        if contents is None:
            base = choose_base(state_dir, target, digests)
            contents = set() if base.digest is None and digests else set(manifests.contents(target)) - set(manifests.contents(base.manifest))
        bundle = make_bundle(resolved, target, base, state_dir, sorted(contents))
        sent += len(bundle)
        answer = send(bundle)
        if answer.get("lacks_base"):
            digests = [digest for digest in digests if digest != base.digest]
            contents = None
        elif answer.get("lacks"):
            contents.update(answer["lacks"])
        else:
            return {**answer, "revision": answer.get("revision") or resolved.revision, "bytes_sent": sent}
    return {"failed": True, "msg": "The host kept asking for more: its earlier releases change while they are read."}


def make_bundle(resolved: _source.Resolved, target: manifests.Manifest, base: Base, state_dir: str, contents: t.Sequence[str]) -> bytes:
    """Return the bundle that turns *base* into the release, packed once for all hosts that need the same *contents*.

    With no contents it is an offer: the host says what it lacks.
    """
    key = hashlib.sha256(repr((resolved.digest, base.digest, list(contents))).encode()).hexdigest()[:32]
    directory = os.path.join(state_dir, "bundles")
    path = os.path.join(directory, key)
    with _source.locked(state_dir, "bundle"):
        os.makedirs(directory, exist_ok=True)
        if not os.path.exists(path):
            header = {"base": base.digest, "delta": manifests.delta(base.manifest, target), "contents": list(contents)}
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
