# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Liquibase: ``update`` with a context (or a label) for each phase.

Tested against the documented command line with a stand-in, not against Liquibase. A changeset without a context belongs to every phase: the SQL of
``update-sql`` shows it, and the rules judge it. A lock in DATABASECHANGELOGLOCK is never broken here: only its holder's end makes that safe.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.base import SPLIT_NONE, Adapter, Command, Preview, Result, Settings, State
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import MARIADB

_CHANGESET = re.compile(r"^\s+(\S.*?::.*?::.*?)\s*$")
_COUNT = re.compile(r"(\d+) change ?sets? (?:has|have) not been applied")
_BANNER = re.compile(r"^(?:#|Starting Liquibase|Liquibase |Licensed|Running Changeset|WARNING|INFO|\[\d{4}-)")
_URL = "LIQUIBASE_COMMAND_URL"
_LOCKED = re.compile(r"Currently locked by (.*)")


class Liquibase(Adapter):
    name = "liquibase"
    splits = ("contexts", "labels", SPLIT_NONE)
    defaults: t.ClassVar[t.Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
        "contexts": (("expand",), ("contract",)),
        "labels": (("expand",), ("contract",)),
    }
    own_tables = ("databasechangelog", "databasechangeloglock")

    def complete(self, settings: Settings) -> Settings:
        completed = super().complete(settings)
        if completed.split == SPLIT_NONE and (completed.expand or completed.contract):
            raise SeamlessError("expand and contract have no meaning with framework liquibase and split none: use split: contexts or labels.")
        return completed

    def _liquibase(self, settings: Settings, verb: str, *options: str, filtered: bool = True, may_fail: bool = False, timeouts: bool = False) -> Command:
        # --contexts and --labels are understood by every 4.x: newer ones know them as other names of --context-filter and --label-filter.
        chosen = [f"--{settings.split}={','.join(settings.targets)}"] if filtered and settings.split != SPLIT_NONE else []
        executable = self.executable(settings, "liquibase")
        command = self.command(settings, *executable, verb, *options, *chosen, *(settings.arguments if filtered else ()), may_fail=may_fail)
        return dataclasses.replace(command, environment={**command.environment, **self._bounded_url(settings, command)}) if timeouts else command

    def _bounded_url(self, settings: Settings, command: Command) -> dict[str, str]:
        """Return the JDBC URL with a bound for lock waits, where the URL is in the environment."""
        url = command.environment.get(_URL, "")
        if not url.startswith("jdbc:") or not settings.lock_timeout_ms:
            return {}
        if settings.engine == MARIADB:
            extra = f"sessionVariables=lock_wait_timeout={max(1, settings.lock_timeout_ms // 1000)}"
        else:
            extra = "options=" + urllib.parse.quote(f"-c lock_timeout={settings.lock_timeout_ms}ms", safe="")
        return {} if extra.partition("=")[0] + "=" in url else {_URL: f"{url}{'&' if '?' in url else '?'}{extra}"}

    def lock_timeout_by(self, settings: Settings) -> str | None:
        return "the JDBC URL" if {**settings.environment, **settings.secrets}.get(_URL, "").startswith("jdbc:") else None

    def lock_timeout_advice(self, settings: Settings) -> str:
        return f"give the JDBC URL in environment, as {_URL}, or add the time limit to the one in liquibase.properties."

    def status(self, settings: Settings) -> list[Command]:
        return [self._liquibase(settings, "status", "--verbose"), self._liquibase(settings, "history", filtered=False, may_fail=True)]

    def read_status(self, settings: Settings, results: t.Sequence[Result]) -> State:
        text = f"{results[0].stdout}\n{results[0].stderr}"
        count = _COUNT.search(text)
        if count is None and "is up to date" not in text:
            raise SeamlessError(f"liquibase status did not say what is pending: {text.strip()[-1000:]}")
        pending = [match.group(1) for match in map(_CHANGESET.match, text.splitlines()) if match] if count else []
        if count and len(pending) != int(count.group(1)):
            raise SeamlessError(
                f"liquibase status counts {count.group(1)} changesets and names {len(pending)}: its output is not understood.", output=text[-2000:]
            )
        applied = [match.group(1) for match in map(_CHANGESET.match, results[1].stdout.splitlines()) if match]
        return State(tuple(applied), tuple(pending), fresh=results[1].code == 0 and not applied)

    def preview(self, settings: Settings, state: State) -> list[Command]:
        return [self._liquibase(settings, "update-sql", may_fail=True)]

    def read_preview(self, settings: Settings, state: State, results: t.Sequence[Result]) -> Preview:
        result = results[0]
        if result.code:
            return Preview(unknown=(f"liquibase update-sql failed: {(result.stderr or result.stdout).strip()[-300:]}",))
        return Preview("\n".join(line for line in result.stdout.splitlines() if not _BANNER.match(line)))

    def run(self, settings: Settings, state: State) -> list[Command]:
        return [self._liquibase(settings, "update", timeouts=True)]

    def explain(self, result: Result) -> str:
        text = f"{result.stdout}\n{result.stderr}"
        if "Could not acquire change log lock" in text:
            match = _LOCKED.search(text)
            holder = match.group(1).strip() if match else "somebody"
            return f"Liquibase's lock is held by {holder}: when that is sure to be dead, run liquibase release-locks and try again."
        if "checksum" in text and "Validation Failed" in text:
            return "A changeset that was applied has been edited since: take the edit back, and write a new one."
        return super().explain(result)
