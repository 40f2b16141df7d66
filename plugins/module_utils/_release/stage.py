# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import errno
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import floor as floors
from ansible_collections.seamless.rollout.plugins.module_utils._release import manifest as manifests
from ansible_collections.seamless.rollout.plugins.module_utils._release import shared, unpack
from ansible_collections.seamless.rollout.plugins.module_utils._release.build import Builder, known_contents, load_manifest, owner_of
from ansible_collections.seamless.rollout.plugins.module_utils._release.manifest import Manifest
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Record, Store, check_id, iso_now

ARGUMENT_SPEC: dict[str, t.Any] = {
    "root": {"type": "path", "required": True},
    "app": {"type": "str"},
    "release": {"type": "str", "required": True},
    "source": {"type": "dict"},
    "linked_dirs": {"type": "list", "elements": "str", "default": []},
    "linked_files": {"type": "list", "elements": "str", "default": []},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "file_mode": {"type": "str"},
    "dir_mode": {"type": "str"},
    "min_free": {"type": "str", "default": "5%"},
    "rollout_id": {"type": "str", "default": ""},
    "host_releases": {"type": "list", "elements": "dict"},
    "state_dir": {"type": "path"},
    "digest": {"type": "str"},
    "revision": {"type": "str"},
    "bundle_path": {"type": "path"},
    "fetch": {"type": "dict"},
    "floor": {"type": "dict"},
}


def already(store: Store, release: str, digest: str | None, checksum: str | None = None) -> Record | None:
    """Return the record of a release that is here complete; refuse another content under its name."""
    record = store.record(release)
    path = store.release_path(release)
    if record is None or record.get("origin") == "adopted":
        if os.path.lexists(path):
            raise SeamlessError(f"{path} is there, but was not put there by this collection: it was left alone. Use another release id.")
        return None
    if not os.path.isdir(path):
        return None
    if digest and record.get("digest") != digest:
        raise SeamlessError(
            f"release {release} is here already with other content (digest {str(record.get('digest'))[:12]}, the source has {digest[:12]}). "
            "A release is never changed: give the new content a new id."
        )
    known = (record.get("source") or {}).get("checksum")
    if checksum and known and known != checksum:
        raise SeamlessError(
            f"release {release} is here already, made of an archive with the checksum {known}, not {checksum}. A release is never changed: give the "
            "new content a new id."
        )
    if record.get("state") == "staged":
        record = {**record, "state": "ready"}
        store.save(record)
    return record


def _external_links(params: t.Mapping[str, t.Any]) -> bool:
    return bool((params["source"] or {}).get("external_links"))


