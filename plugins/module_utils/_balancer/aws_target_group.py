# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import importlib
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Driver, Member, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.cloud import Listed, RemovingDriver
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

ARN = re.compile(r"arn:[^:]+:elasticloadbalancing:(?P<region>[^:]+):(?P<account>[^:]*):targetgroup/(?P<name>[^/]+)/[^/]+")
_CREDENTIALS = {
    "AccessDenied", "AccessDeniedException", "AuthFailure", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch",
    "UnauthorizedOperation", "UnrecognizedClientException", "NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError", "TokenRetrievalError",
}
# Nobody sends requests to one that is only on its way in.
_HEALTH = {"healthy": "up", "unavailable": "nocheck", "unused": "nocheck"}


def connect(params: t.Mapping[str, t.Any], region: str) -> t.Any:
    return client_of("elbv2", params, region, "driver is 'aws_target_group'")


def client_of(service: str, params: t.Mapping[str, t.Any], region: str, choice: str) -> t.Any:
    """Return a client of *service* in *region*, with the credentials of *params* or those that boto3 finds by itself. *choice* is what needs it."""
    try:
        boto3, config = importlib.import_module("boto3"), importlib.import_module("botocore.config")
    except ImportError as exc:
        raise SeamlessError(
            f"{choice}, which needs the Python package boto3 where it runs: install it for the Python of that host, "
            "or let it run where it is."
        ) from exc
    return boto3.client(
        service, region_name=region, endpoint_url=(params.get("url") or [None])[0], verify=None if params.get("validate_certs", True) else False,
        aws_access_key_id=params.get("username"), aws_secret_access_key=params.get("password"), aws_session_token=params.get("token"),
        config=config.Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "max_attempts": 6}),
    )


def health_of(state: str, reason: str) -> tuple[str, bool]:
    """Return health, and whether all is well, for a target that is registered."""
    health = _HEALTH.get(state, "down")
    if state == "unused" and reason != "Target.NotInUse":
        health = "down"
    return health, health != "down"


class AwsTargetGroup(RemovingDriver):
    """Targets of Elastic Load Balancing (ALB, NLB). A drained one is deregistered, and drained when it is not ``draining`` any more.

    Deregistering with another port than the registered one succeeds and does nothing, so it is always done with both, as they were listed.
    """

    name = "aws_target_group"
    needs: t.ClassVar[dict[str, str]] = {"backend": "the ARNs of target groups"}
    counts_sessions = True

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        regions: dict[tuple[str, str], list[str]] = {}
        for arn in map(str, params["backend"]):
            match = ARN.fullmatch(arn)
            if not match:
                raise SeamlessError(f"backend is {arn!r}: name target groups by their ARN, such as arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/…")
            regions.setdefault((match["region"], match["account"]), []).append(arn)
        return [
            cls(connect(params, region), f"AWS {region} {account}", arns, params["state_dir"], float(params.get("drain_timeout") or 30)).patient(params)
            for (region, account), arns in regions.items()
        ]

    def __init__(self, client: t.Any, balancer: str, arns: t.Sequence[str], state_dir: str, drain_timeout: float = 30) -> None:
        super().__init__(balancer, state_dir)
        self.client = client
        self.arns = {t.cast("re.Match[str]", ARN.fullmatch(arn))["name"]: arn for arn in arns}
        self.drain_timeout = drain_timeout
        self._types: dict[str, str] | None = None

    def _ask(self, name: str, **arguments: t.Any) -> t.Any:
        try:
            return getattr(self.client, name)(**arguments)
        except Exception as exc:
            # The classes of botocore are not there to be named where it is not installed.
            answer = getattr(exc, "response", None)
            code = str(answer.get("Error", {}).get("Code")) if isinstance(answer, dict) else type(exc).__name__
            if code in _CREDENTIALS:
                raise SeamlessError(f"{self.balancer} refused {name}: the credentials are missing, wrong or have too few rights ({exc}).") from exc
            if code in ("TargetGroupNotFound", "TargetGroupNotFoundException"):
                raise SeamlessError(f"backend names a target group that {self.balancer} does not have ({exc}). Check the ARNs.") from exc
            raise SeamlessError(f"{self.balancer} could not do {name}: {exc}") from exc

    def _check_types(self) -> dict[str, str]:
        """Return the type of each group's targets. It can't change."""
        if self._types is None:
            found = self._ask("describe_target_groups", TargetGroupArns=list(self.arns.values()))["TargetGroups"]
            self._types = {one["TargetGroupName"]: one.get("TargetType", "instance") for one in found}
            for name, kind in self._types.items():
                if kind == "lambda":
                    raise SeamlessError(f"{name} has a function as its target: there is no host that could be taken out of it.")
        return self._types

    def listed(self) -> dict[MemberRef, Listed]:
        """Return what the groups list. A deregistered target is there until its draining is over."""
        self._check_types()
        found = {}
        for name, arn in self.arns.items():
            for one in self._ask("describe_target_health", TargetGroupArn=arn)["TargetHealthDescriptions"]:
                health = one.get("TargetHealth") or {}
                ref = MemberRef(self.balancer, name, f"{one['Target']['Id']}:{one['Target'].get('Port')}")
                found[ref] = Listed(dict(one["Target"]), self._member(ref, one["Target"], str(health.get("State")), str(health.get("Reason") or "")))
        return found

    def pools(self) -> t.Collection[str]:
        return self.arns

    def absent(self, ref: MemberRef, target: t.Mapping[str, t.Any]) -> Member:
        return self._member(ref, target, "", "")

    @staticmethod
    def _member(ref: MemberRef, target: t.Mapping[str, t.Any], state: str, reason: str) -> Member:
        leaving = state == "draining"
        out = leaving or not state or reason == "Target.NotRegistered"
        health, full = ("nocheck", True) if out else health_of(state, reason)
        return Member(
            ref=ref, address=str(target["Id"]), port=target.get("Port"), admin="drain" if out else "ready", admin_source="runtime", health=health,
            fully_up=full, check=f"{state} ({reason})" if reason else state, weight=None, sessions=int(leaving), queued=None, total=None,
        )

    def order(self, pool: str, targets: t.Sequence[dict[str, t.Any]], comes: bool) -> None:
        # A zone is for addresses only.
        kept = ("Id", "Port", "AvailabilityZone", "QuicServerId") if self._check_types().get(pool) == "ip" else ("Id", "Port", "QuicServerId")
        named = [{key: target[key] for key in kept if target.get(key) is not None} for target in targets]
        self._ask("register_targets" if comes else "deregister_targets", TargetGroupArn=self.arns[pool], Targets=named)

    def hints(self, members: t.Sequence[Member]) -> list[str]:
        found = []
        for name, arn in self.arns.items():
            attributes = self._ask("describe_target_group_attributes", TargetGroupArn=arn)["Attributes"]
            delay = next((float(one["Value"]) for one in attributes if one["Key"] == "deregistration_delay.timeout_seconds"), 300.0)
            if delay >= self.drain_timeout:
                found.append(
                    f"{name} lists a target as draining for {delay:g} s (deregistration delay), and drain_timeout is {self.drain_timeout:g} s: make the "
                    "delay as long as the longest request, and drain_timeout some seconds longer"
                )
        return found
