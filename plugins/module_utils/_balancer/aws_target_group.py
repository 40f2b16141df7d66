# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import importlib
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Change, Driver, Member, MemberRef, gone
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.cloud import CloudDriver, Removed, require_backend, wait_until
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

ARN = re.compile(r"arn:[^:]+:elasticloadbalancing:(?P<region>[^:]+):(?P<account>[^:]*):targetgroup/(?P<name>[^/]+)/[^/]+")
_CREDENTIALS = {
    "AccessDenied", "AccessDeniedException", "AuthFailure", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch",
    "UnauthorizedOperation", "UnrecognizedClientException", "NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError", "TokenRetrievalError",
}
# Nobody sends requests to one that is only on its way in.
_HEALTH = {"healthy": "up", "unavailable": "nocheck", "unused": "nocheck"}


def connect(params: t.Mapping[str, t.Any], region: str) -> t.Any:
    """Return a client of the service elbv2 in *region*, with the credentials of *params* or those that boto3 finds by itself."""
    try:
        boto3, config = importlib.import_module("boto3"), importlib.import_module("botocore.config")
    except ImportError as exc:
        raise SeamlessError(
            "driver is 'aws_target_group', which needs the Python package boto3 where it runs: install it for the Python of that host, "
            "or let it run where it is."
        ) from exc
    return boto3.client(
        "elbv2", region_name=region, endpoint_url=(params.get("url") or [None])[0], verify=None if params.get("validate_certs", True) else False,
        aws_access_key_id=params.get("username"), aws_secret_access_key=params.get("password"), aws_session_token=params.get("token"),
        config=config.Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "max_attempts": 6}),
    )


def health_of(state: str, reason: str) -> tuple[str, bool]:
    """Return health, and whether all is well, for a target that is registered."""
    health = _HEALTH.get(state, "down")
    if state == "unused" and reason != "Target.NotInUse":
        health = "down"
    return health, health != "down"


class AwsTargetGroup(CloudDriver):
    """Targets of Elastic Load Balancing (ALB, NLB). A drained one is deregistered, and drained when it is not ``draining`` any more.

    Deregistering with another port than the registered one succeeds and does nothing, so it is always done with both, as they were listed.
    """

    name = "aws_target_group"
    counts_sessions = True

    @classmethod
    def open(cls, params: t.Mapping[str, t.Any]) -> list[Driver]:
        regions: dict[tuple[str, str], list[str]] = {}
        for arn in require_backend(params, "ARNs of target groups"):
            match = ARN.fullmatch(arn)
            if not match:
                raise SeamlessError(f"backend is {arn!r}: name target groups by their ARN, such as arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/…")
            regions.setdefault((match["region"], match["account"]), []).append(arn)
        return [
            cls(connect(params, region), f"AWS {region} {account}", arns, params["state_dir"], float(params.get("drain_timeout") or 30))
            for (region, account), arns in regions.items()
        ]

    def __init__(self, client: t.Any, balancer: str, arns: t.Sequence[str], state_dir: str, drain_timeout: float = 30) -> None:
        super().__init__()
        self.client = client
        self.balancer = balancer
        self.arns = {t.cast("re.Match[str]", ARN.fullmatch(arn))["name"]: arn for arn in arns}
        self.removed = Removed(state_dir, balancer)
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

    def _listed(self) -> dict[MemberRef, tuple[dict[str, t.Any], str, str]]:
        """Return what the groups list: target, state and reason. A deregistered target is there until its draining is over."""
        found = {}
        for name, arn in self.arns.items():
            for one in self._ask("describe_target_health", TargetGroupArn=arn)["TargetHealthDescriptions"]:
                health = one.get("TargetHealth") or {}
                ref = MemberRef(self.balancer, name, f"{one['Target']['Id']}:{one['Target'].get('Port')}")
                found[ref] = (dict(one["Target"]), str(health.get("State")), str(health.get("Reason") or ""))
        return found

    def members(self) -> list[Member]:
        self.take_time()
        self._check_types()
        listed = self._listed()
        found = [self._member(ref, *parts) for ref, parts in listed.items()]
        return found + [self._member(ref, target, "", "") for ref, target in self.removed.all(self.arns).items() if ref not in listed]

    @staticmethod
    def _member(ref: MemberRef, target: t.Mapping[str, t.Any], state: str, reason: str) -> Member:
        leaving = state == "draining"
        out = leaving or not state
        health, full = ("unknown", False) if out else health_of(state, reason)
        return Member(
            ref=ref, address=str(target["Id"]), port=target.get("Port"), admin="drain" if out else "ready", admin_source="runtime", health=health,
            fully_up=full, check=f"{state} ({reason})" if reason else state, weight=None, sessions=int(leaving), queued=None, total=None,
        )

    def set_states(self, changes: t.Sequence[Change]) -> None:
        if not changes:
            return
        listed, removed = self._listed(), self.removed.all(self.arns)
        for comes in (False, True):
            wanted = [one.ref for one in changes if (one.state == "ready") == comes]
            for ref in wanted:
                if ref not in listed and ref not in removed:
                    raise gone(ref)
                if not comes and ref in listed:
                    self.removed.put(ref, listed[ref][0])
            for group in dict.fromkeys(ref.backend for ref in wanted):
                targets = [self._order(group, listed[ref][0] if ref in listed else removed[ref]) for ref in wanted if ref.backend == group]
                self._ask("register_targets" if comes else "deregister_targets", TargetGroupArn=self.arns[group], Targets=targets)
            self._wait_until_taken(wanted, comes)
            for ref in wanted if comes else ():
                self.removed.drop(ref)

    def _order(self, group: str, target: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return what names *target*. A zone is for addresses only."""
        kept = ("Id", "Port", "AvailabilityZone", "QuicServerId") if self._check_types().get(group) == "ip" else ("Id", "Port", "QuicServerId")
        return {key: target[key] for key in kept if target.get(key) is not None}

    def _wait_until_taken(self, refs: t.Sequence[MemberRef], comes: bool) -> None:
        def taken() -> bool:
            listed = self._listed()
            serving = {ref for ref, (dummy, state, reason) in listed.items() if state != "draining" and reason != "Target.NotRegistered"}
            return all((ref in serving) == comes for ref in refs)

        names = ", ".join(str(ref) for ref in refs)
        wait_until(taken, f"{names} was {'registered' if comes else 'deregistered'}, and that is not to be seen")

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
