# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.cloud import CloudApi, wait_until
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.base import Method, Standing
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.checks import Wanted

SERVER = "the server that gets the address, by the provider's name or id"
TOKEN = "a token of the provider's API that may read servers, and read and write addresses"


class Server(t.NamedTuple):
    """A server as the provider knows it."""

    id: str
    name: str

    def is_called(self, word: str) -> bool:
        return word in (self.id, self.name)


class Provider(Method):
    """An address that the provider sends to one of its servers. It runs where the token is, mostly on the controller."""

    needs: t.ClassVar[dict[str, str]] = {"token": TOKEN, "server": SERVER}
    url = ""

    def __init__(self, wanted: Wanted, params: t.Mapping[str, t.Any]) -> None:
        super().__init__(wanted, params)
        self.word = str(params.get("server") or "")
        self.timeout = float(params["timeout"])
        self.connect()

    def connect(self) -> None:
        self.api = CloudApi.of({**self.params, "url": [self.params["url"]] if self.params.get("url") else []}, self.url)

    def holder(self) -> Server | None:
        """Return the server that has the address. Raises SeamlessError for an address that the account does not have."""
        raise NotImplementedError

    def servers(self) -> list[Server]:
        """Return those that may be meant by :attr:`word`, or all."""
        raise NotImplementedError

    def assign(self, server: Server) -> None:
        raise NotImplementedError

    def unassign(self, server: Server) -> None:
        raise NotImplementedError

    def look(self) -> Standing:
        holder = self.holder()
        return Standing(bool(holder and holder.is_called(self.word)), True, str(self.wanted.address), holder.name if holder else None)

    def check(self, comes: bool, now: Standing) -> Standing:
        if comes:
            self._server()
        return now

    def _server(self) -> Server:
        known = self.servers()
        found = [one for one in known if one.is_called(self.word)]
        if len(found) != 1:
            what = f"{len(found)} servers are called so: use the id" if found else f"there is none: {', '.join(one.name for one in known[:20]) or 'no server'}"
            raise SeamlessError(f"server is {self.word!r}, and of what this token sees {what}.")
        return found[0]

    def take(self, now: Standing) -> None:
        server = self._server()
        self.assign(server)
        what = f"{self.wanted.address} was assigned to {server.name}, and that is not to be seen"
        wait_until(lambda: (self.holder() or Server("", "")).id == server.id, what)

    def give(self, now: Standing) -> None:
        holder = self.holder()
        if holder:
            self.unassign(holder)
            wait_until(lambda: self.holder() is None, f"{self.wanted.address} was taken from {holder.name}, and that is not to be seen")

    def unknown(self, known: t.Sequence[str]) -> SeamlessError:
        return SeamlessError(f"address is {self.wanted.address}, and this token sees no such address: there are {', '.join(known) or 'none'}.")
