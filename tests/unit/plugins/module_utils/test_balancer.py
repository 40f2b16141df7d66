# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import haproxy
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Member, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.member import check_floor, floor_of
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("bits", "admin", "source"),
    [
        (0, "ready", "runtime"), (1, "maint", "runtime"), (4, "maint", "config"), (2, "maint", "tracked"),
        (8, "drain", "runtime"), (9, "maint", "runtime"), (32, "maint", "dns"),
    ],
)
def test_admin_states_come_from_the_bit_mask(bits: int, admin: str, source: str) -> None:
    assert haproxy.admin_of(bits) == (admin, source)


def row(status: str, check: str, level: str = "3", rise: str = "2", fall: str = "2") -> dict[str, str]:
    return {"status": status, "check_status": check, "check_health": level, "check_rise": rise, "check_fall": fall}


@pytest.mark.parametrize(
    ("fields", "health", "full"),
    [
        (row("UP", "L7OK"), "up", True),
        (row("UP", "* L7OK"), "up", True),
        (row("UP 1/2", "L7STS", "2"), "down", False),
        (row("DOWN", "L4CON", "0"), "down", False),
        (row("DOWN 1/2", "L7OK", "1"), "down", False),
        (row("DRAIN", "L7OK"), "up", True),
        (row("DRAIN 1/2", "L4CON", "2"), "down", False),
        (row("no check", "", "", "", ""), "nocheck", True),
        (row("NOLB", "L7OKC"), "up", True),
        (row("something new", "L7XX"), "unknown", False),
    ],
)
def test_health_survives_every_spelling(fields: dict[str, str], health: str, full: bool) -> None:
    assert haproxy.health_of(fields) == (health, full)


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


@pytest.mark.parametrize("address", ["admin.sock", "127.0.0.1", "host:"])
def test_addresses_that_are_none_are_refused(address: str) -> None:
    with pytest.raises(SeamlessError, match="runtime socket"):
        haproxy.check_address(address)


def pool(*serving: bool) -> list[Member]:
    return [
        Member(MemberRef("s", "shop", f"web{n}"), "", None, "ready", "runtime", "up" if up else "down", up, "", 1, 0, 0, 0)
        for n, up in enumerate(serving, 1)
    ]


def leaving(*names: str) -> set[MemberRef]:
    return {MemberRef("s", "shop", name) for name in names}


def test_the_floor_counts_members_that_serve_now() -> None:
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
