# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._addresses import Address


class Record:
    """Who brought an address to this machine, and instead of whom. Written before it is added, removed after it is gone."""

    def __init__(self, directory: str, address: Address) -> None:
        self.directory = _files.expand(directory)
        self.path = os.path.join(self.directory, f"{address.exploded.replace(':', '-')}.json")

    def read(self) -> dict[str, t.Any] | None:
        found = _files.read_json(self.path)
        return found if isinstance(found, dict) else None

    def write(self, **content: t.Any) -> None:
        _files.make_directory(self.directory)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        _files.write_json(self.path, {"at": at, **content})

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    @contextlib.contextmanager
    def exclusive(self) -> t.Iterator[None]:
        """Let one caller at a time look at this address and change it."""
        _files.make_directory(self.directory)
        with _files.locked(os.path.join(self.directory, ".lock")):
            yield
