# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.haproxy_dataplane import HAProxyDataPlane, health_of
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

GOOD: dict[str, t.Any] = {"check_status": "L7OK", "check_health": 3, "check_rise": 2, "check_fall": 2}


@pytest.mark.parametrize(
    ("server", "stats", "health", "full"),
    [
        ({"operational_state": "up", "check_state": 6}, GOOD, "up", True),
        ({"operational_state": "up"}, GOOD, "up", True),
        ({"operational_state": "up"}, {}, "nocheck", True),
        ({"operational_state": "up", "check_state": 0}, GOOD, "nocheck", True),
        ({"operational_state": "up", "check_state": 6}, {**GOOD, "check_health": 2}, "starting", False),
        ({"operational_state": "up", "check_state": 6}, {**GOOD, "throttle": 40}, "starting", True),
        ({"operational_state": "up", "check_state": 6}, {**GOOD, "throttle": 100}, "up", True),
        ({"operational_state": "up", "check_state": 6}, {**GOOD, "check_status": "* L4CON"}, "down", False),
        ({"operational_state": "down", "check_state": 6}, GOOD, "down", False),
        ({"operational_state": "stopping", "check_state": 6, "admin_state": "drain"}, GOOD, "stopping", False),
        ({"operational_state": "up", "check_state": 6, "admin_state": "drain"}, GOOD, "up", True),
        ({"operational_state": "down", "check_state": 6, "admin_state": "maint"}, GOOD, "unknown", False),
        ({"operational_state": "down", "check_state": 0, "admin_state": "maint"}, {}, "nocheck", True),
    ],
)
def test_health(server: dict[str, t.Any], stats: dict[str, t.Any], health: str, full: bool) -> None:
    assert health_of(server, stats) == (health, full)


class Api(HttpApi):
    def __init__(self, stats: t.Any) -> None:
        super().__init__("http://lb:5555/v3")
        self.stats = stats
        self.sent: list[tuple[str, str, t.Any]] = []

    def json(self, method: str, path: str, body: t.Any = None, headers: t.Any = None, missing_ok: bool = False) -> t.Any:
        self.sent.append((method, path, body))
        if method == "PUT" and "gone" in path:
            raise SeamlessError("404", status=404)
        if "/stats/" in path:
            return self.stats
        return [{"name": "web/1", "address": "192.0.2.1", "port": 80, "admin_state": "ready", "operational_state": "up", "weight": 10}]


def statistics() -> dict[str, t.Any]:
    return {"stats": [{"type": "server", "name": "web/1", "backend_name": "shop", "stats": {"scur": 3, "qcur": 1, "stot": 9, **GOOD}}]}


def test_counters_come_from_the_statistics() -> None:
    member = HAProxyDataPlane(Api(statistics()), ["shop"]).members()[0]
    assert (member.sessions, member.queued, member.total, member.health, member.weight) == (3, 1, 9, "up", 10)


def test_the_statistics_may_be_a_list_of_processes() -> None:
    assert HAProxyDataPlane(Api([statistics()]), []).members()[0].sessions == 3


def test_statistics_that_failed_are_no_empty_balancer() -> None:
    with pytest.raises(SeamlessError, match="no statistics"):
        HAProxyDataPlane(Api({"error": "no socket"}), []).members()


def test_names_are_quoted_in_paths() -> None:
    api = Api(statistics())
    HAProxyDataPlane(api, []).set_weight(MemberRef(api.url, "shop", "web/1"), 7)
    assert api.sent == [("PUT", "/services/haproxy/runtime/backends/shop/servers/web%2F1", {"weight": 7})]


def test_a_state_that_does_not_come_back_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    driver = HAProxyDataPlane(Api(statistics()), [])
    with pytest.raises(SeamlessError, match="is ready right after it was set to drain"):
        driver.set_states([Change(driver.members()[0].ref, "drain")])
    with pytest.raises(SeamlessError, match="not there any more"):
        driver.set_states([Change(MemberRef(driver.api.url, "shop", "gone"), "drain")])


@pytest.mark.parametrize("url", ["http://lb:5555", "http://lb:5555/", "http://lb:5555/v3", "http://lb:5555/v3/"])
def test_the_version_is_added_to_the_url_once(url: str) -> None:
    driver = HAProxyDataPlane.open({"driver": "haproxy_dataplane", "url": [url]})[0]
    assert isinstance(driver, HAProxyDataPlane) and driver.api.url == "http://lb:5555/v3"
