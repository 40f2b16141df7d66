# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must not be kept or shown: passwords in URLs of a plan, and what a task with ``no_log`` said when it failed."""

from __future__ import annotations

import json
import os
import types
import typing as t

import pytest
import yaml
from ansible_collections.seamless.rollout.plugins.action import rollout_record
from ansible_collections.seamless.rollout.plugins.plugin_utils import _withheld
from jinja2.nativetypes import NativeEnvironment

ROLES = os.path.join(os.path.dirname(__file__), *[os.pardir] * 4, "roles")
RESCUES = (
    "rollout/tasks/once.yml", "cutover/tasks/move.yml", "maintenance/tasks/during.yml", "traffic_split/tasks/split.yml",
    "blue_green/tasks/switch_balancers.yml",
)


def test_the_public_plan_has_no_password_of_a_url_in_it() -> None:
    analysis = {
        "source": {"type": "prometheus", "url": "http://ada:s3cret@prometheus:9090/p?token=s3cret", "headers": {"X-Key": "s3cret"}, "requests": "sum(x)"},
        "gates": [{"name": "lag", "type": "json", "url": "https://ada:s3cret@[::1]/lag", "max": 5}, {"type": "json", "url": "http://s3cret@[::1/x"}],
    }
    public: t.Any = _withheld.public(analysis)
    assert "s3cret" not in json.dumps(public) and "ada" not in json.dumps(public)
    assert public["source"] == {"type": "prometheus", "url": "http://prometheus:9090/p", "requests": "sum(x)"}
    assert public["gates"][0] == {"name": "lag", "type": "json", "url": "https://[::1]/lag", "max": 5}


def failing(tasks: t.Any) -> t.Iterator[dict[str, t.Any]]:
    """Yield every task of a rescue that passes on what the failed one said."""
    for task in tasks or []:
        for part in ("block", "rescue", "always"):
            yield from failing(task.get(part))
        if "block" not in task and "ansible_failed_result" in json.dumps(task):
            yield task


@pytest.mark.parametrize("path", RESCUES)
@pytest.mark.parametrize(
    ("known", "hidden"),
    [
        ({"ansible_failed_task": {"name": "A", "no_log": True}}, True),
        ({"ansible_failed_task": {"name": "A", "no_log": "{{ item.secret }}"}}, True),
        ({"ansible_failed_task": {"name": "A"}}, True),
        ({"ansible_failed_task": {"name": "A", "no_log": False}}, False),
        ({"ansible_failed_task": {"name": "A", "no_log": False}, "ansible_failed_result": {"msg": "said", "_ansible_no_log": True}}, True),
        ({}, False),
    ],
)
def test_a_rescue_passes_nothing_on_that_no_log_hides(path: str, known: dict[str, t.Any], hidden: bool) -> None:
    with open(os.path.join(ROLES, path), encoding="utf-8") as file:
        (task,) = failing(yaml.safe_load(file))
    environment = NativeEnvironment()
    environment.filters["bool"] = bool
    choice = {"blue_green_choice": {"idle": "green", "live": "blue"}}
    variables = {"ansible_failed_result": {"msg": "said"}, **choice, **known}
    variables.update({name: environment.from_string(text).render(variables) for name, text in task["vars"].items()})
    arguments = task.get("ansible.builtin.set_fact") or task["ansible.builtin.fail"]
    arguments = arguments.get("__rollout_once_problem", arguments)
    (text,) = arguments.values()
    told = environment.from_string(text).render(variables)
    assert ("what it said is hidden (no_log)" in told, "said" in told.replace("what it said is hidden", "")) == (hidden, not hidden)


class Recorded:
    """A conductor that keeps what it is told of a failure."""

    facts: dict[str, t.Any] = {}
    told: t.ClassVar[list[tuple[t.Any, ...]]] = []

    def __init__(self, dummy: t.Any) -> None:
        pass

    def failed(self, *failure: t.Any, undo: bool) -> None:
        self.told.append(failure)


@pytest.mark.parametrize(
    ("hidden", "failed_task", "flag"),
    [
        (True, None, True), (False, {"no_log": True}, True), (False, {"no_log": "{{ item.secret | default(false) }}"}, True),
        (False, {"no_log": False}, None), (False, None, None),
    ],
)
def test_a_failure_is_recorded_as_hidden_where_its_task_has_no_log(
    monkeypatch: pytest.MonkeyPatch, hidden: bool, failed_task: dict[str, t.Any] | None, flag: bool | None
) -> None:
    arguments: dict[str, t.Any] = {"step": "failed", "task": "A", "outcome": {"msg": "said"}, "hidden": hidden, "undo": False}
    monkeypatch.setattr(rollout_record, "Conductor", Recorded)
    monkeypatch.setattr(rollout_record, "rollout_facts", lambda dummy: {})
    monkeypatch.setattr(rollout_record, "tell", lambda *dummy: None)
    monkeypatch.setattr(rollout_record.ActionBase, "run", lambda *dummy: {})

    def read(dummy: t.Any, spec: dict[str, t.Any]) -> tuple[None, dict[str, t.Any]]:
        return None, {name: arguments[name] for name in spec if name in arguments}

    monkeypatch.setattr(rollout_record.ActionModule, "validate_argument_spec", read)
    Recorded.told.clear()
    action = rollout_record.ActionModule.__new__(rollout_record.ActionModule)
    action._display = types.SimpleNamespace()
    action.run(None, {"inventory_hostname": "web1", "ansible_failed_task": failed_task})
    ((host, step, outcome),) = Recorded.told
    assert (host, step, outcome["msg"], outcome.get("_ansible_no_log")) == ("web1", "A", "said", flag)
