# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What may be secret of what a rollout asks stays out of its facts, which Ansible may show and keep: it is read again where it is needed."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._urls import shown
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._verdict import read_analysis

Facts = t.Dict[str, t.Any]

VARIABLES = {"analysis": "rollout_canary_analysis", "blockers": "rollout_blockers"}


def public(entry: t.Any) -> t.Any:
    """Return *entry* without headers, and its URLs without user, password and query."""
    if isinstance(entry, dict):
        return {key: shown(value) if key == "url" and isinstance(value, str) else public(value) for key, value in entry.items() if key != "headers"}
    return [public(one) for one in entry] if isinstance(entry, (list, tuple)) else entry


def withheld(facts: Facts) -> Facts:
    """Return the *facts* of a rollout as they may be kept; ``withheld`` lists which of them are not whole."""
    kept = {name: public(facts[name]) for name in VARIABLES}
    return {**facts, **kept, "withheld": [name for name in VARIABLES if kept[name] != plain(facts[name])]}


def whole(facts: t.Mapping[str, t.Any], get: t.Callable[[str, str], t.Any]) -> Facts:
    """Return *facts* with what was withheld of them, as *get* reads the variables of the host that spoke for all when it was planned."""
    found = dict(facts)
    for name in facts.get("withheld", ()):
        value = get(facts["targets"][0], VARIABLES[name])
        if name == "analysis":
            analysis, dummy = read_analysis(value)
            value = dataclasses.asdict(analysis) if analysis else facts[name]
        found[name] = value
    return found
