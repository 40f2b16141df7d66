# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.
"""The requests and failures of each host, as its balancers or somebody else have counted them."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _queries
from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count
from ansible_collections.seamless.rollout.plugins.plugin_utils._pools import balancer_key

Hosts = t.Mapping[str, t.Mapping[str, t.Any]]


class Counted(t.NamedTuple):
    """The totals of each counter, and of each machine how far its access log was read, where that is the source."""

    counts: t.Mapping[str, Count] = {}
    places: t.Mapping[str, t.Any] = {}


# Answers of ``lb_info``, by balancer.
Ask = t.Callable[[], t.Mapping[str, t.Mapping[str, t.Any]]]
# Answers of ``access_log_info`` to these parameters, by machine.
ReadLogs = t.Callable[[t.Mapping[str, t.Mapping[str, t.Any]]], t.Mapping[str, t.Mapping[str, t.Any]]]


def read(facts: t.Mapping[str, t.Any], ask: Ask, read_logs: ReadLogs, before: Counted) -> Counted:
    """Return what the source that ``rollout_canary_analysis`` names has counted; *before* is what it had when it was read last.

    Raises SeamlessError where the source gives no numbers.
    """
    source = facts["analysis"]["source"]
    if source["type"] == "balancer":
        return Counted(of_balancers(facts["hosts"], ask()))
    if source["type"] == "access_log":
        return of_logs(facts, read_logs, before)
    return Counted(_queries.counters(source, facts["addresses"]))


def of_logs(facts: t.Mapping[str, t.Any], read_logs: ReadLogs, before: Counted) -> Counted:
    """Return *before* and what the access logs tell of since. A machine that can't be reached tells nothing; it may be the one that is being updated.

    Raises SeamlessError for a log that can't be read, and where no line is about any of the hosts.
    """
    source = facts["analysis"]["source"]
    asked = {name: source[name] for name in ("path", "pattern", "ignore", "slow_seconds") if source.get(name) is not None}
    own = source.get("where", "hosts") == "hosts"
    machines = list(facts["hosts"]) if own else list(dict.fromkeys(call["delegate"] for entry in facts["hosts"].values() for call in entry["balancers"]))
    answers = read_logs({machine: {**asked, **({"since": before.places[machine]} if machine in before.places else {})} for machine in machines})
    counts, places, strangers = dict(before.counts), dict(before.places), set()
    known = _names(facts)
    for machine, answer in answers.items():
        if answer.get("unreachable_host") or answer.get("unreachable"):
            continue
        if answer.get("failed"):
            raise SeamlessError(f"the access log on {machine} can't be read: {answer.get('msg')}")
        places[machine] = answer["place"]
        if answer["unread"] and not answer["counts"]:
            unread = f"{answer['unread']} new lines, and none is as pattern says"
            raise SeamlessError(f"the access log on {machine} has {unread}: set rollout_canary_analysis.source.pattern.")
        for upstream, numbers in {"": dict.fromkeys(Count._fields, 0), **answer["counts"]}.items() if own else answer["counts"].items():
            host = machine if own else known.get(upstream) or known.get(upstream.rpartition(":")[0].strip("[]"))
            if host is None:
                strangers.add(upstream)
                continue
            name = f"{host}|{machine}"
            counts[name] = counts.get(name, Count()).plus(Count(**{field: int(numbers[field]) for field in Count._fields}))
    if strangers and not counts:
        raise SeamlessError(f"no line of the access logs is about one of these hosts: they tell of {', '.join(sorted(strangers)[:5])}.")
    return Counted(counts, places)


def _names(facts: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the host behind every name that a log may have for it: its own, its address, and those of its servers in the balancers."""
    found = {name: host for host, address in facts["addresses"].items() for name in (host, address)}
    for host, entry in facts["hosts"].items():
        found.update({str(server): host for call in entry["balancers"] for dummy, server in call.get("servers") or []})
    return found


def of_balancers(hosts: Hosts, answers: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, Count]:
    """Return one counter, ``HOST|…``, for each pool that a host of the plan is in. *answers* are those of ``lb_info``, by balancer.

    Raises SeamlessError for a balancer that counts nothing of the kind.
    """
    return {name: _count(member, call) for name, member, call in _counters(hosts, answers)}


def what_is_counted(hosts: Hosts, answers: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, Count]:
    """As :func:`of_balancers`, of those balancers that count, be it none."""
    return {
        name: Count(int(member["requests"]), int(member["errors"]))
        for name, member, dummy in _counters(hosts, answers)
        if member.get("requests") is not None and member.get("errors") is not None
    }


def _counters(hosts: Hosts, answers: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Iterator[tuple[str, dict[str, t.Any], t.Mapping[str, t.Any]]]:
    """Return each counter's name, the member that it counts, and the call that the member is asked for with."""
    members = {key: _members(answer) for key, answer in answers.items()}
    for host, entry in hosts.items():
        for call in entry["balancers"]:
            key = balancer_key(call)
            for backend, name in call.get("servers") or []:
                for process, member in members.get(key, {}).get((backend, name), []):
                    yield f"{host}|{key}|{process}|{backend}|{name}", member, call


def _members(answer: t.Mapping[str, t.Any]) -> dict[tuple[str, str], list[tuple[str, dict[str, t.Any]]]]:
    found: dict[tuple[str, str], list[tuple[str, dict[str, t.Any]]]] = {}
    for pool in answer.get("pools") or []:
        for member in pool["members"]:
            found.setdefault((pool["backend"], member["name"]), []).append((str(pool["balancer"]), member))
    return found


def _count(member: t.Mapping[str, t.Any], call: t.Mapping[str, t.Any]) -> Count:
    if member.get("requests") is None or member.get("errors") is None:
        raise SeamlessError(
            f"balancer {call['delegate']} (driver {call['driver']}) does not count the failed requests of its members: have rollout_canary_analysis.source "
            "name another one, such as {type: prometheus, …}."
        )
    return Count(int(member["requests"]), int(member["errors"]))
