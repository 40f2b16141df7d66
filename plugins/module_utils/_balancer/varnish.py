# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import json
import shlex
import subprocess
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import vcl
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

ALONE = "vcl"  # the pool of backends that no director lists
# Seconds in which a thread that has chosen a backend counts as its connection, on a busy machine too: before, nobody sees it.
BEGINS = 0.5
_TIMEOUT = 30


def parse_answer(text: str, what: str) -> list[t.Any]:
    """Return what is in the JSON answer of varnishadm to *what*: a version, the command, the time, and then the objects asked for."""
    try:
        answer = json.loads(text)
    except ValueError as exc:
        raise SeamlessError(f"varnishadm {what} did not answer with JSON but with {text[:100]!r}: Varnish 6.6 or newer is needed.") from exc
    if not isinstance(answer, list) or len(answer) < 3:
        raise SeamlessError(f"varnishadm {what} answered with something unknown: {text[:100]!r}")
    return answer[3:]


def active_vcls(objects: t.Sequence[t.Any]) -> dict[str, str]:
    """Return the VCLs at work: the active one, for which stands "", and those behind labels, for which stands the label and a slash.

    A name of VCL is another one after each reload, so nothing that has to be found again is called by it.
    """
    vcls = [one for one in objects if isinstance(one, dict) and one.get("name")]
    found = {str(one["name"]): "" for one in vcls if one.get("status") == "active"}
    for one in vcls:
        label = one.get("label")
        if one.get("state") == "label" and isinstance(label, dict) and label.get("name"):
            found.setdefault(str(label["name"]), f"{one['name']}/")
    return found


class Place(t.NamedTuple):
    """One backend as Varnish knows it: ``vcl.backend``."""

    vcl: str
    name: str
    fields: dict[str, t.Any]

    @property
    def full(self) -> str:
        return f"{self.vcl}.{self.name}"

    @property
    def admin(self) -> str:
        return "drain" if self.fields.get("admin_health") == "sick" else "ready"

    @property
    def health(self) -> str:
        """Return up or down as the probe says, also while the backend is set sick; without a probe it has no window of results."""
        message = self.fields.get("probe_message")
        if not isinstance(message, list) or len(message) < 3 or not message[1]:
            return "nocheck"
        return "up" if message[2] == "healthy" else "down"

    @property
    def check(self) -> str:
        message = self.fields.get("probe_message")
        return f"{message[0]}/{message[1]} {message[2]}" if isinstance(message, list) and self.health != "nocheck" else ""


def parse_list(objects: t.Sequence[t.Any]) -> list[Place]:
    """Return everything in an answer to ``backend.list``, directors among it."""
    listed = objects[0] if objects and isinstance(objects[0], dict) else {}
    return [
        Place(full.partition(".")[0], full.partition(".")[2], fields)
        for full, fields in listed.items() if isinstance(fields, dict) and fields.get("admin_health") != "deleted"
    ]


def pools_of(places: t.Sequence[Place], vcls: t.Mapping[str, str]) -> list[tuple[str, Place]]:
    """Return each backend of the VCLs at work in each director that leads to it, also through other directors."""
    directors: dict[tuple[str, str], list[str]] = {}
    backends: dict[tuple[str, str], Place] = {}
    for place in places:
        if place.fields.get("type") == "backend":
            backends[(place.vcl, place.name)] = place
        else:
            details = place.fields.get("probe_details")
            inside = details.get("backends") if isinstance(details, dict) else None
            directors[(place.vcl, place.name)] = list(inside) if isinstance(inside, dict) else []

    def leaves(key: tuple[str, str], seen: frozenset[tuple[str, str]]) -> t.Iterator[Place]:
        if key in backends:
            yield backends[key]
        for name in directors.get(key, []) if key not in seen else []:
            yield from leaves((key[0], name), seen | {key})

    found = []
    for key in directors:
        if key[0] in vcls:
            found += [(vcls[key[0]] + key[1], place) for place in {place.full: place for place in leaves(key, frozenset())}.values()]
    listed = {place.full for dummy, place in found}
    return found + [(vcls[place.vcl] + ALONE, place) for place in backends.values() if place.vcl in vcls and place.full not in listed]


