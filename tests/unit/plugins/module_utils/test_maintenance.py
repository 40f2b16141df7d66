# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Closing a site: moments and windows, the page, what is written for each balancer, and whose maintenance it is."""

from __future__ import annotations

import base64
import datetime
import html.parser
import pathlib
import re
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance import apache, caddy, check, haproxy, moments, nginx, operation, page, plan
from ansible_collections.seamless.rollout.plugins.plugin_utils._local_time import convert, with_offset
from hypothesis import given
from hypothesis import strategies as st

UTC = datetime.timezone.utc
NOW = datetime.datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SOON, LATER = "2026-12-01T02:00:00+01:00", "2026-12-01T04:00:00+01:00"


def options(state: str = "on", **given_options: t.Any) -> dict[str, t.Any]:
    values = {name: option.get("default") for name, option in operation.ARGUMENT_SPEC.items()}
    return {**values, "name": "shop", "state": state, "check_url": "http://127.0.0.1/", "state_dir": "/m", "socket": ["/run/h.sock"], **given_options}


def a_plan(state: str = "on", **given_options: t.Any) -> plan.Plan:
    return plan.read_plan(options(state, **given_options), NOW)


def window_plan(**given_options: t.Any) -> plan.Plan:
    return a_plan("scheduled", **{"from": SOON, "until": LATER, **given_options})


@pytest.mark.parametrize(("text", "seconds"), [
    ("2026-12-01T02:00:00+01:00", 1796086800), ("2026-12-01T01:00:00Z", 1796086800), ("2026-12-01 01:00Z", 1796086800), ("2026-12-01T02:00+0100", 1796086800),
    ("2026-12-01T02:00+01", 1796086800), ("2026-12-01T01:00:00.5+00:00", 1796086800), ("2026-11-30T20:00:00-05:00", 1796086800),
])
def test_moments_are_read_as_people_write_them(text: str, seconds: int) -> None:
    assert moments.seconds(moments.read_moment("from", text)) == seconds


@pytest.mark.parametrize(("text", "why"), [
    ("tomorrow", "a date and a time"), ("2026-12-01", "a date and a time"), ("2026-12-01T25:00Z", "no moment"), ("2026-12-01T02:00:00", "without an offset"),
    ("02:00", "a date and a time"),
])
def test_what_is_no_moment_is_refused_with_the_value(text: str, why: str) -> None:
    with pytest.raises(SeamlessError, match=f"from is '{text}'.*{why}"):
        moments.read_moment("from", text)


@pytest.mark.parametrize(("begin", "end", "why"), [
    (SOON, None, "until is not set"), (None, LATER, "from is not set"), (LATER, SOON, "not after from"), (SOON, SOON, "not after"),
    ("2026-11-01T00:00Z", "2026-11-02T00:00Z", "already"),
])
def test_windows_that_can_t_be_are_refused(begin: str | None, end: str | None, why: str) -> None:
    with pytest.raises(SeamlessError, match=why):
        moments.read_window(begin, end, NOW)


def test_a_window_is_announced_in_utc_and_ends_before_its_end() -> None:
    window = moments.read_window(SOON, LATER, NOW)
    assert window.text == "2026-12-01T01:00:00Z/2026-12-01T03:00:00Z"
    assert window.contains(window.begin) and not window.contains(window.end)
    assert moments.http_date(window.end) == "Tue, 01 Dec 2026 03:00:00 GMT"
    assert moments.readable(window.end) == "2026-12-01 04:00 UTC+01:00" and moments.readable(NOW) == "2026-11-25 12:00 UTC"


