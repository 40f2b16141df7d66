# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What the kernel says of processes, sockets, files, mounts and the clock. Reads only; what can't be read is nothing, not an error."""

from __future__ import annotations

import ctypes
import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._release.processes import pids

NETWORK_FILESYSTEMS = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "fuse.rclone", "fuse.mfs", "fuse.juicefs",
    "lustre", "gpfs", "ocfs2", "gfs2", "beegfs", "9p", "virtiofs", "afs",
)
_TIME_DAEMONS = ("chronyd", "ntpd", "openntpd", "systemd-timesyn", "ptp4l", "ntpd-rs")
_TIME_ERROR = 5
# Variables that name directories of the system or of a language.
_NO_DATA = re.compile(
    r"(HOME|PWD|OLDPWD|PATH|SHELL|TMPDIR|TMP|TEMP|LANG|VIRTUAL_ENV|(RUNTIME|LOGS|CACHE|CONFIGURATION|CREDENTIALS)_DIRECTORY|"
    r"(XDG|NODE|NPM|GEM|BUNDLE|JAVA|RUBY|PHP|SYSTEMD|SSL|CONDA)(_.*)?|(PYTHON|PERL).*|GO[A-Z]*)\Z"
)


def read_text(path: str, limit: int = 1 << 20) -> str:
    """Return at most *limit* characters of *path*, "" where it can't be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(limit)
    except OSError:
        return ""


def comm(pid: int) -> str:
    return read_text(f"/proc/{pid}/comm").strip()


def title(pid: int) -> str:
    """Return the command line of a process, which some programs write anew."""
    return read_text(f"/proc/{pid}/cmdline", 65536).replace("\0", " ").strip()


def unit_of(pid: int) -> str | None:
    """Return the unit of systemd whose control group process *pid* is in."""
    for line in read_text(f"/proc/{pid}/cgroup").splitlines():
        for part in reversed(line.split("/")):
            if part.endswith((".service", ".scope")):
                return part
    return None


def catches(pid: int, signal: int) -> bool | None:
    """Say whether process *pid* has a handler for *signal*, None where nobody can tell. Without one, the signal ends it at once."""
    for line in read_text(f"/proc/{pid}/status").splitlines():
        name, dummy, value = line.partition(":")
        if name == "SigCgt":
            return bool(int(value.strip(), 16) >> (signal - 1) & 1)
    return None


def links(pid: int) -> dict[int, str]:
    """Return the open files of a process: number and where they lead."""
    found = {}
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return {}
    for number in numbers:
        try:
            found[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
    return found


def written_files(pid: int) -> list[str]:
    """Return the files that a process has open for writing. Sockets, devices and deleted files are none."""
    found = []
    for number, path in links(pid).items():
        if not path.startswith("/") or path.startswith(("/dev/", "/proc/", "/sys/", "/memfd:")) or path.endswith(" (deleted)"):
            continue
        for line in read_text(f"/proc/{pid}/fdinfo/{number}").splitlines():
            if line.startswith("flags:") and int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY:
                found.append(path)
    return sorted(set(found))


def listeners() -> dict[str, str]:
    """Return the inode of every socket that listens in this network, with where: "8000" for a port of TCP, or the path of a socket."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in read_text(f"/proc/net/{table}").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "0A":
                found[fields[9]] = str(int(fields[1].rpartition(":")[2], 16))
    for line in read_text("/proc/net/unix").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and int(fields[3], 16) & 0x10000:
            found[fields[6]] = fields[7]
    return found


def listening(pid: int, sockets: t.Mapping[str, str]) -> list[str]:
    """Return where process *pid* listens, by :func:`listeners`."""
    return sorted({sockets[path[8:-1]] for path in links(pid).values() if path.startswith("socket:[") and path[8:-1] in sockets})


def listener_of(where: str, sockets: t.Mapping[str, str]) -> list[int]:
    """Return the processes that listen at *where*."""
    return [pid for pid in pids() if where in listening(pid, sockets)]


def environment_directories(pid: int) -> list[str]:
    """Return the directories that the environment of a process names. What else is in it stays there: it may be secret."""
    pairs = [item.partition("=") for item in read_text(f"/proc/{pid}/environ").split("\0")]
    values = [value for name, dummy, value in pairs if not _NO_DATA.match(name) and value.startswith("/") and ":" not in value]
    return sorted({os.path.realpath(value) for value in values if os.path.isdir(value)})


def filesystem(path: str) -> str:
    """Return the type of the file system that holds *path*."""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in read_text("/proc/self/mountinfo").splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if not dash or len(fields) < 5:
            continue
        mount = fields[4].replace("\\040", " ")
        if (real == mount or real.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, kind = mount, after.split()[0]
    return kind


class _Timex(ctypes.Structure):
    """The head of struct timex of adjtimex(2)."""

    _fields_ = [
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long), ("esterror", ctypes.c_long),
        ("status", ctypes.c_int), ("rest", ctypes.c_char * 512),
    ]


def time_keeping() -> dict[str, t.Any]:
    """Return whether the kernel's clock is kept right by somebody, which program does it, and whether the clock is that of a machine around this one."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(_Timex()))
    except (OSError, AttributeError):
        state = -1
    daemon = next((name for name in map(comm, pids()) if name in _TIME_DAEMONS), None)
    inside = os.path.exists("/run/systemd/container") or os.path.exists("/run/.containerenv") or os.path.exists("/.dockerenv")
    return {"synchronised": None if state < 0 else state != _TIME_ERROR, "daemon": daemon, "container": inside}