class Varnish(Driver):
    """Varnish by ``varnishadm`` and ``varnishstat`` on its machine. A drained backend is ``sick``, whatever its probe says; the probe goes on."""

    name = "varnish"
    maintains = False

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        commands = dict(params.get("commands") or {})
        unknown = set(commands) - {"varnishadm", "varnishstat"}
        if unknown:
            raise SeamlessError(f"commands has {sorted(unknown)[0]!r}: the driver varnish knows varnishadm and varnishstat.")
        return [cls(commands, params.get("backend") or [])]

    def __init__(self, commands: t.Mapping[str, t.Any], backends: t.Sequence[str]) -> None:
        self.words = {name: self._split(commands.get(name) or name) for name in ("varnishadm", "varnishstat")}
        self.backends = list(backends)
        self.balancer = " ".join(self.words["varnishadm"])
        self._declared: dict[str, dict[str, vcl.Backend]] = {}

    @staticmethod
    def _split(command: t.Any) -> list[str]:
        return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]

    def _run(self, program: str, *arguments: str) -> str:
        words = [*self.words[program], *arguments]
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=_TIMEOUT, check=False)
        except FileNotFoundError as exc:
            raise SeamlessError(f"{words[0]} is not on this machine: install varnish, or set commands.{program}.") from exc
        except PermissionError as exc:
            raise SeamlessError(f"{words[0]} can't be run by this user: use become: true.") from exc
        except subprocess.TimeoutExpired as exc:
            raise SeamlessError(f"{' '.join(words)} gave no answer within {_TIMEOUT} s.") from exc
        output = done.stdout.decode(errors="replace")
        if done.returncode:
            raise SeamlessError(self._refusal(words, " ".join(f"{output} {done.stderr.decode(errors='replace')}".split())))
        return output

    def _refusal(self, words: t.Sequence[str], said: str) -> str:
        said = said.lstrip(". ")[-300:]
        advice = ""
        if "Rejected" in said or "Cannot open" in said or "ermission" in said:
            advice = " The secret file is wrong or can't be read: use become: true, or name the right one with -S in commands.varnishadm."
        elif "get hold of varnishd" in said or "refused" in said:
            advice = " Start Varnish, or name its instance with -n (or -T and -S) in commands."
        return f"{' '.join(words)} failed: {said}.{advice}"

    def _vcls(self) -> dict[str, str]:
        vcls = active_vcls(parse_answer(self._run("varnishadm", "vcl.list", "-j"), "vcl.list"))
        for name in set(vcls) - set(self._declared):
            self._declared[name] = vcl.parse_backends(self._run("varnishadm", "vcl.show", "-v", name))
        return vcls

    def _places(self) -> tuple[list[Place], dict[MemberRef, Place], t.Collection[str]]:
        """Return every backend of every VCL, those of the VCLs at work by their reference, and the names of these."""
        vcls = self._vcls()
        everything = parse_list(parse_answer(self._run("varnishadm", "backend.list", "-j", "-p", "*.*"), "backend.list"))
        found = {MemberRef(self.balancer, pool, place.name): place for pool, place in pools_of(everything, vcls)}
        known = sorted({ref.backend for ref in found})
        missing = [backend for backend in self.backends if backend not in known]
        if missing:
            raise SeamlessError(f"backend {missing[0]} is no director of the active VCL: there are {', '.join(known) or 'none'}.")
        return everything, {ref: place for ref, place in found.items() if not self.backends or ref.backend in self.backends}, vcls

    def members(self) -> list[Member]:
        everything, places, vcls = self._places()
        counters = self._counters()
        return [self._member(ref, place, self._same(place, everything, vcls), counters) for ref, place in places.items()]

    @staticmethod
    def _same(place: Place, everything: t.Sequence[Place], vcls: t.Collection[str]) -> list[str]:
        """Return the backend itself and those of its name in VCLs that are no longer at work: requests that began with these go on there."""
        return [other.full for other in everything if other.full == place.full or (other.name == place.name and other.vcl not in vcls)]

    def _counters(self) -> dict[str, int]:
        text = self._run("varnishstat", "-1", "-j", "-f", "VBE.*.conn", "-f", "VBE.*.req")
        try:
            answer = json.loads(text)
        except ValueError as exc:
            raise SeamlessError(f"varnishstat did not answer with JSON but with {text[:100]!r}.") from exc
        counters = answer.get("counters", answer) if isinstance(answer, dict) else {}
        return {name: int(one["value"]) for name, one in counters.items() if isinstance(one, dict) and str(one.get("value", "")).isdigit()}

    def _member(self, ref: MemberRef, place: Place, same: t.Sequence[str], counters: t.Mapping[str, int]) -> Member:
        declared = self._declared.get(place.vcl, {}).get(place.name) or vcl.Backend("", None)
        return Member(
            ref=ref, address=declared.address, port=declared.port, admin=place.admin, admin_source="runtime", health=place.health,
            fully_up=place.health != "down", check=place.check, weight=None,
            sessions=sum(counters.get(f"VBE.{full}.conn", 0) for full in same), queued=None,
            total=sum(counters.get(f"VBE.{full}.req", 0) for full in same),
        )

    def set_states(self, changes: t.Sequence[Change]) -> None:
        if not changes:
            return
        if any(change.state == "ready" for change in changes):
            time.sleep(self._held_down())
        dummy, places, dummy_vcls = self._places()
        for full, state in {self._full(places, change.ref): change.state for change in changes}.items():
            # A whole name is a pattern for itself; half a one would be for all that end like it.
            self._run("varnishadm", "backend.set_health", full, "auto" if state == "ready" else "sick")
        dummy, places, dummy_vcls = self._places()
        for change in changes:
            if change.ref not in places:
                raise gone(change.ref)
            if (places[change.ref].admin == "ready") != (change.state == "ready"):
                raise SeamlessError(f"{change.ref} is {places[change.ref].admin} right after it was set to {change.state}: was VCL loaded in this moment?")
        if any(change.state != "ready" for change in changes):
            time.sleep(BEGINS)

    def _held_down(self) -> float:
        """Return for how many seconds Varnish answers 503 instead of connecting, after a backend (its application is back since) refused a probe."""
        answer = parse_answer(self._run("varnishadm", "param.show", "-j", "backend_remote_error_holddown"), "param.show")
        value = answer[0].get("value") if answer and isinstance(answer[0], dict) else None
        if not isinstance(value, (int, float)):
            raise SeamlessError(f"varnishadm param.show does not tell backend_remote_error_holddown: {str(answer)[:100]!r}")
        return float(value)

    @staticmethod
    def _full(places: t.Mapping[MemberRef, Place], ref: MemberRef) -> str:
        if ref not in places:
            raise gone(ref)
        return places[ref].full

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        if any(member.health == "nocheck" for member in members):
            return [f"{self.balancer} has backends without .probe: Varnish would send requests to a dead application"]
        return []
