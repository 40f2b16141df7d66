# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import os
import re
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.managed_file import ManagedFile
from ansible_collections.seamless.rollout.plugins.module_utils._commands import run_command
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

DRAIN_SINCE = (1, 29, 6)
PID_FILE = "/run/nginx.pid"
_SERVER = re.compile(r"^(\s*server\s+)([^\s;#]+)([^;#]*);(.*)$")
_UPSTREAM = re.compile(r"^\s*upstream\s+(\S+?)\s*\{")
_OURS = ("down", "drain")


class Server(t.NamedTuple):
    """A ``server`` line of an upstream. A comment behind it names the member: ``server 198.51.100.1:8000; # web1``."""

    line: int
    upstream: str
    place: str
    words: tuple[str, ...]
    name: str

    @property
    def address(self) -> str:
        return self.place.rpartition(":")[0].strip("[]") if self.port_given else self.place

    @property
    def port(self) -> int | None:
        return int(self.place.rpartition(":")[2]) if self.port_given else None if self.place.startswith("unix:") else 80

    @property
    def port_given(self) -> bool:
        return bool(re.search(r":\d+$", self.place))

    @property
    def weight(self) -> int:
        return next((int(word[7:]) for word in self.words if re.fullmatch(r"weight=\d+", word)), 1)


def parse_upstreams(text: str) -> list[Server]:
    """Return the servers of every upstream in *text*, of which everything else is left as it is."""
    found = []
    upstream = ""
    for number, line in enumerate(text.splitlines()):
        bare = line.partition("#")[0]
        opened = _UPSTREAM.match(bare)
        upstream = opened[1] if opened else upstream
        matched = _SERVER.match(line)
        directives = len(re.findall(r"(?:^|[;{])\s*server\s", bare)) if upstream else 0
        if matched and directives == 1:
            name = re.match(r"\s*#\s*(\S+)", matched[4])
            found.append(Server(number, upstream, matched[2], tuple(matched[3].split()), name[1] if name else matched[2]))
        elif directives:
            raise SeamlessError(f"line {number + 1} is {line.strip()!r}: write one server on a line of its own, so that it can be changed alone.")
        if "}" in bare:
            upstream = ""
    return found


def rewrite(text: str, servers: t.Mapping[Server, t.Sequence[str]]) -> str:
    """Return *text* with other words on the lines of *servers*."""
    lines = text.splitlines(keepends=True)
    for server, words in servers.items():
        matched = t.cast("re.Match[str]", _SERVER.match(lines[server.line].rstrip("\r\n")))
        end = lines[server.line][len(lines[server.line].rstrip("\r\n")) :]
        lines[server.line] = f"{matched[1]}{matched[2]}{''.join(' ' + word for word in words)};{matched[4]}{end}"
    return "".join(lines)


def _weighed(server: Server, weight: int) -> list[str]:
    """Return the words of *server* with another weight. That of a server without the word is 1."""
    return [word for word in server.words if not word.startswith("weight=")] + ([f"weight={weight}"] if weight != 1 else [])


