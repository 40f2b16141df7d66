# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import http.server
import os
import threading
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import haproxy, runtime_socket
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Member, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.pools import check_floor, find, floor_of
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.quiet import Stillness
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("bits", "admin", "source"),
    [
        (0, "ready", "runtime"), (1, "maint", "runtime"), (5, "maint", "config"), (4, "ready", "runtime"), (12, "drain", "runtime"),
        (2, "maint", "tracked"), (8, "drain", "runtime"), (16, "drain", "tracked"), (9, "maint", "runtime"), (32, "maint", "dns"),
    ],
)
def test_admin_states_come_from_the_bit_mask(bits: int, admin: str, source: str) -> None:
    assert haproxy.admin_of(bits) == (admin, source)


def server(operation: str, *, admin: str = "0", checks: str = "6") -> dict[str, str]:
    return {"srv_op_state": operation, "srv_admin_state": admin, "srv_check_state": checks}


def row(check: str, level: str = "3", rise: str = "2", fall: str = "2") -> dict[str, str]:
    return {"check_status": check, "check_health": level, "check_rise": rise, "check_fall": fall}


@pytest.mark.parametrize(
    ("state", "fields", "health", "full"),
    [
        (server("2"), row("L7OK"), "up", True),
        (server("2"), row("* L7OK"), "up", True),
        (server("2"), row("L7OK", "2"), "starting", False),
        (server("2"), row("L7STS", "2"), "down", False),
        (server("1"), row("L7OK"), "starting", True),
        (server("0"), row("L4CON", "0"), "down", False),
        (server("0"), row("L7OK", "1"), "down", False),
        (server("3"), row("L7OKC"), "stopping", False),
        (server("2", admin="8"), row("L7OK"), "up", True),
        (server("2", admin="8"), row("L4CON", "2"), "down", False),
        (server("0", admin="1"), row("L7OK"), "unknown", False),
        (server("0", admin="1", checks="0"), row(""), "nocheck", True),
        (server("2", checks="0"), row("", "", "", ""), "nocheck", True),
        (server("0", checks="0"), row("", "", "", ""), "down", False),
        (server("2", checks="2"), row("L7OK"), "nocheck", True),
    ],
)
def test_health_is_what_the_checks_say_now(state: dict[str, str], fields: dict[str, str], health: str, full: bool) -> None:
    assert haproxy.health_of(state, fields) == (health, full)


OLD = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n3 shop 1 web1 198.51.100.1 2 8 1\n\n"
NEW = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change "
    "srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port "
    "srvrecord srv_use_ssl srv_check_port\n3 shop 1 web1 198.51.100.1 2 8 1 1 9 15 3 4 6 0 0 0 - 8000 - 0 0\n\n"
)


@pytest.mark.parametrize("text", [OLD, NEW])
def test_server_states_are_read_by_their_header(text: str) -> None:
    found = haproxy.parse_servers_state(text)
    assert [(item["srv_name"], item["srv_admin_state"]) for item in found] == [("web1", "8")]


@given(st.text(max_size=200))
def test_no_text_makes_the_parsers_crash(text: str) -> None:
    haproxy.parse_servers_state(text)
    try:
        haproxy.parse_stat(text)
    except SeamlessError as exc:
        assert "not what they should be" in str(exc)


@pytest.mark.parametrize("address", ["admin.sock", "127.0.0.1", "host:", "host:0", "host:65536"])
def test_addresses_that_are_none_are_refused(address: str) -> None:
    with pytest.raises(SeamlessError, match="runtime socket"):
        runtime_socket.check_address(address)


@given(st.lists(st.text(min_size=1, max_size=1500), max_size=40))
def test_no_command_line_is_longer_than_the_balancers_buffer(commands: list[str]) -> None:
    lines = runtime_socket.lines_of(commands)
    assert ";".join(lines) == ";".join(commands)
    assert all(len(line) <= runtime_socket.LONGEST_LINE for line in lines)


def listed(backend: str, name: str, address: str, port: int | None = 80) -> Member:
    return Member(MemberRef("s", backend, name), address, port, "ready", "runtime", "up", True, "", 1, 0, 0, 0)


def test_a_member_is_found_by_name_in_every_pool_and_under_the_names_of_its_endpoint() -> None:
    members = [
        listed("shop", "web1", "198.51.100.1"), listed("shop", "web2", "198.51.100.2"), listed("api", "web1", "198.51.100.1", 81),
        listed("old", "one", "198.51.100.1"), listed("dns", "later", "-", None), listed("dns", "soon", "-", None),
    ]
    assert [str(member.ref) for member in find(members, {"name": "web1"})] == ["shop/web1 on s", "api/web1 on s", "old/one on s"]
    assert [member.ref.name for member in find(members, {"name": "later"})] == ["later"]
    assert [member.ref.name for member in find(members, {"name": "host2", "address": "198.51.100.2"})] == ["web2"]
    assert find(members, {"name": "host9", "address": "198.51.100.9"}) == []
    with pytest.raises(SeamlessError, match="several servers on s: web1.*one.*by its name"):
        find(members, {"name": "host1", "address": "198.51.100.1"})
    assert {member.ref.backend for member in find(members, {"name": "host1", "address": "198.51.100.1", "port": 80})} == {"shop", "old"}


