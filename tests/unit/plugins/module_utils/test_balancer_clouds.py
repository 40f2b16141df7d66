# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import asking, cloud, cloudflare, linode, registry
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.cloud import CloudApi, Removed
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.digitalocean import DigitalOcean, address_of
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.hetzner import Hetzner, health_of
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.http_api import HttpApi
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "PAUSE", 0.001)
    monkeypatch.setattr(cloud, "SETTLES", 0.03)


class Api(HttpApi):
    """Answers by method and path, in turn where there are several; a number is a refusal."""

    def __init__(self, answers: dict[str, list[t.Any]]) -> None:
        super().__init__("https://api.example.com")
        self.answers = {key: list(found) for key, found in answers.items()}
        self.sent: list[tuple[str, t.Any]] = []

    def json(self, method: str, path: str, body: t.Any = None, headers: t.Any = None, missing_ok: bool = False) -> t.Any:
        key = f"{method} {path}"
        self.sent.append((key, body))
        found = self.answers[key]
        answer = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(answer, int):
            raise SeamlessError(f"refused with {answer}", status=answer)
        return answer

    def orders(self) -> list[tuple[str, t.Any]]:
        return [(key, body) for key, body in self.sent if not key.startswith("GET")]


@pytest.mark.parametrize(("method", "statuses", "calls"), [("GET", [429, 503, {}], 3), ("GET", [500, 500, 500, {}], 4), ("POST", [423, 409, {}], 3)])
def test_what_is_refused_for_the_moment_is_tried_again(method: str, statuses: list[t.Any], calls: int) -> None:
    api = Api({f"{method} /x": statuses})
    assert CloudApi(api).call(method, "/x") == {} and len(api.sent) == calls


@pytest.mark.parametrize(("method", "status", "calls"), [("GET", 401, 1), ("POST", 500, 1), ("POST", 422, 1), ("GET", 429, 4)])
def test_what_is_refused_for_good_is_not(method: str, status: int, calls: int) -> None:
    api = Api({f"{method} /x": [status]})
    with pytest.raises(SeamlessError, match=str(status)):
        CloudApi(api).call(method, "/x")
    assert len(api.sent) == calls


@pytest.mark.parametrize("driver", ["hetzner", "digitalocean", "linode", "cloudflare"])
def test_a_provider_needs_a_token_and_pools_and_has_one_url(driver: str, tmp_path: pathlib.Path) -> None:
    params = {"driver": driver, "token": "x", "backend": ["shop"], "state_dir": str(tmp_path)}
    assert registry.open_drivers(params)[0].name == driver
    two = ["https://a.example.com", "https://b.example.com"]
    for wrong, text in (({"token": ""}, "token is not set"), ({"backend": []}, "backend is not set"), ({"url": two}, "url has 2 entries")):
        with pytest.raises(SeamlessError, match=text):
            registry.open_drivers({**params, **wrong})


def test_what_was_removed_is_kept_for_its_own_balancer_and_pools(tmp_path: pathlib.Path) -> None:
    removed, other = Removed(str(tmp_path), "one"), Removed(str(tmp_path), "other")
    assert removed.all(["shop"]) == {}
    ref = MemberRef("one", "shop", "web/1")
    removed.put(ref, {"id": 7})
    assert removed.all(["shop"]) == {ref: {"id": 7}}
    assert removed.all(["admin"]) == {} and other.all(["shop"]) == {}
    removed.drop(ref)
    removed.drop(ref)
    assert removed.all(["shop"]) == {} and os.listdir(tmp_path / "removed") == []


# Hetzner


@pytest.mark.parametrize(
    ("statuses", "health"), [([], "nocheck"), (["healthy", "healthy"], "up"), (["healthy", "unhealthy"], "down"), (["unknown"], "down")],
)
def test_hetzner_health(statuses: list[str], health: str) -> None:
    assert health_of([{"listen_port": 80, "status": status} for status in statuses])[:2] == (health, health != "down")


