# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import http.server
import json
import threading
import typing as t
import urllib.parse

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count
from ansible_collections.seamless.rollout.plugins.plugin_utils._counters import Counted, read
from ansible_collections.seamless.rollout.plugins.plugin_utils._queries import counters, gate_problems, gates, source_problems

ADDRESSES = {"web1": "198.51.100.1", "web2": "198.51.100.2"}


class Prometheus(http.server.BaseHTTPRequestHandler):
    """Answers as Prometheus does, and to other paths with the numbers of one host. *seen* are the headers that came."""

    series: t.ClassVar[dict[str, t.Any]] = {
        "requests": [({"instance": "web1"}, "100"), ({"instance": "198.51.100.2:9100"}, "90"), ({"instance": "web2:9200"}, "1"), ({"instance": "db1"}, "7")],
        "errors": [({"instance": "web1"}, "5")], "none": [], "nan": [({"instance": "web1"}, "many")],
        "unknown": [({"instance": "web1"}, "NaN"), ({"instance": "web2"}, "9")], "strange": [({"instance": "db1"}, "7")],
    }
    seen: t.ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(parts.query).get("query", [""])[0]
        self.seen.append(self.headers.get("Authorization"))
        if parts.path.startswith("/elsewhere"):
            self.send_response(302)
            self.send_header("Location", "/hosts/1")
            self.end_headers()
            return
        if parts.path.startswith("/down/198.51.100.1"):
            self.send_error(503)
            return
        if parts.path.startswith(("/hosts/", "/down/")):
            body: t.Any = {"http": {"requests": 10, "errors": 1, "slow": 2}}
        elif query == "scalar":
            body = {"status": "success", "data": {"resultType": "scalar", "result": [1, "0.25"]}}
        elif query in self.series:
            result = [{"metric": labels, "value": [1, value]} for labels, value in self.series[query]]
            body = {"status": "success", "data": {"resultType": "vector", "result": result}}
        else:
            body = {"status": "error", "error": "parse error"}
        content = json.dumps(body).encode()
        self.send_response(400 if body.get("status") == "error" else 200)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: t.Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> t.Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_prometheus_tells_of_hosts_by_name_or_address(url: str) -> None:
    source = {"type": "prometheus", "url": f"{url}/", "requests": "requests", "errors": "errors", "headers": {"Authorization": "Bearer x"}}
    assert source_problems(source) == []
    assert counters(source, ADDRESSES) == {"web1|prometheus": Count(100, 5), "web2|prometheus": Count(91, 0)}
    assert Prometheus.seen[-1] == "Bearer x"


@pytest.mark.parametrize(("query", "message"), [("none", "knows none of these hosts"), ("nan", "no numbers"), ("wrong(", "answered 400")])
def test_what_prometheus_does_not_tell_is_no_number(url: str, query: str, message: str) -> None:
    with pytest.raises(SeamlessError, match=message):
        counters({"type": "prometheus", "url": url, "requests": query, "errors": "errors"}, ADDRESSES)


def test_failures_that_never_happened_are_none(url: str) -> None:
    source = {"type": "prometheus", "url": url, "requests": "requests", "errors": "none", "slow": "none"}
    assert counters(source, ADDRESSES) == {"web1|prometheus": Count(100), "web2|prometheus": Count(91)}
    with pytest.raises(SeamlessError, match="knows none of these hosts"):
        counters({**source, "errors": "strange"}, ADDRESSES)


@pytest.mark.parametrize("queries", [{"requests": "unknown", "errors": "none"}, {"requests": "requests", "errors": "unknown"}])
def test_a_host_whose_number_is_none_is_left_out(url: str, queries: dict[str, str]) -> None:
    assert list(counters({"type": "prometheus", "url": url, **queries}, ADDRESSES)) == ["web2|prometheus"]


