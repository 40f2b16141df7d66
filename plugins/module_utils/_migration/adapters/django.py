# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Django: plain (all of it, if it is additive, or up to named migrations) and with django-syzygy (``migrate --pre-deploy``).

Tested against Django and django-syzygy themselves. Django has no lock of its own, so ours is the only one. The state is read from ``showmigrations --plan``
and ``migrate --plan``, the SQL from ``sqlmigrate``, which shows everything but Python operations.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.base import (
    EXPAND,
    SPLIT_NONE,
    Adapter,
    Command,
    Preview,
    Result,
    Settings,
    State,
)

_SHOWN = re.compile(r"^\[([X ])\]\s+(\w+\.\S+)")
_PLANNED = re.compile(r"^(\w+\.\w+)\s*$")
_NO_SQL = "THIS OPERATION CANNOT BE WRITTEN AS SQL"


class Django(Adapter):
    name = "django"
    splits = (SPLIT_NONE, "syzygy", "targets")
    needs_targets = ("targets",)
    own_tables = ("django_migrations",)

    def complete(self, settings: Settings) -> Settings:
        completed = super().complete(settings)
        if completed.split == "targets":
            for target in (*completed.expand, *completed.contract):
                if len(target.split()) != 2:
                    raise SeamlessError(f"{target!r} is no application and migration: write them like this: shop 0012_add_full_name.")
        elif completed.expand or completed.contract:
            raise SeamlessError(f"expand and contract have no meaning with framework django and split {completed.split}: use split: targets.")
        return completed

    def _manage(self, settings: Settings, *arguments: str, may_fail: bool = False, timeouts: bool = False) -> Command:
        start = settings.binary or (*self.executable(settings, "python"), "manage.py")
        return self.command(settings, *start, *arguments, "--no-color", *settings.arguments, may_fail=may_fail, timeouts=timeouts)

    def _migrations(self, settings: Settings) -> list[tuple[str, ...]]:
        """Return the arguments of ``migrate`` that the phase needs, a call each."""
        if settings.split == "syzygy" and settings.phase == EXPAND:
            return [("--pre-deploy",)]
        if settings.split == "targets" and settings.targets:
            return [tuple(target.split()) for target in settings.targets]
        return [()]

    def status(self, settings: Settings) -> list[Command]:
        plans = [self._manage(settings, "migrate", *target, "--plan", "--noinput") for target in self._migrations(settings)]
        return [self._manage(settings, "showmigrations", "--plan"), *plans]

    def read_status(self, settings: Settings, results: t.Sequence[Result]) -> State:
        shown = [match.groups() for match in map(_SHOWN.match, results[0].stdout.splitlines()) if match]
        pending: dict[str, None] = {}
        for result in results[1:]:
            lines = iter(result.stdout.splitlines())
            if not any(line.startswith("Planned operations:") for line in lines):
                raise SeamlessError("migrate --plan printed no plan: Django 2.2 or newer is needed.", output=result.stdout[-2000:])
            for line in lines:
                match = _PLANNED.match(line)
                if match:
                    pending[match.group(1)] = None
                elif line.lstrip().startswith("Undo "):
                    raise SeamlessError(
                        f"migrate {' '.join(settings.targets)} would go back: the database is past it. Name the last migration that may run before the roll."
                    )
        applied = tuple(name for mark, name in shown if mark == "X")
        return State(applied, tuple(pending), fresh=not applied)

    def preview(self, settings: Settings, state: State) -> list[Command]:
        return [self._manage(settings, "sqlmigrate", *name.split(".", 1), may_fail=True) for name in state.pending]

    def read_preview(self, settings: Settings, state: State, results: t.Sequence[Result]) -> Preview:
        texts, unknown = [], []
        for name, result in zip(state.pending, results):
            if result.code:
                last = (result.stderr or result.stdout).strip().splitlines()[-1:] or ["no output"]
                unknown.append(f"sqlmigrate can't show {name} ({last[0][:300]})")
                continue
            texts.append(f"-- {name}\n{result.stdout}")
            operations = result.stdout.split("--\n-- ")
            unknown += [f"{name} has an operation that is Python, not SQL: {one.splitlines()[0]}" for one in operations if _NO_SQL in one]
        return Preview("\n".join(texts), tuple(unknown))

    def run(self, settings: Settings, state: State) -> list[Command]:
        return [self._manage(settings, "migrate", *target, "--noinput", timeouts=True) for target in self._migrations(settings)]

    def explain(self, result: Result) -> str:
        text = f"{result.stdout}\n{result.stderr}"
        if "unrecognized arguments: --pre-deploy" in text:
            return "django-syzygy is not in INSTALLED_APPS of the release (pip install django-syzygy, add 'syzygy'), or say split: none."
        if "Conflicting migrations detected" in text:
            return "Two migrations follow the same one: run makemigrations --merge in development."
        if "No module named" in text or "ModuleNotFoundError" in text:
            return "The Python that ran it lacks a package: set bin_dir to the bin directory of the release's virtual environment."
        return super().explain(result)
