# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Looks at migrations on the controller before anything runs: our own rules about rolling releases, squawk and sqlglot where they are installed.

What nobody can judge is said to be unknown. Squawk is only asked about PostgreSQL; what it says of a statement that our rules have flagged for the same
reason is left out, and so are its rules about timeouts and repeatability, which the engine sees to.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
import os
import shutil
import subprocess
import sys
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters import sqldir
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import MARIADB, POSTGRESQL
from ansible_collections.seamless.rollout.plugins.module_utils._migration.rules import PHASES, judge
from ansible_collections.seamless.rollout.plugins.module_utils._migration.rules_base import ERROR, UNKNOWN, WARNING
from ansible_collections.seamless.rollout.plugins.module_utils._migration.statements import SYMBOL, WORD, split

_SAME = {
    "ban-drop-column": ("drop-column",),
    "ban-drop-table": ("drop-table",),
    "ban-truncate-cascade": ("truncate",),
    "renaming-column": ("rename-column",),
    "renaming-table": ("rename-table",),
    "require-concurrent-index-creation": ("index-not-concurrent",),
    "require-concurrent-index-deletion": ("drop-index-not-concurrent",),
    "constraint-missing-not-valid": ("add-check", "add-foreign-key"),
    "adding-foreign-key-constraint": ("add-foreign-key",),
    "adding-required-field": ("add-column-not-null",),
    "adding-not-nullable-field": ("set-not-null", "add-column-not-null"),
    "adding-field-with-default": ("volatile-default",),
    "adding-serial-primary-key-field": ("table-rewrite", "add-unique"),
    "changing-column-type": ("change-type",),
    "disallowed-unique-constraint": ("add-unique",),
    "ban-concurrent-index-creation-in-transaction": ("concurrently-in-transaction",),
    "ban-drop-not-null": ("drop-not-null",),
}
_LEFT_OUT = (
    "require-lock-timeout", "require-statement-timeout", "require-timeout-settings", "prefer-robust-stmts", "prefer-bigint-over-int",
    "prefer-bigint-over-smallint", "prefer-text-field", "prefer-identity", "prefer-timestamptz", "transaction-nesting",
)  # fmt: skip
_LEFT_OUT_AFTERWARDS = ("ban-drop-column", "ban-drop-table", "ban-drop-not-null")
_VOLATILE = frozenset(("RANDOM", "RAND", "NOW", "CLOCK_TIMESTAMP", "GEN_RANDOM_UUID", "UUID", "UUID_GENERATE_V4", "NEXTVAL", "CURRENT_TIMESTAMP", "SYSDATE"))
_EXPRESSIONS = ("up", "down", "default", "value", "check", "where", "backfill")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What speaks against a statement or expression. *level* is error, warning or unknown; *by* is who says so: seamless, squawk or sqlglot."""

    file: str
    line: int
    rule: str
    level: str
    message: str
    what_would_do: str
    by: str = "seamless"


@dataclasses.dataclass(frozen=True)
class Source:
    """SQL of one phase. *lines* says, for each line of *text*, which line of *file* it is; empty when they are the same."""

    file: str
    text: str
    phase: str = "expand"
    lines: tuple[int, ...] = ()

    def line(self, line: int) -> int:
        return self.lines[min(line, len(self.lines)) - 1] if self.lines else line


@dataclasses.dataclass(frozen=True)
class Tools:
    """What is installed here: the path of squawk, and the module sqlglot."""

    squawk: str | None = None
    sqlglot: t.Any = None

    def missing(self, engine: str) -> list[str]:
        """Return the names of the packages that would see more, for the report."""
        return [name for name, there in (("squawk-cli", self.squawk or engine != POSTGRESQL), ("sqlglot", self.sqlglot)) if not there]


NO_TOOLS = Tools()


def installed() -> Tools:
    """Return the tools that are installed beside this Python or in PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "squawk")
    squawk = beside if os.access(beside, os.X_OK) else shutil.which("squawk")
    try:
        sqlglot = importlib.import_module("sqlglot")
    except ImportError:
        return Tools(squawk)
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of all that it only knows as a command
    return Tools(squawk, sqlglot)


