# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib
import pathlib
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import aws_target_group, cloud, pools
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.aws_target_group import AwsTargetGroup, health_of
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

Target = t.Dict[str, t.Any]


def arn(name: str, region: str = "eu-west-1") -> str:
    return f"arn:aws:elasticloadbalancing:{region}:123456789012:targetgroup/{name}/73e2d6bc24d8a067"


class Client:
    """Groups of instances. A deregistered target drains until *over*; an order for a target that is not there is taken and does nothing."""

    def __init__(self, **groups: list[Target]) -> None:
        self.groups = {name: [dict(target) for target in targets] for name, targets in groups.items()}
        self.draining: list[Target] = []
        self.orders: list[tuple[str, str, list[Target]]] = []
        self.kind = "instance"
        self.deaf = False
        self.starts = 0
        self.delay = "300"

    def describe_target_groups(self, TargetGroupArns: list[str]) -> t.Any:
        return {"TargetGroups": [{"TargetGroupName": name, "TargetType": self.kind} for name in self.groups]}

    def describe_target_group_attributes(self, TargetGroupArn: str) -> t.Any:
        return {"Attributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": self.delay}]}

    def describe_target_health(self, TargetGroupArn: str) -> t.Any:
        self.starts -= 1
        good = "initial" if self.starts > 0 else "healthy"
        rows = [(target, "draining" if target in self.draining else good) for target in self.groups[TargetGroupArn.split("/")[1]]]
        return {"TargetHealthDescriptions": [{"Target": target, "TargetHealth": {"State": state}} for target, state in rows]}

    def deregister_targets(self, TargetGroupArn: str, Targets: list[Target]) -> t.Any:
        group = TargetGroupArn.split("/")[1]
        self.orders.append(("deregister", group, Targets))
        if not self.deaf:
            self.draining += [target for target in self.groups[group] if {"Id": target["Id"], "Port": target["Port"]} in Targets]

    def register_targets(self, TargetGroupArn: str, Targets: list[Target]) -> t.Any:
        group = TargetGroupArn.split("/")[1]
        self.orders.append(("register", group, Targets))
        self.draining = [target for target in self.draining if target["Id"] not in [one["Id"] for one in Targets]]
        self.groups[group] += [one for one in Targets if one not in self.groups[group]]

    def over(self) -> None:
        self.groups = {name: [target for target in targets if target not in self.draining] for name, targets in self.groups.items()}
        self.draining = []


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "PAUSE", 0.01)
    monkeypatch.setattr(cloud, "SETTLES", 0.05)


def driver(client: Client, directory: pathlib.Path) -> AwsTargetGroup:
    return AwsTargetGroup(client, "AWS eu-west-1 123456789012", [arn(name) for name in client.groups], str(directory))


ONE, OTHER = {"Id": "i-1", "Port": 80}, {"Id": "i-1", "Port": 8081, "AvailabilityZone": "eu-west-1a"}


def test_a_target_is_drained_when_draining_is_over_and_can_be_given_back(tmp_path: pathlib.Path) -> None:
    client = Client(shop=[ONE, {"Id": "i-2", "Port": 80}])
    one = driver(client, tmp_path)
    ref = one.members()[0].ref
    one.set_states([Change(ref, "drain")])
    assert [(member.admin, member.sessions) for member in one.members()] == [("drain", 1), ("ready", 0)]
    client.over()
    # Another call, later: only the directory knows of it.
    again = driver(client, tmp_path)
    assert [(member.ref.name, member.admin, member.sessions) for member in again.members()] == [("i-2:80", "ready", 0), ("i-1:80", "drain", 0)]
    again.set_states([Change(ref, "ready")])
    assert {member.admin for member in again.members()} == {"ready"} and not again.removed.all(["shop"])
    assert client.orders == [("deregister", "shop", [ONE]), ("register", "shop", [ONE])]


def test_who_is_replaced_goes_when_the_other_one_serves(tmp_path: pathlib.Path) -> None:
    client = Client(shop=[ONE, {"Id": "i-2", "Port": 80}])
    one = driver(client, tmp_path)
    first, second = (member.ref for member in one.members())
    one.set_states([Change(second, "drain")])
    client.over()
    client.starts = 4
    one.set_states([Change(first, "drain"), Change(second, "ready")])
    assert client.starts < 0 and [order[0] for order in client.orders] == ["deregister", "register", "deregister"]
    client.over()
    client.starts, one.patience = 10**6, 0.05
    with pytest.raises(SeamlessError, match="those that it was to replace are in"):
        one.set_states([Change(first, "ready"), Change(second, "drain")])
    assert [(kind, targets[0]["Id"]) for kind, dummy, targets in client.orders[-2:]] == [("register", "i-1"), ("deregister", "i-1")]


