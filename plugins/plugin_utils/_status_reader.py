# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Reads all hosts and balancers for a status, from one task: a task a host costs the controller more than what it reads."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import options
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release.info import CURRENT
from ansible_collections.seamless.rollout.plugins.module_utils._release.verify import HOW
from ansible_collections.seamless.rollout.plugins.plugin_utils import _pools as pools
from ansible_collections.seamless.rollout.plugins.plugin_utils._balancer_calls import secrets_of
from ansible_collections.seamless.rollout.plugins.plugin_utils._drift import CRITICAL, WARNING
from ansible_collections.seamless.rollout.plugins.plugin_utils._fanout import Call, try_all
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import default_state_dir
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._reader import FORMATS, Reader, unknown_names
from ansible_collections.seamless.rollout.plugins.plugin_utils._status import fleet_status

if t.TYPE_CHECKING:
    from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables
    from ansible_collections.seamless.rollout.plugins.plugin_utils._light import LightAction

FAIL_ON = ("never", CRITICAL, WARNING)


@dataclasses.dataclass(frozen=True)
class StatusSettings:
    """What a user says of the status itself."""

    app: str
    format: str
    fail_on: str
    verify: str
    state_dir: str


def read_status_settings(names: t.Iterable[str], get: t.Callable[[str], t.Any]) -> StatusSettings:
    """Check what a status needs of the ``rollout_*`` variables. Raises SeamlessError with every complaint.

    The others are not looked at: a look at a site must not depend on a vault that only rollouts open.
    """
    wanted = ("app", "status_format", "status_fail_on", "status_verify", "state_dir")
    reader = Reader({f"rollout_{name}": get(f"rollout_{name}") for name in wanted})
    reader.errors += unknown_names(names)
    if reader.get("app") is None:
        reader.errors.append("rollout_app is not set: name the application, for example rollout_app: shop.")
    settings = StatusSettings(
        app=str(reader.get("app")),
        format=reader.choice("status_format", FORMATS),
        fail_on=reader.choice("status_fail_on", FAIL_ON),
        verify=reader.choice("status_verify", HOW),
        state_dir=default_state_dir(str(reader.get("app")), reader.get("state_dir")),
    )
    if reader.errors:
        raise SeamlessError("\n".join(reader.errors))
    return settings


class StatusReader:
    """Works in two steps: what can be read from one task is read, then, with what other tasks read besides, it is put together."""

    def __init__(self, action: LightAction, variables: HostVariables, task_vars: dict[str, t.Any], hosts: t.Sequence[str]) -> None:
        self._action, self._variables, self._task_vars, self._hosts = action, variables, task_vars, list(hosts)
        first = self._hosts[0]
        self.settings = read_status_settings(variables.variables(first), lambda name: variables.get(first, name))

    def params(self, host: str) -> dict[str, t.Any]:
        """Return what the module release_info is asked on *host*. Its health is that of the release that it runs, whichever somebody names."""
        root = self._variables.get(host, "rollout_root") or f"/srv/{self.settings.app}"
        return {
            "root": root,
            "services": self._variables.get(host, "rollout_services") or [],
            "health": self._variables.get(host, "rollout_health", rollout_release=CURRENT) or [],
            "verify": self.settings.verify,
        }

    @functools.cached_property
    def _calls(self) -> dict[str, list[dict[str, t.Any]]]:
        groups = plain(self._task_vars["groups"])
        calls = {
            host: pools.without_secrets(host, pools.expand_balancers(host, self._variables.get(host, "rollout_balancers") or [], groups))
            for host in self._hosts
        }
        problems = pools.unknown_machines(calls, set(groups.get("all", [])))
        if problems:
            raise SeamlessError("\n".join(problems))
        return calls

    def read(self) -> dict[str, t.Any]:
        """Read every host and balancer. What only Ansible's own transport could read is left to other tasks, named in the facts.

        Raises SeamlessError before anything is read when variables are wrong.
        """
        balancers = pools.distinct_balancers(self._calls)
        params = {host: self.params(host) for host in self._hosts}
        calls = [Call(host, self._action.validated("release_info", params[host]), "release_info") for host in self._hosts]
        calls += [self._balancer_call(entry) for entry in balancers]
        results = try_all(self._action, "release_info", calls, self._task_vars)
        answers = dict(zip(self._hosts, results))
        told = results[len(self._hosts):]
        left = [host for host, answer in answers.items() if answer is None]
        unread = [entry for entry, answer in zip(balancers, told) if answer is None]
        migrations = bool(self._variables.get(self._hosts[0], "rollout_migrations"))
        return {
            "hosts": self._hosts,
            "answers": {host: answer for host, answer in answers.items() if answer is not None},
            "balancers": [{**answer, "item": _public(entry)} for entry, answer in zip(balancers, told) if answer is not None],
            "left": {host: params[host] for host in left},
            "left_balancers": unread,
            "migrations": migrations,
            "rest_hosts": left or (self._hosts[:1] if unread or migrations else []),
        }

    def _balancer_call(self, entry: t.Mapping[str, t.Any]) -> Call:
        spec = {name: value for name, value in {**entry, **secrets_of(entry, self._variables)}.items() if value is not None}
        asked = {name: value for name, value in spec.items() if name in options.SPEC}
        return Call(str(entry["delegate"]), self._action.validated("lb_info", {**asked, "owner": self.settings.app}), "lb_info")

    def status(self, facts: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return the status as data, from what :meth:`read` returned and what other tasks registered since."""
        answers = dict(facts["answers"])
        for host in facts["left"]:
            answers[host] = self._registered(host, "__rollout_survey") or {}
        balancers = list(facts["balancers"])
        if facts["left_balancers"]:
            balancers += self._registered(facts["rest_hosts"][0], "__rollout_balancer_info").get("results") or []
        addresses = {host: self._variables.get(host, "ansible_host") for host in self._hosts}
        schema = self._schema(facts["rest_hosts"][0]) if facts["migrations"] else None
        return fleet_status(self.settings.state_dir, {host: answers[host] for host in self._hosts}, balancers, addresses, schema, self._calls)

    def _registered(self, host: str, name: str) -> dict[str, t.Any]:
        return dict(plain(self._variables.raw(host).get(name) or {}))

    def _schema(self, host: str) -> dict[str, t.Any]:
        ledger = self._registered(host, "__migration_ledger")
        if "migrations" not in ledger:
            problem = self._variables.raw(host).get("__rollout_schema_problem")
            return {"problem": str(plain(problem) or ledger.get("msg") or "no answer"), "migrations": []}
        return {"problem": "", "migrations": ledger.get("migrations") or [], "floor": (ledger.get("floors") or {}).get(self.settings.app)}

    def fails(self, status: t.Mapping[str, t.Any]) -> bool:
        """Say whether the run ends with an exit code other than 0."""
        on = self.settings.fail_on
        return on != "never" and (status["verdict"] == CRITICAL or (on == WARNING and status["verdict"] == WARNING))


def _public(entry: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {name: value for name, value in entry.items() if name not in pools.SECRETS}
