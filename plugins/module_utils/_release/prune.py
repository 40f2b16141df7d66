# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import os
import secrets
import shutil
import stat
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import lock, processes
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Record, Store, goodness, newest_good

ARGUMENT_SPEC: dict[str, t.Any] = {
    "root": {"type": "path", "required": True},
    "keep_releases": {"type": "int", "default": 5},
    "good": {"type": "str"},
    "protect": {"type": "list", "elements": "str", "default": []},
    "prune": {"type": "bool", "default": True},
    "lock_id": {"type": "str"},
}


class Choice(t.NamedTuple):
    """Which releases go, and why each of the others stays."""

    prune: list[str]
    keep: dict[str, str]


def decide(
    records: t.Mapping[str, t.Mapping[str, t.Any]],
    *,
    keep_releases: int,
    protected: t.Mapping[str, str],
) -> Choice:
    """Choose what to prune. Pure. Of *records* (in the order staged) the newest *keep_releases* stay, and all of *protected*.

    Failed and bad releases don't count, so that they never push out a good one; the newest of them stays as evidence.
    """
    keep = {release: why for release, why in protected.items() if release in records}
    flawed = [release for release, record in records.items() if record.get("state") in ("failed", "bad")]
    sound = [release for release in records if release not in flawed]
    for release in sound[-keep_releases:]:
        keep.setdefault(release, f"one of the newest {keep_releases}")
    if flawed:
        keep.setdefault(flawed[-1], "evidence of the last failure")
    return Choice([release for release in records if release not in keep], keep)


def choose(store: Store, keep_releases: int, *, protect: t.Sequence[str], good: str | None = None, coming: str | None = None) -> Choice:
    """Choose what to prune on this host: never what is live, previewed, a way back, in use, or still being rolled out.

    With *coming*, say what would be chosen after a switch to that release, be it here already or not, and after it was marked good.
    """
    protected: dict[str, str] = {release: "named in protect" for release in protect}
    current, known = store.link("current").release, store.known()
    left = ""
    if coming:
        left, current, known = current or "", coming, _after_switch(store, known, coming)
    for release, why in ((store.link("preview").release, "preview"), (newest_good(known), "last good release")):
        if release:
            protected[release] = why
    way_back = newest_good(known, besides=good or current)
    if way_back:
        protected[way_back] = "rollback target"
    # A rollout that is planned will hold the lock itself, and has staged nothing else.
    held = None if coming else lock.read(store)
    records = {release: record for release, record in known.items() if record.get("origin") != "adopted"}
    if held and not held["expired"]:
        protected.update({release: "staged by a running rollout" for release, record in records.items() if record.get("rollout_id") == held["id"]})
    if current:
        protected[current] = "current"
    choice = decide(records, keep_releases=keep_releases, protected=protected)
    if not choice.prune:
        return choice
    in_use = processes.users_of_releases(store.releases)
    for release in choice.prune:
        # What works in the release that is live now is restarted by the switch.
        if release in in_use and release != left:
            use = in_use[release][0]
            choice.keep[release] = f"in use by process {use.pid} ({use.how})"
    return Choice([release for release in choice.prune if release not in choice.keep], choice.keep)


def _after_switch(store: Store, known: t.Mapping[str, Record], coming: str) -> dict[str, Record]:
    """Return the records as a switch to *coming* that proves good would leave them."""
    records = dict(known)
    latest = max((goodness(record)[0] for record in records.values()), default=0)
    standing = store.link("current")
    before = f"{coming} adopts" if standing.kind == "directory" else standing.release if standing.kind == "link" else None
    if before and before != coming:
        # What another tool had put here was live until now: that makes it a way back.
        record = records.get(before) or {**store.adopt(before), "good_at": "now", "good_sequence": latest + 1}
        records[before] = {**record, "state": "previous"}
    records[coming] = {**records.get(coming, {"id": coming}), "state": "good", "good_at": "now", "good_sequence": latest + 2}
    return records


def remove_tree(path: str) -> None:
    """Delete a tree, directories without write permission included."""
    for directory, names, dummy in os.walk(path):
        for name in [directory, *(os.path.join(directory, item) for item in names)]:
            if os.path.isdir(name) and not os.path.islink(name) and not os.stat(name).st_mode & stat.S_IWUSR:
                os.chmod(name, 0o700)
    shutil.rmtree(path)


def discard(store: Store, path: str) -> None:
    """Delete a tree so that it never looks like a release meanwhile: first out of the way in one rename, then file by file."""
    _files.make_directory(store.trash)
    place = os.path.join(store.trash, f"{os.path.basename(path)}.{secrets.token_hex(4)}")
    os.rename(path, place)
    remove_tree(place)


def sweep(store: Store) -> list[str]:
    """Remove what dead runs left in staging and trash; warnings instead of errors. Only under our own lock or with none held."""
    warnings = []
    for directory in (store.staging, store.trash):
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            try:
                remove_tree(os.path.join(directory, name))
            except OSError as exc:
                warnings.append(f"{os.path.join(directory, name)} could not be removed: {exc.strerror}")
    return warnings


def mark_good(store: Store, release: str, check_mode: bool) -> bool:
    """Mark the current release good: from now on it is a way back. Returns whether that is new."""
    if store.link("current").release != release:
        raise SeamlessError(f"good is {release!r}, but {store.root}/current is {store.link('current').release!r}: only the live release can be good.")
    record = store.record(release) or store.adopt(release)
    if record.get("state") == "good" and record.get("good_at"):
        return False
    if not check_mode:
        store.save({**record, "state": "good", **store.good_now()})
        store.note("good", release=release)
    return True


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Prune releases; where asked, mark the current one good before and give a lock back afterwards."""
    store = Store(params["root"])
    if params["keep_releases"] < 1:
        raise SeamlessError(f"keep_releases is {params['keep_releases']}: use at least 1, the live release always stays.")
    warnings: list[str] = []
    marked = bool(params["good"]) and mark_good(store, params["good"], check_mode)
    choice = choose(store, params["keep_releases"], protect=params["protect"], good=params["good"]) if params["prune"] else Choice([], {})
    pruned = []
    if params["prune"] and not check_mode:
        held = lock.read(store)
        for release in choice.prune:
            try:
                discard(store, store.release_path(release))
                store.forget(release)
                pruned.append(release)
            except OSError as exc:
                warnings.append(f"release {release} could not be removed: {exc.filename or ''} {exc.strerror}")
        if held is None or held["id"] == params["lock_id"]:
            warnings += sweep(store)
        if pruned:
            store.note("pruned", releases=pruned)
    if params["lock_id"]:
        lock.release(store, params["lock_id"], check_mode)
    everything = [*choice.prune, *choice.keep]
    return {
        "changed": marked or bool(choice.prune if check_mode else pruned),
        "pruned": choice.prune if check_mode else pruned,
        "kept": [{"id": release, "why": why} for release, why in choice.keep.items()],
        "good": params["good"],
        "warnings": warnings,
        "diff": {
            "before": {"releases": sorted(everything)},
            "after": {"releases": sorted(release for release in everything if release not in choice.prune)},
        },
    }
