# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import json
import pathlib
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import caddy
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from hypothesis import given
from hypothesis import strategies as st

URL = "http://127.0.0.1:2019"
ONE, TWO, THREE = {"dial": "198.51.100.1:80"}, {"dial": "198.51.100.2:80", "@id": "web2", "max_requests": 9}, {"dial": "198.51.100.3:80"}


def config(*upstreams: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    handler = {"@id": "shop", "handler": "reverse_proxy", "upstreams": list(upstreams), **more}
    inner = {"handler": "subroute", "routes": [{"handle": [{"handler": "headers"}, handler]}]}
    return {"apps": {"http": {"servers": {"web": {"routes": [{"handle": [inner]}]}}}}}


class Admin(HttpApi):
    """Caddy's interface, with *conflicts* changes of somebody else before ours."""

    def __init__(self, content: dict[str, t.Any], tag: bool = True, conflicts: int = 0) -> None:
        super().__init__(URL)
        self.content = copy.deepcopy(content)
        self.tag, self.conflicts = tag, conflicts
        self.busy: dict[str, int] = {}
        self.patched: list[list[dict[str, t.Any]]] = []
        self.watch: t.Callable[[], None] = lambda: None

    def call(self, method: str, path: str, body: bytes | None = None, headers: t.Any = None, missing_ok: bool = False) -> tuple[int, str, dict[str, str]]:
        if path == "/config/":
            return 200, json.dumps(self.content), {}
        if path == "/reverse_proxy/upstreams":
            return 200, json.dumps([{"address": dial, "num_requests": number, "fails": 0} for dial, number in self.busy.items()]), {}
        assert path == "/id/shop/upstreams"
        handler = caddy.find_pools(self.content)["shop"]
        now = f'"/config/apps/x {hash(json.dumps(handler))}"'
        if method == "GET":
            return 200, json.dumps(handler["upstreams"]), {"etag": now} if self.tag else {}
        assert method == "PATCH"
        self.watch()
        if self.conflicts:
            self.conflicts -= 1
            handler["upstreams"].append({"dial": f"198.51.100.9:{self.conflicts}"})
            now = ""
        if self.tag and headers["If-Match"] != now:
            raise SeamlessError("If-Match header did not match current config hash", status=412)
        assert ("If-Match" in headers) is self.tag
        handler["upstreams"] = json.loads(body or b"")
        self.patched.append(handler["upstreams"])
        return 200, "", {}


def driver(api: Admin, directory: pathlib.Path, *backends: str, settle: float = 5) -> caddy.Caddy:
    return caddy.Caddy(api, backends, str(directory), settle)


def ref(name: str) -> MemberRef:
    return MemberRef(URL, "shop", name)


def standing(one: caddy.Caddy) -> dict[str, tuple[str, int | None]]:
    return {member.ref.name: (member.admin, member.sessions) for member in one.members()}


def test_a_removed_upstream_is_remembered_and_comes_back_as_it_was_and_where_it_was(tmp_path: pathlib.Path) -> None:
    api = Admin(config(ONE, TWO, THREE))
    remembered: list[bool] = []
    api.watch = lambda: remembered.append("web2" in caddy.Removed(str(tmp_path), URL, "shop").read())
    driver(api, tmp_path).set_states([Change(ref("198.51.100.1:80"), "drain"), Change(ref("web2"), "drain")])
    assert api.patched == [[THREE]]
    assert standing(driver(api, tmp_path)) == {"198.51.100.3:80": ("ready", None), "198.51.100.1:80": ("drain", 0), "web2": ("drain", 0)}
    driver(api, tmp_path).set_states([Change(ref("web2"), "ready")])
    driver(api, tmp_path).set_states([Change(ref("198.51.100.1:80"), "ready")])
    assert api.patched[-1] == [ONE, TWO, THREE]
    assert remembered == [True, True, False], "written down before it leaves, struck out after it is back"


def test_what_is_listed_is_ready_whatever_is_remembered(tmp_path: pathlib.Path) -> None:
    api = Admin(config(ONE, TWO))
    driver(api, tmp_path).set_states([Change(ref("web2"), "drain")])
    api.content = config(ONE, TWO)
    assert standing(driver(api, tmp_path))["web2"] == ("ready", None)
    driver(api, tmp_path).set_states([Change(ref("web2"), "ready")])
    api.content = config(ONE)
    assert list(standing(driver(api, tmp_path))) == ["198.51.100.1:80"]
    with pytest.raises(SeamlessError, match="not there any more"):
        driver(api, tmp_path).set_states([Change(ref("web2"), "ready")])


def test_a_change_by_somebody_else_is_kept(tmp_path: pathlib.Path) -> None:
    api = Admin(config(ONE, TWO), conflicts=2)
    driver(api, tmp_path).set_states([Change(ref("web2"), "drain")])
    assert [one["dial"] for one in api.patched[0]] == ["198.51.100.1:80", "198.51.100.9:1", "198.51.100.9:0"]
    with pytest.raises(SeamlessError, match="somebody else changed them in the same moment, 5 times"):
        driver(Admin(config(ONE, TWO), conflicts=9), tmp_path).set_states([Change(ref("web2"), "drain")])


def test_an_old_caddy_that_says_nothing_of_a_removed_upstream_is_waited_for(tmp_path: pathlib.Path) -> None:
    api = Admin(config(ONE, TWO), tag=False)
    old = driver(api, tmp_path, settle=0.05)
    old.set_states([Change(ref("web2"), "drain")])
    assert standing(old)["web2"] == ("drain", 1)
    time.sleep(0.06)
    assert standing(old)["web2"] == ("drain", 0)
    new = Admin(config(ONE, TWO))
    new.busy = {"198.51.100.2:80": 3}
    one = driver(new, tmp_path / "new")
    one.set_states([Change(ref("web2"), "drain")])
    assert standing(one)["web2"] == ("drain", 3)


def test_pools_that_cant_be_driven_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SeamlessError, match='has no "@id"'):
        driver(Admin({"handler": "reverse_proxy", "upstreams": []}), tmp_path).members()
    with pytest.raises(SeamlessError, match="there is none"):
        driver(Admin({"handler": "reverse_proxy", "@id": "x", "dynamic_upstreams": {}}), tmp_path).members()
    with pytest.raises(SeamlessError, match='backend shopp is no "@id" .*there are shop'):
        driver(Admin(config(ONE)), tmp_path, "shopp").members()
    weighted = config(ONE, TWO, load_balancing={"selection_policy": {"policy": "weighted_round_robin", "weights": [1, 2]}})
    with pytest.raises(SeamlessError, match="positions in the list"):
        driver(Admin(weighted), tmp_path).set_states([Change(ref("web2"), "drain")])


@pytest.mark.parametrize(
    ("dial", "place"),
    [
        ("198.51.100.1:80", ("198.51.100.1", 80)), ("[2001:db8::1]:80", ("2001:db8::1", 80)), ("tcp4/app.example.com:8000", ("app.example.com", 8000)),
        ("unix//run/app.sock", ("", None)), ("{http.vars.up}:80", ("", None)), ("app", ("", None)), ("", ("", None)),
    ],
)
def test_addresses_of_upstreams(dial: str, place: tuple[str, int | None]) -> None:
    assert caddy.place_of({"dial": dial}) == place


ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["reverse_proxy"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["handler", "upstreams", "@id", "dial", "routes"]), inner, max_size=5),
    max_leaves=12,
)


@given(ANYTHING)
def test_no_configuration_makes_the_parser_crash(content: t.Any) -> None:
    for handler in caddy.find_pools(content).values():
        for upstream in handler["upstreams"]:
            if isinstance(upstream, dict):
                assert isinstance(caddy.name_of(upstream), str) and len(caddy.place_of(upstream)) == 2
