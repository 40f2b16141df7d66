# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles and playbooks say to our own modules is what those understand."""

from __future__ import annotations

import glob
import os
import typing as t

import pytest
import yaml
from ansible_collections.seamless.rollout.plugins.module_utils import _operations

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILES = sorted(glob.glob(os.path.join(REPO, "roles", "*", "tasks", "*.yml")) + glob.glob(os.path.join(REPO, "playbooks", "*.yml")))
OURS = "seamless.rollout."


def options_of(module: str) -> set[str]:
    """Return the options of a module, by its argument spec or, where only an action plugin does the work, by its documentation."""
    if module in _operations.OPERATIONS:
        return set(_operations.load(module).ARGUMENT_SPEC)
    with open(os.path.join(REPO, "plugins", "modules", f"{module}.py"), encoding="utf-8") as file:
        text = file.read()
    return set(yaml.safe_load(text.split('DOCUMENTATION = r"""')[1].split('"""')[0])["options"])


def calls_in(tasks: t.Any) -> t.Iterator[tuple[str, set[str]]]:
    """Yield (module, names of its arguments) of every task, in blocks too."""
    for task in tasks or []:
        for key, value in task.items():
            if key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
                yield from calls_in(value)
            elif key.startswith(OURS):
                yield key[len(OURS):], set(value or {})


@pytest.mark.parametrize("path", FILES, ids=lambda path: os.path.relpath(path, REPO))
def test_tasks_use_options_that_exist(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        for module, names in calls_in(yaml.safe_load(file)):
            assert names <= options_of(module), f"{module} has no {names - options_of(module)}"


def test_the_tasks_were_found() -> None:
    found = set()
    for path in FILES:
        with open(path, encoding="utf-8") as file:
            found |= {module for module, dummy in calls_in(yaml.safe_load(file))}
    assert found >= {"lb_member", "lb_info", "health_check", "release_stage", "release_switch", "release_prune", "rollout_gate", "rollout_plan"}