def hetzner(targets: list[dict[str, t.Any]], directory: pathlib.Path, **more: list[t.Any]) -> tuple[Hetzner, Api]:
    balancer = {"id": 4, "name": "shop", "services": [{"destination_port": 80}, {"destination_port": 443}], "private_net": [{"network": 7}], "targets": targets}
    net = {"public_net": {"ipv4": {"ip": "198.51.100.9"}}, "private_net": [{"network": 7, "ip": "10.0.0.9"}]}
    api = Api({
        "GET /load_balancers?name=shop": [{"load_balancers": [balancer]}], "GET /load_balancers/4": [{"load_balancer": balancer}],
        "GET /servers/9": [{"server": {"id": 9, "name": "web1", **net}}], **more,
    })
    return Hetzner(CloudApi(api), ["shop"], str(directory)), api


def server(**more: t.Any) -> dict[str, t.Any]:
    return {"type": "server", "server": {"id": 9}, "health_status": [{"listen_port": 80, "status": "healthy"}], **more}


@pytest.mark.parametrize(("private", "address"), [(True, "10.0.0.9"), (False, "198.51.100.9")])
def test_hetzner_has_the_address_that_the_balancer_uses(private: bool, address: str, tmp_path: pathlib.Path) -> None:
    member = hetzner([server(use_private_ip=private)], tmp_path)[0].members()[0]
    assert (member.ref.name, member.address, member.port, member.health) == ("web1", address, None, "up")


def test_hetzner_refuses_what_a_label_selector_brought(tmp_path: pathlib.Path) -> None:
    target = {"type": "label_selector", "label_selector": {"selector": "env=prod"}, "targets": [server()], "use_private_ip": True}
    driver, api = hetzner([target], tmp_path)
    members = driver.members()
    assert [(member.ref.name, member.address) for member in members] == [("web1", "10.0.0.9")]
    with pytest.raises(SeamlessError, match="env=prod.*a target of its own"):
        driver.set_states([Change(members[0].ref, "drain")])
    assert not api.orders() and not driver.removed.all(["shop"])


def test_hetzner_names_a_server_or_an_address_as_its_api_wants_it(tmp_path: pathlib.Path) -> None:
    done = {"action": {"id": 1, "command": "remove_target", "status": "success"}}
    address = {"type": "ip", "ip": {"ip": "203.0.113.1"}, "health_status": []}
    paths = {f"POST /load_balancers/4/actions/{order}_target": [done] for order in ("add", "remove")}
    driver, api = hetzner([server(use_private_ip=True), address], tmp_path, **paths)
    targets = [one.target for one in driver.listed().values()]
    for comes in (False, True):
        driver.order("shop", targets, comes)
    assert [body for dummy, body in api.orders()] == [
        {"type": "server", "server": {"id": 9}}, {"type": "ip", "ip": {"ip": "203.0.113.1"}},
        {"type": "server", "server": {"id": 9}, "use_private_ip": True}, {"type": "ip", "ip": {"ip": "203.0.113.1"}},
    ]


def action(status: str) -> dict[str, t.Any]:
    return {"action": {"id": 1, "command": "remove_target", "status": status, "error": {"message": "no power"} if status == "error" else None}}


@pytest.mark.parametrize(("later", "text"), [("error", "failed: no power"), ("running", "is not over after")])
def test_hetzner_waits_for_its_actions(later: str, text: str, tmp_path: pathlib.Path) -> None:
    more = {"POST /load_balancers/4/actions/remove_target": [action("running")], "GET /actions/1": [action(later)]}
    driver, dummy = hetzner([server()], tmp_path, **more)
    with pytest.raises(SeamlessError, match=text):
        driver.set_states([Change(driver.members()[0].ref, "drain")])


def test_hetzner_names_the_balancers_that_there_are(tmp_path: pathlib.Path) -> None:
    api = Api({
        "GET /load_balancers?name=7": [{"load_balancers": []}], "GET /load_balancers/7": [None],
        "GET /load_balancers?per_page=50": [{"load_balancers": [{"name": "shop"}]}],
    })
    with pytest.raises(SeamlessError, match="backend is '7'.*there are shop"):
        Hetzner(CloudApi(api), ["7"], str(tmp_path)).members()


# DigitalOcean


@pytest.mark.parametrize(
    ("networks", "address"), [({"public": "198.51.100.1", "private": "10.0.0.1"}, "10.0.0.1"), ({"public": "198.51.100.1"}, "198.51.100.1"), ({}, "")],
)
def test_digitalocean_addresses(networks: dict[str, str], address: str) -> None:
    assert address_of({"networks": {"v4": [{"type": kind, "ip_address": one} for kind, one in networks.items()]}}) == address


