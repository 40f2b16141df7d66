# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Judges what was read from hosts and balancers before anything is touched. Pure: facts in, findings out."""

from __future__ import annotations

import dataclasses
import difflib
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import ramp as _ramp
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import USABLE_STATES
from ansible_collections.seamless.rollout.plugins.plugin_utils._amounts import budget
from ansible_collections.seamless.rollout.plugins.plugin_utils._plan import HostView
from ansible_collections.seamless.rollout.plugins.plugin_utils._pools import balancer_key, is_serving, servers_of, several_servers

RESTORE = "playbook seamless.rollout.traffic_split with -e traffic_split_state=restored"
# Modes that go on although a traffic split is in force: those that lead out of trouble, and the one that touches no balancer.
SPLITTING = ("rollback", "recover", "preview")


@dataclasses.dataclass
class Findings:
    """Everything that speaks against a start, and everything the operator should know."""

    problems: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class InRotation:
    """How one host stands in its balancers."""

    calls: list[dict[str, t.Any]]
    serving: bool
    ours: bool
    everywhere: bool
    pools: dict[str, bool] = dataclasses.field(default_factory=dict)
    """Whether it serves, for each of its pools."""
    room: dict[str, int] = dataclasses.field(default_factory=dict)
    """How many members may leave each of its pools now."""


def judge_rotation(
    host: str,
    calls: t.Sequence[t.Mapping[str, t.Any]],
    infos: t.Mapping[str, t.Mapping[str, t.Any]],
    *,
    app: str,
    address: str | None,
    max_unavailable: t.Any,
    min_available: t.Any,
    findings: Findings,
    most: int | None = None,
    weight_ramp: t.Mapping[str, t.Any] | None = None,
    split_stays: bool = False,
) -> InRotation:
    """Find *host* in its pools, say which balancer calls it needs, and whether it serves now.

    A member that an operator took out stays out: it gets no calls. The floor of each pool comes with the call. A balancer counts
    members: where hosts have weights, *most* says how many of them the budget lets go at once. With *weight_ramp*, the weight of each
    member must be one that can be raised in steps. A traffic split would send its requests to the few hosts that have a share: it is refused
    unless *split_stays*.
    """
    ramp = _ramp.read(weight_ramp)
    kept: list[dict[str, t.Any]] = []
    states: list[bool] = []
    pools: dict[str, bool] = {}
    room: dict[str, int] = {}
    ours = False
    for call in calls:
        info = infos.get(balancer_key(call))
        if info is None:
            kept.append({**call, "min_available": None})
            continue
        found = servers_of(info, call, address)
        if not found:
            names = sorted({entry["name"] for pool in info.get("pools", []) for entry in pool["members"]})
            backends = ", ".join(dict.fromkeys(pool["backend"] for pool in info.get("pools", []))) or "none"
            near = difflib.get_close_matches(call["member"], names, n=1)
            findings.problems.append(
                f"{call['member']} is not a server on {call['delegate']} (backends: {backends}; servers: {', '.join(names) or 'none'})."
                + (f" Did you mean {near[0]}?" if near else "")
                + " Name it with member: in rollout_balancers, or give the server the inventory's name."
            )
            continue
        several = several_servers(found, call["member"])
        if several:
            findings.problems.append(
                f"{host} ({address}) is {len(several)} servers on {call['delegate']}: {', '.join(several)}. Name one with member: in rollout_balancers."
            )
            continue
        operator = [entry for dummy, entry in found if entry.get("operator")]
        if operator:
            states.append(False)
            findings.notes.append(
                f"{host} was taken out on {call['delegate']} by someone else ({operator[0]['admin']}): it is updated and stays out."
            )
            continue
        splits = list(dict.fromkeys(entry["split_by"] for dummy, entry in found if entry.get("split_by")))
        if splits and split_stays:
            findings.notes.append(f"the traffic split of {splits[0]} stays in force on {call['delegate']}: restore it afterwards ({RESTORE}).")
        elif splits:
            findings.problems.append(
                f"{host} is part of a traffic split of {splits[0]} on {call['delegate']}, so its weight says nothing of what it can bear: give the weights "
                f"back first ({RESTORE})."
            )
        for pool, entry in found if ramp else []:
            why = _ramp.problem(t.cast(_ramp.Ramp, ramp), entry.get("weight_before") or entry.get("weight"), pool.get("weights"), "rollout_weight_ramp")
            if why:
                findings.problems.append(f"rollout_weight_ramp is set, and {host} can't follow it in {pool['backend']} on {call['delegate']}: {why}.")
        ours = ours or any(entry.get("drained_by") == app for dummy, entry in found)
        states.extend(is_serving(entry) for dummy, entry in found)
        servers = [[pool["backend"], entry["name"]] for pool, entry in found]
        floors: dict[str, int] = {}
        for pool, entry in found:
            name = f"{balancer_key(call)}|{pool['backend']}"
            pools[name] = pools.get(name, True) and is_serving(entry)
            floor = _floor(int(pool["total"]), max_unavailable, min_available, most)
            room[name] = sum(is_serving(other) for other in pool["members"]) - floor
            # Processes of one balancer may have pools of one name.
            floors[pool["backend"]] = max(floor, floors.get(pool["backend"], 0))
        own = {"pool_min_available": floors} if len(set(floors.values())) > 1 else {}
        kept.append({**call, "min_available": max(floors.values()), **own, "servers": servers})
    return InRotation(kept, serving=all(states) if states else True, ours=ours, everywhere=all(states), pools=pools, room=room)