def test_the_port_of_each_group_is_used(tmp_path: pathlib.Path) -> None:
    client = Client(shop=[ONE], admin=[OTHER])
    one = driver(client, tmp_path)
    one.set_states([Change(member.ref, "drain") for member in one.members()])
    assert client.orders == [("deregister", "shop", [ONE]), ("deregister", "admin", [{"Id": "i-1", "Port": 8081}])]


def test_a_zone_goes_with_addresses_only(tmp_path: pathlib.Path) -> None:
    client = Client(admin=[OTHER])
    client.kind = "ip"
    one = driver(client, tmp_path)
    with pytest.raises(SeamlessError, match="not to be seen"):
        one.set_states([Change(one.members()[0].ref, "drain")])
    assert client.orders == [("deregister", "admin", [OTHER])]


def test_an_order_that_does_nothing_is_no_success(tmp_path: pathlib.Path) -> None:
    client = Client(shop=[ONE])
    client.deaf = True
    one = driver(client, tmp_path)
    with pytest.raises(SeamlessError, match="was removed, and that is not to be seen"):
        one.set_states([Change(one.members()[0].ref, "drain")])
    assert [member.admin for member in one.members()] == ["ready"]


def test_a_member_is_found_by_the_id_of_its_instance_although_its_host_has_an_address(tmp_path: pathlib.Path) -> None:
    members = driver(Client(shop=[ONE], admin=[{"Id": "i-1", "Port": 80}]), tmp_path).members()
    assert len(pools.find(members, {"name": "i-1", "address": "192.0.2.1"})) == 2
    members = driver(Client(shop=[ONE], admin=[OTHER]), tmp_path).members()
    with pytest.raises(SeamlessError, match="several servers"):
        pools.find(members, {"name": "i-1", "address": "192.0.2.1"})
    assert [member.ref.name for member in pools.find(members, {"name": "i-1", "port": 8081})] == ["i-1:8081"]
    assert [member.ref.name for member in pools.find(members, {"name": "i-1:8081", "address": "192.0.2.1"})] == ["i-1:8081"]


@pytest.mark.parametrize(
    ("state", "reason", "health"),
    [
        ("healthy", "", "up"), ("initial", "Elb.RegistrationInProgress", "down"), ("unhealthy", "Target.FailedHealthChecks", "down"),
        ("unavailable", "", "nocheck"),
        ("unused", "Target.NotInUse", "nocheck"), ("unused", "Target.InvalidState", "down"), ("unhealthy.draining", "", "down"), ("new word", "", "down"),
    ],
)
def test_health(state: str, reason: str, health: str) -> None:
    assert health_of(state, reason) == (health, health != "down")


def test_a_long_delay_is_told(tmp_path: pathlib.Path) -> None:
    client = Client(shop=[ONE])
    assert "draining for 300 s" in driver(client, tmp_path).hints([])[0]
    client.delay = "20"
    assert driver(client, tmp_path).hints([]) == []


def test_functions_are_refused(tmp_path: pathlib.Path) -> None:
    client = Client(shop=[ONE])
    client.kind = "lambda"
    with pytest.raises(SeamlessError, match="function"):
        driver(client, tmp_path).members()


@pytest.mark.parametrize(
    ("code", "text"), [("ExpiredToken", "credentials are missing, wrong"), ("TargetGroupNotFound", "Check the ARNs"), ("Throttling", "could not do")],
)
def test_what_aws_refuses_is_said(code: str, text: str, tmp_path: pathlib.Path) -> None:
    class Refused(Exception):
        response: t.ClassVar[dict[str, t.Any]] = {"Error": {"Code": code}}

    def refuse(**dummy: t.Any) -> None:
        raise Refused("no")

    client = Client(shop=[ONE])
    vars(client)["describe_target_health"] = refuse
    with pytest.raises(SeamlessError, match=text):
        driver(client, tmp_path).members()


def test_there_is_a_driver_for_each_region(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(aws_target_group, "connect", lambda params, region: region)
    drivers = AwsTargetGroup.open({
        "driver": "aws_target_group", "backend": [arn("a"), arn("b", "us-east-1"), arn("c")], "state_dir": str(tmp_path), "drain_timeout": 60,
    })
    assert [(one.client, list(one.arns)) for one in drivers if isinstance(one, AwsTargetGroup)] == [("eu-west-1", ["a", "c"]), ("us-east-1", ["b"])]
    with pytest.raises(SeamlessError, match="backend is 'shop'"):
        AwsTargetGroup.open({"driver": "aws_target_group", "backend": ["shop"], "state_dir": str(tmp_path)})


def test_without_boto3_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, package: str | None = None) -> t.Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", find)
    with pytest.raises(SeamlessError, match="Python package boto3"):
        aws_target_group.connect({}, "eu-west-1")
