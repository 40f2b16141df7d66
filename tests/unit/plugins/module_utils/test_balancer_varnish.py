# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import varnish, vcl
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from hypothesis import given
from hypothesis import strategies as st

DECLARED = """\
// VCL.SHOW 0 470 /etc/varnish/shop.vcl
vcl 4.1;
probe healthz { .url = "/healthz"; }
# backend old { .host = "198.51.100.9"; }
/* backend older { .host = "198.51.100.8"; } */
backend web1 { .host = "198.51.100.1"; .port = "8000"; .probe = { .url = "/}{"; .host = "no"; } .first_byte_timeout = 9s; }
backend web2 {
    .host = {"198.51.100.2"}; // .port = "1";
    .probe = healthz;
}
backend web3 { .host = "[2001:db8::3]:8003"; }
backend web4 { .path = "/run/app.sock"; }
backend web5 { .host = "app.example.com"; .port = "http"; }
backend none none;
sub vcl_recv { set req.http.x = "backend fake { .host = 1 }"; if (req.url ~ "{") { return (pass); } }
"""


def test_backends_are_read_out_of_vcl() -> None:
    assert vcl.parse_backends(DECLARED) == {
        "web1": ("198.51.100.1", 8000), "web2": ("198.51.100.2", 80), "web3": ("2001:db8::3", 8003), "web4": ("", None), "web5": ("app.example.com", None),
    }


def place(kind: str = "backend", admin: str = "probe", message: t.Any = (3, 3, "healthy"), inside: t.Sequence[str] | None = None) -> dict[str, t.Any]:
    details = {"probe_details": {"backends": {name: {"health": "healthy"} for name in inside}}} if inside is not None else {}
    return {"type": kind, "admin_health": admin, "probe_message": list(message), **details}


class Instance(varnish.Varnish):
    """One whose programs answer from *places* and obey."""

    def __init__(self, places: dict[str, dict[str, t.Any]], *backends: str, vcls: t.Sequence[dict[str, t.Any]] = ()) -> None:
        super().__init__({}, backends)
        self.places = places
        self.vcls = list(vcls) or [{"name": "boot", "status": "active", "state": "auto"}]
        self.counters: dict[str, int] = {}
        self.orders: list[tuple[str, ...]] = []
        self.held_down: t.Any = 0.25

    def _run(self, program: str, *arguments: str) -> str:
        if program == "varnishstat":
            return json.dumps({"version": 1, "counters": {name: {"value": value} for name, value in self.counters.items()}})
        if arguments[0] == "vcl.show":
            return DECLARED
        if arguments[0] == "backend.set_health":
            self.orders.append(arguments[1:])
            self.places[arguments[1]]["admin_health"] = "sick" if arguments[2] == "sick" else "probe"
            return ""
        if arguments[0] == "param.show":
            return json.dumps([2, list(arguments), 0.5, {"name": arguments[2], "implemented": True, "value": self.held_down, "units": "seconds"}])
        return json.dumps([3, list(arguments), 0.5, *(self.vcls if arguments[0] == "vcl.list" else [self.places])])


def test_members_are_in_every_director_that_leads_to_them() -> None:
    instance = Instance(
        {
            "boot.web1": place(), "boot.web2": place(admin="sick", message=(0, 3, "sick")), "boot.web3": place(admin="healthy", message=(0, 0, "healthy")),
            "boot.rr": place("round-robin", inside=["web1", "web2"]), "boot.all": place("fallback", inside=["rr", "web1", "all"]), "old.web1": place(),
        },
    )
    instance.counters = {"VBE.boot.web1.conn": 1, "VBE.boot.web1.req": 5, "VBE.old.web1.conn": 2, "VBE.old.web1.req": 7, "VBE.boot.web2.conn": 9}
    found = {(member.ref.backend, member.ref.name): member for member in instance.members()}
    assert list(found) == [("rr", "web1"), ("rr", "web2"), ("all", "web1"), ("all", "web2"), ("vcl", "web3")]
    web1, web2, web3 = found[("rr", "web1")], found[("rr", "web2")], found[("vcl", "web3")]
    assert (web1.address, web1.port, web1.admin, web1.health) == ("198.51.100.1", 8000, "ready", "up")
    assert (web1.sessions, web1.total) == (3, 12), "what an earlier VCL began goes on"
    assert (web2.admin, web2.health, web2.fully_up, web2.check, web2.sessions) == ("drain", "down", False, "0/3 sick", 9)
    assert (web3.admin, web3.health, web3.fully_up) == ("ready", "nocheck", True)
    with pytest.raises(SeamlessError, match="backend rrr is no director .*there are all, rr, vcl"):
        Instance(instance.places, "rrr").members()


