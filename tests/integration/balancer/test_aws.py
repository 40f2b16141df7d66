# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver aws_target_group with the real boto3 against moto, which has no draining phase and calls every target healthy."""

from __future__ import annotations

import pathlib
import typing as t
import urllib.request

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils import _operations
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import cloud
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")

KEYS = {"username": "AKIAIOSFODNN7EXAMPLE", "password": "secret"}


class Site(t.NamedTuple):
    url: str
    groups: list[str]
    instances: list[str]
    directory: str

    def client(self, service: str) -> t.Any:
        return boto3.client(
            service, region_name="eu-west-1", endpoint_url=self.url, aws_access_key_id=KEYS["username"], aws_secret_access_key=KEYS["password"],
        )

    def ports(self, group: int) -> dict[str, int]:
        found = self.client("elbv2").describe_target_health(TargetGroupArn=self.groups[group])["TargetHealthDescriptions"]
        return {one["Target"]["Id"]: one["Target"]["Port"] for one in found}

    def call(self, operation: str, **params: t.Any) -> dict[str, t.Any]:
        module = _operations.load(operation)
        values = {name: option.get("default") for name, option in module.ARGUMENT_SPEC.items()}
        values.update(driver="aws_target_group", url=[self.url], backend=self.groups, state_dir=self.directory, settle_polls=1, **KEYS)
        return t.cast("dict[str, t.Any]", module.run({**values, **params}, False))


@pytest.fixture
def site(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Site]:
    """Two instances in two groups, in the second one by a port of their own."""
    monkeypatch.setattr(cloud, "PAUSE", 0.05)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    site = Site(f"http://{host}:{port}", [], [], str(tmp_path / "state"))
    # What an earlier server was told is in this process still.
    urllib.request.urlopen(f"{site.url}/moto-api/reset", data=b"").close()
    elb, ec2 = site.client("elbv2"), site.client("ec2")
    site.instances.extend(one["InstanceId"] for one in ec2.run_instances(ImageId="ami-12345678", MinCount=2, MaxCount=2)["Instances"])
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    for name, override in (("shop", None), ("admin", 8081)):
        arn = elb.create_target_group(Name=name, Protocol="HTTP", Port=8080, VpcId=vpc)["TargetGroups"][0]["TargetGroupArn"]
        elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": one, **({"Port": override} if override else {})} for one in site.instances])
        site.groups.append(arn)
    try:
        yield site
    finally:
        server.stop()


def test_an_instance_leaves_both_groups_and_comes_back_by_its_ports(site: Site) -> None:
    one, other = site.instances
    for group, port in ((0, 8080), (1, 8081)):
        drained = site.call("lb_member", state="drained", members=[{"name": one, "address": "192.0.2.7", "port": port}])
        assert [(member["name"], member["changed"]) for member in drained["members"]] == [(f"{one}:{port}", True)]
        assert site.ports(group) == {other: port}
    assert sorted(member["admin"] for pool in site.call("lb_info")["pools"] for member in pool["members"]) == ["drain", "drain", "ready", "ready"]
    for port in (8080, 8081):
        assert site.call("lb_member", state="enabled", members=[{"name": one, "address": None, "port": port}])["changed"]
    assert [site.ports(0), site.ports(1)] == [{one: 8080, other: 8080}, {one: 8081, other: 8081}]


def test_an_instance_with_two_ports_must_be_told_apart(site: Site) -> None:
    with pytest.raises(SeamlessError, match="several servers"):
        site.call("lb_member", state="drained", members=[{"name": site.instances[0], "address": None, "port": None}])


def test_a_group_that_is_not_there(site: Site) -> None:
    with pytest.raises(SeamlessError, match="Check the ARNs"):
        site.call("lb_info", backend=[site.groups[0].replace("/shop/", "/shopp/")])


def test_the_default_delay_is_told(site: Site) -> None:
    assert any("300 s" in hint for hint in site.call("lb_info")["hints"])