def _estimate(target: Manifest, base: Manifest, contents: t.Sequence[str]) -> tuple[int, int]:
    sizes = manifests.contents(target)
    known = manifests.contents(base)
    blocks = sum(-(-sizes[sha] // 4096) * 4096 for sha in sizes if sha in set(contents) or sha not in known)
    return blocks + 4096 * sum(entry.kind != "f" for entry in target.values()), len(target)


def _from_bundle(store: Store, params: t.Mapping[str, t.Any], source: t.BinaryIO, check_mode: bool) -> dict[str, t.Any]:
    header = unpack.read_header(source)
    base_release = next((name for name, record in store.managed().items() if header["base"] and record.get("digest") == header["base"]), None)
    base = load_manifest(store, base_release) if base_release else None
    if header["base"] and base is None:
        return {"changed": False, "lacks_base": True, "lacks": []}
    target = manifests.apply_delta(base or {}, header["delta"])
    if manifests.digest_of(target) != params["digest"]:
        raise SeamlessError(f"the manifest of {params['release']} does not add up to digest {params['digest'][:12]}: run again.")
    manifests.check(target, external_links=_external_links(params))
    unsent = set(manifests.contents(target)) - set(header["contents"]) - set(manifests.contents(base or {}))
    lacks = unsent - known_contents(store) if unsent else unsent
    if lacks:
        return {"changed": True, "lacks": sorted(lacks)}
    difference = manifests.summary(base or {}, target)
    diff = {"before": {"releases": sorted(store.managed())}, "after": {"releases": sorted([*store.managed(), params["release"]]), **_capped(difference)}}
    if check_mode:
        return {"changed": True, "digest": params["digest"], "base": base_release, "diff": diff, "lacks": []}
    blobs = unpack.read_blobs(source, header["contents"])
    return _build(store, params, target, base_release, blobs, header["contents"], diff)


def _from_fetch(store: Store, params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Build the release from an archive that this host gets by itself. Its digest is known when it is here."""
    from ansible_collections.seamless.rollout.plugins.module_utils._release import fetched

    diff = {"before": {"releases": sorted(store.managed())}, "after": {"releases": sorted([*store.managed(), params["release"]])}}
    if check_mode:
        return {"changed": True, "digest": None, "base": None, "diff": diff, "lacks": []}
    try:
        with fetched.tree_of(params["fetch"], store.staging, external_links=_external_links(params)) as tree:
            target = unpack.scan(tree, external_links=_external_links(params))
            if not target:
                raise SeamlessError(f"{params['fetch']['url']} is empty: there is nothing to release.")
            places = {entry.data: os.path.join(tree, entry.path) for entry in target.values() if entry.kind == "f"}
            digest = manifests.digest_of(target)
            return _build(store, {**params, "digest": digest}, target, None, _contents(places), list(places), diff)
    except OSError as exc:
        raise _disk_error(store, params["release"], exc) from exc


def _contents(places: t.Mapping[str, str]) -> t.Iterator[tuple[str, bytes]]:
    for sha, place in places.items():
        with open(place, "rb") as file:
            yield sha, file.read()


def _disk_error(store: Store, release: str, exc: OSError) -> SeamlessError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return SeamlessError(f"{store.root} ran full while {release} was staged; what was begun is removed, nothing else was touched.")
    return SeamlessError(f"{release} could not be staged: {exc}. What was begun is removed, nothing else was touched.")


def _build(
    store: Store, params: t.Mapping[str, t.Any], target: Manifest, base_release: str | None, blobs: t.Iterable[tuple[str, bytes]],
    contents: t.Sequence[str], diff: dict[str, t.Any],
) -> dict[str, t.Any]:
    base = load_manifest(store, base_release) if base_release else None
    shared.check_disk(store, *_estimate(target, base or {}, contents), params["min_free"])
    builder = Builder(store, params, target, base_release)
    try:
        lacks = builder.build(blobs)
        if lacks:
            return {"changed": False, "lacks": lacks}
        warnings = builder.finish()
        builder.publish(_record(store, params, target))
    except OSError as exc:
        raise _disk_error(store, params["release"], exc) from exc
    finally:
        builder.discard()
    return {
        "changed": True,
        "digest": params["digest"],
        "state": "ready",
        "base": base_release,
        "lacks": [],
        "files_sent": builder.sent,
        "files_reused": builder.reused,
        "bytes_reused": builder.reused_bytes,
        "warnings": warnings,
        "diff": diff,
    }


def _capped(names: t.Mapping[str, t.Sequence[str]], most: int = 50) -> dict[str, t.Any]:
    return {key: [*value[:most], f"… and {len(value) - most} more"] if len(value) > most else list(value) for key, value in names.items()}


def _record(store: Store, params: t.Mapping[str, t.Any], target: Manifest) -> Record:
    return {
        "id": params["release"],
        "sequence": store.next_sequence(),
        "state": "ready",
        "origin": "seamless",
        "digest": params["digest"],
        "revision": params["revision"],
        "source": params["source"],
        "files": sum(entry.kind == "f" for entry in target.values()),
        "bytes": sum(entry.size for entry in target.values()),
        "created_at": iso_now(),
        "rollout_id": params["rollout_id"],
    }


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Put a release beside the live one from a bundle, or say what is missing to do so. The live release is never touched."""
    started = time.monotonic()
    check_id(params["release"])
    store = Store(params["root"])
    shared.check_names(params["linked_dirs"], params["linked_files"])
    if not params["digest"] and not params["fetch"]:
        raise SeamlessError("release_stage needs its action plugin on the controller, which packs the source: use it as a task, not over raw modules.")
    record = already(store, params["release"], params["digest"], (params["fetch"] or {}).get("checksum"))
    floor = floors.effective(store, params["floor"])
    if record is not None:
        floors.insist(store, params["release"], floor)
        if not check_mode:
            floors.raise_to(store, params["floor"])
        return {"changed": False, "digest": record["digest"], "state": record["state"], "lacks": [], "files_sent": 0}
    shared.check_files(store, params["linked_files"])
    owner_of(params)
    if not check_mode:
        store.create()
        if os.stat(store.releases).st_dev != os.stat(store.staging).st_dev:
            raise SeamlessError(f"{store.releases} and {store.staging} are on different file systems: a release must appear in one rename.")
    if params["fetch"]:
        result = _from_fetch(store, params, check_mode)
    elif params.get("_attachment") is not None:
        result = _from_bundle(store, params, params["_attachment"], check_mode)
    elif params["bundle_path"]:
        with open(params["bundle_path"], "rb") as file:
            result = _from_bundle(store, params, file, check_mode)
    else:
        return {"changed": True, "lacks_base": True, "lacks": [], "digests": [item.get("digest") for item in store.managed().values()]}
    if result.get("state") == "ready":
        # Nothing of the host was touched yet: a release that could never be switched to stops the rollout here.
        floors.insist(store, params["release"], floor)
        floors.raise_to(store, params["floor"])
    return {**result, "release": params["release"], "seconds": round(time.monotonic() - started, 3)}