def digitalocean(directory: pathlib.Path, tag: str = "") -> tuple[DigitalOcean, Api]:
    balancer = {"id": "4de7", "name": "shop", "tag": tag, "droplet_ids": [7, 8], "forwarding_rules": [{"target_port": 8000}]}
    more = {"links": {"pages": {"next": "https://api.example.com/?page=2"}}}
    api = Api({
        "GET /load_balancers?per_page=100&page=1": [{"load_balancers": [{"id": str(number), "name": str(number)} for number in range(100)], **more}],
        "GET /load_balancers?per_page=100&page=2": [{"load_balancers": [balancer]}], "GET /load_balancers/4de7": [{"load_balancer": balancer}],
        "GET /droplets/7": [{"droplet": {"name": "web1"}}], "GET /droplets/8": [{"droplet": {"name": "web1"}}],
        "DELETE /load_balancers/4de7/droplets": [None],
    })
    return DigitalOcean(CloudApi(api), ["shop"], str(directory)), api


def test_digitalocean_finds_a_balancer_on_the_second_page_and_tells_droplets_of_one_name_apart(tmp_path: pathlib.Path) -> None:
    members = digitalocean(tmp_path)[0].members()
    assert [(member.ref.name, member.port, member.health) for member in members] == [("web1", 8000, "nocheck"), ("web1#8", 8000, "nocheck")]


def test_digitalocean_refuses_what_a_tag_brought(tmp_path: pathlib.Path) -> None:
    driver, api = digitalocean(tmp_path, "web")
    with pytest.raises(SeamlessError, match="by the tag 'web'"):
        driver.set_states([Change(driver.members()[0].ref, "drain")])
    assert not api.orders() and not driver.removed.all(["shop"])


