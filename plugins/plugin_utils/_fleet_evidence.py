# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What every host of an application says it runs, asked now and of all of them: ``--limit`` and what Ansible has lost so far shrink nothing here."""

from __future__ import annotations

import copy
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.loader import lookup_loader
from ansible_collections.seamless.rollout.plugins.plugin_utils._fanout import Call, fan_out
from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import is_unreachable, plain

if t.TYPE_CHECKING:
    from ansible_collections.seamless.rollout.plugins.plugin_utils._light import LightAction

Report = t.Dict[str, t.Any]

_LOST = "The host can't be reached: "


def matching(action: LightAction, pattern: str, task_vars: dict[str, t.Any]) -> list[str]:
    """Return the hosts of the inventory that *pattern* means, whatever ``--limit`` says."""
    lookup = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=action._loader, templar=action._templar)
    return [str(host) for host in lookup.run([pattern], variables=task_vars)]


def left_out(action: LightAction, hosts: t.Sequence[str], task_vars: dict[str, t.Any]) -> set[str]:
    """Return which of *hosts* this run of Ansible leaves out by ``--limit``."""
    limit = task_vars.get("ansible_limit")
    if not limit:
        return set()
    try:
        return set(hosts) - set(matching(action, str(limit), task_vars))
    except AnsibleError:
        return set()  # a limit that only the command line understands, such as @file


def report(host: str, answer: t.Mapping[str, t.Any], migration: str, only: str = "") -> Report:
    """Return what the gate needs of a host's *answer*: which releases carry the *migration*, or are the *only* one that will do. Pure."""
    if answer.get("failed") or answer.get("unreachable"):
        return {"host": host, "answered": False, "unreachable": is_unreachable(answer), "msg": str(answer.get("msg") or "no message").replace(_LOST, "")}
    records = {str(record["id"]): record for record in answer.get("releases") or [] if record.get("id")}
    current = answer.get("current") or {}
    running = answer.get("running") or {}
    release = current.get("release") if current.get("kind") == "link" else None
    lock = answer.get("lock")
    return {
        "host": host,
        "answered": True,
        "kind": current.get("kind"),
        "release": release,
        "state": records.get(str(release), {}).get("state"),
        "releases": list(records),
        "carriers": [name for name, record in records.items() if (name == only if only else migration in (record.get("migrations") or {}))],
        "services": running.get("services") or [],
        "processes": running.get("processes") or {},
        "switched_ago": running.get("switched_ago"),
        "lock": {key: lock.get(key) for key in ("id", "owner", "expired")} if lock else None,
    }


class Fleet:
    """All hosts of an application, as the gate's task reaches them."""

    def __init__(self, action: LightAction, params: t.Mapping[str, t.Any], task_vars: dict[str, t.Any]) -> None:
        self._action, self._params, self._task_vars = _asker(action, task_vars), params, task_vars
        self._variables = HostVariables(action, task_vars)
        self.retired = {str(item["host"]): str(item["reason"]) for item in params["retired"]}
        patterns = [*(params["groups"] or [self._pattern()]), *params["also_runs"]]
        found = {host: None for pattern in patterns for host in matching(action, str(pattern), task_vars)}
        # An inventory that no longer has a retired host needs no reason for it.
        self.hosts = [host for host in found if host not in self.retired]
        self._gone = [host for host in found if host in self.retired]
        self._left_out = left_out(action, self.hosts, task_vars)
        self.patterns = [str(pattern) for pattern in patterns]

    def _pattern(self) -> str:
        return str(self._variables.get(str(self._task_vars["inventory_hostname"]), "rollout_hosts") or "app")

    def root(self, host: str) -> str:
        return str(self._params["root"] or self._variables.get(host, "rollout_root") or f"/srv/{self._params['app']}")

    def _services(self, host: str) -> list[t.Any]:
        services = self._params["services"]
        return list(self._variables.get(host, "rollout_services") or []) if services is None else list(services)

    def ask(self) -> list[Report]:
        """Ask every host now; those that are retired are named and not asked."""
        calls = [
            Call(
                host,
                self._action.validated(
                    "release_info",
                    {
                        "root": self.root(host),
                        "services": self._services(host),
                        "migrations_directory": self._params["migrations_directory"],
                        "running": True,
                    },
                ),
            )
            for host in self.hosts
        ]
        answers = fan_out(self._action, "release_info", calls, self._task_vars) if calls else []
        reports = [report(host, plain(answer), self._params["name"], self._params["release"]) for host, answer in zip(self.hosts, answers)]
        for entry in reports:
            entry["left_out"] = entry["host"] in self._left_out
        return reports + [{"host": host, "retired": self.retired[host]} for host in self._gone]

    def set_floor(self, release: str, *, state: str = "present", hosts: t.Sequence[str] | None = None) -> dict[str, dict[str, t.Any]]:
        """Raise (or lower) the release floor by the migration on *hosts*, by default on all; return what each said."""
        names = self.hosts if hosts is None else list(hosts)
        params = {
            "migrations": [self._params["name"]],
            "release": release,
            "directory": self._params["migrations_directory"],
            "rollout_id": self._params["rollout_id"],
            "state": state,
        }
        calls = [Call(host, self._action.validated("release_floor", {**params, "root": self.root(host)})) for host in names]
        answers = fan_out(self._action, "release_floor", calls, self._task_vars) if calls else []
        return {host: plain(answer) for host, answer in zip(names, answers)}


def _asker(action: LightAction, task_vars: t.Mapping[str, t.Any]) -> LightAction:
    """Return a copy of *action* whose calls go to hosts as their own variables say: the task's user and connection are the database's.

    On a machine with both, ``become_user: postgres`` must not be who reads the releases.
    """
    asker = copy.copy(action)
    asker._task = action._task.copy(exclude_parent=True)
    asker._task._parent = action._task._parent
    asker._task.become_user = None
    if asker._task.connection == "local":
        asker._task.connection = "ssh"
    asker._task.delegate_to = asker._task.delegate_to or str(task_vars["inventory_hostname"])
    return asker


def check_patterns(fleet: Fleet) -> None:
    """Refuse a gate that would ask nobody. Raises AnsibleActionFail."""
    if not fleet.hosts and not fleet.retired:
        raise AnsibleActionFail(
            f"groups is {', '.join(fleet.patterns)}, and no host of the inventory matches it: name the groups whose hosts run the application in groups and "
            "also_runs."
        )