def test_a_label_stands_for_the_vcl_behind_it() -> None:
    vcls = [
        {"name": "v9", "status": "active", "state": "auto"}, {"name": "shop3", "status": "available", "state": "auto"},
        {"name": "shop", "status": "available", "state": "label", "label": {"name": "shop3"}},
    ]
    instance = Instance({"v9.web1": place(), "shop3.web1": place(), "shop2.web1": place()}, vcls=vcls)
    assert [member.ref.backend for member in instance.members()] == ["vcl", "shop/vcl"]


def test_one_backend_is_set_by_its_whole_name_and_once() -> None:
    directors = {"boot.a": place("hash", inside=["web1"]), "boot.b": place("hash", inside=["web1", "web11"])}
    instance = Instance({"boot.web1": place(), "boot.web11": place(), **directors})
    instance.set_states([Change(MemberRef("varnishadm", pool, "web1"), "drain") for pool in ("a", "b")])
    assert instance.orders == [("boot.web1", "sick")]
    instance.set_states([Change(MemberRef("varnishadm", "a", "web1"), "ready")])
    assert instance.orders[1:] == [("boot.web1", "auto")]
    with pytest.raises(SeamlessError, match="not there any more"):
        instance.set_states([Change(MemberRef("varnishadm", "a", "web9"), "drain")])


def test_a_backend_comes_back_when_varnish_connects_to_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = Instance({"boot.web1": place(admin="sick")})
    slept: list[tuple[float, int]] = []
    monkeypatch.setattr(varnish.time, "sleep", lambda seconds: slept.append((seconds, len(instance.orders))))
    instance.held_down = 1.5
    instance.set_states([Change(MemberRef("varnishadm", "vcl", "web1"), "ready")])
    assert slept == [(1.5, 0)] and len(instance.orders) == 1
    instance.held_down = None
    with pytest.raises(SeamlessError, match="does not tell backend_remote_error_holddown"):
        instance.set_states([Change(MemberRef("varnishadm", "vcl", "web1"), "ready")])
    assert len(instance.orders) == 1


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'No Backends matches'; echo 'Command failed with error code 106' >&2; exit 1", "No Backends matches.*106"),
        ("echo Rejected 500 >&2; exit 2", "secret file"),
        ("echo .....; echo 'Could not get hold of varnishd, is it running?' >&2; exit 2", "failed: Could not get.*Start Varnish"),
        ("echo nothing of the kind", "did not answer with JSON"),
        ("echo '{}'", "something unknown"),
    ],
)
def test_every_way_to_fail_has_its_message(script: str, message: str) -> None:
    params = {"driver": "varnish", "commands": {"varnishadm": ["sh", "-c", script]}}
    with pytest.raises(SeamlessError, match=message):
        varnish.Varnish.open(params)[0].members()


def test_commands_that_are_none_are_refused() -> None:
    with pytest.raises(SeamlessError, match="'varnishd': the driver varnish knows"):
        varnish.Varnish.open({"driver": "varnish", "commands": {"varnishd": "x"}})
    with pytest.raises(SeamlessError, match="not on this machine"):
        varnish.Varnish.open({"driver": "varnish", "commands": {"varnishadm": "/nowhere/varnishadm -n x"}})[0].members()


KEYS = ["name", "status", "state", "label", "type", "a.b", "a.c", "probe_message", "probe_details", "backends"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(["backend", "sick", "label", "active", "a.b"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.text(max_size=200), st.lists(ANYTHING, max_size=3))
def test_no_text_makes_the_parsers_crash(text: str, objects: list[t.Any]) -> None:
    vcl.parse_backends(text)
    vcl.parse_backends("backend a {" + text)
    try:
        varnish.parse_answer(text, "x")
    except SeamlessError as exc:
        assert "answer" in str(exc)
    for pool, found in varnish.pools_of(varnish.parse_list(objects), {**varnish.active_vcls(objects), "a": ""}):
        assert isinstance(pool, str) and found.health and isinstance(found.check, str)
