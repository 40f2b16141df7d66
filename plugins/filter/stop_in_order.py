# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils import _signals


def stop_in_order(facts: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    if facts and not facts["dry"] and not facts["refused"]:
        _signals.install(str(facts["state_dir"]), str(facts["id"]))
    return facts


class FilterModule:
    """Filters of seamless.rollout."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"stop_in_order": stop_in_order}
