# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._blue_green import choose, serving_hosts

GROUPS = {"blue": ["web1", "web2"], "green": ["web3"], "all": ["web1", "web2", "web3", "web4"]}
POOLS = {"blue": "blue", "green": ["green", "web4"]}


def test_the_pool_that_gets_requests_is_live() -> None:
    choice = choose(POOLS, GROUPS, {"web3"}, None)
    assert choice == ("green", "blue", ["web3", "web4"], ["web1", "web2"])
    assert choose(POOLS, GROUPS, {"web1", "web4"}, "blue").live == "blue"


@pytest.mark.parametrize(
    ("pools", "serving", "live", "problem"),
    [
        (POOLS, {"web1", "web3"}, None, "blue and green both get requests.*-e blue_green_live=blue"),
        (POOLS, set(), None, "neither blue nor green"),
        (POOLS, set(), "bleu", "Did you mean blue"),
        ({"blue": "blue"}, set(), None, "two pools"),
        ({"blue": "blue", "green": ["web1"]}, set(), None, "web1 is in both pools"),
        ({"blue": "blue", "green": "gren"}, set(), None, "gren.*Did you mean green"),
        ({"blue": "blue", "green": []}, set(), None, "blue_green_pools.green has no host"),
    ],
)
def test_what_does_not_tell_is_refused(pools: t.Any, serving: set[str], live: str | None, problem: str) -> None:
    with pytest.raises(SeamlessError, match=problem):
        choose(pools, GROUPS, serving, live)


def test_hosts_are_found_by_name_or_address_and_a_silent_balancer_is_an_error() -> None:
    members = [
        {"name": "web1", "address": "198.51.100.1", "admin": "ready"}, {"name": "w2", "address": "198.51.100.2", "admin": "ready"},
        {"name": "web3", "address": "198.51.100.3", "admin": "drain"},
    ]
    answers = [{"pools": [{"members": members}]}]
    addresses = {"web1": "", "web2": "198.51.100.2", "web3": "198.51.100.3"}
    assert serving_hosts(answers, addresses) == {"web1", "web2"}
    with pytest.raises(SeamlessError, match="no route"):
        serving_hosts([*answers, {"failed": True, "msg": "no route"}], addresses)