def lint_sql(sources: t.Iterable[Source], engine: str, tools: Tools = NO_TOOLS, version: str = "") -> list[Finding]:
    """Return what speaks against *sources*, in their order. *version* is PostgreSQL's, such as ``15``."""
    found: list[Finding] = []
    for source in sources:
        try:
            statements = split(source.text, engine)
        except SeamlessError as exc:
            found.append(Finding(source.file, source.line(1), "syntax", ERROR, str(exc), "correct it: it can't be split into statements."))
            continue
        ours = [Finding(source.file, source.line(one.line), *one[1:]) for one in judge(statements, engine, source.phase)]
        found += ours
        starts = [source.line(statement.line) for statement in statements]
        if tools.squawk and engine == POSTGRESQL and source.text.strip():
            known = {(one.line, one.rule) for one in ours}
            found += [one for one in _squawk(tools.squawk, source, version) if not _is_known(one, known, starts)]
        if tools.sqlglot:
            for statement in statements:
                what = _parse_error(tools.sqlglot, statement.text, engine)
                if what and not any(one.line == source.line(statement.line) and one.level == UNKNOWN for one in ours):
                    found.append(Finding(source.file, source.line(statement.line), "parse", WARNING, f"sqlglot can't read it: {what}", _READ, "sqlglot"))
    return found


def lint_directory(directory: str, engine: str, tools: Tools = NO_TOOLS, version: str = "") -> list[Finding]:
    """Return what speaks against a directory of ``NNN_name.PHASE.sql`` files. Raises SeamlessError when it is none."""
    parts = sqldir.parts(sqldir.read(directory), engine)
    sources = []
    for part in parts:
        for phase in PHASES:
            if phase in part.files:
                with open(part.files[phase], encoding="utf-8") as file:
                    sources.append(Source(part.files[phase], file.read(), phase))
    return lint_sql(sources, engine, tools, version)


def lint_spec(spec: t.Mapping[str, t.Any], file: str, engine: str, tools: Tools = NO_TOOLS, version: str = "", text: str = "") -> list[Finding]:
    """Return what speaks against a migration *spec*: its ``sql`` operations' statements and the expressions of the others.

    *text* is the file's content, by which findings get their line. The spec is taken to be well-formed: what isn't is not looked at.
    """
    found: list[Finding] = []
    operations = spec.get("operations")
    for operation in operations if isinstance(operations, list) else []:
        if not isinstance(operation, t.Mapping):
            continue
        for kind, values in operation.items():
            if not isinstance(values, t.Mapping):
                continue
            if kind == "sql":
                found += lint_sql(_sources(values, file, text), engine, tools, version)
            else:
                for key in _EXPRESSIONS:
                    found += _expressions(kind, key, values.get(key), file, text, engine, tools)
    return found


def refused(findings: t.Iterable[Finding], allow: t.Collection[str] = ()) -> list[Finding]:
    """Return the errors among *findings* whose rules are not allowed: with one of them nothing should run."""
    return [one for one in findings if one.level == ERROR and one.rule not in allow]


def report(findings: t.Iterable[Finding]) -> str:
    """Return *findings* as lines for a person."""
    return "\n".join(f"{one.file}:{one.line}: {one.level}: {one.rule}: {one.message}. Would do: {one.what_would_do}" for one in findings)


_READ = "read it again: the database may still take it, since sqlglot does not know every dialect's DDL."


def _sources(values: t.Mapping[str, t.Any], file: str, text: str) -> t.Iterator[Source]:
    for phase in PHASES:
        given = values.get(phase)
        entries = [given] if isinstance(given, (str, t.Mapping)) else given if isinstance(given, list) else []
        statements = []
        for entry in entries:
            if isinstance(entry, t.Mapping):  # a fill, as the engine runs it, but for the range of keys
                where = f" WHERE {entry['where']}" if entry.get("where") else " WHERE true"
                statements.append((f"UPDATE {_table(entry.get('table'))} SET {entry.get('set')}{where}", str(entry.get("set"))))
            elif isinstance(entry, str):
                statements.append((entry, entry))
        lines: list[int] = []
        for statement, shown in statements:
            first = _line_of(text, shown)
            lines += [first + offset if "\n" in shown else first for offset in range(statement.count("\n") + 1)]
        yield Source(file, ";\n".join(statement for statement, dummy in statements), phase, tuple(lines))


