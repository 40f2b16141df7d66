# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.nginx_plus import NginxPlus, admin_of, health_of, place_of
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


@pytest.mark.parametrize(
    ("config", "state", "admin"),
    [
        ({"down": False}, "up", "ready"), ({"down": True}, "down", "maint"), ({"drain": True}, "draining", "drain"),
        ({"down": True, "drain": True}, "down", "maint"),
        ({"drain": True}, "unhealthy", "drain"), ({}, "draining", "drain"), ({}, "down", "maint"), ({}, "unavail", "ready"),
    ],
)
def test_admin_comes_from_the_configuration_and_else_from_the_peer(config: dict[str, t.Any], state: str, admin: str) -> None:
    assert admin_of(config, {"state": state}) == admin


@pytest.mark.parametrize(
    ("state", "admin", "checks", "health", "full"),
    [
        ("up", "ready", {"checks": 7, "last_passed": True}, "up", True),
        ("up", "ready", {"checks": 0}, "nocheck", True),
        ("up", "ready", {}, "nocheck", True),
        ("unavail", "ready", {"checks": 0}, "down", False),
        ("unhealthy", "ready", {"checks": 7, "last_passed": False}, "down", False),
        ("checking", "ready", {"checks": 1, "last_passed": True}, "down", False),
        ("draining", "drain", {"checks": 7, "last_passed": False}, "down", False),
        ("draining", "drain", {"checks": 7, "last_passed": True}, "up", True),
        ("down", "maint", {"checks": 7, "last_passed": True}, "unknown", False),
        ("down", "maint", {"checks": 0}, "nocheck", True),
    ],
)
def test_health(state: str, admin: str, checks: dict[str, t.Any], health: str, full: bool) -> None:
    assert health_of({"state": state, "health_checks": checks}, admin)[:2] == (health, full)


@pytest.mark.parametrize(
    ("text", "place"),
    [("192.0.2.1:80", ("192.0.2.1", 80)), ("[2001:db8::1]:8080", ("2001:db8::1", 8080)), ("unix:/run/app.sock", ("unix:/run/app.sock", None))],
)
def test_places(text: str, place: tuple[str, int | None]) -> None:
    assert place_of(text) == place


class Api(HttpApi):
    """An API with an upstream in which the same address stands twice, as it may."""

    def __init__(self, first: t.Any, refuses: int = 0) -> None:
        super().__init__("http://lb:8080/api")
        self.first = first
        self.refuses = refuses
        self.sent: list[tuple[str, str, t.Any]] = []

    def json(self, method: str, path: str, body: t.Any = None, headers: t.Any = None, missing_ok: bool = False) -> t.Any:
        self.sent.append((method, path, body))
        if path == "/":
            return self.first
        if method == "PATCH" and self.refuses:
            raise SeamlessError("refused", status=self.refuses)
        peers = [{"id": number, "server": "192.0.2.1:80", "name": "192.0.2.1:80", "state": "up"} for number in (3, 8)]
        return peers if path.endswith("/servers") else {"shop": {"peers": peers}}


@pytest.mark.parametrize(
    ("first", "path"), [([1, 7, 9, 12], "/9/http/upstreams"), ([1, 5], "/5/http/upstreams"), (["nginx", "http", "stream"], "/http/upstreams")],
)
def test_the_newest_version_of_the_api_that_both_know_is_used(first: list[t.Any], path: str) -> None:
    api = Api(first)
    NginxPlus(api, []).members()
    assert ("GET", path, None) in api.sent


def test_two_servers_of_one_address_are_told_apart() -> None:
    assert [member.ref.name for member in NginxPlus(Api([9]), ["shop"]).members()] == ["192.0.2.1:80", "192.0.2.1:80#8"]


def test_what_is_no_api_is_said() -> None:
    with pytest.raises(SeamlessError, match="directive api"):
        NginxPlus(Api({"hello": "world"}), []).members()


def test_an_api_that_is_read_only_is_told_from_other_refusals() -> None:
    driver = NginxPlus(Api([9], refuses=405), [])
    with pytest.raises(SeamlessError, match="write=on"):
        driver.set_states([Change(driver.members()[0].ref, "drain")])
    driver = NginxPlus(Api([9], refuses=400), [])
    with pytest.raises(SeamlessError, match="^refused$"):
        driver.set_states([Change(driver.members()[0].ref, "drain")])


def test_a_state_that_does_not_come_back_is_no_success() -> None:
    driver = NginxPlus(Api([9]), [])
    with pytest.raises(SeamlessError, match="is ready right after it was set to drain"):
        driver.set_states([Change(driver.members()[0].ref, "drain")])
