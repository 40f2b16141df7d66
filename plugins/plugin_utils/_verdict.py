# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.
"""What ``rollout_canary_analysis`` may hold, and the verdict on a canary by what was counted while it was watched. Pure."""

from __future__ import annotations

import dataclasses
import difflib
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count, SequentialTest, since

VERDICTS = ("pass", "fail", "inconclusive", "error")
# Readings in a row that fail before the source counts as one that can't be read.
PATIENCE = 3
# A canary some of whose requests failed passes after so many compared readings, with no more evidence against it: the cap on what counts of one reading lets
# evidence grow slowly, and in simulations those that fail every request were above it by then.
_COMPARED, _NEUTRAL = 3, 2.0


@dataclasses.dataclass(frozen=True)
class Analysis:
    """How a canary is judged. Times are seconds; *alpha* is the chance to blame a release that is as good as the one before."""

    bake_min: float = 60.0
    bake_max: float = 600.0
    min_requests: int = 500
    interval: float = 60.0
    alpha: float = 0.05
    tolerance: float = 1.0
    on_fail: str = "pause"
    on_inconclusive: str = "pause"
    on_error: str = "pause"
    source: t.Mapping[str, t.Any] = dataclasses.field(default_factory=lambda: {"type": "balancer"})
    gates: t.Sequence[t.Mapping[str, t.Any]] = ()


CHOICES = {"on_fail": ("pause", "rollback"), "on_inconclusive": ("pause", "continue", "rollback"), "on_error": ("pause", "continue")}
_BOUNDS = {
    "bake_min": (0.0, 86400.0, "seconds, such as 60"),
    "bake_max": (1.0, 604800.0, "seconds, such as 600"),
    "min_requests": (1.0, 1e12, "a number of requests, such as 500"),
    "interval": (1.0, 3600.0, "seconds from 1 to 3600, such as 60"),
    "alpha": (0.0001, 0.5, "a chance from 0.0001 to 0.5, such as 0.05"),
    "tolerance": (1.0, 100.0, "a factor of at least 1, such as 1.5 for half as many failures more"),
}


def read_analysis(value: t.Any) -> tuple[Analysis | None, list[str]]:
    """Return what ``rollout_canary_analysis`` says, None for nothing, and a sentence for everything in it that can't be read."""
    name = "rollout_canary_analysis"
    if value in (None, {}, "", False):
        return None, []
    if not isinstance(value, dict):
        return None, [f"{name} is {value!r}: use a dictionary, for example {{min_requests: 500, bake_max: 600, on_fail: rollback}}."]
    fields = [field.name for field in dataclasses.fields(Analysis)]
    problems = []
    read: dict[str, t.Any] = {}
    for key, given in value.items():
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            problems.append(f"{name} has {key!r}, which means nothing here." + (f" Did you mean {near[0]}?" if near else f" Known are {', '.join(fields)}."))
        elif key in CHOICES:
            read[key] = str(given)
            if read[key] not in CHOICES[key]:
                problems.append(f"{name}.{key} is {given!r}: use one of {', '.join(CHOICES[key])}.")
        elif key in ("source", "gates"):
            read[key] = given
        else:
            least, most, want = _BOUNDS[key]
            number = read_number(given)
            if number is None or not least <= number <= most:
                problems.append(f"{name}.{key} is {given!r}: use {want}.")
            else:
                read[key] = int(number) if key == "min_requests" else number
    if problems:
        return None, problems
    analysis = Analysis(**read)
    if analysis.bake_max < analysis.bake_min:
        problems.append(f"{name}.bake_max is {analysis.bake_max:g}, below bake_min, {analysis.bake_min:g}: use at least as many seconds.")
    if analysis.bake_max < analysis.interval:
        problems.append(f"{name}.bake_max is {analysis.bake_max:g}, below interval, {analysis.interval:g}: nothing would be counted. Use a shorter interval.")
    return analysis, problems


