# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold for every balancer. A case is a function of a site; it fails by an exception, and may return a remark."""

from __future__ import annotations

import http.client
import os
import threading
import time
import typing as t

from conformance.clients import ORDINARY, Crowd, WebSocket
from conformance.subject import FRONT, NAMES, PORTS

from maintenance.site import OTHER, Site, later

Case = t.Callable[[Site], t.Optional[str]]
CASES: dict[str, Case] = {}


def case(title: str) -> t.Callable[[Case], Case]:
    def keep(function: Case) -> Case:
        CASES[title] = function
        return function

    return keep


def window(begin: str, end: str) -> dict[str, t.Any]:
    return {"from": begin, "until": end}


def content(directory: str) -> dict[str, bytes]:
    found = {}
    for root, dummy, names in os.walk(directory):
        for name in names:
            with open(os.path.join(root, name), "rb") as file:
                found[os.path.relpath(os.path.join(root, name), directory)] = file.read()
    return found


def assert_closed(site: Site, path: str = "/") -> None:
    seen = site.see(path)
    assert seen.status == 503 and seen.headers["x-maintenance"] == "on", seen
    assert seen.headers["cache-control"] == "no-store" and seen.headers["retry-after"], seen
    assert seen.headers["content-type"].replace(" ", "").lower() == "text/html;charset=utf-8", seen


def assert_open(site: Site) -> None:
    seen = site.see()
    assert seen.status == 200 and seen.body in ("s1", "s2", "s3") and "x-maintenance" not in seen.headers, seen


@case("on and off")
def on_and_off(site: Site) -> None:
    assert_open(site)
    result = site.do("on", title="Grüße", text="Back & better\nSoon", retry_after=120)
    assert result["changed"] and result["verified"] and result["on"], result
    assert_closed(site)
    seen = site.see("/any?path=1")
    assert seen.headers["retry-after"] == "120" and "<h1>Grüße</h1>" in seen.body and "Back &amp; better" in seen.body, seen
    for answer in (site.see("/post", method="POST"), site.see("/", Range="bytes=0-3", If_Modified_Since="Thu, 26 Nov 2099 02:00:00 GMT")):
        assert answer.status == 503 and "<h1>Grüße</h1>" in answer.body, answer
    assert site.see("/", method="HEAD").status == 503
    assert not site.do("on", title="Grüße", text="Back & better\nSoon", retry_after=120)["changed"]
    result = site.do("off")
    assert result["changed"] and result["verified"] and not result["on"], result
    assert_open(site)
    assert not site.do("off")["changed"]


@case("under load")
def under_load(site: Site) -> str:
    # A reload is another matter: what is switched here is the flag alone.
    site.do("on")
    site.do("off")
    stop, wrong = threading.Event(), t.cast("list[object]", [])

    def look() -> None:
        while not stop.is_set():
            seen = site.see()
            ours = seen.headers.get("retry-after") == "300" and seen.headers.get("x-maintenance") == "on"
            if seen.status not in (200, 503) or (seen.status == 503) != ours:
                wrong.append(seen)

    looker = threading.Thread(target=look)
    looker.start()
    with Crowd(FRONT, ORDINARY) as crowd:
        time.sleep(0.6)
        for dummy in range(3):
            assert site.do("on")["changed"]
            time.sleep(0.5)
            assert site.do("off")["changed"]
            time.sleep(0.5)
    stop.set()
    looker.join()
    assert not wrong, wrong[:3]
    closed = crowd.errors.get("503", 0)
    other = {error: number for error, number in crowd.errors.items() if error != "503"}
    assert closed > 50 and crowd.requests - closed > 200, crowd.results
    assert not other, f"{crowd.requests} requests: {crowd.results}"
    return f"{crowd.requests} requests, {closed} of them answered with the page, none failed"


@case("keep-alive connections stay")
def keep_alive(site: Site) -> str:
    site.do("on")
    site.do("off")
    connection = http.client.HTTPConnection("127.0.0.1", FRONT, timeout=5)
    statuses = []
    connection.connect()
    first = connection.sock
    for state in ("off", "on", "off", "on", "off"):
        site.do(state)
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
        if site.drops and answer.status == 503:
            assert (answer.getheader("Connection") or "").lower() == "close", answer.getheaders()
        else:
            assert connection.sock is not None, "the connection was closed"
    assert statuses == [200, 503, 200, 503, 200], statuses
    assert site.drops or connection.sock is first
    connection.close()
    return "closed after the page, and announced" if site.drops else ""


@case("what is under way")
def under_way(site: Site) -> None:
    site.do("on")
    site.do("off")
    seen: list[int] = []
    slow = threading.Thread(target=lambda: seen.append(site.see("/slow?ms=1000").status))
    slow.start()
    channel = WebSocket(FRONT) if site.sockets else None
    time.sleep(0.2)
    site.do("on")
    assert_closed(site)
    slow.join()
    assert seen == [200], seen
    if channel:
        assert channel.say("still").endswith(":still")
        channel.close()
    if site.checks:
        time.sleep(1)
        assert {site.standing(name)["health"] for name in NAMES} == {"up"}
    site.do("off")


@case("who passes")
def who_passes(site: Site) -> None:
    site.do("on", allow=[OTHER, "2001:db8::/32", "192.0.2.0/24"])
    assert_closed(site)
    seen = site.see(source=OTHER)
    assert seen.status == 200 and seen.body in ("s1", "s2", "s3"), seen
    assert site.see("/healthz").status == 200
    assert site.see("/healthzz").status == 503 and site.see("/HEALTHZ").status == 503
    site.do("on")
    assert site.see(source=OTHER).status == 503
    site.do("off")