def test_a_droplet_that_came_back_gets_time_until_it_serves(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, dummy = digitalocean(tmp_path)
    slept: list[float] = []
    monkeypatch.setattr(driver, "change", lambda changes: slept.append(0))
    driver.patient({"settle_seconds": 20})
    first, second = (member.ref for member in driver.members())
    monkeypatch.setattr("time.sleep", slept.append)
    driver.set_states([Change(first, "drain"), Change(second, "ready")])
    assert [seconds for seconds in slept if seconds in (0, 20)] == [0, 20, 0]


def test_an_order_that_is_not_to_be_seen_is_no_success_and_leaves_nothing_behind(tmp_path: pathlib.Path) -> None:
    driver, api = digitalocean(tmp_path)
    with pytest.raises(SeamlessError, match="was removed, and that is not to be seen"):
        driver.set_states([Change(driver.members()[0].ref, "drain")])
    assert api.orders() == [("DELETE /load_balancers/4de7/droplets", {"droplet_ids": [7]})] and not driver.removed.all(["shop"])


# Linode


@pytest.mark.parametrize(
    ("status", "check", "state", "health"),
    [
        ("UP", "http", "ready", "up"), ("DOWN", "http", "ready", "down"), ("Unknown", "http", "ready", "down"), ("UP", "none", "ready", "nocheck"),
        ("UP", "http", "drain", "nocheck"), ("UP", "connection", "maint", "nocheck"), ("Unknown", "none", "drain", "nocheck"),
    ],
)
def test_linode_health(status: str, check: str, state: str, health: str) -> None:
    assert linode.health_of(status, check, state)[0] == health


class Balancer(Api):
    """One NodeBalancer with a port whose nodes keep what they are told, unless it is *deaf*."""

    def __init__(self, *nodes: dict[str, t.Any], stickiness: str = "none", deaf: bool = False) -> None:
        super().__init__({})
        self.nodes = [{"id": number, "label": "web1", "address": "192.168.1.1:80", "status": "UP", "weight": 50, **node} for number, node in enumerate(nodes)]
        self.stickiness, self.deaf = stickiness, deaf

    def json(self, method: str, path: str, body: t.Any = None, headers: t.Any = None, missing_ok: bool = False) -> t.Any:
        self.sent.append((f"{method} {path}", body))
        if method == "PUT":
            if not self.deaf:
                self.nodes[int(path.rpartition("/")[2])].update(body)
            return {}
        where, page = path.partition("?")[0], int(path.rpartition("=")[2])
        if where == "/nodebalancers":
            return {"data": [{"id": page, "label": f"shop{page}"}], "pages": 2}
        return {"data": self.nodes if where.endswith("/nodes") else [{"id": 5, "port": 443, "check": "http", "stickiness": self.stickiness}], "pages": 1}


def test_linode_pools_are_ports_and_nodes_of_one_label_are_told_apart(tmp_path: pathlib.Path) -> None:
    driver = linode.Linode(CloudApi(Balancer({"mode": "accept"}, {"mode": "backup"})), ["shop2"], str(tmp_path))
    members = driver.members()
    assert [(member.ref.backend, member.ref.name, member.address, member.port, member.backup) for member in members] == [
        ("shop2:443", "web1", "192.168.1.1", 80, False), ("shop2:443", "web1#1", "192.168.1.1", 80, True),
    ]


@pytest.mark.parametrize(("backend", "text"), [("shop3", "there are shop1, shop2"), ("shop1:80", "has no port 80"), ("shop1:443", None), ("2:443", None)])
def test_linode_takes_all_ports_or_one(backend: str, text: str | None, tmp_path: pathlib.Path) -> None:
    driver = linode.Linode(CloudApi(Balancer({"mode": "accept"})), [backend], str(tmp_path))
    if text is None:
        assert len(driver.members()) == 1
        return
    with pytest.raises(SeamlessError, match=text):
        driver.members()


def test_linode_gives_a_backup_back_as_a_backup(tmp_path: pathlib.Path) -> None:
    api = Balancer({"mode": "accept"}, {"mode": "backup"})
    driver = linode.Linode(CloudApi(api), ["1"], str(tmp_path))
    refs = [member.ref for member in driver.members()]
    driver.set_states([Change(refs[0], "drain"), Change(refs[1], "maint")])
    assert [node["mode"] for node in api.nodes] == ["drain", "reject"]
    assert [(member.admin, member.backup) for member in driver.members()] == [("drain", False), ("maint", True)]
    linode.Linode(CloudApi(api), ["1"], str(tmp_path)).set_states([Change(ref, "ready") for ref in refs])
    assert [node["mode"] for node in api.nodes] == ["accept", "backup"] and not driver.backups.all(["shop1:443"])


def test_linode_refuses_a_drain_in_which_sticky_clients_would_go_on(tmp_path: pathlib.Path) -> None:
    api = Balancer({"mode": "accept"}, stickiness="http_cookie")
    driver = linode.Linode(CloudApi(api), ["1"], str(tmp_path))
    ref = driver.members()[0].ref
    with pytest.raises(SeamlessError, match="sticky: move"):
        driver.set_states([Change(ref, "drain")])
    assert not api.orders()
    driver.set_states([Change(ref, "maint")])
    api.nodes[0].update(mode="accept", status="DOWN")
    driver.set_states([Change(ref, "drain")])


def test_linode_reads_back(tmp_path: pathlib.Path) -> None:
    driver = linode.Linode(CloudApi(Balancer({"mode": "accept"}, deaf=True)), ["1"], str(tmp_path))
    ref = driver.members()[0].ref
    with pytest.raises(SeamlessError, match="was set to drain, and that is not to be seen"):
        driver.set_states([Change(ref, "drain")])
    with pytest.raises(SeamlessError, match="1 to 255"):
        driver.set_weight(ref, 256)


# Cloudflare


def region(*healthy: bool) -> dict[str, t.Any]:
    return {str(number): {"origins": [{"203.0.113.1": {"healthy": one, "failure_reason": "" if one else "refused"}}]} for number, one in enumerate(healthy)}


@pytest.mark.parametrize(
    ("regions", "health", "said"),
    [
        (region(True, True, False), "up", "refused"), (region(True, False), "down", "refused"), (region(False), "down", "refused"),
        (region(True), "up", "healthy in 1 of 1 regions"), ({}, "down", "not looked at yet"), ({"healthy": True, "origins": []}, "down", "not looked at yet"),
    ],
)
def test_cloudflare_health(regions: dict[str, t.Any], health: str, said: str) -> None:
    assert cloudflare.health_of("203.0.113.1", regions) == (health, health == "up", said)


class Pool(Api):
    """A pool. *meddlers* are how often somebody else writes it back at once."""

    def __init__(self, *origins: dict[str, t.Any], meddlers: int = 0) -> None:
        super().__init__({})
        self.pool = {"id": "17b5", "name": "shop", "origins": list(origins), "monitor": None}
        self.meddlers = meddlers

    def json(self, method: str, path: str, body: t.Any = None, headers: t.Any = None, missing_ok: bool = False) -> t.Any:
        self.sent.append((f"{method} {path}", body))
        if method == "PATCH":
            self.meddlers -= 1
            if self.meddlers < 0:
                self.pool["origins"] = body["origins"]
        return {"result": [self.pool] if path.endswith("/pools") else self.pool}


def origins() -> list[dict[str, t.Any]]:
    first = {"name": "web1", "address": "203.0.113.1", "weight": 0.29, "header": {"Host": ["shop.example.com"]}}
    return [first, {"name": "web2", "address": "203.0.113.2", "enabled": False, "disabled_at": "2026-01-01T00:00:00Z"}]


def test_cloudflare_changes_one_origin_and_leaves_the_others(tmp_path: pathlib.Path) -> None:
    api = Pool(*origins())
    driver = cloudflare.Cloudflare(CloudApi(api), ["abc/shop"], str(tmp_path))
    assert [(member.ref.backend, member.ref.name, member.admin, member.weight, member.health) for member in driver.members()] == [
        ("abc/shop", "web1", "ready", 29, "nocheck"), ("abc/shop", "web2", "drain", 100, "nocheck"),
    ]
    driver.set_states([Change(driver.members()[0].ref, "drain")])
    first, second = origins()
    second.pop("disabled_at")
    assert [body for dummy, body in api.orders()] == [{"origins": [{**first, "enabled": False}, second]}]
    driver.set_weight(driver.members()[0].ref, 58)
    assert driver.members()[0].weight == 58


@pytest.mark.parametrize(("meddlers", "orders"), [(0, 1), (2, 3)])
def test_cloudflare_writes_again_what_somebody_else_overwrote(meddlers: int, orders: int, tmp_path: pathlib.Path) -> None:
    api = Pool(*origins(), meddlers=meddlers)
    driver = cloudflare.Cloudflare(CloudApi(api), ["abc/17b5"], str(tmp_path))
    driver.set_states([Change(driver.members()[0].ref, "drain")])
    assert len(api.orders()) == orders and driver.members()[0].admin == "drain"


def test_cloudflare_gives_up_at_last(tmp_path: pathlib.Path) -> None:
    driver = cloudflare.Cloudflare(CloudApi(Pool(*origins(), meddlers=99)), ["abc/shop"], str(tmp_path))
    with pytest.raises(SeamlessError, match="something else writes"):
        driver.set_states([Change(driver.members()[0].ref, "drain")])


def test_cloudflare_refuses_what_it_can_t_tell_apart(tmp_path: pathlib.Path) -> None:
    api = Pool(*origins(), {"name": "web1", "address": "203.0.113.3"})
    driver = cloudflare.Cloudflare(CloudApi(api), ["abc/shop"], str(tmp_path))
    with pytest.raises(SeamlessError, match="2 origins of the name web1"):
        driver.set_states([Change(driver.members()[0].ref, "drain")])
    assert not api.orders()


@pytest.mark.parametrize(("backend", "text"), [("shop", "write ACCOUNT/POOL"), ("abc/shopp", "there are shop")])
def test_cloudflare_says_what_backend_must_be(backend: str, text: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(SeamlessError, match=text):
        cloudflare.Cloudflare(CloudApi(Pool()), [backend], str(tmp_path)).members()


# What is the same for all


def test_an_application_behind_a_provider_is_asked_only_where_it_is_said_how(tmp_path: pathlib.Path) -> None:
    driver = digitalocean(tmp_path)[0]
    member = driver.members()[0]
    assert asking.probe_of(member, driver, None) is None
    assert asking.probe_of(member, driver, "http://198.51.100.1/healthz") is not None


def test_certificates_are_read_once_for_all_calls_of_an_api() -> None:
    api = HttpApi("https://api.example.com")
    assert api._opener is api._opener
