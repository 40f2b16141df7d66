# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What opens a balancer's interface is in no plan, since Ansible may show and keep those, and is there when the call is made."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils import _pools as pools
from ansible_collections.seamless.rollout.plugins.plugin_utils._balancer_calls import secrets_of

if t.TYPE_CHECKING:
    from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables

BALANCERS = [
    {"driver": "hetzner", "hosts": "localhost", "backend": ["shop"], "token": "one-secret"},
    {"driver": "hetzner", "hosts": "localhost", "backend": ["api"], "token": "other-secret"},
    {"driver": "apache", "hosts": "lb", "url": "http://127.0.0.1/manager", "username": "ops", "password": "third-secret"},
    {"driver": "haproxy", "hosts": "lb", "socket": "/s"},
]


class Variables:
    """Play variables, which ``hostvars`` does not know."""

    def get(self, host: str, name: str) -> t.Any:
        return {("web1", "rollout_balancers"): BALANCERS}[host, name]


def test_no_secret_is_in_a_plan_and_each_call_finds_its_own() -> None:
    calls = pools.without_secrets("web1", pools.expand_balancers("web1", BALANCERS, {"lb": ["lb1", "lb2"]}))
    assert "secret\"" not in json.dumps(calls) and "-secret" not in json.dumps(calls)
    variables = t.cast("HostVariables", Variables())
    found = [(call["driver"], call["delegate"], secrets_of(call, variables)) for call in calls]
    assert found == [
        ("hetzner", "localhost", {"token": "one-secret"}), ("hetzner", "localhost", {"token": "other-secret"}),
        ("apache", "lb1", {"password": "third-secret"}), ("apache", "lb2", {"password": "third-secret"}), ("haproxy", "lb1", {}), ("haproxy", "lb2", {}),
    ]
    distinct = pools.distinct_balancers({"web1": calls, "web2": [{**call, "secret_of": "web2"} if "secret_of" in call else call for call in calls]})
    assert len(distinct) == 6
    assert secrets_of(distinct[1], variables) == {"token": "other-secret"}
