# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files from which balancers read their members, and what a driver changes in them."""

from __future__ import annotations

import os
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import command, envoy, nginx, registry, yaml_servers
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.managed_file import ManagedFile
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from hypothesis import given
from hypothesis import strategies as st

UPSTREAMS = """\
# server 192.0.2.9:1; is a remark
upstream shop {
    zone shop 64k;
    sticky cookie server path=/;
    server 198.51.100.1:8000 max_fails=1 weight=3;  # web1 the first
    server 198.51.100.2:8000 down;
\tserver web3.example.com backup;
    server unix:/run/shop.sock;
    keepalive 32;
}
server { listen 80; }
upstream api { server [2001:db8::1]:81; }
"""


def test_servers_of_nginx_are_read_with_their_names_places_and_words() -> None:
    with pytest.raises(SeamlessError, match="line 12 .*one server on a line"):
        nginx.parse_upstreams(UPSTREAMS)
    servers = nginx.parse_upstreams(UPSTREAMS.replace("{ server [2001:db8::1]:81; }", "{\nserver [2001:db8::1]:81;\n}"))
    assert [(one.upstream, one.name, one.address, one.port, one.weight) for one in servers] == [
        ("shop", "web1", "198.51.100.1", 8000, 3), ("shop", "198.51.100.2:8000", "198.51.100.2", 8000, 1),
        ("shop", "web3.example.com", "web3.example.com", 80, 1), ("shop", "unix:/run/shop.sock", "unix:/run/shop.sock", None, 1),
        ("api", "[2001:db8::1]:81", "2001:db8::1", 81, 1),
    ]
    assert servers[1].words == ("down",)


@pytest.mark.parametrize("line", ["server a:1; server b:2;", "keepalive 3; server a:1;"])
def test_two_directives_of_nginx_on_a_line_are_refused(line: str) -> None:
    with pytest.raises(SeamlessError, match="one server on a line"):
        nginx.parse_upstreams(f"upstream a {{\n{line}\n}}\n")


def test_only_the_words_of_the_server_change_in_nginx_s_file() -> None:
    text = UPSTREAMS.rpartition("upstream")[0]
    server = nginx.parse_upstreams(text)[0]
    changed = nginx.rewrite(text, {server: [*server.words, "drain"]})
    assert changed == text.replace("weight=3;", "weight=3 drain;")
    again = nginx.parse_upstreams(changed)[0]
    assert nginx.rewrite(changed, {again: again.words[:-1]}) == text


@given(st.text(max_size=300))
def test_no_text_makes_nginx_s_parser_crash(text: str) -> None:
    try:
        servers = nginx.parse_upstreams(text)
    except SeamlessError:
        return
    assert nginx.rewrite(text, {}) == text
    assert all(server.upstream for server in servers)


TRAEFIK = """\
# by hand
http:
  services:
    shop:
      loadBalancer:
        healthCheck: {path: /health}
        servers:
          - url: "http://198.51.100.1:8000"  # web1
          - url: http://198.51.100.2:8000
            weight: 4
    api:
      loadBalancer: {servers: [{url: "http://198.51.100.1:81"}, {weight: 2, url: "http://198.51.100.2:81"}]}
    both:
      weighted: {services: [{name: shop}]}
"""


def test_servers_of_traefik_are_read_and_their_weights_changed_and_nothing_else() -> None:
    servers = yaml_servers.parse(TRAEFIK, "shop.yml")
    assert [(one.service, one.url, one.weight, one.checked) for one in servers] == [
        ("shop", "http://198.51.100.1:8000", 1, True), ("shop", "http://198.51.100.2:8000", 4, True),
        ("api", "http://198.51.100.1:81", 1, False), ("api", "http://198.51.100.2:81", 2, False),
    ]
    changed = yaml_servers.with_weights(TRAEFIK, {server: 0 for server in servers})
    assert [server.weight for server in yaml_servers.parse(changed, "shop.yml")] == [0, 0, 0, 0]
    assert [line for line in changed.splitlines() if "weight" not in line and "api" not in line] == [
        line for line in TRAEFIK.splitlines() if "weight" not in line and "api" not in line
    ]
    assert '- url: "http://198.51.100.1:8000"  # web1\n            weight: 0\n' in changed


