# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import keepalived
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from hypothesis import given
from hypothesis import strategies as st

VIP = "203.0.113.100"
LINKS = [{"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]}, {"ifname": "eth0", "addr_info": [{"local": VIP, "prefixlen": 24}, {"local": "2001:db8::1"}]}]


@pytest.fixture
def options(tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """Options for a machine on which the address goes and comes with the file, as keepalived and another machine would see to."""
    (tmp_path / "drain").write_text("7\n")
    (tmp_path / "links").write_text(json.dumps(LINKS))
    script = f'if grep -q "^-" {tmp_path}/drain && [ ! -e {tmp_path}/alone ]; then echo "[]"; else cat {tmp_path}/links; fi'
    return {
        "driver": "keepalived", "path": str(tmp_path / "drain"), "backend": [VIP], "members": [{"name": "lb1"}], "state_dir": str(tmp_path / "records"),
        "commands": {"addresses": ["sh", "-c", script]}, "settle_seconds": 0, "owner": "shop", "drain_timeout": 0.3,
    }


def test_a_machine_leaves_its_address_and_gets_back_what_the_file_held(tmp_path: pathlib.Path, options: dict[str, t.Any], perform: t.Any) -> None:
    assert perform("lb_member", state="drained", check_mode=True, **options)["changed"]
    assert (tmp_path / "drain").read_text() == "7\n"
    result = perform("lb_member", state="drained", **options)
    assert result["changed"] and result["members"][0]["sessions"] == 0
    assert (tmp_path / "drain").read_text() == "-253\n"
    looks = {name: value for name, value in options.items() if name not in ("members", "drain_timeout")}
    member = perform("lb_info", **looks)["pools"][0]["members"][0]
    assert (member["name"], member["admin"], member["drained_by"], member["operator"]) == ("lb1", "drain", "shop", False)
    assert not perform("lb_member", state="drained", **options)["changed"]
    assert perform("lb_member", state="enabled", **options)["changed"]
    assert (tmp_path / "drain").read_text() == "7\n"
    assert not perform("lb_member", state="enabled", **options)["changed"]


def test_an_address_that_nobody_takes_stays_and_everything_is_as_before(tmp_path: pathlib.Path, options: dict[str, t.Any], perform: t.Any) -> None:
    (tmp_path / "alone").write_text("")
    with pytest.raises(SeamlessError, match=rf"{VIP} did not leave .* within 0\.3 s .*no other machine took it"):
        perform("lb_member", state="drained", **options)
    assert (tmp_path / "drain").read_text() == "7\n"
    assert not perform("lb_member", state="enabled", **options)["changed"], "no record of it is left"


def test_what_an_operator_wrote_is_left_alone(tmp_path: pathlib.Path, options: dict[str, t.Any], perform: t.Any) -> None:
    (tmp_path / "drain").write_text("-20\n")
    for state in ("drained", "enabled"):
        with pytest.raises(SeamlessError, match="left alone|stays out"):
            perform("lb_member", state=state, **options)
    assert (tmp_path / "drain").read_text() == "-20\n"
    assert perform("lb_member", state="enabled", **options, force=True)["changed"]
    assert (tmp_path / "drain").read_text() == "0\n"


def test_an_address_stays_away_while_the_balancer_of_the_machine_is_dead(tmp_path: pathlib.Path, options: dict[str, t.Any], perform: t.Any) -> None:
    perform("lb_member", state="drained", **options)
    with pytest.raises(SeamlessError, match="was not enabled"):
        perform("lb_member", state="enabled", **options, check_url="http://127.0.0.1:1/", enable_timeout=0.2)
    assert (tmp_path / "drain").read_text() == "-253\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": None}, "path is not set"), ({"path": "/nowhere/drain"}, "there is no such file.*track_file"), ({"backend": []}, "backend is not set"),
        ({"backend": ["shop"]}, "backend is shop: .*needs addresses"), ({"members": [{"name": "a"}, {"name": "b"}]}, "takes one member, not 2"),
        ({"commands": {"ip": "x"}}, "'ip': the driver keepalived knows"), ({"commands": {"addresses": "/nowhere/ip -j"}}, "install iproute2"),
        ({"commands": {"addresses": "echo no"}}, "did not answer with JSON"), ({"commands": {"addresses": "false"}}, "refused with 1"),
    ],
)
def test_wrong_options_have_their_messages(options: dict[str, t.Any], perform: t.Any, change: dict[str, t.Any], message: str) -> None:
    with pytest.raises(SeamlessError, match=message):
        perform("lb_member", state="drained", **{**options, **change})


def test_addresses_are_found_however_they_are_written() -> None:
    found = keepalived.parse_addresses(json.dumps(LINKS))
    assert [vip in found for vip in keepalived.parse_vips([f"{VIP}/24", "2001:DB8:0::1", "203.0.113.10"])] == [True, True, False]


@pytest.mark.parametrize(("text", "value"), [("0\n", 0), ("", 0), (" -20 \n", -20), ("+5", 5)])
def test_what_a_track_file_holds(text: str, value: int) -> None:
    assert keepalived.parse_value(text, "f") == value


ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.just(VIP),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["addr_info", "local"]), inner, max_size=2), max_leaves=9,
)


@given(st.text(max_size=60), st.lists(st.fixed_dictionaries({"addr_info": st.lists(ANYTHING)}) | ANYTHING, max_size=3))
def test_no_text_makes_the_parsers_crash(text: str, links: list[t.Any]) -> None:
    keepalived.parse_addresses(json.dumps(links))
    for parse in (keepalived.parse_addresses, lambda text: keepalived.parse_value(text, "f"), lambda text: keepalived.parse_vips([text])):
        try:
            parse(text)
        except SeamlessError as exc:
            assert "keepalived" in str(exc) or "iproute2" in str(exc)