def read_number(value: t.Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(str(value))
    except ValueError:
        return None


class Look(t.NamedTuple):
    """One reading of the source: when (seconds since 1970), the totals of each counter, or why it could not be read; the gates that were not kept;
    and of each machine how far its access log was read.

    A counter is named ``HOST|…``: a host has one for each pool of each balancer that sends it requests.
    """

    at: float
    counts: dict[str, Count]
    problem: str = ""
    broken: tuple[str, ...] = ()
    places: t.Mapping[str, t.Any] = {}

    @classmethod
    def of(cls, detail: t.Mapping[str, t.Any]) -> Look:
        """Return a look as the ledger holds it."""
        return cls(float(detail["at"]), {name: Count(*numbers) for name, numbers in detail["counts"].items()}, str(detail.get("problem") or ""),
                   tuple(detail.get("broken") or ()), dict(detail.get("places") or {}))

    def detail(self) -> dict[str, t.Any]:
        return {"at": self.at, "counts": {name: list(count) for name, count in self.counts.items()}, "problem": self.problem, "broken": list(self.broken),
                "places": dict(self.places)}


class Verdict(t.NamedTuple):
    """*verdict* is one of VERDICTS, or "" while nothing can be said yet; *why* is for people; *numbers* are what it was decided on."""

    verdict: str
    why: str
    numbers: dict[str, t.Any]


def by_host(counters: t.Mapping[str, Count]) -> dict[str, Count]:
    hosts: dict[str, Count] = {}
    for name, count in counters.items():
        host = name.partition("|")[0]
        hosts[host] = hosts.get(host, Count()).plus(count)
    return hosts


def judge(analysis: Analysis, canary: t.Collection[str], past: t.Mapping[str, Count], looks: t.Sequence[Look], slow: bool = False) -> Verdict:
    """Judge the hosts of *canary* by *looks*, oldest first. *past* are the counters before the rollout; with *slow*, slow requests are judged as well."""
    metrics = ["errors", *(["slow"] if slow else [])]
    before = by_host(past)
    tests = {metric: SequentialTest(canary, metric, past=before, tolerance=analysis.tolerance) for metric in metrics}
    good = [look for look in looks if not look.problem]
    for earlier, later in zip(good, good[1:]):
        minute = by_host(since(earlier.counts, later.counts))
        for test in tests.values():
            test.add(minute)
    enough = len(tests) / analysis.alpha
    worst = max(tests.values(), key=lambda test: test.evidence)
    seconds = looks[-1].at - good[0].at if good else 0.0
    numbers = {
        "seconds": round(seconds, 1), "looks": len(good), "evidence": round(worst.evidence, 3), "needed": round(enough, 1), "metric": worst.metric,
        **{side: worst.seen[side]._asdict() for side in ("canary", "control")}, "events": dict(worst.events),
    }
    told = _told(worst, enough)
    broken = next((look.broken for look in looks if look.broken), ())
    if broken:
        return Verdict("fail", f"{'; '.join(broken)} ({told})", {**numbers, "broken": list(broken)})
    if worst.evidence >= enough:
        return Verdict("fail", f"the canary fails more often than the others do: {told}", numbers)
    trailing = next((number for number, look in enumerate(reversed(looks)) if not look.problem), len(looks))
    if trailing >= PATIENCE:
        return Verdict("error", f"what the canary does can't be counted: {looks[-1].problem}", numbers)
    asked = worst.seen["canary"].requests
    over = seconds >= analysis.bake_max
    calm = not any(getattr(test.seen["canary"], metric) for metric, test in tests.items())
    cleared = calm or (worst.evidence <= _NEUTRAL and (over or worst.compared >= _COMPARED))
    if seconds >= analysis.bake_min and asked >= analysis.min_requests and worst.compared and cleared:
        return Verdict("pass", f"nothing says that the canary fails more often than the others do: {told}", numbers)
    if over and worst.evidence > _NEUTRAL:
        return Verdict("inconclusive", f"the canary may fail more often than the others do, and {seconds:.0f} s were too short to tell: {told}", numbers)
    if over:
        lacking = f"{asked} of {analysis.min_requests} requests in {seconds:.0f} s" if worst.compared else "no other host had requests to compare with"
        return Verdict("inconclusive", f"too little was seen of the canary: {lacking}; {told}", numbers)
    return Verdict("", f"{asked} of {analysis.min_requests} requests; {told}", numbers)


def _told(test: SequentialTest, enough: float) -> str:
    what = {"errors": "failed", "slow": "were slow"}[test.metric]
    sides = [f"{getattr(test.seen[side], test.metric)} of {test.seen[side].requests} {what} on {name}" for side, name in
             (("canary", "the canary"), ("control", "the others"))]
    return f"{', '.join(sides)}; evidence {test.evidence:.2g} of {enough:g}"
