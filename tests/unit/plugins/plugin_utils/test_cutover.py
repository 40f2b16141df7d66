# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _cutover

IP = {"address": "198.51.100.60/32", "interface": "eth0"}
LOST = {"failed": True, "unreachable_host": True, "msg": "The host can't be reached: timeout"}


def say(held: bool = False, **more: t.Any) -> dict[str, t.Any]:
    return {"held": held, "willing": True, "hardware_address": f"02:00:00:00:00:0{int(held)}", **more}


def choose(answers: dict[str, t.Any], *to: str, ip: t.Any = None, **options: t.Any) -> _cutover.Choice:
    return _cutover.choose(answers, IP if ip is None else ip, to, servers=options.get("servers", {}), takeover=options.get("takeover", False))


def test_the_address_goes_from_who_has_it_to_who_is_named() -> None:
    choice = choose({"web1": say(True), "web2": say(), "web3": say()}, "web2", "web3")
    assert (choice.target, choice.sources, choice.moves, choice.address, choice.method) == ("web2", ["web1"], True, "198.51.100.60", "arp")
    assert (choice.replaces, choice.returns) == (["02:00:00:00:00:01"], ["02:00:00:00:00:00"])


def test_who_has_it_already_keeps_it_and_what_was_begun_is_finished() -> None:
    assert not choose({"web1": say(True), "web2": say()}, "web1").moves
    begun = choose({"web1": say(True), "web2": say(True)}, "web2")
    assert begun.moves and begun.sources == ["web1"]
    assert choose({"web1": say(), "web2": say()}, "web2").sources == []
    assert choose({"web1": say(True, willing=False), "web2": say()}, "web1").moves


def test_the_way_back_is_to_who_had_it_before() -> None:
    assert choose({"web1": say(), "web2": say(True)}).target == "web1"
    three = {"web1": say(), "web2": say(True, record={"instead_of": "web3"}), "web3": say()}
    assert choose(three).target == "web3"


@pytest.mark.parametrize(("answers", "to", "words"), [
    ({"web1": say(True), "web2": say()}, ["web9"], "cutover_to is 'web9'.* Did you mean web2"),
    ({"web1": say(), "web2": say(True), "web3": say()}, [], "who had it before is not known: name one of web1, web3"),
    ({"web1": say(), "web2": say()}, [], "0 hosts have"),
    ({"web1": say(True), "web2": say(True), "web3": say()}, ["web3"], "web1, web2 all have"),
    ({"web1": LOST, "web2": say()}, ["web2"], "web1 can't be reached, .* cutover_takeover"),
    ({"web1": say(True), "web2": LOST}, ["web2"], "web2 is to get 198.51.100.60, and can't be reached"),
    ({"web1": {"failed": True, "msg": "path is not set"}, "web2": say()}, ["web2"], "web1: path is not set"),
])
def test_what_does_not_show_is_refused(answers: dict[str, t.Any], to: list[str], words: str) -> None:
    with pytest.raises(SeamlessError, match=words):
        choose(answers, *to)


def test_who_can_not_be_reached_is_dead_only_when_somebody_says_so() -> None:
    choice = choose({"web1": LOST, "web2": say()}, "web2", takeover=True)
    assert (choice.target, choice.sources, choice.silent) == ("web2", [], ["web1"])
    assert choose({"web1": say(True), "web2": say(), "web3": LOST}, "web2").sources == ["web1"], "it is elsewhere for sure"


def test_a_provider_knows_servers_by_its_own_names() -> None:
    answers = {host: {"holder": "shop-1"} for host in ("web1", "web2")}
    ip = {"address": "198.51.100.60", "method": "hetzner"}
    assert choose(answers, "web2", ip=ip, servers={"web1": "shop-1", "web2": "shop-2"}).sources == ["web1"]
    assert choose({host: {"holder": "web1"} for host in ("web1", "web2")}, "web2", ip=ip).sources == ["web1"]
    with pytest.raises(SeamlessError, match="the token is wrong"):
        choose({host: {"failed": True, "msg": "the token is wrong", "unreachable_host": True} for host in ("web1", "web2")}, "web2", ip=ip)


@pytest.mark.parametrize(("ip", "words"), [
    ({}, "use a dictionary"), ("198.51.100.60", "use a dictionary"), ({"address": "a", "server": "x"}, "has 'server'"),
    ({"address": "a", "interfaces": "x"}, "Did you mean interface"), ({"address": "a", "method": "vrrp"}, "use one of arp, keepalived"),
])
def test_options_that_do_not_exist_are_refused(ip: t.Any, words: str) -> None:
    with pytest.raises(SeamlessError, match=words):
        _cutover.check_options(ip)
    assert _cutover.check_options({"address": "a", "announcements": 5}) == {"address": "a", "announcements": 5}


def test_groups_and_hosts_are_expanded() -> None:
    groups = {"green": ["web2", "web3"], "all": ["web1", "web2", "web3"]}
    assert _cutover.expand("green", groups) == ["web2", "web3"] and _cutover.expand(["web1", "green"], groups) == ["web1", "web2", "web3"]
    assert _cutover.expand("", groups) == [] == _cutover.expand(None, groups)


def test_probes_of_the_host_itself_are_asked_through_the_address() -> None:
    probes = [{"url": "http://127.0.0.1:8000/h?x=1", "json": {"version": "1"}}, {"url": "https://localhost/"}, {"tcp": "127.0.0.1:22"}, {"url": "http://db1/"},
              {"command": "true"}, {"tcp": "[::1]:25"}, {"tcp": "db1:5432"}]
    assert _cutover.checks_through(probes, "198.51.100.60") == [
        {"url": "http://198.51.100.60:8000/h?x=1", "json": {"version": "1"}}, {"url": "https://198.51.100.60/"}, {"tcp": "198.51.100.60:22"},
        {"tcp": "198.51.100.60:25"},
    ]
    assert _cutover.checks_through(probes[:1], "2001:db8::60")[0]["url"] == "http://[2001:db8::60]:8000/h?x=1"


def test_probes_that_ask_for_a_release_ask_for_the_one_that_is_there() -> None:
    probes = [{"url": "http://x/1.3.0", "json": {"version": "1.3.0", "ok": True}, "status": [200, 201]}]
    assert _cutover.for_release(probes, "1.3.0", "1.2.0") == [{"url": "http://x/1.3.0", "json": {"version": "1.2.0", "ok": True}, "status": [200, 201]}]
    assert _cutover.for_release([{"contains": "shop @current@"}], "@current@", "1.2.0") == [{"contains": "shop 1.2.0"}]
    assert _cutover.for_release(probes, "", "1.2.0") == probes == _cutover.for_release(probes, "1.3.0", "")
