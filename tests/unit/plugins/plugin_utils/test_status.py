# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``status`` says of hosts and balancers, made of what the modules really read."""

from __future__ import annotations

import dataclasses
import os
import platform
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store
from ansible_collections.seamless.rollout.plugins.plugin_utils import _pools as pools
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._process import process_start
from ansible_collections.seamless.rollout.plugins.plugin_utils._status import fleet_status, status_text
from ansible_collections.seamless.rollout.plugins.plugin_utils._status_reader import StatusReader, read_status_settings

ADDRESSES = {"web1": "192.0.2.1", "web2": "192.0.2.2"}


def answer(machine: str, **members: tuple[str, str, str | None]) -> dict[str, t.Any]:
    """What lb_info says of *members*: health, admin state, and who took it out."""
    pool = [
        {"name": name, "address": ADDRESSES[name], "port": 80, "health": health, "admin": admin, "drained_by": by}
        for name, (health, admin, by) in members.items()
    ]
    return {"item": {"delegate": machine}, "pools": [{"backend": "shop", "members": pool}]}


@pytest.fixture
def survey(store: Store, releases: t.Any, perform: t.Any) -> t.Callable[..., dict[str, t.Any]]:
    """What release_info says of a host that went from 1.0 to 2.0, with its health and its service as given."""
    releases("1.0", "2.0")
    for release in ("1.0", "2.0"):
        perform("release_switch", root=store.root, release=release)
        perform("release_prune", root=store.root, good=release)

    def read(**changes: t.Any) -> dict[str, t.Any]:
        service = {"name": "shop", "release": "2.0", "stale": False}
        found = {**perform("release_info", root=store.root), "healthy": True, "served_version": "2.0", "services": [service]}
        return {**found, **changes}

    return read


def row_of(text: str, host: str) -> str:
    return next(" ".join(line.split()) for line in text.splitlines() if line.split()[:1] == [host])


def look(tmp_path: t.Any, hosts: dict[str, dict[str, t.Any]], *balancers: dict[str, t.Any]) -> tuple[dict[str, t.Any], str]:
    calls = {host: [{**one["item"], "member": host, "named": False} for one in balancers] for host in hosts}
    status = fleet_status(str(tmp_path / "none"), hosts, balancers, {host: ADDRESSES.get(host) for host in hosts}, calls=calls)
    return status, status_text("shop", status)


def test_a_healthy_host_shows_what_it_runs_serves_and_where_it_is_in_rotation(tmp_path: t.Any, survey: t.Any) -> None:
    status, text = look(tmp_path, {"web1": survey()}, answer("lb1", web1=("up", "ready", None)), answer("lb2", web1=("up", "ready", None)))
    assert row_of(text, "web1") == "web1 2.0 good 2.0 2.0 healthy lb1/shop: up, ready; lb2/shop: up, ready"
    assert status["hosts"]["web1"]["releases"] == {"1.0": "previous", "2.0": "good"} and status["hosts"]["web1"]["last_good"] == "2.0"
    assert status["balancer_problems"] == {} and status["last_rollout"] is None and "Last rollout" not in text


def test_a_stale_process_and_an_unhealthy_release_are_seen(tmp_path: t.Any, survey: t.Any) -> None:
    stale = survey(services=[{"name": "shop", "release": "1.0", "stale": True}], healthy=False, served_version="1.0")
    status, text = look(tmp_path, {"web1": stale})
    assert row_of(text, "web1") == "web1 2.0 good 1.0 1.0 not healthy - stale: shop"
    assert status["hosts"]["web1"]["stale"] == ["shop"]


def test_a_lock_and_a_preview_are_named(tmp_path: t.Any, store: Store, survey: t.Any, perform: t.Any) -> None:
    perform("rollout_lock", root=store.root, lock_id="r1", owner="ann@desk", reason="release 3")
    perform("release_switch", root=store.root, release="1.0", link="preview")
    status, text = look(tmp_path, {"web1": survey()})
    assert row_of(text, "web1").endswith("locked by ann@desk, preview 1.0")
    assert status["hosts"]["web1"]["lock"]["id"] == "r1"


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({"unreachable": True, "msg": "ssh: connect to host 192.0.2.2 port 22: No route to host"}, "No route to host"),
        ({"failed": True, "msg": "rollout_root is not a directory"}, "not a directory"),
        ({}, "no answer"),
    ],
)
def test_a_host_that_cannot_be_read_is_a_line_and_hides_no_other(tmp_path: t.Any, survey: t.Any, found: dict[str, t.Any], problem: str) -> None:
    status, text = look(tmp_path, {"web1": survey(), "web2": found}, answer("lb1", web1=("up", "ready", None), web2=("down", "ready", None)))
    assert row_of(text, "web2").startswith("web2 ? unreachable ? ? ? ?") and problem in row_of(text, "web2")
    assert status["hosts"]["web2"]["reachable"] is False and row_of(text, "web1").startswith("web1 2.0 good")


