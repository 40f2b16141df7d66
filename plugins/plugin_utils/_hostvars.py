# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain

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
        self._first = self._raw(task_vars["inventory_hostname"])

    def _raw(self, host: str) -> t.Mapping[str, t.Any]:
        raw: t.Mapping[str, t.Any] = self._task_vars["hostvars"].raw_get(host)
        return raw

    def variables(self, host: str, **overrides: t.Any) -> dict[str, t.Any]:
        """Return the untemplated variables of *host*, play variables and role defaults included."""
        variables = dict(self._raw(host))
        variables["hostvars"] = self._task_vars["hostvars"]
        for name, value in self._task_vars.items():
            if not name.startswith("rollout_"):
                continue
            of_the_play = name not in variables or (name in self._first and self._first[name] is not value and self._first[name] != value)
            if of_the_play:
                variables[name] = value
        return {**variables, **overrides}

    def get(self, host: str, name: str, **overrides: t.Any) -> t.Any:
        """Return variable *name* as *host* sees it, templated with *overrides* in force, or None when it isn't set."""
        variables = self.variables(host, **overrides)
        if name not in variables:
            return None
        return plain(self._templar.copy_with_new_env(available_variables=variables).template(variables[name]))

    def all_rollout(self, host: str) -> dict[str, t.Any]:
        """Return every ``rollout_*`` variable of *host*, templated. Health checks are left out: they may name later facts."""
        variables = self.variables(host)
        templar = self._templar.copy_with_new_env(available_variables=variables)
        return {
            name: plain(templar.template(value)) for name, value in variables.items() if name.startswith("rollout_")
        }
