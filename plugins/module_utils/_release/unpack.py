# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import tarfile
import typing as t
import zipfile
import zlib

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import manifest as manifests

# A bundle: blocks of 8 bytes length, 1 byte method (0 stored, 1 zlib) and the bytes. The first is the header in JSON, then comes one for
# each content in the header's order.


def _block(data: bytes) -> bytes:
    packed = zlib.compress(data, 6)
    method, body = (1, packed) if len(packed) < len(data) * 0.95 else (0, data)
    return struct.pack(">QB", len(body), method) + body


def _read_block(source: t.BinaryIO) -> bytes:
    size, method = struct.unpack(">QB", read_exactly(source, 9))
    data = read_exactly(source, size)
    return zlib.decompress(data) if method == 1 else data


def write_bundle(header: t.Mapping[str, t.Any], blobs: t.Iterable[bytes]) -> t.Iterator[bytes]:
    """Yield the pieces of a bundle. *blobs* come in the order of ``header["contents"]``."""
    yield _block(json.dumps(dict(header)).encode())
    for blob in blobs:
        yield _block(blob)


def read_exactly(source: t.BinaryIO, size: int) -> bytes:
    data = source.read(size)
    while len(data) < size:
        more = source.read(size - len(data))
        if not more:
            raise SeamlessError("the bundle ends before its time: the connection broke. Nothing was changed; run again.")
        data += more
    return data


def read_header(source: t.BinaryIO) -> dict[str, t.Any]:
    try:
        return t.cast("dict[str, t.Any]", json.loads(_read_block(source)))
    except (ValueError, zlib.error) as exc:
        raise SeamlessError("the bundle has no header: the connection broke. Nothing was changed; run again.") from exc


def read_blobs(source: t.BinaryIO, contents: t.Sequence[str]) -> t.Iterator[tuple[str, bytes]]:
    """Yield (sha256, bytes) of every content, verified."""
    for wanted in contents:
        data = _read_block(source)
        if hashlib.sha256(data).hexdigest() != wanted:
            raise SeamlessError("the bundle does not hold what its header says: it was damaged on the way. Nothing was changed; run again.")
        yield wanted, data


def unpack_archive(path: str, target: str, *, strip_components: int = 0, name: str | None = None, external_links: bool = False) -> None:
    """Unpack a tar (plain, gzip, bzip2, xz) or zip archive into the empty directory *target*.

    Refuses, before anything is written, members that would leave the tree, devices, fifos, setuid bits, and (unless *external_links*)
    links that point out of it. Nothing is ever written through a link. *name* is what the messages call the archive.
    """
    name = name or os.path.basename(path)
    if zipfile.is_zipfile(path):
        _unpack_zip(path, target, strip_components, name, external_links)
    elif tarfile.is_tarfile(path):
        _unpack_tar(path, target, strip_components, name, external_links)
    else:
        raise SeamlessError(f"{name} is neither a tar nor a zip archive: build one with tar -czf, or use type: directory.")
    # Whoever's umask is at work: one archive is one tree with one digest, which the application's user can enter.
    for directory, names, dummy in os.walk(target):
        for inner in names:
            if not os.path.islink(os.path.join(directory, inner)):
                os.chmod(os.path.join(directory, inner), 0o755)


def _stripped(path: str, count: int) -> str | None:
    """Return *path* without its first *count* parts, or None when nothing is left of it."""
    while path.startswith("./"):
        path = path[2:]
    parts = path.rstrip("/").split("/")
    rest = "/".join(parts[count:])
    return rest if rest not in ("", ".") else None


