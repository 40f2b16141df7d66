# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._host_steps import Watch
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import LightAction


class ActionModule(LightAction):
    OPERATION = "release_switch"

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        watch = Watch()
        return watch.told(super().run(tmp, task_vars))
