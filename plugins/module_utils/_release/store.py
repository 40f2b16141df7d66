# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import json
import os
import re
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

RELEASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\Z")
USABLE_STATES = ("ready", "current", "good", "previous", "bad", "failed")

Record = t.Dict[str, t.Any]


class Link(t.NamedTuple):
    """What stands at ``current`` or ``preview``: *kind* is link, missing, directory, dangling or foreign."""

    kind: str
    release: str | None
    path: str | None


def iso_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() // 1000 % 1_000_000:06d}Z"


def check_id(release: str, what: str = "release") -> str:
    """Return *release*, or raise SeamlessError unless it is a name that can be a directory's."""
    if not RELEASE_ID.match(release):
        raise SeamlessError(
            f"{what} is {release!r}: use up to 128 letters, digits, dots, dashes, plus signs and underscores, starting with a letter "
            "or digit, such as 1.2.0."
        )
    return release


class Store:
    """The directory of one application on a host: releases side by side, and what is known of them.

    Records and journal are kept in ``.rollout``, outside the releases, so that a release is what was shipped and nothing else.
    """

    def __init__(self, root: str) -> None:
        self.root = _files.expand(root)
        self.releases = os.path.join(self.root, "releases")
        self.shared = os.path.join(self.root, "shared")
        self.meta = os.path.join(self.root, ".rollout")
        self.records = os.path.join(self.meta, "releases")
        self.manifests = os.path.join(self.meta, "manifests")
        self.staging = os.path.join(self.meta, "staging")
        self.trash = os.path.join(self.meta, "trash")
        self.journal_path = os.path.join(self.meta, "journal.jsonl")
        self.lock_path = os.path.join(self.meta, "lock")

    def create(self) -> None:
        for path in (self.root, self.releases, self.shared, self.meta, self.records, self.manifests, self.staging, self.trash):
            if not os.path.isdir(path):
                _files.make_directory(path)

    def release_path(self, release: str) -> str:
        return os.path.join(self.releases, check_id(release))

    def manifest_path(self, release: str) -> str:
        return os.path.join(self.manifests, f"{check_id(release)}.json.gz")

    def link_path(self, link: str) -> str:
        return os.path.join(self.root, link)

    def link(self, name: str) -> Link:
        """Say what stands at *name* (``current`` or ``preview``) without following anything that isn't ours."""
        path = self.link_path(name)
        if not os.path.lexists(path):
            return Link("missing", None, None)
        if not os.path.islink(path):
            return Link("directory", None, path)
        target = os.path.normpath(os.path.join(self.root, os.readlink(path)))
        real_target, real_releases = os.path.realpath(target), os.path.realpath(self.releases)
        inside = os.path.dirname(real_target) == real_releases or os.path.dirname(target) == self.releases
        release = os.path.basename(real_target) if inside else None
        if not os.path.isdir(real_target):
            return Link("dangling", release, target)
        return Link("link" if inside else "foreign", release, target)

    def record(self, release: str) -> Record | None:
        if not RELEASE_ID.match(release):
            return None
        value = _files.read_json(os.path.join(self.records, f"{check_id(release)}.json"))
        return t.cast("Record | None", value)

    def save(self, record: Record) -> None:
        _files.make_directory(self.records)
        _files.write_json(os.path.join(self.records, f"{check_id(record['id'])}.json"), record)

    def forget(self, release: str) -> None:
        for path in (os.path.join(self.records, f"{check_id(release)}.json"), self.manifest_path(release)):
            if os.path.exists(path):
                os.unlink(path)

    def adopt(self, release: str) -> Record:
        """Return a new record for a release that another tool put here: it can be a way back, and is never pruned."""
        return {"id": release, "sequence": 0, "origin": "adopted", "digest": None, "created_at": iso_now()}

    def managed(self) -> dict[str, Record]:
        """Return the records of the releases that this collection put here, by id, in the order in which they were staged."""
        return {release: record for release, record in self.known().items() if record.get("origin") != "adopted"}

    def known(self) -> dict[str, Record]:
        """Return the records of all releases whose directory is there: the managed ones, and others that were live under this collection."""
        found = {}
        for name in _names(self.records):
            if name.endswith(".json") and not name.startswith("."):
                record = self.record(name[:-5])
                if record and os.path.isdir(self.release_path(record["id"])):
                    found[record["id"]] = record
        return dict(sorted(found.items(), key=lambda item: int(item[1].get("sequence", 0))))

    def foreign(self) -> list[str]:
        """Return the names of directories in ``releases`` that this collection didn't put there."""
        known = self.managed()
        return [name for name in _names(self.releases) if name not in known and os.path.isdir(os.path.join(self.releases, name))]

    def next_sequence(self) -> int:
        highest = [int(record.get("sequence", 0)) for record in self.managed().values()]
        highest += [int(entry.get("sequence", 0)) for entry in self.journal() if entry.get("event") == "staged"]
        return max(highest, default=0) + 1

    def journal(self) -> list[Record]:
        """Return the journal; a last line that a power cut left half-written is passed over."""
        entries = []
        try:
            with open(self.journal_path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        for line in lines:
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
        return entries

    def note(self, event: str, **detail: t.Any) -> None:
        """Append to the journal, with wall clock, boot and monotonic time: a clock that is set wrong must not confuse it."""
        _files.make_directory(self.meta)
        entry = {"at": iso_now(), "boot": boot_id(), "monotonic": time.monotonic(), "event": event, **detail}
        handle = os.open(self.journal_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, b"\n" * _needs_newline(self.journal_path) + json.dumps(entry).encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)

    def last_good(self, besides: str | None = None) -> str | None:
        """Return the release that was marked good last, other than *besides*."""
        return newest_good(self.known(), besides)

    def good_now(self) -> dict[str, t.Any]:
        """Return what a record says of a release that is marked good now: when by the clock, and after which others by counting."""
        latest = max((goodness(record)[0] for record in self.known().values()), default=0)
        return {"good_at": iso_now(), "good_sequence": latest + 1}


def newest_good(records: t.Mapping[str, t.Mapping[str, t.Any]], besides: str | None = None) -> str | None:
    """Return which of *records* was marked good last, other than *besides*."""
    good = {
        release: goodness(record)
        for release, record in records.items()
        if record.get("good_at") and record.get("state") not in ("failed", "bad") and release != besides
    }
    return max(good, key=lambda release: good[release], default=None)


def goodness(record: t.Mapping[str, t.Any]) -> tuple[int, str]:
    """Return what orders releases by when they were marked good. A clock that was set wrong for a while must not decide what is pruned."""
    return int(record.get("good_sequence") or 0), str(record.get("good_at") or "")


def _needs_newline(path: str) -> bool:
    """Say whether the last line of *path* was cut off, so that the next one must not be glued to it."""
    size = os.path.getsize(path)
    if size == 0:
        return False
    with open(path, "rb") as file:
        file.seek(size - 1)
        return file.read(1) != b"\n"


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
