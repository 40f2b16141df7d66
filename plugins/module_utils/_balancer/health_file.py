# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files, _health
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


class HealthFile(Driver):
    """Any balancer with health checks: while a file exists, the application's health endpoint answers 503.

    The file lives on the application's host, so this driver runs there. It sees no pool and no other member.
    """

    name = "health_file"
    maintains = False
    counts_sessions = False
    checks_while_drained = False
    knows_pools = False

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        owner = str(params.get("owner") or "ansible")
        members = params.get("members") or [{}]
        if len(members) != 1:
            raise SeamlessError(f"the driver health_file runs on the application's own host and takes one member, not {len(members)}.")
        path = params.get("path") or f"/run/seamless-rollout/{owner}.drain"
        return [cls(path, str(members[0].get("name") or _named(path)), owner, params.get("check_url"))]

    def __init__(self, path: str, name: str, owner: str, check_url: str | None) -> None:
        self.path = path
        self.ref = MemberRef("health file", path, name)
        self.owner = owner
        self.check_url = check_url

    def members(self) -> list[Member]:
        out = os.path.lexists(self.path)
        return [Member(self.ref, "", None, "drain" if out else "ready", "runtime", *self._health(out), None, None, None, None)]

    def _health(self, out: bool) -> tuple[str, bool, str]:
        """Ask the health endpoint where one is known: it must say what the file says."""
        if not self.check_url:
            return "nocheck", True, ""
        result = _health.probe_once(_health.validate_probes([{"url": self.check_url, "status": "2xx"}]))[0]
        return ("up" if result["ok"] else "down"), bool(result["ok"]), str(result["detail"])

    def set_states(self, changes: t.Sequence[Change]) -> None:
        for change in changes:
            if change.state == "ready":
                os.unlink(self.path)
                _files.sync_directory(os.path.dirname(self.path))
            else:
                _files.make_directory(os.path.dirname(self.path))
                _files.write_atomically(self.path, json.dumps({"owner": self.owner, "name": self.ref.name}).encode() + b"\n")
        if changes and os.path.lexists(self.path) == (changes[-1].state == "ready"):
            raise SeamlessError(f"{self.path} is not what it was just made: something else creates or removes it.")


def _named(path: str) -> str:
    """Return the name under which the member was taken out: who only looks does not know it, and the record has it."""
    try:
        with open(path, encoding="utf-8") as file:
            return str(json.load(file)["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return "self"