def _table(table: t.Any) -> str:
    return ".".join(f'"{part}"' for part in table) if isinstance(table, list) else str(table)


def _line_of(text: str, part: str) -> int:
    first = next((line.strip() for line in part.splitlines() if line.strip()), "")
    at = text.find(first) if first else -1
    return text.count("\n", 0, at) + 1 if at >= 0 else 1


def _expressions(kind: str, key: str, given: t.Any, file: str, text: str, engine: str, tools: Tools) -> t.Iterator[Finding]:
    for expression in given.values() if isinstance(given, t.Mapping) else [given]:
        if not isinstance(expression, str) or not expression.strip():
            continue
        line, where = _line_of(text, expression), f"{key} of {kind}, {expression.strip()[:80]}"
        try:
            statements = split(expression, engine)
        except SeamlessError as exc:
            yield Finding(file, line, "syntax", ERROR, f"{where}: {exc}", "correct it.")
            continue
        if len(statements) != 1:
            yield Finding(file, line, "no-expression", ERROR, f"{where} is not one expression", "write one SQL expression, without a semicolon.")
            continue
        tokens = statements[0].tokens
        calls = {token.text for token, bracket in zip(tokens, (*tokens[1:], None)) if token.kind == WORD and token.text in _VOLATILE
                 and (bracket is not None and bracket.text == "(" and bracket.kind == SYMBOL or token.text.startswith("CURRENT"))}
        if calls and key in ("up", "down"):
            yield Finding(
                file, line, "not-repeatable", ERROR, f"{where} answers differently each time ({sorted(calls)[0].lower()}), so the two shapes drift apart",
                "compute it from the row's own columns.",
            )
        if key in ("up", "down") and any(token.kind == WORD and token.text == "SELECT" for token in tokens):
            message = f"{where} reads other rows, whose later changes it does not follow"
            yield Finding(file, line, "reads-tables", WARNING, message, "compute it from the row's own columns.")
        what = _parse_error(tools.sqlglot, f"SELECT {expression}", engine) if tools.sqlglot else None
        if what:
            yield Finding(file, line, "parse", WARNING, f"{where}: sqlglot can't read it: {what}", _READ, "sqlglot")


def _parse_error(sqlglot: t.Any, text: str, engine: str) -> str | None:
    try:
        sqlglot.parse(text, dialect="mysql" if engine == MARIADB else "postgres")
    except Exception as exc:  # whatever goes wrong in there must not end the plan
        lines = str(exc).splitlines()
        return lines[0][:200] if lines else type(exc).__name__
    return None


def _squawk(program: str, source: Source, version: str) -> list[Finding]:
    excluded = [*_LEFT_OUT, *(_LEFT_OUT_AFTERWARDS if source.phase in ("contract", "abort") else ())]
    command = [program, "--reporter=json", f"--stdin-filepath={os.path.basename(source.file) or 'migration.sql'}", f"--exclude={','.join(excluded)}"]
    if version:
        command.append(f"--pg-version={version}")
    try:
        done = subprocess.run(command, input=source.text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", timeout=60, check=False)
        found = json.loads(done.stdout)
        first = {(one["line"], one["rule_name"]): one for one in reversed(found)}  # one slip may be several syntax errors
        return [_from_squawk(one, source) for dummy, one in sorted(first.items())]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as exc:
        return [Finding(source.file, source.line(1), "squawk", WARNING, f"squawk could not be asked: {exc}", "update squawk-cli, or take it away.", "squawk")]


def _from_squawk(one: t.Mapping[str, t.Any], source: Source) -> Finding:
    advice = str(one.get("help") or f"read https://squawkhq.com/docs/{one['rule_name']}.").strip()
    return Finding(source.file, source.line(int(one["line"]) + 1), str(one["rule_name"]), WARNING, str(one["message"]).strip(), advice, "squawk")


def _is_known(one: Finding, known: t.Collection[tuple[int, str]], starts: t.Sequence[int]) -> bool:
    """Return whether our own rules said the same of the statement. Squawk names the line of the part, we that of the statement."""
    start = max((line for line in starts if line <= one.line), default=one.line)
    return any((line, rule) in known for line in (start, one.line) for rule in _SAME.get(one.rule, ()))