def test_a_host_that_gives_no_answer_leaves_the_others_counted(url: str) -> None:
    source = {"type": "json", "url": f"{url}/down/{{host}}", "requests": "http.requests", "errors": "http.errors"}
    assert counters(source, ADDRESSES) == {"web2|json": Count(10, 1)}
    with pytest.raises(SeamlessError, match="of web2 has no number at 'http.failed'"):
        counters({**source, "errors": "http.failed"}, ADDRESSES)
    with pytest.raises(SeamlessError, match="answered 503"):
        counters(source, {"web1": ADDRESSES["web1"]})


def test_each_host_tells_of_itself(url: str) -> None:
    source = {"type": "json", "url": f"{url}/hosts/{{host}}", "requests": "http.requests", "errors": "http.errors", "slow": "http.slow"}
    assert counters(source, ADDRESSES) == dict.fromkeys(["web1|json", "web2|json"], Count(10, 1, 2))
    with pytest.raises(SeamlessError, match="of web1 has no number at 'http.failed'"):
        counters({**source, "errors": "http.failed"}, ADDRESSES)
    with pytest.raises(SeamlessError, match="gave no answer"):
        counters({**source, "url": "http://127.0.0.1:1/"}, ADDRESSES)


def test_a_password_is_sent_to_whom_it_is_meant_for_and_shown_to_nobody(url: str) -> None:
    source = {"type": "json", "url": url.replace("//", "//ada:s%2Fcret@") + "/elsewhere", "requests": "http.requests", "errors": "http.errors"}
    Prometheus.seen.clear()
    with pytest.raises(SeamlessError, match="answered 302") as raised:
        counters(source, ADDRESSES)
    assert Prometheus.seen == ["Basic YWRhOnMvY3JldA=="]
    assert "ada" not in str(raised.value) and "cret" not in str(raised.value)


def test_a_gate_is_kept_or_not(url: str) -> None:
    assert gates([]) == []
    share = {"type": "prometheus", "url": url, "query": "scalar", "max": 0.3}
    assert gates([share]) == []
    assert gates([{**share, "max": 0.2, "name": "failures"}]) == ["failures is 0.25, above 0.2"]
    assert gates([{**share, "query": "requests", "min": 50, "max": 1e6}]) == ["requests is 1, below 50", "requests is 7, below 50"]
    assert gates([{"type": "json", "url": f"{url}/hosts/x", "value": "http.errors", "max": 0}]) == ["http.errors is 1, above 0"]
    with pytest.raises(SeamlessError, match="has no value for it"):
        gates([{**share, "query": "none"}])
    with pytest.raises(SeamlessError, match="failures is nan, which is no number"):
        gates([{**share, "query": "unknown", "name": "failures"}])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"type": "grafana"}, "one of balancer, prometheus, json"), ("balancer", "use a dictionary"),
        ({"type": "balancer", "url": "x"}, "means nothing for balancer"),
        ({"type": "prometheus", "url": "http://p", "requests": "a"}, "errors is not set"),
        ({"type": "json", "url": "p", "requests": "a", "errors": "b"}, "begins with http"),
        ({"type": "json", "url": "http://p", "requests": "a", "errors": "b", "timeout": 0}, "timeout is 0"),
    ],
)
def test_a_source_that_can_not_be_asked_is_refused(source: t.Any, message: str) -> None:
    problems = source_problems(source)
    assert len(problems) == 1 and message in problems[0]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("x", "with a type"), ({"type": "json", "url": "http://p", "value": "a"}, "neither min nor max"),
        ({"type": "json", "url": "http://p", "max": 1}, "value is not set"),
        ({"type": "prometheus", "url": "http://p", "query": "a", "max": "much"}, "use a number"),
        ({"type": "prometheus", "url": "http://p", "query": "a", "max": "nan"}, "use a number"),
        ({"type": "prometheus", "url": "http://p", "query": "a", "max": 1, "limit": 2}, "means nothing here"),
    ],
)
def test_a_gate_that_can_not_be_judged_is_refused(entry: t.Any, message: str) -> None:
    problems = gate_problems([entry])
    assert len(problems) == 1 and message in problems[0]
    assert gate_problems({}) == ["rollout_canary_analysis.gates is {}: use a list, for example [{type: prometheus, url: …, query: …, max: 0.01}]."]