@given(st.integers(10**9, 10**10 - 1), st.integers(10**9, 10**10 - 1), st.integers(10**9, 10**10 - 1))
def test_the_expression_for_a_range_matches_its_numbers_and_no_other(first: int, second: int, other: int) -> None:
    low, high = sorted((first, second))
    pattern = re.compile(f"^(?:{moments.between(low, high)})\\.")
    for number in (low - 1, low, low + 1, high - 1, high, high + 1, other, (low + high) // 2):
        if 10**9 <= number < 10**10:
            assert bool(pattern.match(f"{number}.123")) == (low <= number <= high), number


@given(st.integers(0, 99), st.integers(0, 99))
def test_short_ranges_are_matched_too(first: int, second: int) -> None:
    low, high = sorted((first + 100, second + 100))
    pattern = re.compile(moments.between(low, high))
    assert [number for number in range(100, 200) if pattern.fullmatch(str(number))] == list(range(low, high + 1))


@pytest.mark.parametrize(("value", "zone", "wanted"), [
    ("2026-12-06T02:00:00", "Europe/Berlin", "2026-12-06T02:00:00+01:00"), ("2026-07-06 02:00", "Europe/Berlin", "2026-07-06T02:00:00+02:00"),
    ("2026-12-06T02:00:00-05:00", "Europe/Berlin", "2026-12-06T02:00:00-05:00"), ("2026-12-06T02:00:00", None, "2026-12-06T02:00:00"),
    ("2026-12-06T02:00:00", "UTC", "2026-12-06T02:00:00+00:00"),
])
def test_a_local_time_gets_the_offset_of_its_zone_on_that_day(value: str, zone: str | None, wanted: str) -> None:
    assert with_offset("from", value, zone) == wanted


@pytest.mark.parametrize(("value", "why"), [
    ("2026-03-29T02:30:00", "does not have.*2026-03-29T03:30:00"), ("2026-10-25T02:30:00", r"has twice.*\+02:00 or .*\+01:00"),
])
def test_an_hour_that_is_missing_or_comes_twice_is_refused(value: str, why: str) -> None:
    with pytest.raises(SeamlessError, match=why):
        with_offset("until", value, "Europe/Berlin")


def test_the_zone_stays_on_the_controller() -> None:
    args = {"state": "scheduled", "from": "2026-12-06T02:00:00", "until": None, "timezone": "Europe/Berlin"}
    assert convert(args) == {"state": "scheduled", "from": "2026-12-06T02:00:00+01:00", "until": None}
    with pytest.raises(SeamlessError, match="Did you mean Europe/Berlin"):
        convert({**args, "timezone": "Europe/Berlim"})


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@given(st.text(min_size=1, max_size=50), st.text(max_size=200))
def test_the_page_is_whole_whatever_is_on_it_and_asks_for_nothing(title: str, message: str) -> None:
    text = page.default_page(title, message, NOW, "en")
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == [] and tags.links == [] and "url(" not in text and "@import" not in text
    assert text.count("<h1>") == 1 and "prefers-color-scheme:dark" in text and '<html lang="en">' in text and 'name="viewport"' in text
    assert '<time datetime="2026-11-25T12:00:00Z">2026-11-25 12:00 UTC</time>' in text


def test_the_page_has_a_title_a_paragraph_for_each_line_and_the_end_where_it_is_known() -> None:
    text = page.default_page("A & B", "One\n\n<two>", None, "de-AT")
    assert "<title>A &amp; B</title>" in text and "<p>One</p>\n<p>&lt;two&gt;</p>" in text and "<time" not in text
    assert "Expected end" not in page.default_page("A", "B", NOW, "de") and "Expected end: <time" in page.default_page("A", "B", NOW, "en-GB")
    assert a_plan(page="<p>mine</p>").page == b"<p>mine</p>"


@pytest.mark.parametrize(("given_options", "why"), [
    ({"name": "a-b"}, "name is 'a-b'"), ({"state_dir": "/a b"}, "state_dir is '/a b'"), ({"allow": ["web1"]}, "allow has 'web1'"),
    ({"health_paths": ["health"]}, "health_paths has 'health'"), ({"health_paths": ["/a b"]}, "health_paths has"),
    ({"health_paths": ["/a'\n"]}, "health_paths has"),
    ({"header": "X: y"}, "header is"), ({"retry_after": 0}, "retry_after is 0"), ({"until": "2020-01-01T00:00Z"}, "has passed"),
    ({"from": SOON}, "belongs to state scheduled"),
])
def test_wrong_options_are_refused_with_their_value(given_options: dict[str, t.Any], why: str) -> None:
    with pytest.raises(SeamlessError, match=re.escape(why)):
        a_plan(**given_options)


def test_retry_after_is_what_is_said_the_end_or_some_minutes() -> None:
    assert a_plan().retry_after == "300" and a_plan(until=LATER).retry_after == "Tue, 01 Dec 2026 03:00:00 GMT"
    assert window_plan().retry_after == "Tue, 01 Dec 2026 03:00:00 GMT" and window_plan(retry_after=60).retry_after == "60"


def test_addresses_are_written_in_one_way() -> None:
    assert a_plan(allow=["198.51.100.7/24", "2001:DB8::1", "198.51.100.0/24"]).allow == ("198.51.100.0/24", "2001:db8::1")


def test_nginx_gets_networks_paths_and_the_window_as_text() -> None:
    files = nginx.Nginx(options(), "/m/shop").render(window_plan(allow=["192.0.2.0/24"], health_paths=["/health.php"]))
    http, server = files["http.conf"].decode(), files["server.conf"].decode()
    assert "    192.0.2.0/24 1;\n" in http and '    "~^/health\\.php$" 1;\n' in http
    pattern = re.search(r'"~(\^\(\?:17960[^"]*)" on;', http)
    assert pattern
    compiled = re.compile(pattern[1])
    for moment, inside in ((1796086799, False), (1796086800, True), (1796093999, True), (1796094000, False)):
        assert bool(compiled.match(f"{moment}.000")) is inside
    assert 'X-Maintenance "on" always' in server and "-f /m/shop/on" in server and 'Retry-After "Tue, 01 Dec 2026 03:00:00 GMT" always' in server
    assert http.count("{") == http.count("}") and server.count("{") == server.count("}")
    assert len(max(http.splitlines(), key=len)) < 4096


def test_nginx_with_nothing_special_looks_for_the_flag_only() -> None:
    files = nginx.Nginx(options(), "/m/shop").render(a_plan("off"))
    assert b'on;' not in files["http.conf"] and files["server.conf"] == nginx.Nginx(options(), "/m/shop").render(a_plan("on"))["server.conf"]


def test_apache_compares_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        site = apache.Apache(options(), "/m/shop")
        text = site.render(window_plan(allow=["192.0.2.0/24"], health_paths=["/a", "/b"]))["apache.conf"].decode()
        assert "(-f '/m/shop/on' || (%{TIME} -ge 20261201020000 && %{TIME} -lt 20261201040000)) && ! -R '192.0.2.0/24'" in text
        assert " && ! (%{REQUEST_URI} in {'/a', '/b'})" in text
        site.check(window_plan())
        with pytest.raises(SeamlessError, match="an hour comes twice"):
            site.check(window_plan(**{"from": "2027-10-31T00:30Z", "until": "2027-10-31T01:30Z"}))
        site.check(window_plan(**{"from": "2027-03-28T00:30Z", "until": "2027-03-28T01:30Z"}))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_caddy_gets_matchers_for_flag_window_and_notice() -> None:
    text = caddy.Caddy(options(), "/m/shop").render(window_plan(allow=["192.0.2.0/24", "::1"], health_paths=["/a.b"]))["caddy.conf"].decode()
    assert text.count("not remote_ip 192.0.2.0/24 ::1\n") == 2 and text.count(r"not path_regexp ^(?:/a\.b)$") == 2
    assert "int({time.now.unix}) >= 1796086800 && int({time.now.unix}) < 1796094000" in text
    assert "_window" not in caddy.Caddy(options(), "/m/shop").render(a_plan())["caddy.conf"].decode()


def test_haproxy_gets_its_state_in_a_map() -> None:
    site = haproxy.HAProxy(options(), "/m/shop")
    files = site.render(window_plan(allow=["192.0.2.0/24"], health_paths=["/a"], page="<p>\n</p>"))
    entries = haproxy.read_map(files["state.map"].decode())
    assert (entries["on"], entries["from"], entries["until"]) == ("0", "1796086800", "1796094000")
    assert base64.b64decode(entries["page"]) == b"<p> </p>" and entries["retry_after"] == "Tue, 01 Dec 2026 03:00:00 GMT"
    assert files["allow.lst"] == b"192.0.2.0/24\n" and files["health.lst"] == b"/a\n"
    assert haproxy.write_map(entries) == files["state.map"]
    with pytest.raises(SeamlessError, match="9001 bytes"):
        site.render(a_plan(page="x" * 9001))
    with pytest.raises(SeamlessError, match="socket is not set"):
        haproxy.HAProxy(options(socket=[]), "/m/shop")
    assert all(len(line) < 2048 for line in site.lines("X-Maintenance")["frontend"].splitlines())


WORDS = st.dictionaries(
    st.sampled_from(["on", "from", "until", "notice", "page"]), st.text(st.sampled_from("01a ;\\,"), min_size=1, max_size=6).map(str.strip).filter(bool),
)


@given(WORDS, WORDS)
def test_runtime_commands_lead_from_one_map_to_the_other(now: dict[str, str], wanted: dict[str, str]) -> None:
    live = dict(now)
    for order in haproxy.changes("map", "/m", now, wanted):
        # As HAProxy reads a line: words by spaces, unless they are escaped.
        words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|[^ ])+", order)]
        assert words[1:3] == ["map", "/m"] and not re.search(r"(?<!\\)(?:\\\\)*;", order)
        if words[0] == "del":
            del live[words[3]]
        else:
            assert (words[0] == "add") == (words[3] not in live)
            live[words[3]] = words[4]
    assert live == wanted


