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


def read(facts: t.Mapping[str, t.Any], ask: t.Callable[[], t.Mapping[str, t.Mapping[str, t.Any]]]) -> dict[str, Count]:
    """Return the counters of the source that ``rollout_canary_analysis`` names. *ask* returns the answers of ``lb_info``, by balancer.

    Raises SeamlessError where the source gives no numbers.
    """
    source = facts["analysis"]["source"]
    return of_balancers(facts["hosts"], ask()) if source["type"] == "balancer" else _queries.counters(source, facts["addresses"])


def of_balancers(hosts: t.Mapping[str, t.Mapping[str, t.Any]], answers: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, Count]:
    """Return one counter, ``HOST|…``, for each pool that a host of the plan is in. *answers* are those of ``lb_info``, by balancer.

    Raises SeamlessError for a balancer that counts nothing of the kind.
    """
    members = {key: _members(answer) for key, answer in answers.items()}
    found: dict[str, Count] = {}
    for host, entry in hosts.items():
        for call in entry["balancers"]:
            key = balancer_key(call)
            for backend, name in call.get("servers") or []:
                for process, member in members.get(key, {}).get((backend, name), []):
                    found[f"{host}|{key}|{process}|{backend}|{name}"] = _count(member, call)
    return found


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
