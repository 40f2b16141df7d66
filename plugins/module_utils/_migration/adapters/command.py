# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Any other migrator, by its own commands: *expand_cmd*, *contract_cmd*, and *status_cmd*, which prints what is pending in SEAMLESS_PHASE, a line each."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.base import EXPAND, Adapter, Command, Preview, Result, Settings, State


class AnyCommand(Adapter):
    name = "command"
    splits = ("commands",)

    def complete(self, settings: Settings) -> Settings:
        completed = super().complete(settings)
        if not completed.commands.get("expand_cmd") and not completed.commands.get("contract_cmd"):
            raise SeamlessError("expand_cmd and contract_cmd are empty: with framework command give at least one, such as expand_cmd: [./migrate, --expand].")
        return completed

    def _command(self, settings: Settings, which: str, timeouts: bool = False) -> Command:
        text = settings.commands[which]
        mine = {"SEAMLESS_PHASE": settings.phase, "SEAMLESS_APP": settings.app, "SEAMLESS_LOCK_TIMEOUT_MS": str(settings.lock_timeout_ms)}
        environment = {**mine, **settings.environment, **settings.secrets}
        if timeouts:
            environment.update(self.lock_timeout(settings, environment))
        return Command(text if isinstance(text, str) else tuple(map(str, text)), settings.directory, environment)

    def status(self, settings: Settings) -> list[Command]:
        return [self._command(settings, "status_cmd")] if settings.commands.get("status_cmd") else []

    def read_status(self, settings: Settings, results: t.Sequence[Result]) -> State:
        if not settings.commands.get("expand_cmd" if settings.phase == EXPAND else "contract_cmd"):
            return State()
        if not results:
            return State(known=False)
        return State(pending=tuple(line.strip() for line in results[0].stdout.splitlines() if line.strip()))

    def read_preview(self, settings: Settings, state: State, results: t.Sequence[Result]) -> Preview:
        return Preview()

    def run(self, settings: Settings, state: State) -> list[Command]:
        which = "expand_cmd" if settings.phase == EXPAND else "contract_cmd"
        return [self._command(settings, which, timeouts=True)] if settings.commands.get(which) else []
