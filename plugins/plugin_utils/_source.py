# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import fcntl
import fnmatch
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _fetch, _files, _urls
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import floor as floors
from ansible_collections.seamless.rollout.plugins.module_utils._release import manifest as manifests
from ansible_collections.seamless.rollout.plugins.module_utils._release import prune, unpack

KEYS = {
    "directory": ("type", "path", "exclude", "build", "external_links"),
    "git": ("type", "repo", "ref", "subdirectory", "build", "external_links"),
    "archive": ("type", "path", "url", "checksum", "strip_components", "build", "external_links"),
    "url": ("type", "url", "checksum", "strip_components", "external_links"),
}
VCS = [".git", ".hg", ".svn"]
_KEEP_TREES = 10


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A source that is pinned: the same bytes for every host, whatever a branch or a directory does meanwhile."""

    digest: str
    revision: str | None
    files: int
    bytes: int
    tree: str
    description: dict[str, t.Any]


def validate_source(source: t.Mapping[str, t.Any]) -> str:
    """Return the type of *source*. Raises SeamlessError naming the key, its value and what would do."""
    kind = str(source.get("type", ""))
    if kind not in KEYS:
        near = difflib.get_close_matches(kind, KEYS, n=1)
        raise SeamlessError(f"source type is {kind!r}: use one of {', '.join(KEYS)}." + (f" Did you mean {near[0]}?" if near else ""))
    for key in source:
        if key not in KEYS[kind]:
            near = difflib.get_close_matches(str(key), KEYS[kind], n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise SeamlessError(f"source has {key!r}, which means nothing for type {kind}: known are {', '.join(KEYS[kind])}.{hint}")
    if not isinstance(source.get("external_links", False), bool):
        raise SeamlessError(f"source external_links is {source['external_links']!r}: use true or false.")
    if kind == "directory" and not source.get("path"):
        raise SeamlessError("source has no path: name the directory on the controller, such as {type: directory, path: build/}.")
    if kind == "git" and not (source.get("repo") and source.get("ref")):
        raise SeamlessError("source needs repo and ref for type git, such as {type: git, repo: https://…/shop.git, ref: v1.2.0}.")
    if kind == "url":
        # The host gets it by itself, so nothing but its form can be judged here.
        if str(source.get("url")).partition("://")[0] not in ("http", "https", "file"):
            raise SeamlessError(
                f"source url is {_urls.shown(str(source.get('url')))!r}: use a URL that the hosts can reach (http or https), or file:///path for an "
                "archive on the hosts."
            )
        _fetch.check_checksum(source.get("checksum"), f"source {_urls.shown(str(source['url']))}")
    if kind == "archive":
        if bool(source.get("path")) == bool(source.get("url")):
            raise SeamlessError(f"source needs one of path and url for type {kind}.")
        where = f"source {source.get('path') or _urls.shown(str(source['url']))}"
        if source.get("path") and not source.get("checksum") and os.path.isfile(_expand(source["path"])):
            found = hashlib.sha256()
            with open(_expand(source["path"]), "rb") as file:
                for chunk in iter(lambda: file.read(1 << 20), b""):
                    found.update(chunk)
            raise SeamlessError(f'{where} has no checksum: if this file is the one you mean, add checksum: "sha256:{found.hexdigest()}".')
        _fetch.check_checksum(source.get("checksum"), where)
    return kind


def _expand(path: t.Any) -> str:
    return os.path.abspath(os.path.expanduser(str(path)))


def carried(state_dir: str, digest: str, tree: str, directory: str) -> list[str]:
    """Return the migrations that a release carries which is pinned on this controller, by its manifest: what is excluded is not in the release."""
    manifest = load_manifest(state_dir, digest) or {}
    place = f"{floors.check_directory(directory)}/"
    parts = directory.split("/")
    if any(path in manifest and manifest[path].kind == "l" for path in ("/".join(parts[:number]) for number in range(1, len(parts) + 1))):
        return sorted(floors.carried(tree, directory))
    files = [path[len(place):] for path, entry in manifest.items() if path.startswith(place) and entry.kind != "d"]
    found = {name for name in map(floors.name_of, files) if name}
    if floors.SQUASHED in files:
        with open(os.path.join(tree, place, floors.SQUASHED), encoding="utf-8", errors="replace") as file:
            found.update(floors.squashed_names(file.read()))
    return sorted(found)


def describe(source: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what may be written down of *source*: no credentials, no query strings."""
    shown = {key: value for key, value in source.items() if key in ("type", "path", "ref", "subdirectory", "checksum", "external_links")}
    for key in ("repo", "url"):
        if source.get(key):
            shown[key] = _urls.shown(str(source[key])) if "://" in str(source[key]) else str(source[key])
    return shown


