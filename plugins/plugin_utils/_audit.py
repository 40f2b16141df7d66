# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Is a site ready for rolling releases, and what is the smallest thing missing? The words of an audit. Pure: evidence in, verdicts out."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._pools import Pools, balancer_key, servers_of

READY, FIX, OPEN = "ready", "fix", "not checked"
GUIDE = "https://github.com/seamless-rollout/seamless.rollout/blob/main/docs/docsite/rst/designing.rst"

# What a fix takes, the smallest first.
VARIABLE, LINE, APPLICATION, MACHINE = "a variable", "a line of configuration", "a change of the application", "another machine"
EFFORTS = (VARIABLE, LINE, APPLICATION, MACHINE)

# In this order they are shown, and of two fixes that take the same the first one comes first. Each has a chapter in the guide by its name.
CHECKS = (
    "members", "health-checks", "health-endpoint", "served-version", "current", "release-tree", "local-state", "graceful-stop", "sticky-sessions",
    "php-caches", "expanded-schema", "disk", "clock",
)
Answer = t.Mapping[str, t.Any]


@dataclasses.dataclass
class Site:
    """All that is known of a site.

    *answers* of :mod:`audit_info` by host, *broken* the hosts that gave none, each with why. *calls* are each host's balancers as a rollout would
    call them, *balancers* the answers of ``lb_info`` with their ``item``. *tried* is what was tried on *consent*, the host that may be restarted,
    *untried* why that was not done. *schema* is what is known of the migrations of the next release, *schema_why* why that is nothing.
    """

    app: str
    root: str
    answers: dict[str, Answer]
    broken: dict[str, str] = dataclasses.field(default_factory=dict)
    addresses: dict[str, str | None] = dataclasses.field(default_factory=dict)
    calls: dict[str, list[dict[str, t.Any]]] = dataclasses.field(default_factory=dict)
    balancers: list[Answer] = dataclasses.field(default_factory=list)
    health: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    drain_timeout: float = 30
    on_drain_timeout: str = "fail"
    keep_releases: int = 5
    min_free: str = "5%"
    schema: Answer | None = None
    schema_why: str = ""
    consent: str = ""
    tried: Answer | None = None
    untried: str = ""
    skip: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def hosts(self) -> list[str]:
        return [*self.answers, *self.broken]

    def pools(self) -> t.Iterator[tuple[str, dict[str, t.Any], dict[str, t.Any]]]:
        """Yield every pool that a host of the application is in: where it is, as which entry of the balancers, and the pool."""
        for info in self.balancers:
            entry = dict(info.get("item") or {})
            known = Pools(info)
            ours = {id(pool) for host in self.hosts for pool, dummy in self.members_of(known, host, entry)}
            for pool in info.get("pools") or []:
                if id(pool) in ours:
                    yield f"{entry.get('delegate')}/{pool['backend']}", entry, pool

    def members_of(self, info: Answer, host: str, entry: Answer) -> list[tuple[dict[str, t.Any], dict[str, t.Any]]]:
        """Return the pools of *info* that hold *host*, and its place there, found as a rollout finds it."""
        call = next((call for call in self.calls.get(host, []) if balancer_key(call) == balancer_key(entry)), None)
        if call is None:
            return []
        return servers_of(info, call, self.addresses.get(host))


class Looking:
    """Collects what one check sees. The same seen at several places is said once."""

    def __init__(self, check: str) -> None:
        self.check = check
        self._seen: dict[str, dict[str, list[str]]] = {READY: {}, FIX: {}, OPEN: {}}
        self._settings: dict[str, str] = {}

    def good(self, where: str, seen: str) -> None:
        self._note(READY, where, seen)

    def bad(self, where: str, seen: str, setting: str, effort: str) -> None:
        """Note what has to be fixed, with the exact *setting* and what that takes."""
        self._note(FIX, where, seen)
        self._settings.setdefault(setting, effort)

    def unknown(self, where: str, why: str) -> None:
        self._note(OPEN, where, why)

    def _note(self, kind: str, where: str, seen: str) -> None:
        places = self._seen[kind].setdefault(seen, [])
        if where and where not in places:
            places.append(where)

    def unanswered(self, site: Site) -> None:
        """Note the hosts that gave no answer."""
        for host, why in site.broken.items():
            self.unknown(host, f"gives no answer: {why}")

    def verdict(self) -> dict[str, t.Any]:
        """Return the verdict as data: one thing to fix makes it that, and one that nobody could look at keeps it from being ready."""
        if not any(self._seen.values()):
            self.unknown("", "there was nothing to look at")
        verdict = next((kind for kind in (FIX, OPEN) if self._seen[kind]), READY)
        return {
            "check": self.check,
            "verdict": verdict,
            "evidence": self._lines(READY) if verdict == READY else self._lines(FIX),
            "settings": list(self._settings),
            "effort": min(self._settings.values(), key=EFFORTS.index) if self._settings else None,
            "not_checked": self._lines(OPEN),
            "also": self._lines(READY) if verdict != READY else [],
            "guide": f"{GUIDE}#{self.check}",
        }

    def _lines(self, kind: str) -> list[dict[str, t.Any]]:
        return [{"where": places, "seen": seen} for seen, places in self._seen[kind].items()]


def skipped(check: str, reason: str) -> dict[str, t.Any]:
    """Return the verdict on a check that the user leaves out."""
    looking = Looking(check)
    looking.unknown("", f"left out by rollout_audit_skip: {reason}")
    return looking.verdict()


def report(site: Site, verdicts: t.Sequence[dict[str, t.Any]], at: str) -> dict[str, t.Any]:
    """Return the audit as data."""
    fixes = [one for one in verdicts if one["verdict"] == FIX]
    smallest = sorted(fixes, key=lambda one: (EFFORTS.index(one["effort"]), CHECKS.index(one["check"])))
    return {
        "app": site.app,
        "at": at,
        "ready": not fixes,
        "counts": {kind.replace(" ", "_"): sum(one["verdict"] == kind for one in verdicts) for kind in (READY, FIX, OPEN)},
        "smallest_first": [{"check": one["check"], "takes": one["effort"], "setting": one["settings"][0]} for one in smallest],
        "hosts": site.hosts,
        "unreachable": site.broken,
        "consent": site.consent or None,
        "checks": list(verdicts),
    }


def summary(data: Answer) -> str:
    """Return the answer in one line."""
    left = data["counts"]["not_checked"]
    more = f"; {left} not checked" if left else ""
    if data["ready"]:
        return f"{data['app']} is ready for rolling releases by {data['counts']['ready']} checks{more}."
    fixes = [f"{item['check']} ({item['takes']})" for item in data["smallest_first"]]
    return f"{data['app']} is not ready for rolling releases. To fix, the smallest first: {', '.join(fixes)}{more}."


def text(data: Answer) -> str:
    """Return the audit for people."""
    lines = [f"Audit of {data['app']}: {', '.join(data['hosts'])}"]
    for one in data["checks"]:
        lines += ["", f"{one['verdict']:<12} {one['check']}"]
        lines += [f"  {_line(item)}" for item in one["evidence"]]
        lines += [f"  not checked: {_line(item)}" for item in one["not_checked"]]
        lines += [f"  -> {line}" for setting in one["settings"] for line in setting.splitlines()]
        lines += [f"  {one['guide']}"] if one["verdict"] != READY else []
    return "\n".join([*lines, "", summary(data)])


def _line(item: Answer) -> str:
    return (f"{', '.join(item['where'])}: " if item["where"] else "") + str(item["seen"])
