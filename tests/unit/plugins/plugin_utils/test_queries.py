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
from ansible_collections.seamless.rollout.plugins.plugin_utils._queries import counters, gate_problems, gates, source_problems

ADDRESSES = {"web1": "198.51.100.1", "web2": "198.51.100.2"}


class Prometheus(http.server.BaseHTTPRequestHandler):
    """Answers as Prometheus does, and to other paths with the numbers of one host. *seen* are the headers that came."""

    series: t.ClassVar[dict[str, t.Any]] = {
        "requests": [({"instance": "web1"}, "100"), ({"instance": "198.51.100.2:9100"}, "90"), ({"instance": "web2:9200"}, "1"), ({"instance": "db1"}, "7")],
        "errors": [({"instance": "web1"}, "5")], "none": [], "nan": [({"instance": "web1"}, "many")],
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
        if parts.path.startswith("/hosts/"):
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
        ({"type": "prometheus", "url": "http://p", "query": "a", "max": 1, "limit": 2}, "means nothing here"),
    ],
)
def test_a_gate_that_can_not_be_judged_is_refused(entry: t.Any, message: str) -> None:
    problems = gate_problems([entry])
    assert len(problems) == 1 and message in problems[0]
    assert gate_problems({}) == ["rollout_canary_analysis.gates is {}: use a list, for example [{type: prometheus, url: …, query: …, max: 0.01}]."]
