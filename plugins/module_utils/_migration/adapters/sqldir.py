# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""A directory of plain SQL: ``NNN_name.expand.sql``, and beside it ``.backfill.sql``, ``.verify.sql``, ``.contract.sql`` and ``.abort.sql`` as needed.

It becomes one migration a name, in the order of the names, whose only operation is ``sql``: so it goes through the engine, with its locks, ledger and gate.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL
from ansible_collections.seamless.rollout.plugins.module_utils._migration.rules import PHASES, judge
from ansible_collections.seamless.rollout.plugins.module_utils._migration.rules_base import Finding
from ansible_collections.seamless.rollout.plugins.module_utils._migration.statements import SYMBOL, WORD, Statement, is_word, name_at, split

_FILE = re.compile(rf"^(\d+[\w-]*)\.({'|'.join(PHASES)})\.sql$")
_AFTER = ("UPDATE", "INTO", "TABLE", "ON", "FROM", "JOIN", "REFERENCES")


class Parts(t.NamedTuple):
    """A migration's files: phase → path, and phase → statements."""

    name: str
    files: dict[str, str]
    statements: dict[str, list[Statement]]


def parts(files: t.Mapping[str, str], engine: str) -> list[Parts]:
    """Return the migrations that *files* (path → text) make, in order. Raises SeamlessError for names and contents that can't be right."""
    found: dict[str, Parts] = {}
    for path in sorted(files):
        base = os.path.basename(path)
        match = _FILE.match(base)
        if match is None:
            raise SeamlessError(f"{path} is no name of a migration: write NNN_name.PHASE.sql with one of {', '.join(PHASES)}, such as 001_names.expand.sql.")
        name, phase = match.groups()
        part = found.setdefault(name, Parts(name, {}, {}))
        try:
            part.statements[phase] = split(files[path], engine)
        except SeamlessError as exc:
            raise SeamlessError(f"{path}, {exc}") from exc
        part.files[phase] = path
    for part in found.values():
        _check(part)
    return [found[name] for name in sorted(found, key=_order)]


def _order(name: str) -> tuple[int, str]:
    return int(re.match(r"\d+", name).group()), name  # type: ignore[union-attr]  # _FILE saw the digits


def _check(part: Parts) -> None:
    for phase, statements in part.statements.items():
        if not statements:
            raise SeamlessError(f"{part.files[phase]} holds no statement: write one, or take the file away.")
    if not {"expand", "backfill", "contract"}.intersection(part.files):
        raise SeamlessError(f"{part.name} has only {', '.join(sorted(part.files))}: an expand, a backfill or a contract file is what it changes.")
    for statement in part.statements.get("verify", ()):
        if not is_word(statement.tokens[0], "SELECT", "WITH", "VALUES"):
            raise SeamlessError(f"{part.files['verify']}, line {statement.line}: verify holds queries that return 0, such as SELECT count(*) FROM …, not this.")
    for phase in part.files:
        for statement in part.statements[phase]:
            if is_word(statement.tokens[0], "BEGIN", "START", "COMMIT", "ROLLBACK", "END") and len(statement.tokens) < 4:
                raise SeamlessError(f"{part.files[phase]}, line {statement.line}: the engine makes the transactions: take {statement.text} out.")


def specs(files: t.Mapping[str, str], engine: str, app: str, release: str) -> list[dict[str, t.Any]]:
    """Return the migrations that *files* (path → text) make as specs of the engine, each with its ``name``, in order."""
    return [{"name": part.name, "app": app, "release": release, "operations": [{"sql": _operation(part, engine)}]} for part in parts(files, engine)]


def findings(files: t.Mapping[str, str], engine: str) -> list[tuple[str, str, Finding]]:
    """Return what the rules say of *files*, each with its migration and path."""
    found = []
    for part in parts(files, engine):
        for phase in PHASES:
            found += [(part.name, part.files[phase], one) for one in judge(part.statements.get(phase, ()), engine, phase)]
    return found


