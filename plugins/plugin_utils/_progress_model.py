# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What a running rollout looks like, from the events that a callback gets and from the ledger. Pure: events in, happenings and a view out.

Times are seconds since 1970. Whoever listens is told of each happening: a dict with ``event``, ``at`` and what belongs to it.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import BAD_STATES, BEGUN
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_estimate import Estimate
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_ledger import OVER
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_steps import DATABASE, WAIT, Step

Happening = t.Dict[str, t.Any]

# "backfill of NAME: 43 % …", as the migration's action says while it runs.
_BACKFILL = re.compile(r"^backfill of (\S+): (.+)$")


@dataclasses.dataclass
class Host:
    """*since* its step began, *ended* when the last task of it did; *running* while a task runs. *steps* are the seconds of each that is over."""

    name: str
    state: str = ""
    step: Step = Step("")
    since: float = 0.0
    ended: float = 0.0
    running: bool = False
    reason: str = ""
    begun: float | None = None
    status: str = "ok"
    steps: dict[str, float] = dataclasses.field(default_factory=dict)


class Line(t.NamedTuple):
    """A host in the view: what it does, for how many *seconds*, and why it waits."""

    host: str
    words: str
    seconds: float
    note: str


class Traffic(t.NamedTuple):
    """What came to the hosts that run one *release*: requests a second lately, and *errors* since the rollout began."""

    release: str
    rate: float
    errors: int


class View(t.NamedTuple):
    title: str
    phase: str
    done: int
    total: int
    elapsed: float
    left: float | None
    lines: list[Line]
    more: int
    waiting: int
    traffic: list[Traffic]
    backfills: dict[str, str]
    failed: list[str]
    halted: str


class Failure(t.NamedTuple):
    """All that a task says that failed, and its *reason* alone, which has nothing of what the task wrote."""

    host: str
    task: str
    message: str
    reason: str
    ignored: bool


def _measured(seen: t.Mapping[str, float], told: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, float]:
    """Return the seconds of each step as those who did it have measured them, and of the others as they were *seen* from here."""
    steps: dict[str, float] = {}
    for step in told:
        # What is the user's own has one name there, whatever it is.
        name = "update" if step["step"] == "hook" and "update" in seen else str(step["step"])
        steps[name] = steps.get(name, 0.0) + float(step["seconds"])
    return {**steps, **{name: seconds for name, seconds in seen.items() if name not in steps and name != "redrain"}}