def test_a_message_of_many_lines_is_one_line_of_the_table(tmp_path: t.Any, survey: t.Any) -> None:
    hosts = {"web1": survey(), "web2": {"failed": True, "msg": "Traceback:\n  in read\nOSError: no space"}}
    dummy, text = look(tmp_path, hosts, answer("lb1", web1=("up", "ready", None)))
    assert row_of(text, "web2").endswith("Traceback: in read OSError: no space")
    told = [line.split()[0] for line in text.splitlines() if "OSError: no space" in line]
    assert told == ["CRITICAL", "web2", "critical"] and "\nOSError" not in text


def test_a_host_out_of_rotation_says_by_whom_and_a_dead_balancer_is_named(tmp_path: t.Any, survey: t.Any) -> None:
    dead = {"item": {"delegate": "lb2"}, "failed": True, "msg": "HAProxy's socket /run/haproxy/admin.sock refuses connections"}
    gone = {"item": {"delegate": "lb3"}, "unreachable": True}
    alive = answer("lb1", web1=("up", "drain", "shop"), web2=("unknown", "maint", None))
    status, text = look(tmp_path, {"web1": survey(), "web2": survey()}, alive, dead, gone)
    assert row_of(text, "web1").endswith("lb1/shop: up, drain by shop") and row_of(text, "web2").endswith("lb1/shop: unknown, maint")
    assert "  balancer lb2: HAProxy's socket /run/haproxy/admin.sock refuses connections" in text and "  balancer lb3: no answer" in text
    assert set(status["balancer_problems"]) == {"lb2", "lb3"}


def test_a_host_without_a_release_is_no_error(tmp_path: t.Any, perform: t.Any) -> None:
    status, text = look(tmp_path, {"web1": perform("release_info", root=str(tmp_path / "nothing"))})
    assert row_of(text, "web1") == "web1 - missing - - - -" and status["hosts"]["web1"]["reachable"]


def test_a_rollout_whose_process_is_gone_is_called_interrupted(tmp_path: t.Any, survey: t.Any) -> None:
    ledger = Ledger(str(tmp_path))
    rollout = {"app": "shop", "release": "3.0", "mode": "release", "state": "planned", "reason": "", "owner": "o", "controller": "c"}
    ledger.begin({"id": "r", **rollout, "pid": 1, "process_start": "long ago", "started_at": 1.0})
    ledger.save_plan("r", {"release": "3.0", "hosts": {"web1": {"from": "2.0", "target": "3.0", "state": "pending", "detail": ""}}})
    status = fleet_status(str(tmp_path), {"web1": survey()}, [], ADDRESSES)
    text = status_text("shop", status)
    assert status["last_rollout"] is not None and status["last_rollout"]["state"] == "interrupted"
    assert "Last rollout from this controller:" in text and "run the same command again to finish" in " ".join(text.split())


def service(**changes: t.Any) -> dict[str, t.Any]:
    return {"name": "shop", "release": "2.0", "releases": ["2.0"], "active": True, "stale": False, **changes}


def member(**changes: t.Any) -> dict[str, t.Any]:
    whole = {"name": "web1", "address": ADDRESSES["web1"], "port": 80, "health": "up", "admin": "ready", "drained_by": None, "operator": False, "sessions": 3}
    return {"item": {"delegate": "lb1"}, "pools": [{"backend": "shop", "members": [{**whole, **changes}]}]}


def codes(status: dict[str, t.Any]) -> list[str]:
    return [one["code"] for one in status["findings"]]


def asked(balancers: list[dict[str, t.Any]], *hosts: str) -> dict[str, list[dict[str, t.Any]]]:
    """What the reader makes of ``rollout_balancers`` for *hosts*."""
    return {
        host: pools.expand_balancers(host, [{"driver": "haproxy", **one, "member": one.get("member", "").format(host=host)} for one in balancers], {})
        for host in hosts
    }


def pool(call: dict[str, t.Any], *members: dict[str, t.Any], backend: str = "shop") -> dict[str, t.Any]:
    """What lb_info says to *call*: one pool, named with the socket that it was asked by."""
    item = {name: value for name, value in call.items() if name not in ("member", "named")}
    return {"item": item, "pools": [{"balancer": str(call.get("socket")), "backend": backend, "members": [dict(one) for one in members]}]}