def _floor(total: int, max_unavailable: t.Any, min_available: t.Any, most: int | None) -> int:
    """Return how many of the *total* members of a pool must stay up: at least one, unless the user wrote 0."""
    if min_available is not None and str(min_available).rstrip("%") == "0":
        return 0
    if most is not None:
        return max(1, total - most)
    if min_available is not None:
        return total - budget("100%", min_available, total, []) if total > 1 else 1
    return max(1, total - budget(max_unavailable, None, total, []))


class Content(t.NamedTuple):
    """What pins a release's bytes: the digest of its tree, or the checksum of the archive that the hosts get by themselves."""

    digest: str | None
    checksum: str | None

    def _known(self, record: t.Mapping[str, t.Any]) -> tuple[str | None, str | None]:
        """Return (wanted, known) of whichever pins it."""
        if self.digest:
            return self.digest, record.get("digest")
        return self.checksum, (record.get("source") or {}).get("checksum")

    def is_in(self, record: t.Mapping[str, t.Any]) -> bool:
        wanted, known = self._known(record)
        return wanted is not None and wanted == known

    def differs(self, record: t.Mapping[str, t.Any]) -> str | None:
        """Return what *record* holds instead, or None if that is the same or not known."""
        wanted, known = self._known(record)
        return known if wanted and known and wanted != known else None


def record_of(survey: t.Mapping[str, t.Any], release: str | None) -> dict[str, t.Any] | None:
    for record in survey.get("releases") or []:
        if record.get("id") == release:
            return dict(record)
    return None


def locks_of_others(surveys: t.Mapping[str, t.Mapping[str, t.Any]], rollout_id: str) -> dict[str, dict[str, t.Any]]:
    """Return the lock of every host that another rollout holds, be it that it refused ours or that ours takes it over."""
    found: dict[str, dict[str, t.Any]] = {}
    for host, answer in surveys.items():
        lock = (answer.get("lock") if answer.get("failed") else (answer.get("survey") or {}).get("lock")) or {}
        if lock.get("id") not in (None, rollout_id):
            found[host] = {key: lock.get(key) for key in ("id", "owner", "reason", "release", "at", "idle", "ttl", "expired")}
    return found


def current_release(survey: t.Mapping[str, t.Any]) -> str | None:
    release = (survey.get("current") or {}).get("release")
    return None if release is None else str(release)


def outdated(surveys: t.Mapping[str, t.Mapping[str, t.Any]]) -> set[str]:
    """Return the hosts that run an older release than others do. Names of releases have no order: the older one was staged first."""
    staged: dict[str, str] = {}
    for survey in surveys.values():
        for record in survey.get("releases") or []:
            if record.get("created_at"):
                release = str(record["id"])
                staged[release] = min(str(record["created_at"]), staged.get(release, str(record["created_at"])))
    running = {host: staged[release] for host, release in ((host, current_release(survey)) for host, survey in surveys.items()) if release in staged}
    newest = max(running.values(), default="")
    return {host for host, when in running.items() if when < newest}


def check_current(host: str, survey: t.Mapping[str, t.Any], root: str, findings: Findings) -> None:
    """Refuse a ``current`` that a switch could not replace without losing something."""
    current = survey.get("current") or {}
    if current.get("kind") == "directory":
        findings.problems.append(
            f"{host}: {root}/current is a real directory, not a link; nothing was changed. Set rollout_adopt: true to turn it into a "
            f"release and put a link in its place in one step, or move it away yourself."
        )
    elif current.get("kind") == "foreign":
        findings.problems.append(
            f"{host}: {root}/current points to {current.get('path')}, outside {root}/releases. Set rollout_root to the directory that "
            "holds releases/ and current, or point the link at a release."
        )
    elif current.get("kind") == "dangling":
        findings.notes.append(f"{host}: {root}/current points to a release that is gone ({current.get('path')}); the switch repairs it.")


