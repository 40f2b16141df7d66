# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t
import urllib.parse

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import apache
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from hypothesis import given
from hypothesis import strategies as st

URL = "http://lb/balancer-manager"


def worker(url: str, route: str = "", status: str = "Init Ok ", factor: str = "1.00", busy: int = 0, elected: int = 0) -> str:
    parts = urllib.parse.urlsplit(url.partition("|")[2] or url)
    return (
        f"<httpd:worker><httpd:name>{url}</httpd:name><httpd:hostname>{parts.hostname}</httpd:hostname><httpd:port>{parts.port or 80}</httpd:port>"
        f"<httpd:status>{status}</httpd:status><httpd:loadfactor>{factor}</httpd:loadfactor><httpd:elected>{elected}</httpd:elected>"
        f"<httpd:route>{route}</httpd:route><httpd:busy>{busy}</httpd:busy></httpd:worker>"
    )


def manager(**balancers: str) -> str:
    inner = "".join(
        f"<httpd:balancer><httpd:name>balancer://{name}</httpd:name><httpd:nonce>nonce-{name}</httpd:nonce>"
        f"<httpd:workers>{workers}</httpd:workers></httpd:balancer>"
        for name, workers in balancers.items()
    )
    return (
        "<?xml version='1.0' encoding='UTF-8' ?>\n<httpd:manager xmlns:httpd='http://httpd.apache.org'>"
        f"<httpd:balancers>{inner}</httpd:balancers></httpd:manager>"
    )


class Manager(HttpApi):
    """Answers with *text*, and keeps what it is told. With *obeys*, a status that is set is shown from then on."""

    def __init__(self, text: str, obeys: bool = True) -> None:
        super().__init__(URL)
        self.text, self.obeys = text, obeys
        self.orders: list[dict[str, str]] = []

    def call(self, method: str, path: str, body: bytes | None = None, headers: t.Any = None, missing_ok: bool = False) -> tuple[int, str, dict[str, str]]:
        assert headers["Referer"] == URL
        if method == "POST":
            order = dict(urllib.parse.parse_qsl((body or b"").decode()))
            self.orders.append(order)
            if self.obeys:
                flag = "Drn " if order.get("w_status_N") == "1" else "Dis " if order.get("w_status_D") == "1" else ""
                self.text = self.text.replace("Init Ok ", f"Init {flag}Ok ", 1)
        return 200, self.text, {}


def driver(text: str, *backends: str, obeys: bool = True, settle: float = 0) -> tuple[apache.Apache, Manager]:
    api = Manager(text, obeys)
    return apache.Apache(api, backends, settle), api


def test_members_are_named_by_their_route_and_otherwise_by_their_place() -> None:
    text = manager(
        shop=worker("http://198.51.100.1:8000", "web1") + worker("http://[2001:db8::1]:8000") + worker("http://198.51.100.3:8000", "same")
        + worker("http://198.51.100.4:8000", "same"),
        api=worker("http://198.51.100.1:8000", "web1") + worker("unix:/run/app.sock|http://localhost", "own"),
    )
    found = driver(text)[0].members()
    assert [(member.ref.backend, member.ref.name, member.address, member.port) for member in found] == [
        ("shop", "web1", "198.51.100.1", 8000), ("shop", "[2001:db8::1]:8000", "2001:db8::1", 8000), ("shop", "198.51.100.3:8000", "198.51.100.3", 8000),
        ("shop", "198.51.100.4:8000", "198.51.100.4", 8000), ("api", "web1", "198.51.100.1", 8000), ("api", "own", "", None),
    ]
    assert {member.ref.backend for member in driver(text, "api")[0].members()} == {"api"}
    with pytest.raises(SeamlessError, match="backend apii is no balancer of .*there are api, shop"):
        driver(text, "apii")[0].members()


