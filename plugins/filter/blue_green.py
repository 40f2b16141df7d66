# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _blue_green
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain


def blue_green(
    answers: t.Sequence[t.Mapping[str, t.Any]], pools: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]],
    addresses: t.Mapping[str, str], live: str = "", serving: t.Sequence[str] | None = None,
) -> dict[str, t.Any]:
    try:
        # Older versions of ansible-core make an empty text of what is none.
        if not isinstance(serving, (list, tuple)):
            serving = [] if live else list(_blue_green.serving_hosts(plain(answers), plain(addresses)))
        return _blue_green.choose(plain(pools), plain(groups), plain(serving), live or None)._asdict()
    except SeamlessError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """Filters of seamless.rollout."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"blue_green": blue_green}