def test_the_site_is_closed_last_and_opened_first() -> None:
    before = {"on": "0", "page": "a"}
    assert haproxy.changes("map", "/m", before, {"on": "1", "page": "b"})[-1] == "set map /m on 1"
    assert haproxy.changes("map", "/m", {"on": "1", "page": "a"}, {"on": "0", "page": "b"})[0] == "set map /m on 0"


@pytest.mark.parametrize(("status", "notice", "retry", "state", "wrong"), [
    (503, "on", "300", "on", ""), (200, "", "", "on", "it answered 200 without X-Maintenance, not 503"), (503, "", "", "on", "it answered 503 without"),
    (503, "on", "60", "on", "Retry-After is 60, not 300"), (503, "on", "300", "off", "still answered"), (200, "", "", "off", ""), (503, "", "", "off", ""),
    (200, "a/b", "", "off", "to be gone"),
])
def test_an_answer_is_judged_by_status_and_header(status: int, notice: str, retry: str, state: str, wrong: str) -> None:
    assert wrong in check.problem(a_plan(state), check.Answer(status, notice, retry), NOW)
    if not wrong:
        assert check.problem(a_plan(state), check.Answer(status, notice, retry), NOW) == ""


def test_an_answer_before_within_and_after_a_window() -> None:
    window = window_plan()
    assert window.window
    announced, closed, plain = check.Answer(200, window.window.text, ""), check.Answer(503, "on", window.retry_after), check.Answer(200, "", "")
    for now, good, bad in ((NOW, announced, plain), (window.window.begin, closed, announced), (window.window.end, plain, closed)):
        assert check.problem(window, good, now) == "" and check.problem(window, bad, now)


