# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import functools
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._templates import fingerprint, is_static

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase


class HostVariables:
    """Templates variables for any host of the play from a task that runs once.

    ``hostvars`` alone knows neither play variables nor role defaults, and templates with the variables as they are;
    an undo needs ``rollout_health`` as it reads with the release it goes back to.
    """

    def __init__(self, action: ActionBase, task_vars: t.Mapping[str, t.Any]) -> None:
        self._templar = action._templar
        self._task_vars = task_vars
        self._raw: dict[str, t.Mapping[str, t.Any]] = {}
        self._known: dict[t.Any, t.Any] = {}

    @functools.cached_property
    def _play(self) -> dict[str, t.Any]:
        """What the play and its roles say. The first host's own variables are no other host's."""
        first = self.raw(self._task_vars["inventory_hostname"])
        return {
            name: value
            for name, value in self._task_vars.items()
            if name.startswith("rollout_") and not (name in first and (first[name] is value or first[name] == value))
        }

    @functools.cached_property
    def _over(self) -> set[str]:
        first = self.raw(self._task_vars["inventory_hostname"])
        return {name for name in self._play if name in first}

    def raw(self, host: str) -> t.Mapping[str, t.Any]:
        """Return the untemplated variables of *host* itself, facts and registered results included."""
        if host not in self._raw:
            self._raw[host] = self._task_vars["hostvars"].raw_get(host)
        return self._raw[host]

    def variables(self, host: str, **overrides: t.Any) -> dict[str, t.Any]:
        """Return the untemplated variables of *host*, play variables and role defaults included."""
        variables = dict(self.raw(host))
        variables["hostvars"] = self._task_vars["hostvars"]
        for name, value in self._play.items():
            if name not in variables or name in self._over:
                variables[name] = value
        return {**variables, **overrides}

    def get(self, host: str, name: str, **overrides: t.Any) -> t.Any:
        """Return variable *name* as *host* sees it, templated with *overrides* in force, or None when it isn't set."""
        own = self.raw(host)
        if not overrides and name not in self._play and (name not in own or is_static(own[name])):
            return plain(own.get(name))
        variables = self.variables(host, **overrides)
        if name not in variables:
            return None
        return self._value(variables, [name])[name]

    def all_rollout(self, host: str) -> dict[str, t.Any]:
        """Return every ``rollout_*`` variable of *host*, templated. Health checks are left out: they may name later facts."""
        variables = self.variables(host)
        return self._value(variables, [name for name in variables if name.startswith("rollout_")])

    def _value(self, variables: dict[str, t.Any], names: t.Sequence[str]) -> dict[str, t.Any]:
        """Template *names*; what depends on nothing that differs between two hosts is templated for the first of them only."""
        templar = None
        values = {}
        for name in names:
            raw = variables[name]
            if is_static(raw):
                values[name] = plain(raw)
                continue
            key = fingerprint(raw, variables)
            if key is None or key not in self._known:
                templar = templar or self._templar.copy_with_new_env(available_variables=variables)
                value = plain(templar.template(raw))
                if key is None:
                    values[name] = value
                    continue
                self._known[key] = value
            values[name] = plain(self._known[key])
        return values


def rollout_facts(task_vars: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the facts of the rollout. They are data: none is a template, and to look for one in those of a thousand hosts takes a while."""
    return t.cast("dict[str, t.Any]", plain(task_vars["hostvars"].raw_get("localhost")["ansible_facts"]["seamless_rollout"]))
