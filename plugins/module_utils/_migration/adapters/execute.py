# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Runs a phase of a framework: what is pending, what the rules say of it, refuse or run, and read back that it is done."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters import process
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.base import (
    CONTRACT,
    EXPAND,
    LOCK_SIGNS,
    SPLIT_NONE,
    Adapter,
    Command,
    Preview,
    Result,
    Settings,
    State,
)
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL
from ansible_collections.seamless.rollout.plugins.module_utils._migration.rules import holds_concurrently, judge, locks_tables
from ansible_collections.seamless.rollout.plugins.module_utils._migration.rules_base import ERROR, UNKNOWN, Finding
from ansible_collections.seamless.rollout.plugins.module_utils._migration.statements import Statement, split

SHOWN = 20_000  # characters of SQL and of output in the result
_RUNGS = (100, 200, 500)  # milliseconds; a framework takes a second to start, so there are few

Lock = t.Callable[[], t.ContextManager[t.Any]]


@dataclasses.dataclass(frozen=True)
class Limits:
    """*timeout*: seconds for a command; *lock_wait_total*: seconds for which a run that waited too long for a lock is tried again."""

    timeout: float = 3600.0
    lock_wait_total: float = 120.0


class Execution:
    """One call. *lock* returns the context manager that holds the application's migration lock while something is run; it yields the file descriptors
    of the lock's connection, which what is run inherits, or None.
    """

    def __init__(self, adapter: Adapter, settings: Settings, *, lock: Lock, limits: Limits, allow: t.Collection[str] = ()) -> None:
        self.adapter, self.lock, self.limits, self.allow = adapter, lock, limits, set(allow)
        self.settings = adapter.complete(dataclasses.replace(settings, listing=_listing(adapter, settings)))
        self.hide = process.Curtain(settings.secrets.values())
        self.warnings: list[str] = []
        self.keep: tuple[int, ...] = ()

    # -- the phases

    def status(self) -> dict[str, t.Any]:
        """Return what the framework ran, and what each phase would run now."""
        states = {phase: self._state(self._for(phase)) for phase in (EXPAND, CONTRACT)}
        return {
            "changed": False, **self._named(), "applied": list(states[CONTRACT].applied or states[EXPAND].applied),
            "pending": {phase: list(state.pending) for phase, state in states.items()}, "known": all(state.known for state in states.values()),
        }

    def phase(self, check_mode: bool) -> dict[str, t.Any]:
        """Run the settings' phase, unless there is nothing to run. In check mode, and for what is refused, nothing is run and no lock is taken."""
        with contextlib.nullcontext() if check_mode else self.lock() as held:
            self.keep = tuple(held or ())
            settings = self.settings
            state = self._state(settings)
            result: dict[str, t.Any] = {**self._named(), "applied": list(state.applied), "pending": list(state.pending), "known": state.known, "findings": [],
                                        "sql": "", "ran": [], "attempts": 0, "fresh": state.fresh, "output": ""}
            if state.known and not state.pending:
                return {"changed": False, **result, "commands": []}
            result["commands"] = [self._shown(command) for command in self.adapter.run(settings, state)]
            if not result["commands"]:
                return {"changed": False, **result}
            preview = self._preview(state)
            statements = self._statements(preview)
            found = [] if state.fresh else self._findings(preview, statements)
            result.update(sql=self.hide(preview.sql)[:SHOWN], findings=[one._asdict() for one in found])
            self._refuse(found, result)
            if check_mode:
                return {"changed": True, **result, "warnings": self.warnings}
            settings = self._with_timeout(settings, statements)
            output, attempts = self._run(settings, state, result)
            after = self._state(self.settings) if state.known else state
            left = [name for name in state.pending if name in after.pending] if state.known else []
            result.update(output=output, attempts=attempts, ran=[name for name in state.pending if name not in left], applied=list(after.applied))
            if left:
                raise SeamlessError(f"{self.adapter.name} reported success, and {', '.join(left[:5])} is pending as before: look at its output.", **result)
            return {"changed": True, **result, "lock_timeout_by": self._bound(settings), "warnings": self.warnings}

    def _for(self, phase: str) -> Settings:
        return self.adapter.complete(dataclasses.replace(self.settings, phase=phase))

    def _named(self) -> dict[str, t.Any]:
        return {"framework": self.adapter.name, "phase": self.settings.phase, "split": self.settings.split}

    # -- looking

    def _state(self, settings: Settings) -> State:
        try:
            return self.adapter.read_status(settings, self._all(self.adapter.status(settings)))
        except SeamlessError as exc:
            raise self._hidden(exc) from exc

    def _preview(self, state: State) -> Preview:
        return self.adapter.read_preview(self.settings, state, self._all(self.adapter.preview(self.settings, state)))

    def _statements(self, preview: Preview) -> list[Statement]:
        return split(preview.sql, self.settings.engine)

    def _all(self, commands: t.Iterable[Command]) -> list[Result]:
        results = []
        for command in commands:
            result = process.run(command, self.limits.timeout)
            if result.code and not command.may_fail:
                raise self._failure(command, result)
            results.append(result)
        return results

    # -- judging

    def _findings(self, preview: Preview, statements: t.Sequence[Statement]) -> list[Finding]:
        phase = self.settings.phase
        found = judge(statements, self.settings.engine, phase, self.adapter.own_tables)
        advice = "read it, and allow the rule unknown when old code goes on working beside it and it locks nothing for long."
        found += [Finding(0, "unknown", UNKNOWN, self.hide(what), advice) for what in preview.unknown]
        bounded = self.settings.engine == POSTGRESQL and self.settings.lock_timeout_ms
        if bounded and holds_concurrently(statements) and locks_tables(statements, self.adapter.own_tables):
            found.append(
                Finding(0, "concurrently-with-locks", ERROR, "one run has CONCURRENTLY, which a lock timeout breaks off, and statements that need one",
                        "release them one after the other, or allow the rule and look for invalid indexes afterwards.")
            )
        return found

    def _refuse(self, findings: t.Sequence[Finding], result: dict[str, t.Any]) -> None:
        whole = self.settings.split == SPLIT_NONE and self.settings.phase == EXPAND
        levels = (ERROR, UNKNOWN) if whole else (ERROR,)
        against = [one for one in findings if one.level in levels and one.rule not in self.allow]
        self.warnings += [f"{one.rule}: {one.message}. {one.what_would_do}" for one in findings if one not in against]
        if not against:
            return
        first = against[0]
        more = f" ({len(against) - 1} more in findings)" if len(against) > 1 else ""
        why = f"{self.adapter.name} would run {', '.join(result['pending'][:5]) or 'what is pending'} in the phase {self.settings.phase}, which is refused: "
        split_up = f" Or split the migrations, with split: {' or '.join(one for one in self.adapter.splits if one != SPLIT_NONE)}." if whole else ""
        message = f"{why}{first.rule}: {first.message}. {sentence(first.what_would_do)}{more}{split_up}"
        raise SeamlessError(message, **{**result, "changed": False, "warnings": self.warnings})

    # -- running

    def _with_timeout(self, settings: Settings, statements: t.Sequence[Statement]) -> Settings:
        """Return *settings* without a lock timeout where CONCURRENTLY runs: it waits without holding clients up, and broken off it leaves an invalid index."""
        if settings.lock_timeout_ms and holds_concurrently(statements) and not locks_tables(statements, self.adapter.own_tables):
            return dataclasses.replace(settings, lock_timeout_ms=0)
        if settings.lock_timeout_ms and self.adapter.lock_timeout_by(settings) is None:
            advice = self.adapter.lock_timeout_advice(settings)
            self.warnings.append(f"{self.adapter.name} waits for locks as long as the server lets it, and clients wait behind it: {advice}")
        return settings

    def _bound(self, settings: Settings) -> str | None:
        return self.adapter.lock_timeout_by(settings) if settings.lock_timeout_ms else None

    def _run(self, settings: Settings, state: State, result: dict[str, t.Any]) -> tuple[str, int]:
        deadline = time.monotonic() + self.limits.lock_wait_total
        attempts = 0
        while True:
            rung = min(settings.lock_timeout_ms, _RUNGS[min(attempts, len(_RUNGS) - 1)]) if attempts < len(_RUNGS) else settings.lock_timeout_ms
            attempts += 1
            outputs: list[str] = []
            failed: tuple[Command, Result] | None = None
            for command in self.adapter.run(dataclasses.replace(settings, lock_timeout_ms=rung), state):
                done = process.run(command, self.limits.timeout, self.keep)
                outputs.append(done.stdout + done.stderr)
                if done.code:
                    failed = command, done
                    break
            output = self.hide("".join(outputs))[-SHOWN:]
            if failed is None:
                return output, attempts
            pause = random.uniform(0.5, min(1.0 + attempts, 5.0))
            # A failed run on PostgreSQL leaves no statement half done; MariaDB commits each by itself, so that must not be tried again blindly.
            again = settings.engine == POSTGRESQL and rung and any(sign in output.lower() for sign in LOCK_SIGNS)
            if not again or time.monotonic() + pause > deadline:
                after = f" {attempts} attempts were made." if attempts > 1 else ""
                raise self._failure(*failed, after=after, **{**result, "output": output, "attempts": attempts, "changed": True})
            time.sleep(pause)

    # -- showing

    def _shown(self, command: Command) -> dict[str, t.Any]:
        argv = self.hide(command.argv) if isinstance(command.argv, str) else [self.hide(word) for word in command.argv]
        environment = {key: "********" if key in self.settings.secrets else self.hide(value) for key, value in command.environment.items()}
        return {"command": argv, "directory": command.directory, "environment": environment}

    def _failure(self, command: Command, result: Result, after: str = "", **details: t.Any) -> SeamlessError:
        line = self.hide(command.argv if isinstance(command.argv, str) else " ".join(command.argv))
        text = self.hide((result.stderr.strip() or result.stdout.strip()) or "no output")
        how = f"was ended by signal {-result.code}" if result.code < 0 else f"ended with {result.code}"
        explained = self.adapter.explain(result)
        details.setdefault("output", self.hide(result.stdout + result.stderr)[-SHOWN:])
        message = f"{line} {how}.{' ' + explained if explained else ''}{after} Its last lines:\n{text[-1500:]}"
        return SeamlessError(message, **{**details, "warnings": self.warnings})

    def _hidden(self, exc: SeamlessError) -> SeamlessError:
        return SeamlessError(self.hide(str(exc)), **{key: self.hide(value) if isinstance(value, str) else value for key, value in exc.details.items()})


def sentence(text: str) -> str:
    """Return *text* with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def _listing(adapter: Adapter, settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return what the directories that *adapter* asks for hold; those that aren't there hold nothing."""
    found = {}
    for phase in (EXPAND, CONTRACT):
        for name in adapter.directories(adapter.complete(dataclasses.replace(settings, phase=phase))):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found[name] = tuple(sorted(os.listdir(os.path.join(settings.directory, name))))
    return found
