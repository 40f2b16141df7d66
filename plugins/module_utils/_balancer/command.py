# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import json
import shlex
import subprocess
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

TIMEOUT = 30  # seconds that one command has
STATES = ("ready", "drain", "maint")
HEALTHS = ("up", "starting", "stopping", "down", "nocheck", "unknown")
FIELDS = ("backend", "name", "address", "state", "health", "sessions", "total")
_NEEDED = ("list", "drain", "ready")
_KNOWN = (*_NEEDED, "maintenance", "sessions")


def parse_list(text: str) -> list[dict[str, t.Any]]:
    """Return the members that a ``list`` command printed: JSON, or a line for each with the :data:`FIELDS` in their order."""
    text = text.strip()
    if text.startswith("["):
        try:
            rows = json.loads(text)
        except ValueError as exc:
            raise SeamlessError(f"commands.list printed what is neither JSON nor lines: {exc}") from exc
        if not all(isinstance(row, dict) for row in rows):
            raise SeamlessError("commands.list printed a JSON list of something else than dictionaries.")
    else:
        lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        rows = [dict(zip(FIELDS, line)) for line in lines]
    return [_checked(row) for row in rows]


def _checked(row: dict[str, t.Any]) -> dict[str, t.Any]:
    missing = [field for field in FIELDS[:4] if not row.get(field)]
    if missing:
        raise SeamlessError(f"commands.list printed {row!r} without {missing[0]}: a member is {' '.join(FIELDS[:4])}, and may have {', '.join(FIELDS[4:])}.")
    host, dummy, port = str(row["address"]).rpartition(":")
    if not host or not port.isdigit():
        host, port = str(row["address"]), ""
    health = row.get("health") or "nocheck"
    for field, value, good in (("state", row["state"], STATES), ("health", health, HEALTHS)):
        if value not in good:
            raise SeamlessError(f"commands.list printed the {field} {value!r} of {row['name']}: use {', '.join(good)}.")
    numbers = {}
    for field in ("sessions", "total"):
        value = row.get(field)
        if value not in (None, "", "-") and not str(value).isdigit():
            raise SeamlessError(f"commands.list printed the {field} {value!r} of {row['name']}: use a number, or - where nobody counts.")
        numbers[field] = None if value in (None, "", "-") else int(value)
    return {**row, "host": host.strip("[]"), "port": int(port) if port else None, "health": health, **numbers}


class Command(Driver):
    """Any balancer that the user's own commands can list and change. In them ``{backend}``, ``{name}``, ``{address}`` and ``{port}`` stand for the member."""

    name = "command"
    needs: t.ClassVar[dict[str, str]] = {"commands": "list, drain and ready, each a command line, and may have maintenance and sessions"}

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        commands = params["commands"]
        lacking = [name for name in _NEEDED if not commands.get(name)]
        if lacking:
            raise SeamlessError(f"commands.{lacking[0]} is not set: the driver command needs {', '.join(_NEEDED)}.")
        unknown = sorted(set(commands) - set(_KNOWN))
        if unknown:
            raise SeamlessError(f"commands has {unknown[0]!r}: the driver command knows {', '.join(_KNOWN)}.")
        return [cls(commands, params.get("backend") or [])]

    def __init__(self, commands: t.Mapping[str, t.Any], backends: t.Sequence[str]) -> None:
        self.commands = dict(commands)
        self.backends = list(backends)
        self.maintains = "maintenance" in commands
        # Whether anybody counts is known when the first list has come.
        self.counts_sessions = True

    def _run(self, name: str, member: Member | None = None) -> str:
        command = self.commands[name]
        words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
        if member:
            values = {"backend": member.ref.backend, "name": member.ref.name, "address": member.address, "port": str(member.port or "")}
            for key, value in values.items():
                words = [word.replace(f"{{{key}}}", value) for word in words]
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT, check=False)
        except FileNotFoundError as exc:
            raise SeamlessError(f"commands.{name}: {words[0]} is not there.") from exc
        except PermissionError as exc:
            raise SeamlessError(f"commands.{name}: {words[0]} may not be run by this user: it lacks the rights, or needs become: true.") from exc
        except subprocess.TimeoutExpired as exc:
            raise SeamlessError(f"commands.{name} gave no answer within {TIMEOUT} s: {' '.join(words)}") from exc
        if done.returncode:
            said = (done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip())[-300:]
            raise SeamlessError(f"commands.{name} ended with {done.returncode}: {said or 'it said nothing'}")
        return done.stdout.decode(errors="replace")

    def members(self) -> list[Member]:
        rows = parse_list(self._run("list"))
        known = sorted({str(row["backend"]) for row in rows})
        missing = [backend for backend in self.backends if backend not in known]
        if missing:
            raise SeamlessError(f"backend {missing[0]} is not in what commands.list printed: there are {', '.join(known) or 'none'}.")
        found = [self._member(row) for row in rows if not self.backends or row["backend"] in self.backends]
        self.counts_sessions = "sessions" in self.commands or any(member.sessions is not None for member in found)
        return found

    def _member(self, row: t.Mapping[str, t.Any]) -> Member:
        member = Member(
            ref=MemberRef("commands", str(row["backend"]), str(row["name"])), address=row["host"], port=row["port"], admin=row["state"],
            admin_source="runtime", health=row["health"], fully_up=row["health"] in ("up", "nocheck"), check="", weight=None,
            sessions=row["sessions"], queued=None, total=row["total"],
        )
        if "sessions" in self.commands and member.admin != "ready":
            said = self._run("sessions", member).strip()
            if not said.isdigit():
                raise SeamlessError(f"commands.sessions printed {said[:100]!r} for {member.ref}: it has to print how many are under way.")
            member.sessions = int(said)
        return member

    def set_states(self, changes: t.Sequence[Change]) -> None:
        if not changes:
            return
        before = {member.ref: member for member in self.members()}
        for change in changes:
            if change.ref not in before:
                raise gone(change.ref)
            self._run({"ready": "ready", "drain": "drain", "maint": "maintenance"}[change.state], before[change.ref])
        after = {member.ref: member.admin for member in self.members()}
        wrong = [change for change in changes if after.get(change.ref) != change.state]
        if wrong:
            raise SeamlessError(f"{wrong[0].ref} is {after.get(wrong[0].ref)} right after it was set to {wrong[0].state}: commands.list does not show it.")