def server(name: str, **changes: t.Any) -> dict[str, t.Any]:
    address = f"198.51.100.{sum(name.encode()) % 250}"
    return {"name": name, "address": address, "port": 80, "health": "up", "admin": "ready", "drained_by": None, "operator": False, **changes}


LEFT = {"admin": "drain", "drained_by": "shop"}


def test_a_server_of_another_name_and_address_is_found_by_its_member(tmp_path: t.Any, survey: t.Any) -> None:
    calls = asked([{"hosts": "lb1", "socket": "/s", "member": "srv-{host}"}], "web1", "web2")
    told = pool(calls["web1"][0], server("srv-web1", **LEFT), server("srv-web2", admin="maint", operator=True))
    status = fleet_status(str(tmp_path), {"web1": survey(), "web2": survey()}, [told], ADDRESSES, calls=calls)
    assert [(one["code"], one["host"]) for one in status["findings"]] == [("drain_left", "web1"), ("drained_unknown", "web2")]
    assert list(status["hosts"]["web1"]["balancers"]) == ["lb1/shop"]


class Variables:
    """The variables of hosts, which all have the same, and what a task of Ansible's own transport registered."""

    values: t.ClassVar[dict[str, t.Any]] = {
        "rollout_app": "shop",
        "rollout_balancers": [{"driver": "haproxy", "hosts": "lb", "socket": "/s", "member": "srv", "password": "x"}],
    }

    def variables(self, dummy: str) -> dict[str, t.Any]:
        return self.values

    def get(self, dummy: str, name: str, **overrides: t.Any) -> t.Any:
        return self.values.get(name)

    def raw(self, dummy: str) -> dict[str, t.Any]:
        item = {"driver": "haproxy", "delegate": "lb1", "socket": "/s", "secret_of": "web1"}
        return {"__rollout_balancer_info": {"results": [pool(item, server("srv", **LEFT))]}}


def test_the_reader_gives_the_members_that_variables_name(survey: t.Any, tmp_path: t.Any) -> None:
    reader = StatusReader(t.cast("t.Any", None), t.cast("t.Any", Variables()), {"groups": {"lb": ["lb1"], "all": ["lb1", "web1"]}}, ["web1"])
    reader.settings = dataclasses.replace(reader.settings, state_dir=str(tmp_path / "none"))
    facts = {"answers": {"web1": survey()}, "left": {}, "balancers": [], "left_balancers": [1], "rest_hosts": ["web1"], "migrations": False}
    assert codes(reader.status(facts)) == ["drain_left"]


def test_a_named_server_that_is_not_there_is_not_looked_for_by_its_address(tmp_path: t.Any, survey: t.Any) -> None:
    calls = asked([{"hosts": "lb1", "socket": "/s", "member": "srv-{host}"}], "web1")
    told = pool(calls["web1"][0], server("other", address=ADDRESSES["web1"], **LEFT))
    status = fleet_status(str(tmp_path), {"web1": survey()}, [told], ADDRESSES, calls=calls)
    assert status["hosts"]["web1"]["balancers"] == {} and codes(status) == ["not_member"] and status["verdict"] == "warning"
    assert status["findings"][0]["text"] == "srv-web1 is no server on lb1"


def test_a_host_is_looked_for_only_in_its_own_balancers(tmp_path: t.Any, survey: t.Any) -> None:
    calls = {**asked([{"hosts": "lb1", "socket": "/s"}], "web1"), **asked([{"hosts": "lb2", "socket": "/s"}], "web2")}
    answers = [pool(calls[host][0], server("web1"), server("web2")) for host in ("web1", "web2")]
    rows = fleet_status(str(tmp_path), {"web1": survey(), "web2": survey()}, answers, ADDRESSES, calls=calls)["hosts"]
    assert [list(rows[host]["balancers"]) for host in ("web1", "web2")] == [["lb1/shop"], ["lb2/shop"]]


def test_two_balancers_of_one_machine_are_told_apart_where_both_have_the_pool(tmp_path: t.Any, survey: t.Any) -> None:
    calls = asked([{"hosts": "lb1", "socket": "/a"}, {"hosts": "lb1", "socket": "/b"}], "web1", "web2")
    first, second = calls["web1"]
    answers = [pool(first, server("web1", **LEFT), server("web2", port=81)), pool(second, server("web1"))]
    status = fleet_status(str(tmp_path), {"web1": survey(), "web2": survey()}, answers, ADDRESSES, calls=calls)
    assert list(status["hosts"]["web1"]["balancers"]) == ["lb1 (/a)/shop", "lb1 (/b)/shop"] and codes(status) == ["drain_left", "not_member"]
    assert list(status["hosts"]["web2"]["balancers"]) == ["lb1 (/a)/shop"]
    apart = [answers[0], pool(second, server("web1"), backend="api")]
    rows = fleet_status(str(tmp_path), {"web1": survey()}, apart, ADDRESSES, calls=calls)["hosts"]
    assert list(rows["web1"]["balancers"]) == ["lb1/shop", "lb1/api"]


