# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _bundle, _source
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import default_state_dir
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import LightAction


class ActionModule(LightAction):
    """Packs a release on the controller and has the host unpack it: one exchange where the controller knows what the host has."""

    OPERATION = "release_stage"
    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        task_vars = task_vars or {}
        params = self.validated(self.OPERATION, self._task.args)
        source = params["source"]
        if not source:
            raise AnsibleActionFail("source is not set: say where the release comes from, such as {type: directory, path: build/}.")
        state_dir = params["state_dir"] or default_state_dir(params["app"] or "default")
        try:
            if _source.fetched_by_host(source):
                return self._have_fetched(params, source, task_vars)
            resolved = _source.resolve(
                source, app=params["app"] or "default", release=params["release"], rollout_id=params["rollout_id"], state_dir=state_dir
            )
            return self._ship(params, resolved, state_dir, task_vars)
        except SeamlessError as exc:
            raise AnsibleActionFail(str(exc)) from exc

    def _have_fetched(self, params: dict[str, t.Any], source: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        _source.validate_source(source)
        fetch = {key: source[key] for key in ("url", "checksum", "strip_components") if key in source}
        own = {"fetch": fetch, "source": _source.describe(source), "host_releases": None, "state_dir": None}
        return self.execute(self.OPERATION, {**params, **own}, task_vars)

    def _ship(self, params: dict[str, t.Any], resolved: _source.Resolved, state_dir: str, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        params = {
            **params,
            "digest": resolved.digest,
            "revision": resolved.revision,
            "source": resolved.description,
            "host_releases": None,
            "state_dir": None,
        }
        records = self._task.args.get("host_releases")
        digests = None if records is None else [str(record["digest"]) for record in records if record.get("digest")]
        return _bundle.ship(
            resolved, state_dir, digests, lambda bundle: self.execute(self.OPERATION, params, task_vars, attachment=bundle)
        )
