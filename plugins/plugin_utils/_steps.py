# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Finds the task files and roles that a user names, before a host is drained for them."""

from __future__ import annotations

import os
import typing as t

import ansible.constants as C
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.mod_args import ModuleArgsParser
from ansible.utils.collection_loader._collection_finder import _get_collection_role_path


def search_places(task_vars: t.Mapping[str, t.Any]) -> list[str]:
    """Return where relative task files are looked for: beside the playbook, where Ansible is run, beside the inventory."""
    places = [task_vars.get("playbook_dir"), os.getcwd(), task_vars.get("inventory_dir")]
    return list(dict.fromkeys(str(place) for place in places if place))


def is_task_file(name: str) -> bool:
    return name.endswith((".yml", ".yaml"))


def named_steps(values: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return every task file and role in *values*, with the variable that names it."""
    steps: dict[str, str] = {}
    for point, names in (values.get("rollout_hooks") or {}).items():
        for name in names or []:
            steps.setdefault(str(name), f"rollout_hooks.{point}")
    for variable in ("rollout_once_before", "rollout_once_after"):
        for name in values.get(variable) or []:
            steps.setdefault(str(name), variable)
    for variable in ("rollout_update_role", "rollout_update_tasks"):
        if values.get(variable):
            steps.setdefault(str(values[variable]), variable)
    return steps


def find_steps(
    steps: t.Mapping[str, str], places: t.Sequence[str], loader: DataLoader | None = None
) -> tuple[dict[str, str], list[str]]:
    """Return the path of every task file in *steps*, and a sentence for each file and role that is not there or that Ansible can't read.

    Ansible reads such a file when it comes to it, and one that it can't read ends it there and then: with a host out of rotation and no undo.
    """
    loader = loader or DataLoader()
    files: dict[str, str] = {}
    problems: list[str] = []
    for name, variable in steps.items():
        if variable == "rollout_update_tasks" or (is_task_file(name) and variable != "rollout_update_role"):
            path = next((path for path in (os.path.join(place, name) for place in places) if os.path.isfile(path)), None)
            if path:
                files[name] = path
                why = _why_unreadable(path, loader)
                problems += [f"{variable} is {name!r}, which Ansible can't read: {why}"] if why else []
            else:
                problems.append(f"{variable} is {name!r}: there is no such task file in {', '.join(places)}. Correct it, or give its absolute path.")
        elif not role_is_there(name, places[0]):
            problems.append(
                f"{variable} is {name!r}: there is no such role in {', '.join([os.path.join(places[0], 'roles'), *roles_path()])} or in a "
                "collection. Correct it, or add its directory to roles_path in ansible.cfg."
            )
    return files, problems


def _why_unreadable(path: str, loader: DataLoader) -> str:
    try:
        tasks = loader.load_from_file(path)
        return "" if tasks is None else _wrong_task(tasks)
    except AnsibleError as exc:
        return str(exc)


def _wrong_task(tasks: t.Any, collections: t.Any = None) -> str:
    """Return what is wrong with the first of *tasks* that is no task. Raises AnsibleError for one whose module is not there."""
    if not isinstance(tasks, list):
        return f"a task file holds a list of tasks, and this is {type(tasks).__name__}."
    for task in tasks:
        if not isinstance(task, dict):
            return f"{task!r} is no task."
        known = task.get("collections") or collections
        if "block" in task:
            why = next((why for part in ("block", "rescue", "always") if (why := _wrong_task(task.get(part) or [], known))), "")
            if why:
                return why
        else:
            ModuleArgsParser(task, collection_list=known).parse()
    return ""


def roles_path() -> list[str]:
    return [str(path) for path in C.config.get_config_value("DEFAULT_ROLES_PATH") or []]


def role_is_there(name: str, playbook_dir: str) -> bool:
    """Say whether ``include_role`` finds *name*: in a collection by its full name, beside the playbook, or on the roles path."""
    if name.count(".") >= 2 and _get_collection_role_path(name, []):
        return True
    return any(os.path.isdir(os.path.join(place, name)) for place in (os.path.join(playbook_dir, "roles"), *roles_path(), playbook_dir))


def roll_steps(
    mode: str, *, balancers: bool, hooks: t.Mapping[str, t.Sequence[str]], update_role: bool, health: bool, bakes: bool
) -> list[dict[str, str]]:
    """Return the task files that one host goes through while it is rolled, in their order, and no other.

    A task that is skipped costs a host as much of the controller as one that does something, so nothing is left to be skipped.
    """

    def hook(point: str) -> list[dict[str, str]]:
        return [{"file": "hook.yml", "hook": str(name)} for name in hooks.get(point) or []]

    def step(name: str, wanted: bool = True) -> list[dict[str, str]]:
        return [{"file": f"{name}.yml", "hook": ""}] if wanted else []

    between = hook("after_drain") + hook("before_switch")
    if mode == "update":
        work = step("update_role" if update_role else "update_tasks") + step("update_health", health)
    else:
        work = step("switch_hooks" if hooks.get("after_switch") else "switch")
    steps = [
        *hook("before_drain"),
        *step("drain", balancers),
        *between,
        # A balancer that was reloaded meanwhile may have forgotten the drain.
        *step("redrain", balancers and bool(between)),
        *work,
        *hook("validate"),
        *hook("before_enable"),
        *step("enable", balancers),
        *hook("after_enable"),
        *step("bake", bakes),
    ]
    return step("plain") if steps == step("drain") + step("switch") + step("enable") else steps