@case("a page of one's own")
def own_page(site: Site) -> None:
    page = "<!doctype html><title>$x {y} %[z] \"q\" 'a' \\ é</title>\n" + "<p>line</p>\n" * 400
    site.do("on", page=page)
    assert site.see().body == (page if site.reloads else page.replace("\n", " ")), site.see().body[:200]
    site.do("off")


@case("scheduled")
def scheduled(site: Site) -> str:
    begin, end = later(4), later(8)
    result = site.do("scheduled", **window(begin, end))
    assert result["changed"] and result["verified"] and not result["on"], result
    seen = site.see()
    assert seen.status == 200 and seen.headers["x-maintenance"] == f"{begin}/{end}", seen
    assert not site.do("scheduled", **window(begin, end))["changed"]
    site.wait(lambda: site.see().status == 503, 8, "for the window to begin")
    assert later(0) >= begin
    assert_closed(site)
    assert site.see().headers["retry-after"].endswith(" GMT") and "Expected end" in site.see().body
    assert site.see("/healthz").status == 200
    site.wait(lambda: site.see().status == 200, 8, "for the window to end")
    assert later(0) >= end
    assert_open(site)
    site.do("off")
    return "closed and opened by itself"


@case("a window taken back")
def taken_back(site: Site) -> None:
    site.do("scheduled", **window(later(3600), later(7200)))
    assert "/" in site.see().headers["x-maintenance"]
    assert site.do("off")["changed"]
    assert_open(site)
    site.do("scheduled", **window(later(-5), later(3600)))
    assert_closed(site)
    site.do("off")
    assert_open(site)


@case("check mode")
def check_mode(site: Site) -> None:
    before = content(site.path("m"))
    result = site.do("on", check_mode=True, title="Other")
    assert result["changed"] and result["diff"][0]["before"] == "off\n" and result["diff"][0]["after"] == "on\n", result
    assert site.do("scheduled", check_mode=True, **window(later(60), later(90)))["changed"]
    assert not site.do("off", check_mode=True)["changed"]
    assert content(site.path("m")) == before
    assert_open(site)


@case("an operator's own")
def operators_own(site: Site) -> None:
    site.close_by_hand()
    assert_closed(site)
    result = site.do("on")
    assert not result["changed"] and result["operator"] and "operator" in result["held_by"], result
    refused = site.refusal(lambda: site.do("off"))
    assert "operator" in refused and "force" in refused, refused
    assert_closed(site)
    assert site.do("off", force=True)["changed"]
    assert_open(site)


@case("somebody else's")
def somebody_elses(site: Site) -> None:
    site.do("on", owner="billing")
    assert "billing" in site.refusal(lambda: site.do("off"))
    assert site.do("on")["operator"]
    assert_closed(site)
    site.do("off", owner="billing")
    site.do("scheduled", owner="billing", **window(later(60), later(90)))
    assert "billing" in site.refusal(lambda: site.do("scheduled", **window(later(60), later(90))))
    site.do("off", owner="billing")
    assert_open(site)


@case("not verified")
def not_verified(site: Site) -> None:
    before = content(site.path("m"))
    # The address that asks is let through: it can't see the page.
    refused = site.refusal(lambda: site.do("on", allow=["127.0.0.1"], check_seconds=1))
    assert "put back" in refused and "200" in refused, refused
    assert content(site.path("m")) == before
    assert_open(site)
    assert site.see(source=OTHER).status == 200
    refused = site.refusal(lambda: site.do("on", check_url="http://127.0.0.1:9299/", check_seconds=0.5))
    assert "no answer" in refused and "put back" in refused, refused
    assert_open(site)


@case("a configuration that is refused")
def refused_configuration(site: Site) -> None:
    if not site.reloads:
        return
    before = content(site.path("m"))
    commands = {**site.options()["commands"], "test": ["false"]}
    refused = site.refusal(lambda: site.do("on", header="X-Other", commands=commands))
    assert "refused" in refused, refused
    assert_open(site)
    site.do("off")
    assert content(site.path("m")) == before


@case("lines that are missing")
def missing_lines(site: Site) -> None:
    """The check goes to an address that the site with the lines does not have: an application's own."""
    before = content(site.path("m"))
    refused = site.refusal(lambda: site.do("on", check_url=f"http://127.0.0.1:{PORTS['s1']}/", retry_after=17, check_seconds=1))
    assert "Everything was put back as it was." in refused and "the lines for shop" in refused, refused
    assert content(site.path("m")) == before
    assert_open(site)


@case("an application that is dead")
def dead_application(site: Site) -> None:
    """The site's own 503 is not taken for the page, and the page comes all the same."""
    for name in ("s1", "s2", "s3"):
        site.kill_app(name)
    try:
        seen = site.see()
        assert seen.status >= 500 and "x-maintenance" not in seen.headers, seen
        site.do("on")
        assert_closed(site)
        site.do("off")
    finally:
        for name in ("s1", "s2", "s3"):
            site.start_app(name)
        site.wait(lambda: site.see().status == 200)


@case("a reload in between")
def reload_between(site: Site) -> None:
    site.do("on")
    site.reload()
    for dummy in range(20):
        assert_closed(site)
        time.sleep(0.05)
    assert not site.do("on")["changed"]
    site.do("off")
    assert_open(site)