def _unpack_tar(path: str, target: str, strip: int, name: str, external_links: bool) -> None:
    with tarfile.open(path) as archive:
        members = []
        for member in archive.getmembers():
            raw = member.name[2:] if member.name.startswith("./") else member.name
            if raw in ("", "."):
                continue
            manifests.check_path(raw.rstrip("/"), name)
            inner = _stripped(raw, strip)
            if inner is None:
                continue
            if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
                raise SeamlessError(f"{name} has {member.name}, a device, fifo or socket: a release holds files, directories and links only.")
            if member.isreg() and member.mode & (stat.S_ISUID | stat.S_ISGID):
                raise SeamlessError(f"{name} has {member.name} with a setuid or setgid bit: a release never carries privileges.")
            if member.issym() and not external_links:
                manifests.check_link(inner, member.linkname, name)
            if member.islnk():
                manifests.check_path(_stripped(member.linkname, 0) or "", name)
            members.append((inner, member))
        links = [inner for inner, member in members if member.issym()]
        for inner, member in members:
            if any(inner.startswith(link + "/") for link in links):
                raise SeamlessError(f"{name} has {member.name} behind a link of its own: build it without writing through links.")
        for inner, member in members:
            place = os.path.join(target, inner)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if member.isdir():
                os.makedirs(place, exist_ok=True)
            elif member.issym():
                os.symlink(member.linkname, place)
            elif member.islnk():
                source = _stripped(member.linkname, strip)
                if source is None:
                    raise SeamlessError(f"{name} has {member.name}, a hard link to {member.linkname}, which strip_components takes away.")
                os.link(os.path.join(target, source), place)
            else:
                source_file = archive.extractfile(member)
                if source_file is not None:
                    _write(place, source_file, member.mode)


def _unpack_zip(path: str, target: str, strip: int, name: str, external_links: bool) -> None:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            manifests.check_path(info.filename.rstrip("/"), name)
            mode = info.external_attr >> 16
            if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode) or stat.S_IFMT(mode) == 0):
                raise SeamlessError(f"{name} has {info.filename}, a device, fifo or socket: a release holds files, directories and links only.")
            if mode & (stat.S_ISUID | stat.S_ISGID):
                raise SeamlessError(f"{name} has {info.filename} with a setuid or setgid bit: a release never carries privileges.")
        links: list[tuple[str, str]] = []
        for info in archive.infolist():
            inner = _stripped(info.filename, strip)
            if inner is None:
                continue
            mode = info.external_attr >> 16
            place = os.path.join(target, inner)
            if info.is_dir():
                os.makedirs(place, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if stat.S_ISLNK(mode):
                link_target = archive.read(info).decode()
                links.append((place, link_target if external_links else manifests.check_link(inner, link_target, name)))
                continue
            with archive.open(info) as file:
                _write(place, t.cast(t.BinaryIO, file), stat.S_IMODE(mode) or 0o644)
        # Links come last, so that no file can be written through one.
        for place, link_target in links:
            os.symlink(link_target, place)


def _write(place: str, source: t.IO[bytes], mode: int) -> None:
    with open(place, "xb") as file:
        for chunk in iter(lambda: source.read(1 << 20), b""):
            file.write(chunk)
        os.fchmod(file.fileno(), mode & 0o777)


def scan(
    tree: str, *, exclude: t.Sequence[str] = (), known: t.Mapping[str, t.Any] | None = None, external_links: bool = False
) -> manifests.Manifest:
    """Return the manifest of the directory *tree*.

    *known* maps a path to (size, mtime_ns, ctime_ns, inode, sha256) of an earlier scan: files whose four values are unchanged
    are not read again. The ctime is what nobody can set back.
    """
    import fnmatch

    found: manifests.Manifest = {}
    for directory, names, files in os.walk(tree):
        inside = os.path.relpath(directory, tree)
        prefix = "" if inside == "." else f"{inside}/"
        names[:] = sorted(name for name in names if not any(fnmatch.fnmatch(f"{prefix}{name}", pattern) for pattern in exclude))
        for name in sorted([*names, *files]):
            path = f"{prefix}{name}"
            if any(fnmatch.fnmatch(path, pattern) for pattern in exclude):
                continue
            full = os.path.join(directory, name)
            status = os.lstat(full)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                found[path] = manifests.Entry(path, "l", 0o777, 0, os.readlink(full))
            elif stat.S_ISDIR(status.st_mode):
                found[path] = manifests.Entry(path, "d", mode & 0o755, 0, "")
            elif stat.S_ISREG(status.st_mode):
                stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
                earlier = (known or {}).get(path)
                sha = earlier[4] if earlier and list(earlier[:4]) == stamp else manifests.hash_file(full)
                bits = mode & (stat.S_ISUID | stat.S_ISGID)
                found[path] = manifests.Entry(path, "f", (mode & 0o777 & ~0o022) | bits, status.st_size, sha)
            else:
                raise SeamlessError(f"{full} is a device, fifo or socket: a release holds files, directories and links only. Exclude it.")
    manifests.check(found, external_links=external_links)
    return found