def test_a_file_of_traefik_may_be_json() -> None:
    text = '{"http": {"services": {"shop": {"loadBalancer": {"servers": [{"url": "http://198.51.100.1:8000"}]}}}}}'
    server = yaml_servers.parse(text, "shop.yml")[0]
    assert '[{"url": "http://198.51.100.1:8000", "weight": 7}]' in yaml_servers.with_weights(text, {server: 7})


def test_what_is_no_yaml_is_refused() -> None:
    with pytest.raises(SeamlessError, match="is not YAML"):
        yaml_servers.parse("http: [", "shop.yml")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("shop web1 198.51.100.1:80", "without state"), ("shop web1 198.51.100.1:80 gone", "state 'gone'"), ("shop web1 a:80 ready sick", "health 'sick'"),
        ("shop web1 a:80 ready up many", "sessions 'many'"), ("[1]", "something else"), ("[{", "neither JSON"), ('[{"name": "web1"}]', "without backend"),
    ],
)
def test_a_list_that_can_not_be_right_is_refused(text: str, problem: str) -> None:
    with pytest.raises(SeamlessError, match=problem):
        command.parse_list(text)


def test_a_list_is_lines_or_json() -> None:
    lines = command.parse_list("# pool name where state\nshop web1 [2001:db8::1]:80 drain up 3 70\nshop web2 socket ready\n")
    assert [(row["host"], row["port"], row["health"], row["sessions"], row["total"]) for row in lines] == [
        ("2001:db8::1", 80, "up", 3, 70), ("socket", None, "nocheck", None, None)
    ]
    assert command.parse_list('[{"backend": "shop", "name": "web1", "address": "a:1", "state": "ready", "sessions": 0}]')[0]["sessions"] == 0


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"driver": "nginx"}, "path is not set"), ({"driver": "traefik", "path": "/x"}, "url is not set"), ({"driver": "haproxy"}, "socket is not set"),
        ({"driver": "command", "commands": {"list": "ls"}}, "commands.drain is not set"), ({"driver": "ngnix"}, "Did you mean nginx"),
        ({"driver": "command", "commands": {"list": "a", "drain": "b", "ready": "c", "maint": "d"}}, "has 'maint'"),
    ],
)
def test_a_driver_says_what_it_lacks(params: dict[str, t.Any], problem: str) -> None:
    with pytest.raises(SeamlessError, match=problem):
        registry.open_drivers(params)


def test_every_driver_has_the_name_by_which_it_is_found() -> None:
    assert all(registry.find_driver(name).name == name for name in registry.DRIVERS)


def test_a_file_keeps_its_mode_and_a_link_to_it_stays_a_link(tmp_path: t.Any) -> None:
    real = tmp_path / "real"
    real.write_text("a")
    os.chmod(real, 0o640)
    os.symlink(real, tmp_path / "link")
    file = ManagedFile(str(tmp_path / "link"), str(tmp_path / "locks"))
    with file.exclusive():
        file.write("b")
    assert (real.read_text(), os.stat(real).st_mode & 0o777) == ("b", 0o640)
    assert os.path.islink(tmp_path / "link")


def test_an_endpoint_of_envoy_without_a_place_is_refused(tmp_path: t.Any) -> None:
    path = tmp_path / "eds.json"
    path.write_text('{"resources": [{"cluster_name": "shop", "endpoints": [{"lb_endpoints": [{"endpoint": {}}]}]}]}')
    with pytest.raises(SeamlessError, match="without socket_address"):
        envoy.Envoy([ManagedFile(str(path), str(tmp_path))], [], [])._everything()
