# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import LightAction
from ansible_collections.seamless.rollout.plugins.plugin_utils._local_time import convert


class ActionModule(LightAction):
    """Reads on the controller what only the controller has, the page and the time zones, and has the balancer's machine do the rest."""

    OPERATION = "maintenance"

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        ActionBase.run(self, tmp, task_vars)
        params = self.validated(self.OPERATION, self._task.args)
        page_file = params.pop("page_file")
        if page_file:
            if params["page"]:
                raise AnsibleActionFail("page and page_file are both set: give one of them.")
            params["page"] = self._read_page(page_file)
        try:
            params = {**convert(params), "page_file": None, "timezone": None}
        except SeamlessError as exc:
            raise AnsibleActionFail(str(exc)) from exc
        return self.execute(self.OPERATION, params, task_vars or {})

    def _read_page(self, name: str) -> str:
        path = self._find_needle("files", name)
        try:
            with open(self._loader.get_real_file(path), encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as exc:
            raise AnsibleActionFail(f"page_file is {name!r}, which can't be read as UTF-8: {exc}") from exc
        if not text.strip():
            raise AnsibleActionFail(f"page_file is {name!r}, which is empty: write the page, or leave the option out for a plain one.")
        return text
