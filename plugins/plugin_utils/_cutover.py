# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Who has a floating IP, and who gets it. Pure: what the hosts say in, the answer out."""

from __future__ import annotations

import difflib
import ipaddress
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.methods import METHODS, SPEC

LOCAL = ("arp", "keepalived")
# The rest of a call comes from the role.
OPTIONS = (*(name for name in SPEC if name != "server"), "announcements", "announce_interval")
_HERE = ("127.0.0.1", "localhost", "::1")
CURRENT = "@current@"
Answers = t.Mapping[str, t.Mapping[str, t.Any]]


class Choice(t.NamedTuple):
    """The host that gets the address, those that give it away, whether there is anything to do, the hardware addresses of *sources* and of *target*, and
    the hosts that did not answer."""

    address: str
    method: str
    target: str
    sources: list[str]
    moves: bool
    replaces: list[str]
    returns: list[str]
    silent: list[str]


def check_options(floating_ip: t.Any) -> dict[str, t.Any]:
    """Return *floating_ip*. Raises SeamlessError for what is no option of the module, or where the address is missing."""
    if not isinstance(floating_ip, dict) or not floating_ip.get("address"):
        raise SeamlessError(f"cutover_floating_ip is {floating_ip!r}: use a dictionary such as {{address: 198.51.100.60, method: arp, interface: eth0}}.")
    for name in floating_ip:
        if name not in OPTIONS:
            near = difflib.get_close_matches(str(name), OPTIONS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise SeamlessError(f"cutover_floating_ip has {name!r}: it takes {', '.join(sorted(OPTIONS))}.{hint}")
    if floating_ip.get("method", "arp") not in METHODS:
        raise SeamlessError(f"cutover_floating_ip.method is {floating_ip['method']!r}: use one of {', '.join(METHODS)}.")
    return floating_ip


def choose(answers: Answers, floating_ip: t.Mapping[str, t.Any], to: t.Sequence[str], *, servers: t.Mapping[str, str], takeover: bool) -> Choice:
    """Return who gets the address. *answers* are what :mod:`floating_ip_info` returned on each host; for a provider every one has the same. *to* are the
    hosts that may get it, the first of which does, or none: then the one that had it before. *servers* are the hosts' names at the provider.
    Raises SeamlessError."""
    address, method = str(floating_ip["address"]).partition("/")[0], str(floating_ip.get("method") or "arp")
    silent = [host for host, answer in answers.items() if answer.get("failed")]
    having = holders(answers, method, servers)
    if silent and (method not in LOCAL or not all(answers[host].get("unreachable_host") for host in silent)):
        raise SeamlessError(f"{silent[0]}: {answers[silent[0]].get('msg')}")
    target = _target(answers, address, having, to)
    if target in silent:
        raise SeamlessError(f"{target} is to get {address}, and can't be reached: {answers[target].get('msg')}")
    if silent and not having and not takeover:
        raise SeamlessError(
            f"{', '.join(silent)} can't be reached, and nobody else has {address}, so it may be there. If that machine is dead, set cutover_takeover to true."
        )
    sources = [host for host in having if host != target]
    if len(sources) > 1:
        raise SeamlessError(f"{', '.join(sources)} all have {address}: remove it from all but one of them first, with seamless.rollout.floating_ip.")
    moves = bool(sources) or target not in having or not answers[target].get("willing", True)
    return Choice(address, method, target, sources, moves, _hardware(answers, sources), _hardware(answers, [target]), silent)


def holders(answers: Answers, method: str, servers: t.Mapping[str, str]) -> list[str]:
    """Return the hosts that have the address by *answers*."""
    if method in LOCAL:
        return [host for host, answer in answers.items() if answer.get("held")]
    return [host for host, answer in answers.items() if answer.get("holder") and servers.get(host, host) == answer["holder"]]


def _target(answers: Answers, address: str, having: t.Sequence[str], to: t.Sequence[str]) -> str:
    if to:
        if to[0] not in answers:
            near = difflib.get_close_matches(to[0], answers, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise SeamlessError(f"cutover_to is {to[0]!r}, which is none of the hosts of this play ({', '.join(answers)}): add it to cutover_hosts.{hint}")
        return to[0]
    if len(having) != 1:
        raise SeamlessError(f"{len(having)} hosts have {address}, so it does not show which one gets it back: name it in cutover_to.")
    others = [host for host in answers if host not in having]
    before = str((answers[having[0]].get("record") or {}).get("instead_of") or "")
    if before in others:
        return before
    if len(others) != 1:
        raise SeamlessError(f"{having[0]} has {address}, and who had it before is not known: name one of {', '.join(others) or 'no host'} in cutover_to.")
    return others[0]


def _hardware(answers: Answers, hosts: t.Sequence[str]) -> list[str]:
    return [str(answers[host]["hardware_address"]) for host in hosts if answers[host].get("hardware_address")]


def expand(to: t.Any, groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Return the hosts of *to*: a host, a group, or a list of such."""
    words = [to] if isinstance(to, str) else list(to or [])
    return [host for word in words if word for host in groups.get(str(word), [str(word)])]


def checks_through(probes: t.Sequence[t.Mapping[str, t.Any]], address: str) -> list[dict[str, t.Any]]:
    """Return those of *probes* that ask a host about itself by network, now asked at *address*."""
    place = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    found = []
    for probe in probes:
        if "url" in probe:
            url = urllib.parse.urlsplit(str(probe["url"]))
            if url.hostname in _HERE:
                found.append({**probe, "url": url._replace(netloc=place if url.port is None else f"{place}:{url.port}").geturl()})
        elif "tcp" in probe:
            host, dummy, port = str(probe["tcp"]).rpartition(":")
            if host.strip("[]") in _HERE:
                found.append({**probe, "tcp": f"{place}:{port}"})
    return found


def for_release(probes: t.Any, asked: str, current: str) -> t.Any:
    """Return *probes* with every value that is the release *asked* for as the one that the host has, for the way back to an earlier one."""
    if isinstance(probes, t.Mapping):
        return {name: for_release(value, asked, current) for name, value in probes.items()}
    if isinstance(probes, (list, tuple)):
        return [for_release(value, asked, current) for value in probes]
    if not asked or not current or not isinstance(probes, str):
        return probes
    return probes.replace(CURRENT, current) if asked == CURRENT else current if probes == asked else probes
