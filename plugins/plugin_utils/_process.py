# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Whether a process that somebody recorded still runs on this machine."""

from __future__ import annotations

import os
import typing as t


def process_start(pid: int) -> str:
    """Return what tells this process from a later one with the same number, or "" when it doesn't run."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            started = file.read().rpartition(")")[2].split()[19]
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}:{started}"
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "unknown"


def lives(row: t.Any) -> bool:
    """Say whether the process of *row*, which has its ``pid`` and what :func:`process_start` returned for it, still runs."""
    return bool(row["process_start"]) and process_start(row["pid"]) == row["process_start"]