@contextlib.contextmanager
def locked(state_dir: str, name: str) -> t.Iterator[None]:
    """Let one process at a time prepare *name*: Ansible runs a task for many hosts in as many processes."""
    os.makedirs(state_dir, mode=0o700, exist_ok=True)
    handle = os.open(os.path.join(state_dir, f".{name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def fetched_by_host(source: t.Mapping[str, t.Any]) -> bool:
    """Say whether the hosts get the archive by themselves: then its checksum pins it, and its digest is known when it is there."""
    return source.get("type") == "url"


def resolve(source: t.Mapping[str, t.Any], *, app: str, release: str, rollout_id: str, state_dir: str) -> Resolved:
    """Pin *source* for a rollout: find its revision, get or build its tree, and take its manifest, once.

    Every later call for the same rollout and release returns the same answer. Raises SeamlessError for a source that is
    written wrongly, can't be had, or holds what a release must not hold.
    """
    kind = validate_source(source)
    pin = os.path.join(state_dir, "pins", f"{hashlib.sha256(f'{rollout_id}|{release}'.encode()).hexdigest()[:24]}.json")
    with locked(state_dir, "source"):
        pinned = _files.read_json(pin) if rollout_id else None
        if pinned and pinned["source"] == describe(source) and os.path.isdir(pinned["tree"]):
            fields = {key: pinned[key] for key in ("digest", "revision", "files", "bytes", "tree", "description")}
            return Resolved(**fields)
        getter = {"directory": _directory, "git": _git, "archive": _archive}[kind]
        tree, revision, exclude = getter(source, state_dir)
        if source.get("build"):
            tree = _build(source["build"], tree, state_dir, exclude)
            exclude = []
        manifest = _scan(tree, exclude, state_dir, external_links=bool(source.get("external_links")))
        if not manifest:
            raise SeamlessError(f"source {describe(source)} is empty: there is nothing to release.")
        digest = manifests.digest_of(manifest)
        os.makedirs(os.path.join(state_dir, "manifests"), exist_ok=True)
        _files.write_atomically(manifest_path(state_dir, digest), manifests.dump(manifest))
        resolved = Resolved(
            digest=digest,
            revision=revision,
            files=sum(entry.kind == "f" for entry in manifest.values()),
            bytes=sum(entry.size for entry in manifest.values()),
            tree=tree,
            description=describe(source),
        )
        if rollout_id:
            os.makedirs(os.path.dirname(pin), exist_ok=True)
            _files.write_json(pin, {**dataclasses.asdict(resolved), "source": describe(source)}, 0o600)
        _tidy(os.path.join(state_dir, "trees"), tree)
    return resolved


def manifest_path(state_dir: str, digest: str) -> str:
    return os.path.join(state_dir, "manifests", f"{digest}.json.gz")


def load_manifest(state_dir: str, digest: str) -> manifests.Manifest | None:
    """Return the manifest that this controller took of *digest*, or None if another one did."""
    try:
        with open(manifest_path(state_dir, digest), "rb") as file:
            return manifests.load(file.read())
    except (OSError, ValueError, EOFError):
        return None


def _scan(tree: str, exclude: list[str], state_dir: str, *, external_links: bool) -> manifests.Manifest:
    cache_path = os.path.join(state_dir, "scans", f"{hashlib.sha256(tree.encode()).hexdigest()[:24]}.json")
    try:
        known = _files.read_json(cache_path) or {}
    except SeamlessError:
        known = {}
    manifest = unpack.scan(tree, exclude=exclude, known=known, external_links=external_links)
    stamps = {}
    for path, entry in manifest.items():
        if entry.kind == "f":
            status = os.lstat(os.path.join(tree, path))
            stamps[path] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, entry.data]
    os.makedirs(os.path.dirname(cache_path), exist_ok=True)
    _files.write_atomically(cache_path, json.dumps(stamps).encode(), 0o600)
    return manifest


def _directory(source: t.Mapping[str, t.Any], state_dir: str) -> tuple[str, str | None, list[str]]:
    path = _expand(source["path"])
    if not os.path.isdir(path):
        raise SeamlessError(f"source path is {source['path']!r}: {path} is not a directory on the controller. Build the release first, or correct the path.")
    return path, None, [*VCS, *[str(pattern) for pattern in source.get("exclude") or []]]


def _fresh_tree(state_dir: str, name: str) -> str:
    place = os.path.join(state_dir, "trees", name)
    if os.path.isdir(place):
        prune.remove_tree(place)
    os.makedirs(place)
    return place


def _run(command: list[str], what: str) -> str:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, encoding="utf-8", errors="replace", check=False,
        )
    except FileNotFoundError as exc:
        raise SeamlessError(f"{what} needs {command[0]} on the controller: install it.") from exc
    if done.returncode != 0:
        raise SeamlessError(f"{what} failed: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def _git(source: t.Mapping[str, t.Any], state_dir: str) -> tuple[str, str | None, list[str]]:
    repo, ref = str(source["repo"]), str(source["ref"])
    shown = describe(source)["repo"]
    clone = os.path.join(state_dir, "git", hashlib.sha256(shown.encode()).hexdigest()[:24])
    if not os.path.isdir(clone):
        _run(["git", "init", "--quiet", "--bare", clone], "git init")
    refspecs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    # The URL is given each time instead of being kept in the clone: it may hold a token.
    _run(["git", "-C", clone, "fetch", "--quiet", "--prune", "--no-write-fetch-head", repo, *refspecs], f"fetching {shown}")
    try:
        sha = _run(["git", "-C", clone, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"], "git rev-parse")
    except SeamlessError as exc:
        raise SeamlessError(f"source ref is {ref!r}: {shown} has no such branch, tag or commit.") from exc
    inside = str(source.get("subdirectory") or "").strip("/")
    tree = _fresh_tree(state_dir, f"git-{sha[:16]}-{hashlib.sha256(inside.encode()).hexdigest()[:8]}")
    with tempfile.NamedTemporaryFile(suffix=".tar", dir=state_dir) as archive:
        _run(["git", "-C", clone, "archive", "--format=tar", f"--output={archive.name}", f"{sha}:{inside}" if inside else sha], f"git archive of {ref}")
        unpack.unpack_archive(archive.name, tree, name=f"{shown} at {ref}", external_links=bool(source.get("external_links")))
    return tree, sha, []


def _archive(source: t.Mapping[str, t.Any], state_dir: str) -> tuple[str, str | None, list[str]]:
    dummy, checksum = _fetch.check_checksum(source["checksum"], "source")
    strip = int(source.get("strip_components") or 0)
    with contextlib.ExitStack() as stack:
        if source.get("url"):
            temporary = stack.enter_context(tempfile.NamedTemporaryFile(dir=state_dir))
            path, name = temporary.name, str(describe(source)["url"])
            _fetch.download(str(source["url"]), path)
        else:
            path = _expand(source["path"])
            name = os.path.basename(path)
            if not os.path.isfile(path):
                raise SeamlessError(f"source path is {source['path']!r}: {path} is not a file on the controller. Build the release first, or correct the path.")
        _fetch.verify(path, str(source["checksum"]), f"source {name}")
        tree = _fresh_tree(state_dir, f"archive-{checksum[:24]}-{strip}")
        unpack.unpack_archive(path, tree, strip_components=strip, name=name, external_links=bool(source.get("external_links")))
    return tree, None, []


def _excluded(tree: str, exclude: t.Sequence[str], directory: str, names: t.Sequence[str]) -> set[str]:
    """Return which *names* of *directory* are left out, by their paths from the top of *tree* as in a source without a build."""
    inside = os.path.relpath(directory, tree)
    return {name for name in names if any(fnmatch.fnmatch(os.path.normpath(os.path.join(inside, name)), pattern) for pattern in exclude)}


def _build(command: t.Any, tree: str, state_dir: str, exclude: list[str]) -> str:
    """Run the build command once, in a copy, so that the user's own tree stays as it is."""
    place = _fresh_tree(state_dir, f"build-{hashlib.sha256(tree.encode()).hexdigest()[:16]}")
    shutil.rmtree(place)
    shutil.copytree(tree, place, symlinks=True, ignore=functools.partial(_excluded, tree, exclude))
    shell = isinstance(command, str)
    done = subprocess.run(
        command if shell else [str(item) for item in command], shell=shell, cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", check=False,
    )
    if done.returncode != 0:
        raise SeamlessError(f"source build {command!r} ended with {done.returncode}:\n{done.stdout.strip()[-2000:]}")
    return place


def _tidy(directory: str, keep: str) -> None:
    """Keep the newest trees of this cache, and the one in use."""
    if not os.path.isdir(directory):
        return
    trees = sorted((os.path.join(directory, name) for name in os.listdir(directory)), key=os.path.getmtime, reverse=True)
    for tree in trees[_KEEP_TREES:]:
        if tree != keep:
            prune.remove_tree(tree)
