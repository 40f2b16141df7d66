# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import MemberRef

# Below the directory of the records, those of weights that a traffic split has set.
SPLITS = "splits"
DEFAULT_DIRECTORY = "/var/lib/seamless-rollout/balancer"


def ref_of(record: t.Mapping[str, t.Any]) -> MemberRef:
    """Return the member that a record is about."""
    return MemberRef(str(record["balancer"]), str(record["backend"]), str(record["name"]))


class Records:
    """Who took which member out, on the machine that the balancer runs on. Written before the drain, removed after the enable."""

    def __init__(self, directory: str) -> None:
        self.directory = _files.expand(directory)

    def _path(self, ref: MemberRef) -> str:
        readable = "".join(char if char.isalnum() or char in "._-" else "_" for char in f"{ref.backend}-{ref.name}")[:80]
        return os.path.join(self.directory, f"{readable}-{hashlib.sha256(ref.key.encode()).hexdigest()[:12]}.json")

    def get(self, ref: MemberRef) -> dict[str, t.Any] | None:
        return t.cast("dict[str, t.Any] | None", _files.read_json(self._path(ref)))

    def all(self) -> list[dict[str, t.Any]]:
        """Return every record, those of members that are not there any more included. What drivers keep in the directory is none."""
        names = sorted(os.listdir(self.directory)) if os.path.isdir(self.directory) else []
        found = [_files.read_json(os.path.join(self.directory, name)) for name in names if name.endswith(".json") and not name.startswith(".")]
        return [record for record in found if isinstance(record, dict) and {"owner", "balancer", "backend", "name"} <= set(record)]

    def put(self, ref: MemberRef, record: t.Mapping[str, t.Any]) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        _files.write_json(self._path(ref), {"balancer": ref.balancer, "backend": ref.backend, "name": ref.name, "at": at, **record})

    def remove(self, ref: MemberRef) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(ref))

    @contextlib.contextmanager
    def exclusive(self) -> t.Iterator[None]:
        """Let one caller at a time judge the capacity and drain, so that two can't both take the last but one."""
        _files.make_directory(self.directory)
        with _files.locked(os.path.join(self.directory, ".lock")):
            yield
