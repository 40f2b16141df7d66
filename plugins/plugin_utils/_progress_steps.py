# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Which step of a rollout a task belongs to. Pure: paths in, names out."""

from __future__ import annotations

import re
import typing as t

WAIT, DATABASE = "wait", "database"
# The task files of the role, and the step that each is a part of.
STEPS = {
    "drain": "drain", "redrain": "redrain", "hook": "hook", "switch": "switch", "switch_hooks": "switch", "update_role": "update", "update_tasks": "update",
    "update_health": "health", "enable": "enable", "bake": "bake", "slot": WAIT, "stage": "stage", "restore": "restore", "once_action": "once",
}
WORDS = {
    "redrain": "drain, looked at again", "switch": "switch, restart, check", "health": "check", WAIT: "waits for its slot", "restore": "back into rotation",
}
# Steps that are somebody else's tasks: which of them runs is worth a word.
NAMED = ("hook", "update", "once", DATABASE)

_OURS = re.compile(r"/roles/(rollout|migration)/tasks/(\w+)\.yml")


class Step(t.NamedTuple):
    """A *name*, an empty string for what is no step of a host, and the *task* that runs where that says more."""

    name: str
    task: str = ""

    @property
    def words(self) -> str:
        return WORDS.get(self.name, self.name) + (f": {self.task}" if self.task else "")


def step_of(places: t.Iterable[str | None], task: str) -> Step:
    """Return the step of *task* from where it is written and where each file around it is included, the innermost first."""
    for number, place in enumerate(places):
        found = _OURS.search(place or "")
        name = "" if found is None else DATABASE if found[1] == "migration" else STEPS.get(found[2], "")
        if name:
            # In a hook or an update, tasks of ours only say that another one begins.
            return Step(name, task if name == DATABASE or name in NAMED and number else "")
    return Step("")
