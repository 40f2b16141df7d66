# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""From what Ansible tells a callback to the model of a rollout, on ansible-core 2.16 and later."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_ledger import Follower
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_model import Failure, Model
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_steps import Step, step_of
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_text import reason_of, whole_message

_PREFIX = "seamless.rollout."
# What a rollout is made of, and no other playbook of ours.
_ROLLS = tuple(f"{_PREFIX}rollout_{name}" for name in ("plan", "gate", "record", "lock"))
_RECORDS = (f"{_PREFIX}rollout_gate", f"{_PREFIX}rollout_record")


def of(result: t.Any, name: str) -> t.Any:
    """Return ``host``, ``task`` or ``result`` of a task's result; before ansible-core 2.19 they had an underscore only."""
    return getattr(result, name) if hasattr(result, name) else getattr(result, f"_{name}")


def _tasks(blocks: t.Iterable[t.Any]) -> t.Iterator[t.Any]:
    for item in blocks:
        if hasattr(item, "rescue"):
            yield from _tasks([*item.block, *item.rescue, *item.always])
        else:
            yield item


def rolls(play: t.Any) -> bool:
    """Say whether *play* is a part of a rollout."""
    return any(str(task.action) in _ROLLS for task in _tasks(play.tasks))


def _places(task: t.Any) -> t.Iterator[str | None]:
    while task is not None:
        yield task.get_path()
        task = getattr(task, "_parent", None)


def step_of_task(task: t.Any) -> Step:
    return step_of(_places(task), str(task.name or task.action))


class Feed:
    """Feeds *model*. *every* is how many seconds have to go by before the ledger is looked at again."""

    def __init__(self, model: Model, *, every: float = 0.5, clock: t.Callable[[], float] = time.time) -> None:
        self.model, self.every, self.clock = model, every, clock
        self.follower: Follower | None = None
        self.dry = False
        self._looked = 0.0
        self._steps: dict[str, tuple[str, Step]] = {}
        self._items: set[tuple[str, str]] = set()

    def play(self, play: t.Any) -> None:
        self._steps.clear()
        self._items.clear()
        self.model.play(play.get_name().strip(), self.clock())

    def start(self, host: t.Any, task: t.Any) -> None:
        name, step = str(host.name), step_of_task(task)
        self._steps[name] = (task._uuid, step)
        self.model.begin(name, step, self.clock())

    def _step(self, name: str, task: t.Any) -> Step:
        uuid, step = self._steps.get(name, ("", Step("")))
        return step if uuid == task._uuid else step_of_task(task)

    def ok(self, result: t.Any) -> None:
        """Take a result that is ok, changed or skipped."""
        host, task = str(of(result, "host").name), of(result, "task")
        action = str(task.action)
        # Before the task's end, so that the step of a host that leaves is closed by that.
        self.model.end(host, self._step(host, task), "ok", self.clock())
        if action == _ROLLS[0]:
            self._planned(of(result, "result"))
        elif action in _RECORDS:
            self._recorded(task)

    def _recorded(self, task: t.Any) -> bool:
        """Read what a task of ours has recorded; return whether that was the end of the rollout."""
        finished = str(task.action) == _RECORDS[1] and task.args.get("step") == "finish"
        self.look(force=True)
        if finished:
            self.model.over(self.clock())
        return finished

    def _planned(self, result: t.Mapping[str, t.Any]) -> None:
        facts = (result.get("ansible_facts") or {}).get("seamless_rollout")
        if not facts:
            return
        now = self.clock()
        if self.follower is None or self.follower.id != facts["id"]:
            self.dry = bool(facts.get("dry"))
            self.follower = Follower(facts["state_dir"], facts["id"])
            self.follower.skip()
            self.model.named(facts, now)
        if facts.get("hosts"):
            self.model.plan(facts, now)

    def bad(self, result: t.Any, status: str, *, ignored: bool) -> Failure | None:
        """Take a result that is ``failed`` or ``unreachable``; return what to say, which is nothing where each item has said it."""
        host, task, values = str(of(result, "host").name), of(result, "task"), of(result, "result")
        step = self._step(host, task)
        failure = None
        # The end of a rollout that did not succeed is told by the report before it, and is no failure of the host that the task ran for.
        told = str(task.action) in _RECORDS and self._recorded(task) and bool(self.model.state)
        if not told and (host, task._uuid) not in self._items:
            failure = Failure(host, str(task.name or result.task_name), whole_message(values), reason_of(values), ignored)
            self.model.fail(failure, status, step, self.clock())
        self.model.end(host, step, "ok" if ignored or told else status, self.clock())
        return failure

    def bad_item(self, result: t.Any, label: str) -> Failure:
        host, task = str(of(result, "host").name), of(result, "task")
        self._items.add((host, task._uuid))
        name = f"{task.name or result.task_name} ({label})"
        values = of(result, "result")
        failure = Failure(host, name, whole_message(values), reason_of(values), bool(task.ignore_errors is True))
        self.model.fail(failure, "failed", self._step(host, task), self.clock())
        return failure

    def look(self, *, force: bool = False) -> None:
        """Read what is new in the ledger, unless that was done a moment ago."""
        now = self.clock()
        if self.follower is None or self.dry or not force and now - self._looked < self.every:
            return
        self._looked = now
        for row in self.follower.news():
            self.model.record(row)