def test_two_servers_of_one_host_in_a_pool_are_told_apart(tmp_path: t.Any, survey: t.Any) -> None:
    both = [{"hosts": "lb1", "socket": "/s", "member": "{host}-a"}, {"hosts": "lb1", "socket": "/s", "member": "{host}-b"}]
    calls = asked(both, "web1")
    told = pool(calls["web1"][0], server("web1-a", **LEFT), server("web1-b", port=81))
    status = fleet_status(str(tmp_path), {"web1": survey()}, [told], ADDRESSES, calls=calls)
    assert list(status["hosts"]["web1"]["balancers"]) == ["lb1/shop/web1-a", "lb1/shop/web1-b"] and codes(status) == ["drain_left"]
    by_address = asked([{"hosts": "lb1", "socket": "/s"}], "web1")
    told = pool(by_address["web1"][0], server("b1", address=ADDRESSES["web1"], **LEFT), server("b2", address=ADDRESSES["web1"], port=81))
    status = fleet_status(str(tmp_path), {"web1": survey()}, [told], ADDRESSES, calls=by_address)
    assert list(status["hosts"]["web1"]["balancers"]) == ["lb1/shop/b1", "lb1/shop/b2"] and codes(status) == ["drain_left"]


def test_of_two_balancers_of_one_machine_none_hides_that_the_other_is_silent(tmp_path: t.Any, survey: t.Any) -> None:
    items = [{"delegate": "lb1", "driver": "haproxy", "socket": ["/a"]}, {"delegate": "lb1", "driver": "caddy", "url": "http://ops:s3cret@lb1:2019"}]
    silent = [{"item": item, "failed": True, "msg": "refused"} for item in items]
    status = fleet_status(str(tmp_path), {"web1": survey()}, [*silent, {"item": {"delegate": "lb2"}, "unreachable": True}], ADDRESSES)
    assert status["balancer_problems"] == {"lb1 (haproxy /a)": "refused", "lb1 (caddy http://lb1:2019)": "refused", "lb2": "no answer"}
    assert codes(status) == ["balancer_unread"] * 3


def test_a_site_as_it_should_be_is_ok_in_one_line(tmp_path: t.Any, survey: t.Any) -> None:
    status, text = look(tmp_path, {"web1": survey()}, member())
    assert status["verdict"] == "ok" and codes(status) == [] and text.splitlines()[0] == "OK - shop 2.0 on 1 host"
    assert status["hosts"]["web1"]["balancers"]["lb1/shop"]["sessions"] == 3 and "lb1/shop: up, ready, 3 sessions" in text


@pytest.mark.parametrize(
    ("changes", "balancer", "code", "verdict"),
    [
        ({"services": [service(release="1.0", releases=["1.0"], stale=True)]}, {}, "stale_process", "critical"),
        ({"services": [service(active=False)]}, {}, "service_down", "critical"),
        ({"healthy": False, "health": [{"ok": False, "detail": "answered 500"}]}, {}, "not_healthy", "critical"),
        ({"verified": {"release": "2.0", "differ": 7, "paths": ["a", "b"]}}, {}, "bytes_differ", "critical"),
        ({"current": {"kind": "dangling", "release": "2.0", "path": "/x"}}, {}, "no_release", "critical"),
        ({}, {"admin": "maint", "operator": True}, "drained_unknown", "warning"),
        ({}, {"admin": "drain", "drained_by": "shop"}, "drain_left", "critical"),
        ({"lock": {"id": "r", "owner": "ann@desk", "idle": 9000.0, "expired": True}}, {}, "dead_lock", "warning"),
    ],
)
def test_each_thing_that_is_not_as_it_should_be_has_its_code(
    tmp_path: t.Any, survey: t.Any, changes: dict[str, t.Any], balancer: dict[str, t.Any], code: str, verdict: str
) -> None:
    status, text = look(tmp_path, {"web1": survey(**changes)}, member(**balancer))
    assert codes(status) == [code] and status["verdict"] == verdict and status["findings"][0]["host"] == "web1"
    assert text.startswith(f"{verdict.upper()} - shop 2.0 on 1 host - web1: ")


