# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Alembic: ``alembic upgrade expand@head`` before the roll, ``contract@head`` after it, as two branches with labels of one history.

Tested against Alembic itself. The state is read from ``current`` and ``history --verbose``: what is applied are the current revisions and all that they
come from or depend on. The SQL is Alembic's offline mode (``--sql``), cut at its own remarks to what is pending.
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

_ID = re.compile(r"^\s*([^\s(]+)(?:\s+\(|\s*$)")
_RUNNING = re.compile(r"^-- Running upgrade\s+(.*?)\s*->\s*([^\s,]+)")


class _Revision(t.NamedTuple):
    identity: str
    parents: tuple[str, ...]
    branches: tuple[str, ...]


def _history(output: str) -> dict[str, _Revision]:
    """Return the revisions that ``alembic history --verbose`` shows, newest first."""
    found: dict[str, _Revision] = {}
    for line in output.splitlines():
        key, dummy, value = line.partition(":")
        value = value.strip()
        if key == "Rev" and value:
            identity = value.split()[0]
            found[identity] = _Revision(identity, (), ())
        elif found and key in ("Parent", "Merges", "Also depends on", "Branch names"):
            last = next(reversed(list(found.values())))
            words = tuple(word.strip() for word in value.split(",") if word.strip() and word.strip() != "<base>")
            if key == "Branch names":
                found[last.identity] = last._replace(branches=words)
            else:
                found[last.identity] = last._replace(parents=(*last.parents, *words))
    return found


def _behind(revisions: t.Mapping[str, _Revision], start: t.Iterable[str]) -> set[str]:
    """Return *start* and all revisions that they come from or depend on."""
    seen: set[str] = set()
    waiting = list(start)
    while waiting:
        identity = waiting.pop()
        # A dependency may be written as a label or as the start of an identity.
        matches = [one for one in revisions.values() if one.identity == identity] or [
            one for one in revisions.values() if identity in one.branches or one.identity.startswith(identity)
        ]
        for one in matches:
            if one.identity not in seen:
                seen.add(one.identity)
                waiting.extend(one.parents)
    return seen


class Alembic(Adapter):
    name = "alembic"
    splits = ("branches", SPLIT_NONE)
    defaults: t.ClassVar[t.Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
        "branches": (("expand@head",), ("contract@head",)),
        SPLIT_NONE: (("heads",), ()),
    }
    own_tables = ("alembic_version",)

    def complete(self, settings: Settings) -> Settings:
        completed = super().complete(settings)
        if completed.split == "branches":
            for target in (*completed.expand, *completed.contract):
                if target in ("head", "heads") or target.startswith("-"):
                    raise SeamlessError(f"{target!r} is every branch of Alembic's: name one, such as expand@head, or say split: none.")
        if len(completed.targets) > 1:
            raise SeamlessError(f"{completed.phase} is {list(completed.targets)}: Alembic takes one revision, such as {completed.phase}@head.")
        return completed

    def _target(self, settings: Settings) -> str:
        return settings.targets[0] if settings.targets else settings.expand[0]

    def _alembic(self, settings: Settings, *arguments: str, may_fail: bool = False, timeouts: bool = False) -> Command:
        return self.command(settings, *self.executable(settings, "alembic"), *settings.arguments, *arguments, may_fail=may_fail, timeouts=timeouts)

    def status(self, settings: Settings) -> list[Command]:
        return [
            self._alembic(settings, "current"),
            self._alembic(settings, "history", "--verbose"),
            self._alembic(settings, "history", "--verbose", "-r", f"base:{self._target(settings)}", may_fail=True),
        ]

    def read_status(self, settings: Settings, results: t.Sequence[Result]) -> State:
        current, history, wanted = results
        revisions = _history(history.stdout)
        matches = [_ID.match(line) for line in current.stdout.splitlines() if line.strip()]
        now = [match.group(1) for match in matches if match]
        strange = [identity for identity in now if identity not in revisions]
        if strange:
            raise SeamlessError(f"the database is at revision {strange[0]}, which this release's history does not have: a newer release ran its migrations.")
        if wanted.code and "can't locate revision" in f"{wanted.stdout}{wanted.stderr}".lower():
            if settings.split == "branches" and settings.phase != EXPAND:
                return State(applied=tuple(sorted(_behind(revisions, now))))  # no contract branch yet
            raise SeamlessError(
                f"Alembic has no {self._target(settings)}: label a revision with branch_labels=('expand',), or say what it is called in {settings.phase}."
            )
        if wanted.code:
            raise SeamlessError(f"alembic history failed: {(wanted.stderr or wanted.stdout).strip()[-500:]}")
        target = _history(wanted.stdout)
        applied = _behind(revisions, now)
        missing = [identity for identity in reversed(list(target)) if identity not in applied]
        if settings.split == "branches" and settings.phase == EXPAND:
            self._refuse_contract(settings, [revisions[identity] for identity in missing if identity in revisions])
        order = [identity for identity in reversed(list(revisions)) if identity in applied]
        heads = [identity for identity in now if identity in target]
        return State(tuple(order), tuple(missing), fresh=not now, notes={"from": heads[0] if heads else "base"})

    def _refuse_contract(self, settings: Settings, pending: t.Sequence[_Revision]) -> None:
        """Refuse an expand that would pull in the contract: a revision of the expand branch that depends on one of the other."""
        mine, other = (target.partition("@")[0] for target in (settings.expand[0], settings.contract[0]))
        for one in pending:
            if other in one.branches and mine not in one.branches:
                raise SeamlessError(
                    f"Alembic's {settings.expand[0]} needs revision {one.identity} of the branch {other}, which may run only after the roll: "
                    "finish the contract of the release before, or take the dependency out."
                )

    def preview(self, settings: Settings, state: State) -> list[Command]:
        return [self._alembic(settings, "upgrade", f"{state.notes['from']}:{self._target(settings)}", "--sql", may_fail=True)]

    def read_preview(self, settings: Settings, state: State, results: t.Sequence[Result]) -> Preview:
        result = results[0]
        if result.code:
            last = (result.stderr or result.stdout).strip().splitlines()[-1:] or ["no output"]
            return Preview(unknown=(f"Alembic's offline mode can't show a pending revision as SQL ({last[0][:300]})",))
        sections: dict[str, list[str]] = {}
        section: list[str] | None = None
        for line in result.stdout.splitlines():
            match = _RUNNING.match(line)
            if match:
                section = sections.setdefault(match.group(2), []) if match.group(2) in state.pending else None
            elif section is not None:
                section.append(line)
        unseen = tuple(f"Alembic's offline mode does not show revision {identity}" for identity in state.pending if identity not in sections)
        return Preview("\n".join(line for lines in sections.values() for line in lines), unseen)

    def run(self, settings: Settings, state: State) -> list[Command]:
        return [self._alembic(settings, "upgrade", self._target(settings), timeouts=True)]

    def explain(self, result: Result) -> str:
        text = f"{result.stdout}\n{result.stderr}"
        if "Multiple head revisions" in text:
            return "The branch has several heads: merge them, or name one revision."
        if "No 'script_location' key" in text or "No config file" in text:
            return "alembic.ini was not found: set directory to where it is, or arguments to [-c, path]."
        return super().explain(result)