class Model:
    """One run of ansible-playbook. Until a rollout is planned it knows plays, hosts and tasks only."""

    def __init__(self) -> None:
        self.listeners: list[t.Callable[[Happening], None]] = []
        self.hosts: dict[str, Host] = {}
        self.failures: list[Failure] = []
        self.forget()

    def forget(self) -> None:
        """Begin with another rollout: one ansible-playbook may run several."""
        self.facts: dict[str, t.Any] = {}
        self.hosts.clear()
        self.phase, self._told_phase, self.halted, self.state = "", "", "", ""
        self.begun: float | None = None
        self.first: float | None = None
        self.last: float | None = None
        self._ending = ""
        self.backfills: dict[str, str] = {}
        self._estimate: Estimate | None = None
        self._counts: dict[str, tuple[float, int]] = {}
        self._errors: collections.Counter[str] = collections.Counter()

    @property
    def planned(self) -> bool:
        return bool(self.facts.get("hosts"))

    @property
    def to_do(self) -> list[str]:
        """The hosts that the rollout updates, in their order."""
        return [str(host) for host in self.facts.get("order") or []]

    def tell(self, event: str, at: float, **more: t.Any) -> None:
        for listener in self.listeners:
            listener({"event": event, "at": at, **more})

    def play(self, name: str, at: float) -> None:
        self.phase = name
        for host in self.hosts.values():
            self._end_step(host)
            host.running = False

    def named(self, facts: t.Mapping[str, t.Any], at: float) -> None:
        """Know which rollout it is, before there is a plan."""
        if self.facts and self.facts.get("id") != facts.get("id"):
            self.forget()
        self.facts = dict(facts)
        self.begun = at if self.begun is None else self.begun
        self.tell("rollout_started", at)

    def plan(self, facts: t.Mapping[str, t.Any], at: float) -> None:
        self.facts = dict(facts)
        self._estimate = Estimate({host: facts["hosts"][host] for host in self.to_do}, facts.get("estimate"))
        for host, entry in facts["hosts"].items():
            self._host(host).state = str(entry.get("state") or "")
        left = (facts.get("estimate") or {}).get("seconds")
        self.tell("planned", at, hosts=len(self.to_do), batches=len(facts.get("batches") or []), canary=list(facts.get("canary") or []), estimate=left)
        if facts.get("refused"):
            self.tell("refused", at, message=str(facts["refused"]))

    def _host(self, name: str) -> Host:
        return self.hosts.setdefault(name, Host(name))

    def begin(self, name: str, step: Step, at: float) -> None:
        """A task of *step* starts on a host."""
        if self.phase != self._told_phase:
            # Not before: a play may have no host.
            self._told_phase = self.phase
            self.tell("phase", at, phase=self.phase)
        host = self._host(name)
        host.running = True
        if not step.name:
            return
        if host.step.name != step.name:
            self._end_step(host)
            host.since, host.status = at, "ok"
            host.reason = host.reason if step.name == WAIT else ""
            host.step = step
            if step.name != WAIT:
                self.tell("step_started", at, host=name, step=step.name, words=step.words)
        host.step = step

    def end(self, name: str, step: Step, status: str, at: float) -> None:
        """A task ends on a host: ``ok``, ``failed`` or ``unreachable``. What was ignored is ok, and what was skipped as well."""
        host = self._host(name)
        host.running = False
        if step.name and step.name == host.step.name:
            host.ended = at
            if status != "ok":
                host.status = status
                self._end_step(host)

    def fail(self, failure: Failure, status: str, step: Step, at: float) -> None:
        self.failures.append(failure)
        self.tell(
            "failure", at, host=failure.host, task=failure.task, message=failure.reason, status="ignored" if failure.ignored else status, step=step.name
        )

    def _end_step(self, host: Host) -> None:
        step, host.step = host.step, Step("")
        if not step.name or step.name == WAIT:
            return
        if step.name == DATABASE:
            self.backfills.clear()
        ended = max(host.since, host.ended)
        host.steps[step.name] = host.steps.get(step.name, 0.0) + ended - host.since
        self.tell("step_ended", ended, host=host.name, step=step.name, seconds=round(ended - host.since, 3), status=host.status)

    def record(self, row: t.Mapping[str, t.Any]) -> None:
        """Take one event of the ledger."""
        event, at, detail = str(row["event"]), float(row["at"]), row["detail"]
        if event == "counted":
            self._count(at, detail)
        elif row["host"] is None:
            self._order(event, at, detail)
        elif event == "steps":
            host = self._host(row["host"])
            self._end_step(host)
            host.steps = _measured(host.steps, detail.get("steps") or [])
        elif event in (*BEGUN, *OVER):
            self._move(self._host(row["host"]), event, at, detail)

    def _order(self, event: str, at: float, detail: t.Mapping[str, t.Any]) -> None:
        if event in ("pause", "resume", "promote", "stop", "abort"):
            self.tell("order", at, order=event, message=" ".join(str(detail[key]) for key in ("by", "reason") if detail.get(key)))
            return
        why = str(detail.get("halted") or "")
        if why and why != self.halted:
            self.halted = why
            self.tell("halted", at, message=why)
        self._ending = event

    def over(self, at: float) -> None:
        """Take it that nothing more happens in this rollout."""
        self.state = self._ending
        seconds = None if self.begun is None else round(at - self.begun, 3)
        self.tell("rollout_ended", at, status=self.state, seconds=seconds, done=self.done, hosts=len(self.to_do))

    def _move(self, host: Host, state: str, at: float, detail: t.Mapping[str, t.Any]) -> None:
        before, host.state = host.state, state
        if state in BEGUN and before != state:
            host.begun, host.reason, host.steps = at, "", {}
            self.first = at if self.first is None else self.first
            self.tell("host_started", at, host=host.name, status=state)
        elif state in OVER and before != state:
            self._end_step(host)
            host.reason = ""
            self.last = at
            seconds = None if host.begun is None else round(at - host.begun, 3)
            out = detail.get("seconds_out")
            self.tell("host_ended", at, host=host.name, status=state, seconds=seconds, seconds_out=out, message=str(detail.get("detail") or ""))

    def _count(self, at: float, detail: t.Mapping[str, t.Any]) -> None:
        seconds = float(detail.get("seconds") or 0)
        requests: collections.Counter[str] = collections.Counter()
        for host, count in (detail.get("hosts") or {}).items():
            release = self._release_of(host)
            requests[release] += int(count.get("requests") or 0)
            self._errors[release] += int(count.get("errors") or 0)
        if seconds > 0:
            self._counts = {release: (number / seconds, self._errors[release]) for release, number in requests.items()}
            told = [{"release": name, "rate": round(rate, 3), "errors": errors} for name, (rate, errors) in sorted(self._counts.items())]
            self.tell("traffic", at, traffic=told)

    def _release_of(self, host: str) -> str:
        entry = (self.facts.get("hosts") or {}).get(host) or {}
        known = self.hosts.get(host)
        if known and known.state == "done" or entry.get("state") == "skipped":
            return str(entry.get("target") or "updated")
        return str(entry.get("current") or "not updated")

    def hear(self, line: str) -> bool:
        """Take a line that somebody printed: why hosts wait, or how far a backfill is. Returns whether the view shows it for good."""
        filled = _BACKFILL.match(line)
        if filled:
            self.backfills[filled[1]] = filled[2]
            return True
        who, colon, why = line.partition(": ")
        names = who.split(", ")
        if colon and all(name in self.hosts for name in names):
            for name in names:
                if self.hosts[name].step.name in ("", WAIT) and self.hosts[name].state not in OVER:
                    self.hosts[name].reason = why
        return False

    def _done(self) -> list[str]:
        return [host for host in self.to_do if host in self.hosts and self.hosts[host].state in OVER]

    def left(self, now: float) -> float | None:
        return self._estimate.left(self._done(), self.first, self.last, now) if self._estimate else None

    @property
    def done(self) -> int:
        return len(self._done())

    def view(self, now: float, rows: int) -> View:
        """Return what there is to see, with no more than *rows* hosts."""
        busy = [host for host in self.hosts.values() if host.state in BEGUN or host.running and (host.step.name or host.state not in OVER)]
        place = {name: number for number, name in enumerate(self.to_do)}
        told = [host for host in busy if host.step.name != WAIT or host.reason]
        waiting, busy = len(busy) - len(told), told
        busy.sort(key=lambda host: (host.step.name == WAIT, host.state not in BEGUN, place.get(host.name, len(place))))
        shown = [self._line(host, now) for host in busy[:rows]]
        release = self.facts.get("release") or ""
        return View(
            title=f"{self.facts.get('app', '')} {release}".strip(), phase=self.phase, done=self.done, total=len(self.to_do),
            elapsed=now - (self.begun or now), left=self.left(now) if self.planned and not self.halted else None,
            lines=shown, more=len(busy) - len(shown), waiting=waiting,
            traffic=[Traffic(name, rate, errors) for name, (rate, errors) in sorted(self._counts.items())], backfills=dict(self.backfills),
            failed=[host.name for host in self.hosts.values() if host.state in BAD_STATES], halted=self.halted,
        )

    @staticmethod
    def _line(host: Host, now: float) -> Line:
        if host.step.name:
            seconds = (now if host.running else max(host.since, host.ended)) - host.since
            note = host.reason or ("" if host.running or host.step.name == DATABASE else "waits for the others")
            return Line(host.name, host.step.words, max(0.0, seconds), note)
        words = "waits" if host.reason else "begins or ends" if host.state in BEGUN else "works"
        return Line(host.name, words, max(0.0, now - (host.begun or now)), host.reason)