def _operation(part: Parts, engine: str) -> dict[str, t.Any]:
    operation: dict[str, t.Any] = {phase: [statement.text for statement in part.statements[phase]] for phase in PHASES if phase in part.statements}
    backfill = part.statements.get("backfill", [])
    batched = as_batches(backfill[0], engine) if len(backfill) == 1 else None
    if batched:
        operation["backfill"] = batched
    touched = tables([statement for phase in ("expand", "backfill", "contract") for statement in part.statements.get(phase, ())], engine)
    return {**operation, "tables": touched} if touched else operation


def _name(statement: Statement, at: int, engine: str) -> tuple[tuple[str, ...], int]:
    """Return the name at token *at* as the catalog has it, and where it ends: PostgreSQL folds what is not quoted."""
    parts, end = name_at(statement, at)
    quoted = [statement.tokens[index].kind != WORD for index in range(at, end, 2)]
    return tuple(part if is_quoted or engine != POSTGRESQL else part.lower() for part, is_quoted in zip(parts, quoted)), end


def _written(name: tuple[str, ...]) -> str | list[str]:
    return name[0] if len(name) == 1 else list(name)


def as_batches(statement: Statement, engine: str) -> dict[str, t.Any] | None:
    """Return a plain ``UPDATE table SET … WHERE …`` as what the engine runs in batches, or None when it is more than that."""
    tokens = statement.tokens
    name, end = _name(statement, 1, engine)
    if not is_word(tokens[0], "UPDATE") or is_word(tokens[1], "ONLY", "LOW_PRIORITY", "IGNORE") or end >= len(tokens) or not is_word(tokens[end], "SET"):
        return None
    depth, where = 0, None
    for index in range(end + 1, len(tokens)):
        token = tokens[index]
        if token.kind == SYMBOL and token.text in "()":
            depth += 1 if token.text == "(" else -1
        elif depth == 0 and token.kind == WORD and token.text in ("FROM", "RETURNING", "ORDER", "LIMIT"):
            return None
        elif depth == 0 and is_word(token, "WHERE") and where is None:
            where = index
    if where is None:
        return None
    # To the end of the last token, not to WHERE: a comment between them would comment out what follows.
    assignments = statement.text[tokens[end].end : tokens[where - 1].end].strip()
    return {"table": _written(name), "set": assignments, "where": statement.text[tokens[where].end :].strip()}


def tables(statements: t.Iterable[Statement], engine: str) -> list[str | list[str]]:
    """Return the tables that *statements* name, in the order in which they come, without those that they create."""
    created: set[tuple[str, ...]] = set()
    found: dict[tuple[str, ...], None] = {}
    for statement in statements:
        tokens = statement.tokens
        for at, token in enumerate(tokens[:-1]):
            if not is_word(token, *_AFTER) or is_word(token, "ON") and not is_word(tokens[0], "CREATE") or is_word(token, "UPDATE") and at:
                continue
            start = at + 1
            while start < len(tokens) and is_word(tokens[start], "IF", "NOT", "EXISTS", "ONLY"):
                start += 1
            name, dummy = _name(statement, start, engine)
            if not name or is_word(tokens[start], "SET", "SELECT", "DELETE", "UPDATE", "CONFLICT", "DUPLICATE"):
                continue
            if is_word(tokens[0], "CREATE") and is_word(token, "TABLE"):
                created.add(name)
            found[name] = None
    return [_written(name) for name in found if name not in created]


def read(directory: str) -> dict[str, str]:
    """Return the SQL files of *directory*, path → text. Raises SeamlessError when there are none."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".sql"))
    except FileNotFoundError:
        raise SeamlessError(f"{directory} does not exist: set directory to where the migrations are.") from None
    if not names:
        raise SeamlessError(f"{directory} holds no .sql files: write NNN_name.expand.sql and the like.")
    found = {}
    for name in names:
        path = os.path.join(directory, name)
        with open(path, "rb") as file:
            data = file.read()
        try:
            found[path] = data.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise SeamlessError(f"{path} is not UTF-8 (byte {exc.start}): write it so.") from None
    return found
