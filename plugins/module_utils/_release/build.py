# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import manifest as manifests
from ansible_collections.seamless.rollout.plugins.module_utils._release import prune, shared
from ansible_collections.seamless.rollout.plugins.module_utils._release.manifest import Entry, Manifest
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Record, Store

_FICLONE = 0x40049409


class Owner(t.NamedTuple):
    uid: int
    gid: int


def owner_of(params: t.Mapping[str, t.Any]) -> Owner | None:
    """Return who shall own the release, or refuse names that this host doesn't know."""
    if not params["owner"] and not params["group"]:
        return None
    import grp
    import pwd

    try:
        user = pwd.getpwnam(params["owner"]) if params["owner"] else None
    except KeyError as exc:
        raise SeamlessError(f"owner is {params['owner']!r}: there is no such user on this host. Create it first.") from exc
    try:
        gid = grp.getgrnam(params["group"]).gr_gid if params["group"] else user.pw_gid if user else os.getegid()
    except KeyError as exc:
        raise SeamlessError(f"group is {params['group']!r}: there is no such group on this host. Create it first.") from exc
    owner = Owner(user.pw_uid if user else os.geteuid(), gid)
    if os.geteuid() != 0 and owner.uid != os.geteuid():
        raise SeamlessError(f"owner is {params['owner']!r}, and only root can give files to another user: use become: true.")
    return owner


