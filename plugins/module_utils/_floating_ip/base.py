# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.checks import Wanted


class Standing(t.NamedTuple):
    """Whether the address is where the caller speaks of, this machine or the provider's server, and who has it as far as that can be told.

    *willing*: nothing set here keeps the address away. *text* is the address as it is there. *answers* are hardware addresses of other machines
    that say it is theirs.
    """

    held: bool
    willing: bool
    text: str
    holder: str | None = None
    interface: str | None = None
    hardware: str | None = None
    answers: tuple[str, ...] = ()
    record: dict[str, t.Any] | None = None


class Method:
    """A way to move an address. ``take`` and ``give`` raise SeamlessError where the address did not follow, and put back what they can."""

    name = ""
    needs: t.ClassVar[dict[str, str]] = {}

    def __init__(self, wanted: Wanted, params: t.Mapping[str, t.Any]) -> None:
        self.wanted = wanted
        self.params = params

    def look(self) -> Standing:
        """Return how it is, and change nothing."""
        raise NotImplementedError

    def check(self, comes: bool, now: Standing) -> Standing:
        """Return *now* with what was found meanwhile. Raises SeamlessError where the address must not come here, or leave."""
        return now

    def take(self, now: Standing) -> None:
        """Bring the address here."""
        raise NotImplementedError

    def give(self, now: Standing) -> None:
        """Send the address away."""
        raise NotImplementedError

    def announce(self, now: Standing) -> int:
        """Tell the neighbours that the address is here; return how often."""
        return 0

    def settled(self, comes: bool, now: Standing) -> bool:
        """Say whether there is nothing to do."""
        return now.held and now.willing if comes else not now.held

    def ask(self, now: Standing) -> Standing:
        """Return *now* with who else says that it has the address, where neighbours can be asked."""
        return now

    def forget(self) -> None:
        """Drop what was written down of an address that is gone by itself, as after a start."""

    def warnings(self) -> list[str]:
        """Return what an operator should know before relying on it."""
        return []

    @contextlib.contextmanager
    def exclusive(self) -> t.Iterator[None]:
        """Let one caller at a time look and change."""
        yield


def check_needs(method: type[Method], params: t.Mapping[str, t.Any]) -> None:
    for option, what in method.needs.items():
        if not params.get(option):
            raise SeamlessError(f"{option} is not set: the method {method.name} needs {what}.")