@pytest.mark.parametrize(("record", "on", "holder"), [
    (None, False, ""), (None, True, "an operator"), ({"owner": "shop", "state": "on", "at": "x"}, True, ""),
    ({"owner": "b", "state": "on", "at": "x"}, True, "b (x)"), ({"owner": "b", "state": "on", "at": "x"}, False, ""),
    ({"owner": "shop", "state": "scheduled", "at": "x", "until": "2026-11-26T00:00:00Z"}, True, "an operator"),
    ({"owner": "b", "state": "scheduled", "at": "x", "until": "2026-11-26T00:00:00Z"}, False, "b (x)"),
    ({"owner": "b", "state": "scheduled", "at": "x", "until": "2026-11-25T00:00:00Z"}, False, ""),
])
def test_whose_maintenance_it_is(record: dict[str, str] | None, on: bool, holder: str) -> None:
    assert operation.whose(record, on, "shop", NOW).startswith(holder) and bool(operation.whose(record, on, "shop", NOW)) == bool(holder)


def test_what_only_the_controller_has_is_refused_elsewhere() -> None:
    with pytest.raises(SeamlessError, match="page_file works in a task only"):
        operation.run(options(page_file="x"), False)
    with pytest.raises(SeamlessError, match="timezone works in a task only"):
        operation.run(options(timezone="UTC"), False)
    with pytest.raises(SeamlessError, match="owner is empty"):
        operation.run(options(owner=""), False)


def test_yaml_s_on_and_off_are_understood() -> None:
    from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

    for value, wanted in ((True, "on"), (False, "off"), ("scheduled", "scheduled")):
        result = ArgumentSpecValidator(operation.ARGUMENT_SPEC).validate({"name": "shop", "state": value, "check_url": "http://a/"})
        assert not result.error_messages and result.validated_parameters["state"] == wanted


def test_the_guide_shows_the_lines_that_the_module_asks_for() -> None:
    root = pathlib.Path(__file__).resolve().parents[4]
    guide = {line.strip() for line in (root / "docs" / "docsite" / "rst" / "maintenance.rst").read_text(encoding="utf-8").splitlines()}
    for kind in (haproxy.HAProxy, nginx.Nginx, apache.Apache, caddy.Caddy):
        for text in kind(options(), "/var/lib/seamless-rollout/maintenance/shop").lines("X-Maintenance").values():
            assert [line for line in text.splitlines() if line.strip() not in guide] == []