@pytest.mark.parametrize(
    ("status", "admin", "health", "full"),
    [
        ("Init Ok ", "ready", "nocheck", True), ("Init Drn Ok ", "drain", "nocheck", True), ("Init Dis Ok ", "maint", "nocheck", True),
        ("Init Stop Ok ", "maint", "nocheck", True), ("Init Drn Dis ", "maint", "nocheck", True), ("Init Err ", "ready", "down", False),
        ("Init Drn Err ", "drain", "down", True), ("Init Drn HcFl ", "drain", "down", False), ("Init HcFl ", "ready", "down", False),
    ],
)
def test_what_a_status_means(status: str, admin: str, health: str, full: bool) -> None:
    member = driver(manager(shop=worker("http://198.51.100.1:8000", "web1", status)))[0].members()[0]
    assert (member.admin, member.health, member.fully_up) == (admin, health, full)


def test_hot_standbys_are_no_capacity_and_fractions_no_weight() -> None:
    text = manager(shop=worker("http://198.51.100.1:80", "a", "Init Stby Ok ", "2.50") + worker("http://198.51.100.2:80", "b", factor="3.00"))
    assert [(member.backup, member.weight) for member in driver(text)[0].members()] == [(True, None), (False, 3)]


def test_an_order_names_one_worker_and_brings_the_nonce_of_its_balancer() -> None:
    apache_driver, api = driver(manager(shop=worker("http://198.51.100.1:8000", "web1"), api=worker("http://198.51.100.1:8000", "web1")))
    apache_driver.set_states([Change(MemberRef(URL, "shop", "web1"), "drain")])
    assert api.orders == [
        {
            "b": "shop", "w": "http://198.51.100.1:8000", "nonce": "nonce-shop", "w_status_N": "1", "w_status_D": "0", "w_status_S": "0",
        },
    ]


def test_an_order_that_is_ignored_is_an_error() -> None:
    ignorant = driver(manager(shop=worker("http://198.51.100.1:8000", "web1")), obeys=False)[0]
    with pytest.raises(SeamlessError, match="shop/web1 .* is ready right after it was set to maint"):
        ignorant.set_states([Change(MemberRef(URL, "shop", "web1"), "maint")])
    with pytest.raises(SeamlessError, match=r"loadfactor 1\.00 right after it was set to 2"):
        ignorant.set_weight(MemberRef(URL, "shop", "web1"), 2)
    for weight in (0, 101):
        with pytest.raises(SeamlessError, match="1 to 100"):
            ignorant.set_weight(MemberRef(URL, "shop", "web1"), weight)
    with pytest.raises(SeamlessError, match="not there any more"):
        ignorant.set_states([Change(MemberRef(URL, "shop", "web9"), "drain")])


def test_a_count_of_busy_requests_that_drifted_does_not_keep_a_member_for_ever() -> None:
    drained = "Init Drn Ok "
    apache_driver, api = driver(manager(shop=worker("http://198.51.100.1:8000", "web1", drained, busy=1, elected=7)), settle=0.05)
    assert [apache_driver.members()[0].sessions for dummy in range(2)] == [1, 1]
    time.sleep(0.06)
    assert apache_driver.members()[0].sessions == 0
    api.text = manager(shop=worker("http://198.51.100.1:8000", "web1", drained, busy=0, elected=8))
    assert apache_driver.members()[0].sessions == 1, "0 may have drifted as well: one is still under way perhaps"
    api.text = manager(shop=worker("http://198.51.100.1:8000", "web1", busy=0, elected=8))
    assert apache_driver.members()[0].sessions == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html><h1>Load Balancer Manager for lb</h1><br></html>", "for people"), ("It works!", "no balancer-manager"), ("", "no balancer-manager"),
        ("<html/>", "SetHandler balancer-manager"),
    ],
)
def test_pages_that_are_no_balancer_manager_are_refused(text: str, message: str) -> None:
    with pytest.raises(SeamlessError, match=message):
        apache.parse_manager(text, URL)


@given(st.text(max_size=200), st.text(max_size=20))
def test_no_text_makes_the_parser_crash(text: str, inside: str) -> None:
    for page in (text, manager(shop=worker("http://198.51.100.1:80", "a")).replace("Init Ok ", inside), manager(shop=f"<httpd:worker>{inside}</httpd:worker>")):
        try:
            for ref, found in apache.references(apache.parse_manager(page, URL), URL).items():
                assert found.admin in apache._FLAGS and len(found.place) == 2 and (found.weight or 0) >= 0, ref
        except SeamlessError as exc:
            assert URL in str(exc)
