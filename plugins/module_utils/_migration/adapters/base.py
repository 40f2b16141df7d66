# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What every framework's adapter has: settings in, command lines out, and what their output says. Nothing here runs anything."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import MARIADB, POSTGRESQL

EXPAND, CONTRACT = "expand", "contract"
SPLIT_NONE = "none"  # the framework knows only "migrate everything"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a user says about the framework.

    *split* says how its migrations are told apart, one of the adapter's ``splits``; *expand* and *contract* are what that way needs (branches, directories,
    contexts …). *environment* is added to the process's own, *secrets* likewise, and is shown nowhere. *lock_timeout_ms* 0 means none.
    """

    framework: str
    directory: str
    phase: str
    engine: str
    app: str = ""
    split: str = ""
    expand: tuple[str, ...] = ()
    contract: tuple[str, ...] = ()
    binary: tuple[str, ...] = ()
    bin_dir: str = ""
    arguments: tuple[str, ...] = ()
    environment: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    secrets: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    lock_timeout_ms: int = 500
    commands: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    listing: t.Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)  # what the directories that the adapter asks for hold

    @property
    def targets(self) -> tuple[str, ...]:
        return self.expand if self.phase == EXPAND else self.contract


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line, where it is run, and what is added to its environment. A string is for the shell."""

    argv: tuple[str, ...] | str
    directory: str
    environment: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    may_fail: bool = False  # its failure is an answer that the adapter reads


@dataclasses.dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    stdout: str
    stderr: str = ""


@dataclasses.dataclass(frozen=True)
class State:
    """What the framework says of its migrations: those it ran, and those that the phase would run now.

    *known* is False where it can't be told. *fresh* says that the database has never seen this framework: there is no old code to heed.
    *notes* is for the adapter's own next step.
    """

    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    known: bool = True
    fresh: bool = False
    notes: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Preview:
    """The SQL that the phase would run. *unknown* says, for each part that can't be shown as SQL, what it is."""

    sql: str = ""
    unknown: tuple[str, ...] = ()


class Adapter:
    """A framework. Its methods are pure: they plan command lines and read what these printed."""

    name = ""
    splits: tuple[str, ...] = ()  # the first one is the default
    defaults: t.ClassVar[t.Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {}  # split → (expand, contract)
    own_tables: tuple[str, ...] = ()
    needs_targets: tuple[str, ...] = ()  # splits that need *expand* from the user

    def directories(self, settings: Settings) -> tuple[str, ...]:
        """Return the directories, below the settings' own, whose files :meth:`read_status` wants to see in *listing*."""
        return ()

    def complete(self, settings: Settings) -> Settings:
        """Return *settings* with the defaults filled in. Raises SeamlessError for what this framework can't do."""
        split = settings.split or self.splits[0]
        if split not in self.splits:
            raise SeamlessError(f"split is {split!r}: with framework {self.name} it is one of {', '.join(self.splits)}.")
        expand, contract = self.defaults.get(split, ((), ()))
        completed = dataclasses.replace(settings, split=split, expand=settings.expand or expand, contract=settings.contract or contract)
        if split in self.needs_targets and not completed.expand:
            raise SeamlessError(f"expand is empty: with framework {self.name} and split {split} it says what may run before the roll.")
        if completed.expand and completed.expand == completed.contract:
            raise SeamlessError(f"expand and contract are both {' '.join(completed.expand)}: they must differ, or everything runs before the roll.")
        return completed

    def executable(self, settings: Settings, name: str) -> tuple[str, ...]:
        """Return the words that start the framework: *binary*, else *name* in *bin_dir*, else *name*."""
        if settings.binary:
            return settings.binary
        return (os.path.join(settings.bin_dir, name),) if settings.bin_dir else (name,)

    def command(self, settings: Settings, *argv: str, may_fail: bool = False, timeouts: bool = False) -> Command:
        """Return a command line of this framework. With *timeouts* it waits for locks no longer than the settings say, as far as it can be told."""
        environment = {**settings.environment, **settings.secrets}
        if timeouts:
            environment.update(self.lock_timeout(settings, environment))
        return Command(argv, settings.directory, environment, may_fail)

    def lock_timeout(self, settings: Settings, environment: t.Mapping[str, str]) -> dict[str, str]:
        """Return the environment that bounds the framework's waits for locks: libpq's PGOPTIONS; nothing reaches MariaDB's clients this way."""
        if settings.engine != POSTGRESQL or not settings.lock_timeout_ms:
            return {}
        mine = f"-c lock_timeout={settings.lock_timeout_ms}ms"
        given = environment.get("PGOPTIONS", "")
        return {"PGOPTIONS": f"{given} {mine}".strip()}

    def lock_timeout_by(self, settings: Settings) -> str | None:
        """Say how the wait for locks is bounded, or None when it is not."""
        return "PGOPTIONS" if settings.engine == POSTGRESQL else None

    def lock_timeout_advice(self, settings: Settings) -> str:
        """Say what would bound it."""
        if settings.engine == MARIADB:
            return "set lock_wait_timeout in the connection settings of the application, such as init_command: SET SESSION lock_wait_timeout=1."
        return "set it in the connection settings of the application."

    def status(self, settings: Settings) -> list[Command]:
        """Return the commands that tell the state."""
        raise NotImplementedError

    def read_status(self, settings: Settings, results: t.Sequence[Result]) -> State:
        """Return the state that *results*, of the commands of :meth:`status`, tell."""
        raise NotImplementedError

    def preview(self, settings: Settings, state: State) -> list[Command]:
        """Return the commands that print the SQL of what is pending; none when the framework can't."""
        return []

    def read_preview(self, settings: Settings, state: State, results: t.Sequence[Result]) -> Preview:
        """Return the SQL that *results*, of the commands of :meth:`preview`, show."""
        return Preview(unknown=(f"{self.name} can't print the SQL of what is pending",))

    def run(self, settings: Settings, state: State) -> list[Command]:
        """Return the commands that run what is pending in the phase."""
        raise NotImplementedError

    def explain(self, result: Result) -> str:
        """Return what is known about a failure beyond its output, as a sentence, or an empty text."""
        text = f"{result.stdout}\n{result.stderr}".lower()
        if result.code in (126, 127):
            return "The command was not found or can't be executed: set bin_dir or binary."
        if any(sign in text for sign in LOCK_SIGNS):
            return "It waited longer for a lock than lock_timeout_ms allows: a long transaction holds the table."
        if "unsupported startup parameter" in text:
            return "A pooler is between it and the database and refuses PGOPTIONS: give the migration a direct connection, or set lock_timeout_ms to 0."
        if "permission denied" in text or "access denied" in text or "insufficient privilege" in text:
            return "The database or the host refused it for want of a privilege."
        if "could not connect" in text or "connection refused" in text or "can't connect" in text:
            return "It could not reach the database."
        return ""


LOCK_SIGNS = ("due to lock timeout", "lock wait timeout exceeded", "lockwaittimeout", "locknotavailable", "55p03")