class Nginx(Driver):
    """nginx by a file with its upstreams, and a reload. It counts nothing: what is under way is over when the old workers are gone."""

    name = "nginx"
    needs: t.ClassVar[dict[str, str]] = {"path": "the file with the upstreams that it may change, such as /etc/nginx/conf.d/upstreams.conf"}
    checks_while_drained = False
    weights = (1, 65535)

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        unknown = set(params.get("commands") or {}) - {"test", "reload", "version", "pid_file"}
        if unknown:
            raise SeamlessError(f"commands has {sorted(unknown)[0]!r}: the driver nginx knows test, reload, version and pid_file.")
        return [cls(ManagedFile(params["path"], params["state_dir"]), params.get("backend") or [], params.get("commands") or {})]

    def __init__(self, file: ManagedFile, backends: t.Sequence[str], commands: t.Mapping[str, t.Any]) -> None:
        self.file = file
        self.backends = list(backends)
        self.commands = {"test": "nginx -t -q", "version": "nginx -v", "pid_file": PID_FILE, **commands}
        version = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", self._run("version"))
        # Below that version one word has to do for both.
        self.drains = bool(version) and tuple(int(part) for part in t.cast("re.Match[str]", version).groups()) >= DRAIN_SINCE
        self.maintains = self.drains

    def _run(self, name: str) -> str:
        return run_command(self.commands[name], f"commands.{name}", program="nginx", timeout=30)

    def _servers(self, text: str) -> dict[MemberRef, Server]:
        servers = parse_upstreams(text)
        known = {server.upstream for server in servers}
        missing = [backend for backend in self.backends if backend not in known]
        if missing:
            raise SeamlessError(f"backend {missing[0]} is no upstream of {self.file.path}: there are {', '.join(sorted(known)) or 'none'}.")
        return {
            MemberRef(self.file.path, server.upstream, server.name): server
            for server in servers if not self.backends or server.upstream in self.backends
        }

    def _admin(self, server: Server) -> str:
        if "down" in server.words:
            return "maint" if self.drains else "drain"
        return "drain" if "drain" in server.words else "ready"

    def members(self) -> list[Member]:
        leaving = len(self._workers(leaving=True))
        return [self._member(ref, server, leaving) for ref, server in self._servers(self.file.read()).items()]

    def _member(self, ref: MemberRef, server: Server, leaving: int) -> Member:
        admin = self._admin(server)
        return Member(
            ref=ref, address=server.address, port=server.port, admin=admin, admin_source="runtime", health="nocheck", fully_up=True, check="",
            weight=server.weight, sessions=leaving if admin != "ready" else None, queued=None, total=None, backup="backup" in server.words,
        )

    def set_states(self, changes: t.Sequence[Change]) -> None:
        words = {"ready": [], "drain": ["drain" if self.drains else "down"], "maint": ["down"]}
        states = {one.ref: one.state for one in changes}
        self._change(states, lambda ref, server: [word for word in server.words if word not in _OURS] + words[states[ref]])

    def set_weight(self, ref: MemberRef, weight: int) -> None:
        self.set_weights({ref: weight})

    def set_weights(self, weights: t.Mapping[MemberRef, int]) -> None:
        for weight in weights.values():
            if weight < 1:
                raise SeamlessError(f"weight is {weight}: nginx takes 1 and above. Use state: drained to send nothing.")
        self._change(weights, lambda ref, server: _weighed(server, weights[ref]))

    def _change(self, refs: t.Collection[MemberRef], words: t.Callable[[MemberRef, Server], t.Sequence[str]]) -> None:
        """Write the file, have nginx test it and take it over; where either fails, everything is as before."""
        if not refs:
            return
        with self.file.exclusive():
            before = self.file.read()
            servers = self._servers(before)
            for ref in refs:
                if ref not in servers:
                    raise gone(ref)
            text = rewrite(before, {servers[ref]: words(ref, servers[ref]) for ref in refs})
            if text == before:
                return
            old = self._workers()
            with self.file.trial(before, text):
                self._run("test")
                self._reload(old)

    def _reload(self, old: t.Collection[int]) -> None:
        """Have new workers come. A reload that can't be done, as for a port that is taken, is only in nginx's log: the old workers stay."""
        if "reload" in self.commands:
            self._run("reload")
        else:
            os.kill(self._master(), 1)
        deadline = time.monotonic() + 10
        while True:
            now = set(self._workers())
            if now and not now & set(old):
                return
            if time.monotonic() >= deadline:
                raise SeamlessError(
                    "nginx did not take the new configuration over within 10 s although its test passed: the old workers are still at work. Its "
                    "error log says why; the file is as before."
                )
            time.sleep(0.02)

    def _master(self) -> int:
        path = str(self.commands["pid_file"])
        try:
            with open(path, encoding="utf-8") as file:
                pid = int(file.read().strip())
            os.kill(pid, 0)
        except (OSError, ValueError) as exc:
            raise SeamlessError(f"nginx does not run: {path} names no process of this machine. Start it, or set commands.pid_file.") from exc
        return pid

    def _workers(self, *, leaving: bool = False) -> list[int]:
        """Return the processes that take connections, or those that only end what they have."""
        master = self._master()
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
                with open(f"/proc/{entry}/cmdline", encoding="utf-8", errors="replace") as file:
                    title = file.read()
            except OSError:
                continue
            if int(fields[1]) == master and fields[0] != "Z" and "worker process" in title and ("shutting down" in title) == leaving:
                found.append(int(entry))
        return found

    def shutdown_sessions(self, ref: MemberRef) -> None:
        for pid in self._workers(leaving=True):
            os.kill(pid, 15)

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        return [
            f"{self.file.path}: nginx does not check its members. Set check_url, so that one whose application is dead does not come back",
            "a reload of nginx closes idle connections of clients, unless keepalive_min_timeout (since 1.27.4) is longer than their pauses",
        ]