def _mode(value: str | None, name: str) -> int | None:
    if not value:
        return None
    try:
        mode = int(str(value), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise SeamlessError(f'{name} is {value!r}: use an octal mode such as "0640".')
    return mode


class Reuse:
    """Finds file contents in earlier releases of this host, so that they need not travel again."""

    def __init__(self, store: Store, first: str | None) -> None:
        self._store = store
        names = [name for name in reversed(list(store.managed())) if name != first]
        self._todo = ([first] if first else []) + names
        self._places: dict[str, list[str]] = {}

    def places(self, sha: str) -> list[str]:
        while sha not in self._places and self._todo:
            release = self._todo.pop(0)
            for entry in (load_manifest(self._store, release) or {}).values():
                if entry.kind == "f":
                    self._places.setdefault(entry.data, []).append(os.path.join(self._store.release_path(release), entry.path))
        return self._places.get(sha, [])


def load_manifest(store: Store, release: str) -> Manifest | None:
    try:
        with open(store.manifest_path(release), "rb") as file:
            return manifests.load(file.read())
    except (OSError, ValueError, EOFError):
        return None


def known_contents(store: Store) -> set[str]:
    """Return the contents that this host's releases hold by their manifests; whether they still do shows when one is built from them."""
    return {sha for release in store.managed() for sha in manifests.contents(load_manifest(store, release) or {})}


def _reflink(source: str, place: str, mode: int, owner: Owner | None) -> bool:
    """Make *place* share the blocks of *source*; return whether this file system can do that."""
    with open(source, "rb") as old, open(place, "xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError as exc:
            os.unlink(place)
            if exc.errno == errno.ENOSPC:
                raise
            return False
        os.fchmod(new.fileno(), mode)
        if owner:
            os.fchown(new.fileno(), *owner)
    return True


def _link_or_copy(source: str, place: str, mode: int, owner: Owner | None) -> None:
    status = os.stat(source)
    wanted_owner = owner or Owner(os.geteuid(), os.getegid())
    if (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (mode, *wanted_owner):
        with contextlib.suppress(OSError):
            os.link(source, place)
            return
    shutil.copyfile(source, place)
    os.chmod(place, mode)
    if owner:
        os.chown(place, *owner)


def _write_new(place: str, data: bytes, mode: int, owner: Owner | None) -> None:
    with open(place, "xb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
        if owner:
            os.fchown(file.fileno(), *owner)


class Builder:
    """Builds one release in the staging directory and publishes it in one rename."""

    def __init__(self, store: Store, params: t.Mapping[str, t.Any], target: Manifest, base: str | None) -> None:
        self.store = store
        self.params = params
        self.target = target
        self.owner = owner_of(params)
        self.file_mode = _mode(params["file_mode"], "file_mode")
        self.dir_mode = _mode(params["dir_mode"], "dir_mode")
        self.reuse = Reuse(store, base)
        self.place = os.path.join(store.staging, f"{params['release']}.{secrets.token_hex(6)}")
        self.reflinks = True
        self.sent = self.sent_bytes = self.reused = self.reused_bytes = 0

    def _file_mode(self, entry: Entry) -> int:
        return entry.mode if self.file_mode is None else self.file_mode | (0o111 & entry.mode)

    def build(self, blobs: t.Iterable[tuple[str, bytes]]) -> list[str]:
        """Build the tree from *blobs* and earlier releases; return the contents that neither had."""
        os.mkdir(self.place, 0o755)
        by_content: dict[str, list[Entry]] = {}
        for path in sorted(self.target):
            entry = self.target[path]
            full = os.path.join(self.place, path)
            if entry.kind == "d":
                os.mkdir(full)
            elif entry.kind == "l":
                os.makedirs(os.path.dirname(full), exist_ok=True)
                os.symlink(entry.data, full)
            else:
                if os.path.dirname(path) not in self.target:
                    os.makedirs(os.path.dirname(full), exist_ok=True)
                by_content.setdefault(entry.data, []).append(entry)
        for sha, data in blobs:
            for entry in by_content.pop(sha, []):
                _write_new(os.path.join(self.place, entry.path), data, self._file_mode(entry), self.owner)
                self.sent += 1
                self.sent_bytes += len(data)
        return [sha for sha, entries in by_content.items() if not self._from_earlier(sha, entries)]

    def _from_earlier(self, sha: str, entries: t.Sequence[Entry]) -> bool:
        for source in self.reuse.places(sha):
            try:
                sound = os.path.isfile(source) and not os.path.islink(source) and manifests.hash_file(source) == sha
            except OSError:
                sound = False
            if sound:
                for entry in entries:
                    wanted = (source, os.path.join(self.place, entry.path), self._file_mode(entry), self.owner)
                    self.reflinks = self.reflinks and _reflink(*wanted)
                    if not self.reflinks:
                        _link_or_copy(*wanted)
                    self.reused += 1
                    self.reused_bytes += entry.size
                return True
        return False

    def finish(self) -> list[str]:
        """Link shared paths, set directory modes and owners, and make all of it survive a power cut."""
        warnings = shared.make_links(self.store, self.place, self.params["linked_dirs"], self.params["linked_files"], self.owner)
        # From the leaves up, what was made on the way to a linked path included.
        for directory, names, files in os.walk(self.place, topdown=False):
            if self.owner:
                for full in (os.path.join(directory, name) for name in (*names, *files)):
                    if os.path.islink(full):
                        os.lchown(full, *self.owner)
                os.lchown(directory, *self.owner)
            entry = self.target.get(os.path.relpath(directory, self.place))
            usual = entry.mode | 0o700 if entry else 0o755
            os.chmod(directory, usual if self.dir_mode is None else self.dir_mode)
        handle = os.open(self.place, os.O_RDONLY)
        try:
            library = ctypes.CDLL(None, use_errno=True)
            if not hasattr(library, "syncfs") or library.syncfs(handle) != 0:
                os.sync()
        finally:
            os.close(handle)
        return warnings

    def publish(self, record: Record) -> None:
        """Say what is about to appear, make it appear in one rename, then say that it is complete."""
        _files.write_atomically(self.store.manifest_path(record["id"]), manifests.dump(self.target))
        self.store.save({**record, "state": "staged"})
        os.rename(self.place, self.store.release_path(record["id"]))
        _files.sync_directory(self.store.releases)
        self.store.save({**record, "state": "ready"})
        self.store.note(
            "staged", release=record["id"], digest=record["digest"], sequence=record["sequence"], rollout_id=record["rollout_id"],
            revision=record.get("revision"),
        )

    def discard(self) -> None:
        if os.path.isdir(self.place):
            prune.remove_tree(self.place)