def check_services(host: str, survey: t.Mapping[str, t.Any], findings: Findings) -> None:
    """Refuse units that systemd doesn't know: the restart would fail while the host is out of rotation."""
    for service in survey.get("services") or []:
        if not service.get("loaded"):
            findings.problems.append(
                f"{host}: unit {service['name']} is not known to systemd. Install it first, or correct its name in rollout_services."
            )


def is_sick(survey: t.Mapping[str, t.Any]) -> bool:
    """Say whether what a host runs is not healthy, not up, or not what its link says."""
    return survey.get("healthy") is False or any(service.get("stale") or not service.get("active") for service in survey.get("services") or [])


def why_skip(survey: t.Mapping[str, t.Any], rotation: InRotation, *, target: str, content: Content) -> str | None:
    """Say why a host needs nothing: it runs the release, healthy, from running processes of it, in rotation everywhere."""
    record = record_of(survey, target)
    if current_release(survey) != target or record is None or record.get("state") not in ("current", "good"):
        return None
    if any(content) and not content.is_in(record):
        return None
    if is_sick(survey):
        return None
    if rotation.ours or not rotation.serving:
        return None
    return f"runs {target} already, healthy" + (" and in rotation" if rotation.calls else "")


def host_view(
    host: str,
    survey: t.Mapping[str, t.Any] | None,
    rotation: InRotation,
    *,
    target: str | None,
    content: Content,
    may_skip: bool,
    is_outdated: bool,
    traits: t.Mapping[str, t.Any],
) -> HostView:
    place = {key: traits[key] for key in ("zone", "weight", "late", "tier")}
    if survey is None:
        return HostView(host, serving=False, reachable=False, **place)
    inactive = any(not service.get("active") for service in survey.get("services") or [])
    skip = why_skip(survey, rotation, target=target, content=content) if may_skip and target else None
    return HostView(
        host,
        current=current_release(survey),
        skip=skip,
        serving=rotation.serving if rotation.calls else not inactive,
        drained_by_us=rotation.ours,
        outdated=is_outdated,
        pools=rotation.pools,
        **place,
    )


def check_immutable(host: str, survey: t.Mapping[str, t.Any], release: str, content: Content, findings: Findings) -> None:
    """A release id means the same bytes for ever: refuse another content under a name that the host already knows."""
    record = record_of(survey, release) or {}
    known = content.differs(record)
    if known and record.get("state") != "staged":
        kind, size = ("digest", 12) if content.digest else ("archive's checksum", 19)
        findings.problems.append(
            f"{host}: release {release} is there already with other content ({kind} {known[:size]}, the source has "
            f"{str(content.digest or content.checksum)[:size]}). A release is never changed: give the new content a new rollout_release."
        )


def settled_releases(surveys: t.Mapping[str, t.Mapping[str, t.Any]], findings: Findings) -> dict[str, str]:
    """Return for each host the release on which it can be left: the one it runs, if that is healthy, or else its last good one."""
    chosen: dict[str, str] = {}
    for host, survey in surveys.items():
        current, previous = current_release(survey), survey.get("previous")
        known = (record_of(survey, current) or {}).get("state")
        if current and (not is_sick(survey) or known == "good" or not previous):
            chosen[host] = current
        elif previous:
            chosen[host] = str(previous)
            findings.notes.append(f"{host}: {current or 'nothing'} is not healthy there; it goes back to {previous}, which was good.")
        else:
            findings.problems.append(f"{host}: nothing runs there, and no release was ever good: roll one out.")
    return chosen


def rollback_target(surveys: t.Mapping[str, t.Mapping[str, t.Any]]) -> str | None:
    """Return the release that was marked good last and does not run on every host already, as most hosts see it.

    Each host counts its own releases: a clock that was set wrong on one of them decides nothing.
    """
    running = [current_release(survey) for survey in surveys.values()]
    votes: dict[str, list[str]] = {}
    for survey in surveys.values():
        good = [
            record for record in survey.get("releases") or [] if record.get("good_at") and any(current != record["id"] for current in running)
        ]
        if good:
            last = max(good, key=lambda record: (int(record.get("good_sequence") or 0), str(record["good_at"])))
            votes.setdefault(str(last["id"]), []).append(str(last["good_at"]))
    return max(votes, key=lambda release: (len(votes[release]), max(votes[release])), default=None)


def hosts_without(surveys: t.Mapping[str, t.Mapping[str, t.Any]], release: str) -> list[str]:
    """Return the hosts that could not switch to *release* now."""
    return [host for host, survey in surveys.items() if (record_of(survey, release) or {}).get("state") not in USABLE_STATES]
