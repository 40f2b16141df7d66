# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Directories in which an application keeps what its users made: whether they are on this host's own disk, and what is in them."""

from __future__ import annotations

import hashlib
import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._audit import kernel
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store

MOST_FILES = 20_000
NEWEST = 100
# What each host has for itself, by the name of a file or of a directory on the way to it.
_OWN = re.compile(
    r"(^|/)(logs?|tmp|temp|caches?|pids?|run|sockets?|__pycache__|\.cache|framework/views)(/|\Z)|\.(log|pid|sock|lock|tmp|pyc)(\.\d+)?(\.gz)?\Z", re.IGNORECASE
)
_SESSION = re.compile(r"(^|/)sess(ion)?[-_][A-Za-z0-9,-]{6,}[^/]*\Z|(^|/)sessions?/[^/]+\Z|\.sess(ion)?\Z", re.IGNORECASE)
_DATABASE = re.compile(r"\.(db|db3|sqlite|sqlite3|s3db|mdb|rdb)\Z", re.IGNORECASE)
# Directories of the system, in which no application keeps its users' data.
_SYSTEM = ("/", "/root", "/home", "/tmp", "/var/tmp", "/srv", "/opt", "/var", "/var/lib", "/nonexistent")
_SYSTEM_BELOW = ("/bin/", "/sbin/", "/lib/", "/lib64/", "/usr/", "/etc/", "/proc/", "/sys/", "/dev/", "/run/", "/var/log/", "/var/cache/", "/boot/")


def listing(path: str) -> dict[str, t.Any]:
    """Return what is in the directory *path*: how many files, a digest of their names and sizes, and the newest of them."""
    found: list[tuple[float, str, int]] = []
    truncated = False
    waiting = [path]
    while waiting and not truncated:
        directory = waiting.pop()
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            relative = os.path.relpath(entry.path, path)
            if _OWN.search(relative):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    about = entry.stat(follow_symlinks=False)
                    found.append((about.st_mtime, relative, about.st_size))
            except OSError:
                continue
            if len(found) >= MOST_FILES:
                truncated = True
                break
    names = hashlib.sha256("\n".join(f"{size} {name}" for name, size in sorted((name, size) for dummy, name, size in found)).encode()).hexdigest()
    kind = kernel.filesystem(path)
    return {
        "path": path,
        "filesystem": kind,
        "shared": kind in kernel.NETWORK_FILESYSTEMS,
        "files": len(found),
        "sessions": sum(bool(_SESSION.search(name)) for dummy, name, dummy2 in found),
        "digest": names[:16],
        "truncated": truncated,
        "newest": [name for dummy, name, dummy2 in sorted(found, reverse=True)[:NEWEST]],
        "readable": os.access(path, os.R_OK | os.X_OK),
    }


def _session_directory(save_path: str) -> str:
    """Return where PHP keeps sessions in files: the last part of "2;0600;/path", or what distributions build in."""
    built_in = (path for path in ("/var/lib/php/sessions", "/var/lib/php/session") if os.path.isdir(path))
    return save_path.rpartition(";")[2] or next(built_in, "/tmp")


def candidates(
    store: Store, linked: t.Sequence[str], units: t.Sequence[t.Mapping[str, t.Any]], pools: t.Sequence[t.Mapping[str, t.Any]], named: t.Sequence[str]
) -> dict[str, str]:
    """Return directories that may hold users' data, each with how it was found."""
    found: dict[str, str] = {}
    for name in linked:
        found[os.path.join(store.shared, name)] = f"rollout_linked_dirs has {name}"
    for path in named:
        found.setdefault(path, "rollout_audit_data_dirs names it")
    for pool in pools:
        settings = pool["settings"]
        if settings["session.save_handler"] == "files":
            found.setdefault(_session_directory(settings["session.save_path"]), f"session.save_path of PHP's pool {pool['name']}")
    for unit in units:
        for name in unit["state_directories"]:
            found.setdefault(os.path.join("/var/lib", name), f"StateDirectory of {unit['unit']}")
        for path in unit["writable"]:
            found.setdefault(path, f"ReadWritePaths of {unit['unit']}")
        for path in unit["named"]:
            found.setdefault(path, f"the environment of {unit['unit']} names it")
    root = os.path.realpath(store.root) + "/"
    kept: dict[str, str] = {}
    for path, how in found.items():
        real = os.path.realpath(path)
        in_root = (real + "/").startswith(root) and not real.startswith(os.path.realpath(store.shared) + "/")
        system = real in _SYSTEM and not how.startswith("session") or (real + "/").startswith(_SYSTEM_BELOW)
        # By its name a directory is each host's own, unless somebody says that it is not.
        own = path not in named and not how.startswith("session") and _OWN.search(os.path.basename(real))
        if os.path.isdir(real) and not in_root and not system and not own:
            kept.setdefault(real, how)
    return kept


def look(
    store: Store, linked: t.Sequence[str], units: t.Sequence[t.Mapping[str, t.Any]], pools: t.Sequence[t.Mapping[str, t.Any]], named: t.Sequence[str]
) -> list[dict[str, t.Any]]:
    """Return every directory of :func:`candidates` with what is in it. The same files are looked at once."""
    found: list[dict[str, t.Any]] = []
    for path, how in sorted(candidates(store, linked, units, pools, named).items()):
        if not any(path.startswith(other["path"] + "/") for other in found):
            found.append({**listing(path), "how": how, "php_sessions": how.startswith("session")})
    return found


def databases(units: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, str]]:
    """Return files of embedded databases that a service has open for writing, on this host's own disk."""
    return [
        {"path": path, "unit": unit["unit"], "filesystem": kernel.filesystem(path)}
        for unit in units for path in unit["writes"]
        if _DATABASE.search(path) and kernel.filesystem(path) not in kernel.NETWORK_FILESYSTEMS
    ]
