# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for boto3's client of elbv2, and what it talks to. Unlike moto it has a draining phase, checks, and requests that it serves."""

from __future__ import annotations

import functools
import json
import time
import typing as t
import urllib.request

from conformance.fakes.api import PORTS, Answer, Fake, main, route
from conformance.fakes.proxy import Place, Pool

KEY = "AKIAFAKE"
DELAY = 1.0  # the deregistration delay


class ClientError(Exception):
    """Looks like botocore's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"An error occurred ({code}): {message}")
        self.response = {"Error": {"Code": code, "Message": message}}


class Client:
    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key

    def __getattr__(self, name: str) -> t.Callable[..., t.Any]:
        return functools.partial(self._call, name)

    def _call(self, name: str, **arguments: t.Any) -> t.Any:
        data = json.dumps({"key": self.key, "name": name, "arguments": arguments}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/elbv2", data=data), timeout=5) as answer:
            body = json.load(answer)
        if "code" in body:
            raise ClientError(body["code"], body["message"])
        return body


def arn(name: str) -> str:
    return f"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/73e2d6bc24d8a067"


class Elbv2(Fake):
    def reset(self) -> None:
        super().reset()
        self.left: dict[Place, float] = {}

    def pool(self, name: str, members: t.Sequence[str]) -> Pool:
        pool = super().pool(name, members)
        pool.sticky = True
        return pool

    @staticmethod
    def refuse(code: str, message: str) -> Answer:
        return 200, {"code": code, "message": message}

    @route("POST", "/elbv2")
    def call(self, body: dict[str, t.Any], **dummy: t.Any) -> Answer:
        if body["key"] != KEY:
            return self.refuse("InvalidClientTokenId", "The security token included in the request is invalid.")
        arguments = body["arguments"]
        arns = arguments.get("TargetGroupArns") or [arguments["TargetGroupArn"]]
        for one in arns:
            if one not in map(arn, self.pools):
                return self.refuse("TargetGroupNotFound", f"Target groups '{one}' not found")
        pools = [self.pools[one.split("/")[1]] for one in arns]
        return getattr(self, body["name"])(pools, arguments.get("Targets"))  # type: ignore[no-any-return]

    @staticmethod
    def describe_target_groups(pools: list[Pool], targets: t.Any) -> Answer:
        return 200, {"TargetGroups": [{"TargetGroupName": pool.name, "TargetGroupArn": arn(pool.name), "Port": 80, "TargetType": "ip"} for pool in pools]}

    @staticmethod
    def describe_target_group_attributes(pools: list[Pool], targets: t.Any) -> Answer:
        return 200, {"Attributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": str(int(DELAY))}]}

    def describe_target_health(self, pools: list[Pool], targets: t.Any) -> Answer:
        listed = [(place, self.health(place)) for place in pools[0].places.values()]
        return 200, {"TargetHealthDescriptions": [
            {"Target": {"Id": "127.0.0.1", "Port": place.port, "AvailabilityZone": "eu-west-1a"}, "TargetHealth": health} for place, health in listed if health
        ]}

    def health(self, place: Place) -> dict[str, str] | None:
        if place.state == "out":
            over = time.monotonic() > self.left[place] + DELAY and not place.active
            return None if over else {"State": "draining", "Reason": "Target.DeregistrationInProgress"}
        if place.healthy is None:
            return {"State": "initial", "Reason": "Elb.RegistrationInProgress"}
        return {"State": "healthy"} if place.healthy else {"State": "unhealthy", "Reason": "Target.FailedHealthChecks"}

    @staticmethod
    def named(pool: Pool, targets: list[dict[str, t.Any]]) -> list[Place]:
        """Return the places of *targets*. One that is not there, as by another port, is none: no error."""
        return [
            place for place in pool.places.values() for target in targets if (target["Id"], target.get("Port", 80)) == ("127.0.0.1", place.port)
        ]

    def register_targets(self, pools: list[Pool], targets: list[dict[str, t.Any]]) -> Answer:
        if any(target["Id"] != "127.0.0.1" or target.get("Port") not in PORTS.values() for target in targets):
            return self.refuse("InvalidTarget", "The following targets are not valid")
        for place in self.named(pools[0], targets):
            if place.state == "out":
                place.state, place.checked, place.healthy, place.checks = "ready", True, None, 0
        return 200, {}

    def deregister_targets(self, pools: list[Pool], targets: list[dict[str, t.Any]]) -> Answer:
        for place in self.named(pools[0], targets):
            if place.state != "out":
                place.state, place.checked = "out", False
                self.left[place] = time.monotonic()
        return 200, {}


if __name__ == "__main__":
    main(Elbv2())
