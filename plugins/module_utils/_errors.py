# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import errno
import typing as t


class SeamlessError(Exception):
    """A refusal or failure that the user can understand and act on.

    The message says what was wrong, with the value, and what would do.
    ``details`` are added to the module's result (JSON-serialisable values only).
    """

    def __init__(self, message: str, **details: t.Any) -> None:
        super().__init__(message)
        self.details = details


def explain_os_error(exc: OSError) -> str:
    """Return what a refusal of the operating system means for the user, and what would do."""
    where = str(exc.filename or "a file of this host")
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where} can't be written: the disk is full (no space, no inodes or no quota left). Free some and run again."
    if exc.errno in (errno.EACCES, errno.EPERM):
        return f"{where} can't be used by this user ({exc.strerror}): use become: true, or give the directory to the user that Ansible becomes."
    if exc.errno == errno.EROFS:
        return f"{where} can't be written: its file system is mounted read-only. Look at the kernel's log for a failing disk."
    return f"{where}: {exc.strerror or exc}"