LOGS: dict[str, t.Any] = {
    "analysis": {"source": {"type": "access_log", "path": "/var/log/access.log"}},
    "hosts": {"web1": {"balancers": [{"delegate": "lb1", "servers": [["shop", "one:8000"]]}]}, "web2": {"balancers": [{"delegate": "lb1", "servers": []}]}},
    "addresses": ADDRESSES,
}


def answer(unread: int = 0, place: int = 1, **counts: int) -> dict[str, t.Any]:
    return {"counts": {name: {"requests": number, "errors": 1, "slow": 0} for name, number in counts.items()}, "place": place, "unread": unread}


def test_each_host_s_own_access_log_is_read_on_from_where_it_was() -> None:
    asked: list[t.Any] = []

    def logs(what: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        asked.append(what)
        return {"web1": answer(place=7, **{"": 10}), "web2": {"failed": True, "unreachable_host": True, "msg": "gone"}}

    first = read(LOGS, dict, logs, Counted())
    assert first == Counted({"web1|web1": Count(10, 1)}, {"web1": 7})
    assert read(LOGS, dict, logs, first).counts == {"web1|web1": Count(20, 2)}
    assert asked[0]["web1"] == {"path": "/var/log/access.log"} and asked[1]["web1"] == {"path": "/var/log/access.log", "since": 7}


def test_a_quiet_host_has_a_counter_too() -> None:
    assert read(LOGS, dict, lambda asked: {"web1": answer(), "web2": answer()}, Counted()).counts == {"web1|web1": Count(), "web2|web2": Count()}


def test_the_access_log_of_a_balancer_tells_who_answered() -> None:
    facts = {**LOGS, "analysis": {"source": {**LOGS["analysis"]["source"], "where": "balancers"}}}
    names = {"one:8000": 3, "198.51.100.2:8000": 4, "web2": 5, "198.51.100.77:1": 9}
    found = read(facts, dict, lambda asked: {"lb1": answer(**names)}, Counted())
    assert found.counts == {"web1|lb1": Count(3, 1), "web2|lb1": Count(9, 2)}
    with pytest.raises(SeamlessError, match=r"about one of these hosts: they tell of 198.51.100.77:1"):
        read(facts, dict, lambda asked: {"lb1": answer(**{"198.51.100.77:1": 9})}, Counted())


@pytest.mark.parametrize(
    ("given", "message"), [({"failed": True, "msg": "no such file"}, "on web1 can't be read: no such file"), (answer(5), "5 new lines, and none")]
)
def test_a_log_that_tells_nothing_is_no_silence(given: dict[str, t.Any], message: str) -> None:
    with pytest.raises(SeamlessError, match=message):
        read(LOGS, dict, lambda asked: {"web1": given, "web2": given}, Counted())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "source.path is not set"),
        ({"path": "/a", "where": "lb"}, "where is 'lb': use hosts"),
        ({"path": "/a", "where": "balancers"}, "no group named upstream"),
        ({"path": "/a", "pattern": "x"}, "no group named status"),
        ({"path": "/a", "slow_seconds": 0}, "use seconds above 0"),
        ({"path": "/a", "slow_seconds": 1}, "no group of seconds"),
        ({"path": "/a", "url": "http://a"}, "'url', which means nothing for access_log"),
    ],
)
def test_an_access_log_that_can_not_be_read_is_refused(source: dict[str, t.Any], message: str) -> None:
    assert any(message in problem for problem in source_problems({"type": "access_log", **source})), source_problems({"type": "access_log", **source})
