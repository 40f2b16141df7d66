# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Rails: GitLab's post-deployment migrations (``SKIP_POST_DEPLOYMENT_MIGRATIONS``), or two databases of database.yml with their own ``migrations_paths``.

Tested against the documented command line (``db:migrate``, ``db:migrate:status``) with a stand-in, not against Rails. Rails can't print SQL, so what is not
split is refused unless the rule ``unknown`` is allowed; strong_migrations in the application is a good thing to have. Behind PgBouncer its own advisory
lock needs ``advisory_locks: false`` in database.yml.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.base import EXPAND, SPLIT_NONE, Adapter, Command, Result, Settings, State

_STATUS = re.compile(r"^\s*(up|down)\s+(\d+)\s+(.*?)\s*$")
_FILE = re.compile(r"^(\d+)_(\w+)\.rb$")
SKIP = "SKIP_POST_DEPLOYMENT_MIGRATIONS"
POST = "db/post_migrate"


class Rails(Adapter):
    name = "rails"
    splits = ("post_migrate", "databases", SPLIT_NONE)
    defaults: t.ClassVar[t.Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {"databases": (("primary",), ("contract",))}
    own_tables = ("schema_migrations", "ar_internal_metadata")

    def complete(self, settings: Settings) -> Settings:
        completed = super().complete(settings)
        if completed.split != "databases" and (completed.expand or completed.contract):
            raise SeamlessError(f"expand and contract have no meaning with framework rails and split {completed.split}: use split: databases.")
        for name in (*completed.expand, *completed.contract):
            if not re.match(r"^\w+$", name):
                raise SeamlessError(f"{name!r} is no name of a database in config/database.yml: write one such as primary.")
        return completed

    def directories(self, settings: Settings) -> tuple[str, ...]:
        return ("db/migrate", POST)

    def _rails(self, settings: Settings, task: str, may_fail: bool = False, timeouts: bool = False) -> Command:
        start = settings.binary or (self.executable(settings, "rails") if settings.bin_dir else ("bin/rails",))
        command = self.command(settings, *start, task, *settings.arguments, may_fail=may_fail, timeouts=timeouts)
        environment = {"RAILS_ENV": "production", **command.environment}
        environment.pop(SKIP, None)
        if settings.split == "post_migrate" and settings.phase == EXPAND:
            environment[SKIP] = "true"
        return dataclasses.replace(command, environment=environment)

    def _tasks(self, settings: Settings, task: str) -> list[str]:
        return [f"{task}:{name}" for name in settings.targets] if settings.split == "databases" else [task]

    def status(self, settings: Settings) -> list[Command]:
        return [self._rails(settings, task, may_fail=True) for task in self._tasks(settings, "db:migrate:status")]

    def read_status(self, settings: Settings, results: t.Sequence[Result]) -> State:
        applied: dict[str, None] = {}
        pending: dict[str, None] = {}
        post = [match.group(1) for match in map(_FILE.match, settings.listing.get(POST, ())) if match]
        for result in results:
            if result.code and "Schema migrations table does not exist yet" in f"{result.stdout}{result.stderr}":
                return self._fresh(settings)
            if result.code:
                raise SeamlessError(
                    f"rails db:migrate:status ended with {result.code}: {(result.stderr or result.stdout).strip()[-1000:]} {self.explain(result)}".strip()
                )
            for match in filter(None, map(_STATUS.match, result.stdout.splitlines())):
                state, version, name = match.groups()
                if state == "down" and version in post and settings.split == "post_migrate" and settings.phase == EXPAND:
                    raise SeamlessError(
                        f"Rails would run {POST}/{version} before the roll: the application does not heed {SKIP}. Add an initializer that appends "
                        f"{POST} to paths['db/migrate'] unless that variable is set, as GitLab does."
                    )
                (applied if state == "up" else pending)[f"{version} {name}"] = None
        return State(tuple(applied), tuple(pending))

    def _fresh(self, settings: Settings) -> State:
        directories = ("db/migrate",) if settings.split == "post_migrate" and settings.phase == EXPAND else self.directories(settings)
        files = [match for name in directories for match in map(_FILE.match, settings.listing.get(name, ())) if match]
        return State((), tuple(sorted(f"{match.group(1)} {match.group(2)}" for match in files)) or ("all",), fresh=True)

    def run(self, settings: Settings, state: State) -> list[Command]:
        return [self._rails(settings, task, timeouts=True) for task in self._tasks(settings, "db:migrate")]

    def explain(self, result: Result) -> str:
        text = f"{result.stdout}\n{result.stderr}"
        if "ConcurrentMigrationError" in text:
            return "Somebody else runs Rails migrations right now, or a pooler is between: give the migration a direct connection."
        if "StrongMigrations::UnsafeMigration" in text or "strong_migrations" in text:
            return "strong_migrations refused a migration: its message says what is safe."
        if "Don't know how to build task" in text or "Unrecognized command" in text:
            return "Rails has no such task: with split databases config/database.yml needs an entry of that name beside another."
        return super().explain(result)
