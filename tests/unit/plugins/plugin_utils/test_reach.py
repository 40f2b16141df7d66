# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _reach


class Asking:
    """The action plugin, as far as asking goes."""

    @staticmethod
    def validated(operation: str, args: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"operation": operation, **args}


class Variables:
    """The variables of hosts, of which web2 has a root of its own."""

    def get(self, host: str, name: str) -> t.Any:
        return {("web2", "rollout_root"): "/srv/elsewhere"}.get((host, name))


def reaching(monkeypatch: pytest.MonkeyPatch, *answers: dict[str, t.Any]) -> tuple[_reach.TaskReach, list[t.Any]]:
    """Return what asks two balancers and three hosts that give *answers*, and the calls that it makes."""
    made: list[t.Any] = []

    def answer(action: t.Any, operation: str, calls: t.Sequence[t.Any], task_vars: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        made.extend(calls)
        return list(answers)[:len(calls)]

    monkeypatch.setattr(_reach, "fan_out", answer)
    calls = [{"driver": "haproxy", "delegate": name, "socket": "/s", "backend": "shop"} for name in ("lb1", "lb2")]
    hosts = {f"web{n}": {"balancers": [{**call, "servers": [["shop", f"web{n}"]]} for call in calls]} for n in (1, 2)}
    facts = {"id": "r", "app": "shop", "root": "/srv/shop", "lock_ttl": 100, "balancers": calls, "hosts": {**hosts, "web3": {"balancers": []}}}
    return _reach.TaskReach(t.cast("t.Any", Asking()), facts, {}, t.cast("t.Any", Variables())), made


def pool(**members: str) -> dict[str, t.Any]:
    return {"pools": [{"backend": "shop", "members": [{"name": name, "admin": admin, "health": "up"} for name, admin in members.items()]}]}


def test_a_host_is_unavailable_when_one_of_its_balancers_sends_it_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reach, made = reaching(monkeypatch, pool(web1="ready", web2="ready"), pool(web1="ready", web2="drained"))
    assert reach.unavailable() == {"web2"}
    assert [(call.machine, call.params["operation"], call.params["owner"]) for call in made] == [("lb1", "lb_info", "shop"), ("lb2", "lb_info", "shop")]
    assert reaching(monkeypatch, {"pools": []}, {"pools": []})[0].unavailable() == set(), "what a balancer doesn't know is no reason to wait"
    with pytest.raises(SeamlessError, match="balancer lb2 can't be asked how many members are up: timed out"):
        reaching(monkeypatch, pool(web1="ready"), {"failed": True, "msg": "timed out"})[0].unavailable()


def test_a_traffic_split_is_told_where_hosts_of_the_rollout_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    split, other = pool(web1="ready", web2="ready"), pool(web1="ready", web9="ready")
    reach = reaching(monkeypatch, split, other)[0]
    other["pools"][0]["members"][1]["split_by"] = "blog"
    reach.unavailable()
    assert reach.split_by == ""
    split["pools"][0]["members"][1]["split_by"] = "shop"
    reach.unavailable()
    assert reach.split_by == "shop"


def test_locks_are_renewed_in_the_name_of_the_rollout_and_only_ours_count(monkeypatch: pytest.MonkeyPatch) -> None:
    reach, made = reaching(monkeypatch, {"lock": {"id": "r"}}, {"lock": None}, {"failed": True, "msg": "timed out"})
    assert reach.keep_locks(["web1", "web2", "web3"]) == [{"id": "r"}]
    assert made[0].params == {"operation": "rollout_lock", "root": "/srv/shop", "lock_id": "r", "renew": True, "ttl": 100}
    assert made[1].params["root"] == "/srv/elsewhere"
