# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.seamless.rollout.plugins.filter.traffic_parts import traffic_parts
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._traffic import Part, parts_of

HOSTS = ["web1", "web2", "web3"]
RELEASES: dict[str, str | None] = {"web1": "2.0", "web2": "1.0", "web3": "1.0"}
GROUPS = {"all": [*HOSTS, "lb1", "lb2"], "app": HOSTS, "canaries": ["web1"], "new": ["web1", "web2"], "lb": ["lb1", "lb2"]}
BALANCERS = [{"driver": "haproxy", "hosts": "lb", "socket": "/run/haproxy/admin.sock", "backend": "shop", "sticky": "move"}]


def parts(shares: t.Any, by: str = "release", releases: dict[str, str | None] | None = None) -> list[Part]:
    return parts_of(shares, by, HOSTS, RELEASES if releases is None else releases, GROUPS)


def test_hosts_are_sorted_by_the_release_that_they_run() -> None:
    assert parts({"2.0": 5}) == [Part("2.0", 5, ["web1"]), Part("the rest", None, ["web2", "web3"])]
    assert parts({"1.0": "95%", "2.0": 5}) == [Part("1.0", 95, ["web2", "web3"]), Part("2.0", 5, ["web1"])]
    assert parts({2.0: 0.5})[0] == Part("2.0", 0.5, ["web1"])


def test_hosts_are_sorted_by_group_or_name() -> None:
    assert parts({"canaries": 10}, "group") == [Part("canaries", 10, ["web1"]), Part("the rest", None, ["web2", "web3"])]
    assert parts({"canaries": 10, "web3": 30}, "group", {}) == [
        Part("canaries", 10, ["web1"]), Part("web3", 30, ["web3"]), Part("the rest", None, ["web2"]),
    ]


@pytest.mark.parametrize(
    ("shares", "by", "words"),
    [
        ({}, "release", ["traffic_split_shares is {}", '{"2.0": 5}']),
        ([5], "release", ["traffic_split_shares is [5]"]),
        ({"2.0": "much"}, "release", ["traffic_split_shares.2.0 is 'much'"]),
        ({"2.0": 0}, "release", ["more than 0", "drain it"]),
        ({"2.0": 100}, "release", ["less than 100"]),
        ({"2.0": True}, "release", ["is True"]),
        ({"2.0": 60, "1.0": 60}, "release", ["120 percent together"]),
        ({"2.1": 5}, "release", ["names '2.1'", "there are 1.0, 2.0", "Did you mean 2.0?"]),
        ({"2.0": 5, "1.0": 5}, "release", ["10 percent together", "nobody is there for the rest"]),
        ({"canary": 5}, "group", ["names 'canary'", "Did you mean canaries?"]),
        ({"lb": 5}, "group", ["names 'lb'", "no host is in it"]),
        ({"canaries": 5, "new": 10}, "group", ["web1 is in canaries and in new", "one share"]),
        ({"canaries": 50, "web2": 50}, "group", ["100 percent together", "web3 would get nothing"]),
        ({"2.0": 5}, "version", ["traffic_split_by is 'version'", "release or group"]),
    ],
)
def test_what_does_not_add_up_is_refused(shares: t.Any, by: str, words: list[str]) -> None:
    with pytest.raises(SeamlessError) as caught:
        parts(shares, by)
    for word in words:
        assert word in str(caught.value)


def test_a_host_that_does_not_say_what_it_runs_stops_it() -> None:
    with pytest.raises(SeamlessError, match="web3 did not say which release"):
        parts({"2.0": 5}, releases={**RELEASES, "web3": None})


def test_each_balancer_is_told_its_members_by_the_names_that_it_knows() -> None:
    hostvars = {host: {"ansible_host": f"198.51.100.{number}"} for number, host in enumerate(HOSTS, 1)}
    hostvars["web1"]["rollout_balancers"] = [{**BALANCERS[0], "member": "first"}]  # type: ignore[assignment]
    hostvars["web2"]["rollout_balancers"] = [{"driver": "none"}]  # type: ignore[assignment]
    entries = traffic_parts(BALANCERS, {"2.0": 5}, GROUPS, hostvars, RELEASES)
    assert [entry["delegate"] for entry in entries] == ["lb1", "lb2"]
    for entry in entries:
        assert entry["parts"] == [
            {"name": "2.0", "share": 5.0, "members": [{"name": "first"}]},
            {
                "name": "the rest",
                "members": [{"name": "web2", "address": "198.51.100.2"}, {"name": "web3", "address": "198.51.100.3"}],
            },
        ]
    with pytest.raises(AnsibleFilterError, match="traffic_split_balancers is empty"):
        traffic_parts([], {"2.0": 5}, GROUPS, {host: {} for host in HOSTS}, RELEASES)
