# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import options, pools
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Driver, Member, MemberRef
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.member import MEMBERS
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.records import SPLITS, Records, ref_of
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.registry import open_drivers
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.split import Part, divide
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

ARGUMENT_SPEC: dict[str, t.Any] = {
    **options.SPEC,
    "state": {"type": "str", "choices": ["split", "restored"], "default": "split"},
    "parts": {
        "type": "list", "elements": "dict", "default": [],
        "options": {"name": {"type": "str", "required": True}, "share": {"type": "float"}, "members": MEMBERS},
    },
    "tolerance": {"type": "float", "default": 10},
    "reason": {"type": "str", "default": ""},
    "persist_state": {"type": "path"},
    "balancers": {"type": "list", "elements": "dict", "default": []},
}


class Place(t.NamedTuple):
    """A member, and the driver that can change it."""

    driver: Driver
    member: Member

    @property
    def ref(self) -> MemberRef:
        return self.member.ref


class Split:
    """One call: the pools of the balancers on this machine.

    What a weight was before the first split stands in a record of its own, beside that of a drain, from before it is changed until it is back.
    """

    def __init__(self, params: t.Mapping[str, t.Any]) -> None:
        self.params = params
        self.drivers = open_drivers(params)
        self.drains = Records(params["state_dir"])
        self.records = Records(os.path.join(params["state_dir"], SPLITS))
        self.places: list[Place] = []
        self.warnings: list[str] = []
        self.pools: list[dict[str, t.Any]] = []
        self.wanted: dict[MemberRef, int] = {}

    def read(self) -> None:
        self.places = [Place(driver, member) for driver in self.drivers for member in driver.members()]

    def judge(self) -> None:
        """Find the weights that each pool needs. Raises SeamlessError where one can't have them, and for what is somebody else's."""
        parts = self._parts()
        grouped: dict[tuple[str, str], list[Place]] = {}
        for place in self.places:
            grouped.setdefault((place.ref.balancer, place.ref.backend), []).append(place)
        for places in grouped.values():
            known = {parts[place.ref] for place in places if place.ref in parts}
            if len(known) > 1:
                self._judge_pool(places, parts)
        if not self.pools:
            names = ", ".join(one["name"] for one in self.params["parts"])
            raise SeamlessError(f"no pool has members of more than one of {names}: there is nothing to split.")

    def _parts(self) -> dict[MemberRef, int]:
        """Return the part of each member. What no part names belongs to the one without a share, where there is one."""
        found: dict[MemberRef, int] = {}
        names = [one["name"] for one in self.params["parts"]]
        everyone = [place.member for place in self.places]
        for number, part in enumerate(self.params["parts"]):
            for wanted in part["members"]:
                hits = pools.find(everyone, wanted)
                if not hits:
                    raise pools.unknown(wanted, everyone)
                for member in hits:
                    if found.setdefault(member.ref, number) != number:
                        raise SeamlessError(f"{member.ref} is in {names[found[member.ref]]} and in {part['name']}: a server has one share.")
        rest = next((number for number, part in enumerate(self.params["parts"]) if part["share"] is None), None)
        backends = {(ref.balancer, ref.backend) for ref in found}
        for place in self.places:
            if place.ref not in found and (place.ref.balancer, place.ref.backend) in backends:
                if rest is not None:
                    found[place.ref] = rest
                elif place.member.admin == "ready" and not place.member.backup:
                    raise SeamlessError(f"{place.ref} gets requests and is in none of {', '.join(names)}: name it in one, or leave the share of one out.")
        return found

    def _judge_pool(self, places: t.Sequence[Place], parts: t.Mapping[MemberRef, int]) -> None:
        where = f"{places[0].ref.backend} on {places[0].ref.balancer}"
        limits = places[0].driver.weight_range(places[0].ref.backend)
        if limits is None:
            raise SeamlessError(f"{where} has no weights that can be set, so its requests can't be split.")
        members = [place.member for place in places if self._takes_part(place)]
        shares = self._shares({parts[member.ref] for member in members}, {parts[place.ref] for place in places if place.ref in parts}, where)
        for number in shares:
            mine = [member for member in members if parts[member.ref] == number]
            down = [member for member in mine if not member.serving]
            if down and len(down) == len(mine):
                raise SeamlessError(f"{self._name(number)} has no member in {where} that is up: {', '.join(str(one.ref) for one in down)}. Repair it first.")
            self.warnings += [f"{one.ref} is {one.health}: until it is up, {self._name(number)} gets less than its share" for one in down]
        numbers = list(shares)
        division = divide(
            [Part(shares[number], {one.ref.key: self._before(one) for one in members if parts[one.ref] == number}) for number in numbers], *limits,
        )
        if division.off > self.params["tolerance"] / 100:
            nearest = ", ".join(f"{self._name(number)} {100 * share:.3g} %" for number, share in zip(numbers, division.shares))
            wanted = ", ".join(f"{self._name(number)} {100 * shares[number]:.3g} %" for number in numbers)
            raise SeamlessError(
                f"{where} can't give {wanted}: weights are whole numbers from {limits[0]} to {limits[1]}, and the nearest is {nearest}. Ask for that, or "
                "change how many members the parts have."
            )
        self.wanted.update({member.ref: division.weights[member.ref.key] for member in members})
        self.pools.append(
            {
                "balancer": places[0].ref.balancer,
                "backend": places[0].ref.backend,
                "parts": [
                    {"name": self._name(number), "wanted": round(100 * shares[number], 4), "share": round(100 * share, 4)}
                    for number, share in zip(numbers, division.shares)
                ],
                "members": [
                    {"name": one.ref.name, "part": self._name(parts[one.ref]), "weight_before": self._before(one), "weight": self.wanted[one.ref]}
                    for one in members
                ],
            }
        )

    def _name(self, number: int) -> str:
        return str(self.params["parts"][number]["name"])

    def _before(self, member: Member) -> int:
        """Return the weight that *member* had before the first split."""
        return int((self.records.get(member.ref) or {}).get("prior_weight") or member.weight or 0)

    def _takes_part(self, place: Place) -> bool:
        """Say whether a member gets requests. Who took it out, or gave it no weight, knows why; but who is about to put it back must be done first."""
        split, drain = self.records.get(place.ref), self.drains.get(place.ref)
        if split and split["owner"] != self.params["owner"]:
            raise SeamlessError(f"{place.ref} is part of a traffic split of {split['owner']} ({split['at']}): it has to be restored first, by the same owner.")
        if drain and (drain.get("ramp") or drain["owner"] == self.params["owner"]):
            what = "has its weight raised in steps" if drain.get("ramp") else "was taken out"
            raise SeamlessError(
                f"{place.ref} {what} by {drain['owner']} ({drain['at']}): a rollout is under way or was interrupted. Wait for its end, or settle it with "
                "recover, before requests are split."
            )
        if place.member.admin != "ready" or place.member.backup or not place.member.weight:
            why = "a backup" if place.member.backup else f"in {place.member.admin}" if place.member.admin != "ready" else "without weight"
            self.warnings.append(f"{place.ref} is {why}: it is left as it is, and has no share")
            return False
        return True

    def _shares(self, present: t.Collection[int], known: t.Collection[int], where: str) -> dict[int, float]:
        """Return the share of each part that the pool has, of 1. Parts that it does not know leave theirs to the others in proportion."""
        missing = [number for number in known if number not in present]
        if missing:
            raise SeamlessError(f"{self._name(missing[0])} has no member in rotation in {where}: enable one first.")
        given = {number: self.params["parts"][number]["share"] for number in sorted(known)}
        named = sum(share for share in given.values() if share is not None)
        shares = {number: (100 - named if share is None else share) / 100 for number, share in given.items()}
        total = sum(shares.values())
        return {number: share / total for number, share in shares.items()}

    def changes(self) -> bool:
        """Say whether there is anything to do."""
        now = {place.ref: place.member.weight for place in self.places}
        return any(now[ref] != weight or not self.records.get(ref) for ref, weight in self.wanted.items()) or bool(self.leaving())

    def apply(self) -> None:
        """Write down what the weights are, then set those that :meth:`judge` found, and give those back that have no share any more."""
        _files.make_directory(self.records.directory)
        for place in self.places:
            if place.ref in self.wanted:
                self.records.put(
                    place.ref,
                    {
                        "owner": self.params["owner"], "reason": self.params["reason"], "state": "split", "prior_weight": self._before(place.member),
                        "weight": self.wanted[place.ref],
                    },
                )
        self._weigh(self.wanted)
        self._restore(self.leaving())

    def leaving(self) -> list[dict[str, t.Any]]:
        """Return the records of this owner, of members on these balancers that have no share now."""
        wanted = {ref.key for ref in self.wanted}
        balancers = {place.ref.balancer for place in self.places}
        backends = self.params["backend"]
        return [
            record for record in self.records.all()
            if record["owner"] == self.params["owner"] and record["balancer"] in balancers and (not backends or record["backend"] in backends)
            and ref_of(record).key not in wanted
        ]

    def _restore(self, records: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        """Give the weights back that *records* tell of, and remove these."""
        places = {place.ref: place for place in self.places}
        back: dict[MemberRef, int] = {}
        done: list[MemberRef] = []
        for record in records:
            ref, weight = ref_of(record), int(record["prior_weight"])
            if ref not in places:
                self.warnings.append(f"{ref} is not there any more: its weight was {weight}")
                self.records.remove(ref)
                continue
            drain = self.drains.get(ref)
            if drain and drain.get("ramp"):
                raise SeamlessError(f"the weight of {ref} is on its way up: wait for its end, or settle a rollout that was interrupted, and try again.")
            if places[ref].member.admin == "ready" or places[ref].driver.keeps_weight:
                if places[ref].member.weight not in (weight, record.get("weight")):
                    self.warnings.append(f"{ref} had the weight {places[ref].member.weight}, which the split did not set: it has {weight} again")
                back[ref] = weight
            elif not drain:
                self.warnings.append(f"{ref} was taken out by somebody who left no record: it gets its weight of {weight} by the next restore after it is back")
                continue
            if drain and drain.get("prior_weight"):
                self.drains.put(ref, {**drain, "prior_weight": weight})
            done.append(ref)
        self._weigh(back)
        for ref in done:
            self.records.remove(ref)

    def _weigh(self, weights: t.Mapping[MemberRef, int]) -> None:
        """Set what is not so already, by one order for each balancer, and read it back."""
        for driver in self.drivers:
            wrong = {
                place.ref: weights[place.ref] for place in self.places
                if place.driver is driver and place.ref in weights and place.member.weight != weights[place.ref]
            }
            if not wrong:
                continue
            driver.set_weights(wrong)
            if self.params["persist_state"]:
                driver.persist(self.params["persist_state"])
            seen = {member.ref: member.weight for member in driver.members()}
            for ref, weight in wrong.items():
                if seen.get(ref) != weight:
                    raise SeamlessError(f"{ref} has the weight {seen.get(ref)} right after it was set to {weight}: something else sets it, too.")


def describe(pool: t.Mapping[str, t.Any]) -> str:
    """Return who gets what in *pool* as a sentence."""
    words = []
    for part in pool["parts"]:
        members = ", ".join(f"{one['name']}: {one['weight']}" for one in pool["members"] if one["part"] == part["name"])
        words.append(f"{part['name']} gets {part['share']:.4g} % ({members})")
    return f"{pool['backend']}: {', '.join(words)}"


def _check(params: t.Mapping[str, t.Any]) -> None:
    if params["balancers"]:
        raise SeamlessError("balancers works in a task only: run the module on each balancer's machine.")
    if not params["owner"]:
        raise SeamlessError("owner is empty: name whose split it is, for example the application.")
    if params["state"] == "restored":
        return
    parts = params["parts"]
    if len(parts) < 2:
        raise SeamlessError(f"parts has {len(parts)} of the two or more parts among which requests are split: give each a name, a share and members.")
    open_ones = [part["name"] for part in parts if part["share"] is None]
    total = sum(part["share"] for part in parts if part["share"] is not None)
    for part in parts:
        if part["share"] is not None and not 0 < part["share"] < 100:
            raise SeamlessError(f"share of {part['name']} is {part['share']:g}: use percent, more than 0 and less than 100. To send nothing there, drain it.")
    if len(open_ones) > 1:
        raise SeamlessError(f"{' and '.join(open_ones)} have no share: at most one part can have what is left.")
    if (open_ones and total >= 100) or (not open_ones and abs(total - 100) > 1e-6):
        left = f", and nothing is left for {open_ones[0]}" if open_ones else ": make it 100, or leave one of them out, which gets what is left"
        raise SeamlessError(f"the shares are {total:g} percent together{left}.")


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Give each part of the pools its share of requests by weights, or the weights back that were before. A restore is a split that nobody has a part in."""
    _check(params)
    split = Split(params)
    with contextlib.nullcontext() if check_mode else split.drains.exclusive():
        split.read()
        if params["state"] == "split":
            split.judge()
        after = {**{ref_of(record): int(record["prior_weight"]) for record in split.leaving()}, **split.wanted}
        before = {place.ref: place.member.weight for place in split.places if place.ref in after}
        changed = split.changes()
        if changed and not check_mode:
            split.apply()
    return {
        "changed": changed,
        "state": params["state"],
        "pools": split.pools,
        "members": [
            {"balancer": ref.balancer, "backend": ref.backend, "name": ref.name, "weight_before": before.get(ref), "weight": weight}
            for ref, weight in after.items()
        ],
        "summary": [describe(pool) for pool in split.pools],
        "warnings": split.warnings,
        "diff": {"before": {str(ref): before.get(ref) for ref in after}, "after": {str(ref): weight for ref, weight in after.items()}},
    }
