# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Runs one operation on several machines at the same moment, for one host's task.

A loop with ``delegate_to`` visits one machine after another. A host that leaves two balancers would wait for the second one while
it is out of the first, and would come back in the same order: time out of rotation, paid twice.
"""

from __future__ import annotations

import concurrent.futures
import contextvars
import copy
import os
import typing as t

import ansible.constants as C
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.loader import become_loader
from ansible_collections.seamless.rollout.plugins.module_utils import _operations
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import LightAction, code_archive

MOST_AT_ONCE = 16


class Call(t.NamedTuple):
    """What to run where, and which operation where it is not that of all calls."""

    machine: str
    params: dict[str, t.Any]
    operation: str = ""


def fan_out(action: LightAction, operation: str, calls: t.Sequence[Call], task_vars: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return the results of *calls*, in their order. A machine that can't be reached is a failed result."""
    return [
        work.worker.execute(work.operation, work.call.params, {**work.scope, "seamless_unreachable_fails": True}) if result is None else result
        for work, result in _light(action, operation, calls, task_vars)
    ]


def try_all(action: LightAction, operation: str, calls: t.Sequence[Call], task_vars: dict[str, t.Any]) -> list[dict[str, t.Any] | None]:
    """As :func:`fan_out`, with None in the place of what only Ansible's own way could do, which takes one machine after another."""
    return [result for dummy, result in _light(action, operation, calls, task_vars)]


class _Work(t.NamedTuple):
    worker: LightAction
    call: Call
    scope: dict[str, t.Any]
    operation: str


def _light(
    action: LightAction, operation: str, calls: t.Sequence[Call], task_vars: dict[str, t.Any]
) -> list[tuple[_Work, dict[str, t.Any] | None]]:
    """Run *calls* by the light transport, as many at once as may be. The first are at work while the next are made ready."""
    if not calls:
        return []
    for call in calls:
        if not _is_own(action, call.machine, task_vars) and call.machine not in task_vars["hostvars"]:
            raise AnsibleActionFail(f"balancers: delegate is {call.machine!r}, which is not a host of the inventory.")
    pipelining = action._templar.template(task_vars.get("ansible_pipelining"))

    def run(work: _Work) -> dict[str, t.Any] | None:
        try:
            return work.worker.run_light(work.operation, work.call.params, work.scope, None)
        except AnsibleConnectionFailure as exc:
            return {"failed": True, "unreachable_host": True, "msg": f"The host can't be reached: {exc}"}

    # Threads that all miss it would all make it.
    for part in {_operations.part_of(call.operation or operation) for call in calls}:
        code_archive(part)
    works, running = [], []
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(len(calls), MOST_AT_ONCE)) as pool:
        for call in calls:
            scope = _scope(action, call.machine, task_vars)
            works.append(_Work(_worker(action, call.machine, scope, task_vars, pipelining), call, scope, call.operation or operation))
            running.append(pool.submit(contextvars.copy_context().run, run, works[-1]))
    return [(work, future.result()) for work, future in zip(works, running)]


def _is_own(action: LightAction, machine: str, task_vars: dict[str, t.Any]) -> bool:
    """Say whether the task's own connection leads to *machine*: a task that is delegated has another's."""
    return bool(machine == task_vars["inventory_hostname"] and not action._task.delegate_to)


def _scope(action: LightAction, machine: str, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the variables as a task that is delegated to *machine* has them."""
    if _is_own(action, machine, task_vars):
        return task_vars
    variables = task_vars["hostvars"][machine]
    delegated = {name: variables[name] for name in variables if name.startswith("ansible_")}
    return {**task_vars, "ansible_delegated_vars": {machine: {**delegated, "inventory_hostname": machine}}}


def _worker(action: LightAction, machine: str, scope: dict[str, t.Any], task_vars: dict[str, t.Any], pipelining: t.Any) -> LightAction:
    """Return a copy of *action* that works on *machine*, by a connection such as TaskExecutor makes for ``delegate_to``."""
    if _is_own(action, machine, task_vars):
        return action
    variables = scope["ansible_delegated_vars"][machine]
    worker = copy.copy(action)
    worker._task = action._task.copy(exclude_parent=True)
    worker._task._parent = action._task._parent
    worker._task.delegate_to = machine
    worker._play_context = action._play_context.copy()
    worker._play_context.remote_addr = variables.get("ansible_host", machine)
    worker._connection = action._shared_loader_obj.connection_loader.get(
        str(variables.get("ansible_connection") or action._task.connection or "ssh"),
        worker._play_context,
        new_stdin=None,
        task_uuid=action._task._uuid,
        ansible_playbook_pid=str(os.getppid()),
    )
    keys = {name: value for name, value in action._task.dump_attrs().items() if name != "retries"}
    keys["timeout"] = action._play_context.timeout
    if action._play_context.password:
        keys["password"] = action._play_context.password
    become = _become(action, variables)
    if become is not None and action._play_context.become_pass:
        keys["become_pass"] = action._play_context.become_pass
    worker._connection.set_become_plugin(become)
    for kind, plugin in (("connection", worker._connection), ("shell", worker._connection._shell), ("become", become)):
        if plugin is not None:
            _configure(kind, plugin, variables, keys, pipelining)
    return worker


def _become(action: LightAction, variables: t.Mapping[str, t.Any]) -> t.Any:
    wanted = variables.get("ansible_become")
    if not (action._task.become if wanted is None else str(wanted).lower() in ("true", "yes", "1", "on")):
        return None
    name = str(variables.get("ansible_become_method") or action._task.become_method or "sudo")
    plugin = become_loader.get(name)
    if plugin is None:
        raise AnsibleActionFail(f"ansible_become_method is {name!r}, which is not there.")
    return plugin


def _configure(kind: str, plugin: t.Any, variables: t.Mapping[str, t.Any], keys: dict[str, t.Any], pipelining: t.Any) -> None:
    names = C.config.get_plugin_vars(kind, plugin._load_name)
    options = {name: variables[name] for name in names if name in variables}
    # The one option of a connection that our own plays set, and so is in no host's variables.
    if kind == "connection" and pipelining is not None:
        options.setdefault("ansible_pipelining", pipelining)
    plugin.set_options(task_keys=keys, var_options=options)
