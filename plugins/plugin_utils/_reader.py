# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Reads ``rollout_*`` variables one by one and collects every complaint."""

from __future__ import annotations

import difflib
import re
import typing as t

DEFAULTS: dict[str, t.Any] = {
    "adopt": False,
    "app": None,
    "audit_consent": "",
    "audit_data_dirs": [],
    "audit_fail_on": "fix",
    "audit_format": "text",
    "audit_json": "",
    "audit_skip": {},
    "audit_slow_url": "",
    "auto_promote": True,
    "bake_health": [],
    "bake_seconds": 0,
    "balancers": [],
    "batch": None,
    "blockers": [],
    "break_lock": False,
    "canary": 1,
    "canary_analysis": {},
    "dir_mode": None,
    "drain_timeout": 30,
    "enable_timeout": 60,
    "file_mode": None,
    "first_zone_bake_seconds": None,
    "force": False,
    "group": None,
    "health": [],
    "health_interval": 0.5,
    "health_rise": 2,
    "healthy_deadline": 60,
    "history_days": 90,
    "history_format": "text",
    "history_limit": 20,
    "hooks": {},
    "hosts": "app",
    "keep_releases": 5,
    "late": False,
    "linked_dirs": [],
    "linked_files": [],
    "lock_policy": "reject",
    "lock_ttl": 3600,
    "lock_wait": 600,
    "max_fail": 0,
    "max_parallel": None,
    "max_unavailable": "25%",
    "min_available": None,
    "min_free": "5%",
    "min_healthy_seconds": 0,
    "migrations": {},
    "notify": [],
    "on_drain_timeout": "fail",
    "on_failure": "rollback",
    "once_after": [],
    "once_before": [],
    "order": None,
    "override": "",
    "out_of_rotation": False,
    "owner": None,
    "pace": "batch",
    "pipelining": True,
    "plan_format": "text",
    "progress_deadline": 600,
    "reason": "",
    "recover": "restore",
    "release": None,
    "root": None,
    "services": [],
    "source": None,
    "state_dir": None,
    "status_fail_on": "never",
    "status_format": "text",
    "status_verify": "quick",
    "tiers": [],
    "to": None,
    "undo_max_parallel": None,
    "update_role": None,
    "update_tasks": None,
    "watch": False,
    "weight": 1,
    "weight_ramp": {},
    "windows": [],
    "zone_min_available": None,
    "zones": [],
}

FORMATS = ("text", "json")

KNOWN = frozenset(f"rollout_{name}" for name in DEFAULTS)


def unknown_names(names: t.Iterable[str]) -> list[str]:
    """Return a sentence for every ``rollout_*`` name that means nothing here, with the nearest one that does."""
    sentences = []
    for name in sorted(names):
        if name.startswith("rollout_") and name not in KNOWN:
            near = difflib.get_close_matches(name[len("rollout_"):], DEFAULTS, n=1, cutoff=0.6)
            hint = f"Did you mean rollout_{near[0]}?" if near else "Rename it: the prefix rollout_ belongs to seamless.rollout."
            sentences.append(f"{name} is not a variable of seamless.rollout. {hint}")
    return sentences


class Reader:
    """Reads one variable after another and collects every complaint, so that a user sees all of them at once."""

    def __init__(self, values: t.Mapping[str, t.Any]) -> None:
        self.values = values
        self.errors: list[str] = []

    def get(self, name: str) -> t.Any:
        value = self.values.get(f"rollout_{name}")
        return DEFAULTS[name] if value is None or value == "" else value

    def override(self, **values: t.Any) -> None:
        """Have other values than those the user wrote; None is the default."""
        self.values = {**self.values, **{f"rollout_{name}": value for name, value in values.items()}}

    def complain(self, name: str, want: str) -> None:
        self.errors.append(f"rollout_{name} is {self.get(name)!r}: {want}")

    def choice(self, name: str, choices: t.Sequence[str]) -> str:
        value = str(self.get(name))
        if value not in choices:
            near = difflib.get_close_matches(value, choices, n=1)
            self.complain(name, f"use one of {', '.join(choices)}" + (f" (nearest: {near[0]})." if near else "."))
        return value

    def integer(self, name: str, least: int) -> int | None:
        value = self.get(name)
        if value is None:
            return None
        try:
            number = int(str(value))
        except ValueError:
            number = least - 1
        if number < least or isinstance(value, bool):
            self.complain(name, f"use a whole number of at least {least}.")
        return number

    def seconds(self, name: str) -> float:
        try:
            number = float(str(self.get(name)))
        except ValueError:
            number = -1.0
        if not 0 <= number <= 86400 * 7:
            self.complain(name, "use a number of seconds, 0 or more.")
        return number

    def boolean(self, name: str) -> bool:
        value = self.get(name)
        if isinstance(value, bool):
            return value
        text = str(value).lower()
        if text not in ("true", "false", "yes", "no", "1", "0"):
            self.complain(name, "use true or false.")
        return text in ("true", "yes", "1")

    def text(self, name: str, want: str) -> str:
        value = self.get(name)
        if not isinstance(value, str):
            self.complain(name, f"use {want}.")
        return str(value).strip()

    def names(self, name: str, example: str) -> list[str]:
        """Read a list of plain names, each there once."""
        value = self.get(name)
        names = [str(item) for item in value] if isinstance(value, list) else []
        if not isinstance(value, list) or len(set(names)) != len(names) or not all(isinstance(item, (str, int)) and item != "" for item in value):
            self.complain(name, f"use a list of different names, for example {example}.")
        return names

    def amount(self, name: str, *, zero: bool = False) -> t.Any:
        value = self.get(name)
        if value is not None:
            problem = amount_problem(value, zero=zero)
            if problem:
                self.complain(name, problem)
        return value

    def listing(self, name: str, of: type, example: str) -> list[t.Any]:
        value = self.get(name)
        if not isinstance(value, list) or not all(isinstance(item, of) for item in value):
            self.complain(name, f"use a list, for example {example}.")
            return []
        return value


def amount_problem(value: t.Any, *, zero: bool = False) -> str | None:
    """Say what is wrong with *value* as a number of hosts ("25%" or 3), or return None."""
    text = str(value).strip()
    if isinstance(value, (bool, float)) or not re.fullmatch(r"-?\d+%?", text):
        return 'use a whole number of hosts such as 2, or a percentage such as "25%".'
    number = int(text.rstrip("%"))
    if text.endswith("%") and number > 100:
        return "a percentage above 100% is more than all hosts: use at most 100%."
    if number < 0 or (number == 0 and not zero):
        return 'nothing would ever be updated: use at least 1, or a percentage above 0% such as "25%".'
    return None