def test_quiet_means_no_session_no_queue_and_a_total_that_stands_still() -> None:
    member = listed("shop", "web1", "198.51.100.1")
    member.admin = "drain"
    stillness = Stillness(2)
    assert not stillness.look(member)
    member.total = 7
    assert not stillness.look(member)
    assert not stillness.look(member)
    assert stillness.look(member)
    member.queued = 1
    assert not stillness.look(member)
    member.queued, member.admin = 0, "ready"
    assert not any(stillness.look(member) for dummy in range(5))


def pool(*serving: bool) -> list[Member]:
    return [
        Member(MemberRef("s", "shop", f"web{n}"), "", None, "ready", "runtime", "up" if up else "down", up, "", 1, 0, 0, 0)
        for n, up in enumerate(serving, 1)
    ]


def leaving(*names: str) -> set[MemberRef]:
    return {MemberRef("s", "shop", name) for name in names}


def test_the_floor_counts_members_that_serve_now() -> None:
    check_floor(pool(True, True, True), leaving("web1", "web2"), "3", amounts={"shop": 1})
    check_floor(pool(True, True, True), leaving("web1", "web2"), "1", amounts={"other": 3})
    check_floor(pool(True, True, True), leaving("web1", "web2"), "1")
    with pytest.raises(SeamlessError, match="2 of 3 members are up and 2 must stay up") as caught:
        check_floor(pool(True, True, False), leaving("web1"), "2")
    assert caught.value.details["floor"] == {"backend": "shop", "up": 2, "total": 3, "min_available": 2}
    with pytest.raises(SeamlessError, match="1 of 1 members are up and 1 must stay up"):
        check_floor(pool(True), leaving("web1"), "1")


def test_backup_servers_are_no_capacity() -> None:
    members = pool(True, True)
    members[1].backup = True
    with pytest.raises(SeamlessError, match="1 of 1 members are up and 1 must stay up"):
        check_floor(members, leaving("web1"), "1")
    check_floor(members, leaving("web2"), "1")


def test_a_member_that_is_down_costs_nothing() -> None:
    check_floor(pool(True, False), leaving("web2"), "100%")


@pytest.mark.parametrize(("amount", "total", "floor"), [("50%", 3, 2), ("1%", 10, 1), ("100%", 4, 4), ("0", 4, 0), ("2", 4, 2)])
def test_percentages_of_the_floor_round_up(amount: str, total: int, floor: int) -> None:
    assert floor_of(amount, total) == floor


@pytest.mark.parametrize("amount", ["half", "-1", "101%", ""])
def test_amounts_that_are_none_are_refused(amount: str) -> None:
    with pytest.raises(SeamlessError, match="such as 2"):
        floor_of(amount, 3)


def test_a_health_file_goes_and_comes_with_its_owner(tmp_path: t.Any, perform: t.Any) -> None:
    options = {
        "driver": "health_file", "members": [{"name": "web1"}], "path": str(tmp_path / "run" / "drain"), "state_dir": str(tmp_path / "records"),
        "settle_seconds": 0, "owner": "shop",
    }
    assert perform("lb_member", state="drained", check_mode=True, **options)["changed"]
    assert not (tmp_path / "run").exists()
    assert perform("lb_member", state="drained", **options)["changed"]
    assert (tmp_path / "run" / "drain").exists()
    assert not perform("lb_member", state="drained", **options)["changed"]
    with pytest.raises(SeamlessError, match="by shop.*stays out"):
        perform("lb_member", state="enabled", **{**options, "owner": "other"})
    assert perform("lb_member", state="enabled", **options)["changed"]
    assert not (tmp_path / "run" / "drain").exists()


def test_a_health_file_of_somebody_else_is_left_alone(tmp_path: t.Any, perform: t.Any) -> None:
    (tmp_path / "drain").write_text("operator was here")
    options = {"driver": "health_file", "members": [{"name": "web1"}], "path": str(tmp_path / "drain"), "state_dir": str(tmp_path / "r"), "settle_seconds": 0}
    for state in ("drained", "enabled"):
        with pytest.raises(SeamlessError, match="left alone|stays out"):
            perform("lb_member", state=state, **options)
    assert (tmp_path / "drain").read_text() == "operator was here"


class Following(http.server.BaseHTTPRequestHandler):
    """Answers 503 while the file is there."""

    marker = ""

    def do_GET(self) -> None:
        self.send_response(503 if os.path.exists(self.marker) else 200)
        self.end_headers()

    def log_message(self, *dummy: t.Any) -> None:
        pass


def test_a_health_file_is_followed_by_the_endpoint_in_both_directions(tmp_path: t.Any, perform: t.Any) -> None:
    handler = type("Handler", (Following,), {"marker": str(tmp_path / "drain")})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = {
            "driver": "health_file", "members": [{"name": "web1"}], "path": str(tmp_path / "drain"), "state_dir": str(tmp_path / "r"),
            "settle_seconds": 0, "check_url": f"http://127.0.0.1:{server.server_address[1]}/health", "enable_timeout": 2, "drain_timeout": 1,
        }
        assert perform("lb_member", state="drained", **options)["members"][0]["health"] == "down"
        assert not perform("lb_member", state="maintenance", **options)["changed"]
        assert perform("lb_member", state="enabled", **options)["members"][0]["health"] == "up"
        handler.marker = "/nowhere"
        with pytest.raises(SeamlessError, match="still answers as healthy"):
            perform("lb_member", state="drained", **options)
        server.shutdown()
