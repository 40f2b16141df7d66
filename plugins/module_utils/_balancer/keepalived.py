# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import shlex
import subprocess
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files, _health
from ansible_collections.seamless.rollout.plugins.module_utils._addresses import Address, parse_links
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.managed_file import ManagedFile
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

# The least that is no fault: the machine keeps the lowest priority there is, so that an address that nobody else takes stays where it is.
LEAVING = -253
PAUSE = 0.05


def parse_value(text: str, path: str) -> int:
    """Return the number in a track_file; an empty one counts as 0 with keepalived."""
    stripped = text.strip()
    if re.fullmatch(r"[+-]?[0-9]{1,9}", stripped):
        return int(stripped)
    if not stripped:
        return 0
    raise SeamlessError(f"path is {path!r}, which holds {stripped[:40]!r}: a track_file of keepalived holds one number, 0 in normal times.")


def parse_addresses(text: str) -> set[Address]:
    """Return every address in the answer of ``ip -j address show``."""
    return {held.address for link in parse_links(text) for held in link.addresses}


def parse_vips(texts: t.Sequence[str]) -> list[Address]:
    if not texts:
        raise SeamlessError("backend is not set: the driver keepalived needs the addresses that leave this machine, such as 198.51.100.100.")
    try:
        return [ipaddress.ip_address(text.partition("/")[0]) for text in texts]
    except ValueError as exc:
        raise SeamlessError(f"backend is {', '.join(texts)}: the driver keepalived needs addresses there, such as 198.51.100.100.") from exc


class Keepalived(Driver):
    """A machine that leaves its virtual addresses to another one, by a file that its keepalived tracks: a balancer that is to be restarted.

    It runs on this machine and sees no other one.
    """

    name = "keepalived"
    needs: t.ClassVar[dict[str, str]] = {"path": "the track_file of the VRRP instance, such as /run/keepalived/drain"}
    maintains = False
    proves = True
    knows_pools = False

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        members = params.get("members") or [{}]
        if len(members) != 1:
            raise SeamlessError(f"the driver keepalived runs on the machine itself and takes one member, not {len(members)}.")
        commands = params.get("commands") or {}
        unknown = set(commands) - {"addresses"}
        if unknown:
            raise SeamlessError(f"commands has {sorted(unknown)[0]!r}: the driver keepalived knows addresses.")
        vips = parse_vips(params.get("backend") or [])
        command = commands.get("addresses") or "ip -j address show"
        timeout = float(params.get("drain_timeout") or 30)
        return [cls(ManagedFile(params["path"], params["state_dir"]), vips, members[0].get("name"), command, params.get("check_url"), timeout)]

    def __init__(self, file: ManagedFile, vips: t.Sequence[Address], name: str | None, command: t.Any, check_url: str | None, timeout: float) -> None:
        self.file = file
        self.vips = list(vips)
        # Who only looks names no member: it is called what it was called when it left.
        self.ref = MemberRef("keepalived", file.path, str(name or self.remembered().get("name") or "self"))
        self.words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
        self.check_url = check_url
        self.timeout = timeout

    def _read(self) -> str:
        if not os.path.exists(self.file.path):
            raise SeamlessError(
                f"path is {self.file.path!r}, and there is no such file: name it in a track_file of keepalived.conf with 'init_file 0', which makes it."
            )
        return self.file.read()

    def held(self) -> list[Address]:
        """Return the virtual addresses that are on this machine now."""
        try:
            done = subprocess.run(self.words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=10, check=False)
        except FileNotFoundError as exc:
            raise SeamlessError(f"{self.words[0]} is not on this machine: install iproute2, or set commands.addresses.") from exc
        except subprocess.TimeoutExpired as exc:
            raise SeamlessError(f"{' '.join(self.words)} did not end within 10 s.") from exc
        if done.returncode:
            raise SeamlessError(f"{' '.join(self.words)} refused with {done.returncode}: {done.stderr.decode(errors='replace').strip()[-300:]}")
        here = parse_addresses(done.stdout.decode(errors="replace"))
        return [vip for vip in self.vips if vip in here]

    def members(self) -> list[Member]:
        value = parse_value(self._read(), self.file.path)
        return [
            Member(
                self.ref, "", None, "drain" if value < 0 else "ready", "runtime", *self._health(), weight=None, sessions=len(self.held()), queued=None,
                total=None,
            )
        ]

    def _health(self) -> tuple[str, bool, str]:
        """Ask what answers on this machine, where that is known: it must work before the addresses come back."""
        if not self.check_url:
            return "nocheck", True, ""
        result = _health.probe_once(_health.validate_probes([{"url": self.check_url, "status": "2xx", "timeout": 2}]))[0]
        return ("up" if result["ok"] else "down"), bool(result["ok"]), str(result["detail"])

    @property
    def _memory(self) -> str:
        return os.path.join(self.file.lock_directory, f"keepalived-{hashlib.sha256(self.file.path.encode()).hexdigest()[:12]}.json")

    def remembered(self) -> dict[str, t.Any]:
        """Return what the file held before it was written here, nothing where it was not."""
        memory = _files.read_json(self._memory)
        return memory if isinstance(memory, dict) else {}

    def set_states(self, changes: t.Sequence[Change]) -> None:
        for change in changes:
            with self.file.exclusive():
                if change.state == "ready":
                    self._return()
                else:
                    self._leave()

    def _leave(self) -> None:
        """Lower the priority and wait until the addresses are gone. Where nobody takes them, everything is as before."""
        before = self._read()
        if parse_value(before, self.file.path) >= 0:
            _files.make_directory(self.file.lock_directory)
            _files.write_json(self._memory, {"path": self.file.path, "name": self.ref.name, "held": before})
        self.file.write(f"{LEAVING}\n")
        try:
            deadline = time.monotonic() + self.timeout
            while True:
                held = self.held()
                if not held:
                    break
                if time.monotonic() >= deadline:
                    raise SeamlessError(
                        f"{', '.join(str(vip) for vip in held)} did not leave this machine within {self.timeout:g} s after {self.file.path} was set to "
                        f"{LEAVING}: no other machine took it, or keepalived does not track the file with 'weight 1'. The file is as before."
                    )
                time.sleep(PAUSE)
            self._verify(LEAVING)
        except BaseException:
            self.file.write(before)
            raise

    def _return(self) -> None:
        """Write back what the file held."""
        held = str(self.remembered().get("held", ""))
        if parse_value(held, self._memory) < 0:
            held = ""
        self.file.write(held or "0\n")
        self._verify(parse_value(held, self._memory))
        if os.path.exists(self._memory):
            os.unlink(self._memory)

    def _verify(self, wanted: int) -> None:
        found = parse_value(self._read(), self.file.path)
        if found != wanted:
            raise SeamlessError(f"{self.file.path} holds {found} right after {wanted} was written to it: something else writes it, too.")

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        if not self.check_url:
            return ["nobody looks whether the balancer of this machine works before its addresses come back: set check_url"]
        return []