def test_what_a_rollout_does_right_now_is_no_drift(tmp_path: t.Any, survey: t.Any) -> None:
    alive = {"id": "r", "owner": "ann@desk", "idle": 2.0, "expired": False}
    busy = survey(lock=alive, services=[service(release="1.0", releases=["1.0"], stale=True)], healthy=False)
    old = survey(current={"kind": "link", "release": "1.0", "path": "/x"})
    balancer = member(admin="drain", drained_by="shop")
    balancer["pools"][0]["members"] += member(name="web2", address=ADDRESSES["web2"])["pools"][0]["members"]
    status, text = look(tmp_path, {"web1": busy, "web2": old}, balancer)
    assert codes(status) == [] and text.splitlines()[0] == "OK - shop 1.0, 2.0 on 2 hosts, a rollout works on 1 of them"
    assert "locked by ann@desk, 2 s ago" in text


def test_hosts_that_run_different_releases_are_found_when_nobody_works_on_them(tmp_path: t.Any, survey: t.Any) -> None:
    old = survey(current={"kind": "link", "release": "1.0", "path": "/x"})
    status, dummy = look(tmp_path, {"web1": survey(), "web2": old, "web3": survey()})
    assert codes(status) == ["mixed_releases"] and "not all hosts run 2.0: 1.0 on web2" in status["findings"][0]["text"]


def test_a_rollout_that_died_is_critical_and_its_lock_is_dead(tmp_path: t.Any, survey: t.Any) -> None:
    ledger = Ledger(str(tmp_path))
    rollout = {"app": "shop", "release": "3.0", "mode": "release", "state": "planned", "reason": "", "owner": "o", "controller": platform.node()}
    ledger.begin({"id": "r", **rollout, "pid": 1, "process_start": "long ago", "started_at": 1.0})
    held = survey(lock={"id": "r", "owner": "ann@desk", "idle": 2.0, "expired": False})
    assert codes(fleet_status(str(tmp_path), {"web1": held}, [], ADDRESSES)) == ["rollout_interrupted", "dead_lock"]


def test_a_rollout_under_way_names_the_hosts_it_works_on(tmp_path: t.Any, survey: t.Any) -> None:
    ledger = Ledger(str(tmp_path))
    rollout = {"app": "shop", "release": "3.0", "mode": "release", "state": "planned", "reason": "", "owner": "o", "controller": platform.node()}
    ledger.begin({"id": "r", **rollout, "pid": os.getpid(), "process_start": process_start(os.getpid()), "started_at": 1.0})
    hosts = {name: {"from": "2.0", "target": "3.0", "state": "pending", "detail": ""} for name in ("web1", "web2")}
    ledger.save_plan("r", {"release": "3.0", "hosts": hosts})
    ledger.update_host("r", "web1", state="in_flight")
    status = fleet_status(str(tmp_path), {"web1": survey(), "web2": survey()}, [], ADDRESSES)
    assert status["hosts"]["web1"]["slot"] == {"rollout": "r", "state": "in_flight"} and status["hosts"]["web2"]["slot"] is None
    assert row_of(status_text("shop", status), "web1").endswith("in flight")


def test_a_migration_that_stopped_and_a_database_that_can_not_be_read_are_found(tmp_path: t.Any, survey: t.Any) -> None:
    stopped = {"problem": "", "migrations": [{"name": "m1", "state": "backfilling", "last_error": "disk full"}, {"name": "m2", "state": "done"}]}
    found = fleet_status(str(tmp_path), {"web1": survey()}, [], ADDRESSES, stopped)["findings"]
    assert [(one["code"], one["text"]) for one in found] == [("schema_stopped", "migration m1 (backfilling) was stopped by: disk full")]
    assert codes(fleet_status(str(tmp_path), {"web1": survey()}, [], ADDRESSES, {"problem": "no driver"})) == ["schema_unread"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rollout_app": "shop", "rollout_status_format": "jsn"}, "rollout_status_format is 'jsn': use one of text, json (nearest: json)."),
        ({"rollout_app": "shop", "rollout_status_fail_on": "error"}, "rollout_status_fail_on is 'error': use one of never, critical, warning"),
        ({"rollout_app": "shop", "rollout_status_verify": "all"}, "rollout_status_verify is 'all': use one of none, quick, full"),
        ({"rollout_app": "shop", "rollout_status_strict": True}, "rollout_status_strict is not a variable of seamless.rollout."),
        ({}, "rollout_app is not set"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_read(values: dict[str, t.Any], said: str) -> None:
    with pytest.raises(SeamlessError) as refused:
        read_status_settings(values, values.get)
    assert said in str(refused.value)
