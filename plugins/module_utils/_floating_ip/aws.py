# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.aws_target_group import client_of
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.provider import SERVER, Provider, Server

_GONE = "terminated"


class Aws(Provider):
    """Elastic IP addresses of Amazon EC2. An instance needs nothing for one."""

    name = "aws"
    needs: t.ClassVar[dict[str, str]] = {"region": "the region of the address, such as eu-central-1", "server": SERVER}

    def connect(self) -> None:
        params = {**self.params, "url": [self.params["url"]] if self.params.get("url") else []}
        self.client = client_of("ec2", params, str(self.params["region"]), "method is 'aws'")

    def _call(self, name: str, **arguments: t.Any) -> dict[str, t.Any]:
        # Every error of botocore is an Exception of its own making, made at run time.
        try:
            return t.cast("dict[str, t.Any]", getattr(self.client, name)(**arguments))
        except Exception as exc:
            raise SeamlessError(f"AWS refused {name} for {self.wanted.address}: {exc}") from exc

    def _address(self) -> dict[str, t.Any]:
        known = self._call("describe_addresses")["Addresses"]
        found = next((one for one in known if one.get("PublicIp") == str(self.wanted.address)), None)
        if not found:
            raise self.unknown([str(one.get("PublicIp")) for one in known])
        return t.cast("dict[str, t.Any]", found)

    def holder(self) -> Server | None:
        number = self._address().get("InstanceId")
        return next((one for one in self.servers() if one.id == number), Server(str(number), str(number))) if number else None

    def servers(self) -> list[Server]:
        found: list[Server] = []
        more: dict[str, str] = {}
        while True:
            answer = self._call("describe_instances", **more)
            instances = [one for reservation in answer["Reservations"] for one in reservation["Instances"] if one["State"]["Name"] != _GONE]
            found += [Server(str(one["InstanceId"]), _name_of(one)) for one in instances]
            if not answer.get("NextToken"):
                return found
            more = {"NextToken": answer["NextToken"]}

    def assign(self, server: Server) -> None:
        self._call("associate_address", AllocationId=self._address()["AllocationId"], InstanceId=server.id, AllowReassociation=True)

    def unassign(self, server: Server) -> None:
        self._call("disassociate_address", AssociationId=self._address()["AssociationId"])


def _name_of(instance: t.Mapping[str, t.Any]) -> str:
    return next((str(tag["Value"]) for tag in instance.get("Tags") or [] if tag.get("Key") == "Name"), str(instance["InstanceId"]))
