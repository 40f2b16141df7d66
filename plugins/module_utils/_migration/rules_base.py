# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What the rules about statements say, and what they have in common."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import MARIADB, POSTGRESQL
from ansible_collections.seamless.rollout.plugins.module_utils._migration.statements import WORD, Statement, is_word, name_at

ERROR, WARNING, UNKNOWN = "error", "warning", "unknown"
_RENAME = {"column": "use the operation rename_column, which keeps both names in step.", "table": "use the operation rename_table, which keeps both names."}


class Finding(t.NamedTuple):
    """What speaks against a statement. *level*: ``error`` breaks old code or blocks clients, ``warning`` may, ``unknown`` can't be judged."""

    line: int
    rule: str
    level: str
    message: str
    what_would_do: str


class Judge:
    """Holds what is known of the statements so far."""

    def __init__(self, engine: str, phase: str, own_tables: t.Collection[str]) -> None:
        self.engine, self.phase = engine, phase
        self.postgresql, self.mariadb = engine == POSTGRESQL, engine == MARIADB
        self.old_code = phase != "contract"  # whether old code still runs; in the other case new code does
        self.own_tables = {name.lower() for name in own_tables}
        self.new: set[tuple[str, ...]] = set()  # tables, views … that these statements create
        self.new_columns: dict[tuple[tuple[str, ...], str], bool] = {}  # and columns, with whether they may be NULL
        self.in_transaction = False
        self.findings: list[Finding] = []
        self.statement = Statement("", 1, ())

    def say(self, rule: str, level: str, message: str, what_would_do: str) -> None:
        self.findings.append(Finding(self.statement.line, rule, level, message, what_would_do))

    def gone(self, rule: str, message: str, what_would_do: str) -> None:
        """Something that old code uses: an error while it runs, and in order afterwards."""
        if self.phase == "abort":
            return
        if self.old_code:
            self.say(rule, ERROR, message, what_would_do)

    def unknown(self, why: str) -> None:
        shown = " ".join(self.statement.text.split())
        shown = shown if len(shown) <= 80 else shown[:77] + "…"
        self.say(
            "unknown", UNKNOWN, f"{why}: {shown}",
            "read it, and allow the rule unknown when old code goes on working beside it and it locks nothing for long.",
        )

    # -- helpers on the tokens

    def words(self) -> list[str]:
        return [token.text if token.kind == WORD else "" for token in self.statement.tokens]

    def name(self, at: int) -> tuple[tuple[str, ...], int]:
        """Return the name at *at* as PostgreSQL folds it, for comparing, and where it ends; words before it such as IF EXISTS and ONLY are left out."""
        tokens = self.statement.tokens
        while at < len(tokens) and is_word(tokens[at], "IF", "NOT", "EXISTS", "ONLY", "CONCURRENTLY"):
            at += 1
        parts, end = name_at(self.statement, at)
        first = at
        folded = []
        for part in parts:
            folded.append(part.lower() if tokens[first].kind == WORD or self.mariadb else part)
            first += 2
        return tuple(folded), end

    def is_new(self, name: tuple[str, ...]) -> bool:
        return name in self.new

    def names(self, at: int) -> list[tuple[str, ...]]:
        """Return all the names of a list such as DROP TABLE's that begins at *at*."""
        found, tokens = [], self.statement.tokens
        while True:
            name, at = self.name(at)
            found.append(name)
            if at >= len(tokens) or tokens[at].text != ",":
                return found
            at += 1

    def is_own(self, name: tuple[str, ...]) -> bool:
        return bool(name) and name[-1].lower() in self.own_tables

    def gone_or_warn(self, rule: str, message: str, what_would_do: str) -> None:
        if self.old_code and self.phase != "abort":
            self.say(rule, WARNING, message, what_would_do)

    def algorithm(self, table: str, words: list[str], action: t.Sequence[str]) -> None:
        if "ALGORITHM" in words and ("LOCK" in words or "INSTANT" in words):
            return
        heavy = {"FULLTEXT", "SPATIAL", "FOREIGN", "CONVERT", "ENGINE", "PARTITION", "ROW_FORMAT", "PRIMARY", "FORCE"}.intersection(action)
        self.say(
            "algorithm-not-stated", ERROR if heavy else WARNING,
            f"without ALGORITHM and LOCK the server falls back to copying {table} and blocks writes{', as for ' + sorted(heavy)[0] if heavy else ''}",
            "append ALGORITHM=INSTANT (or INPLACE, LOCK=NONE): then it fails at once where that can't be.",
        )

    def renamed(self, kind: str, shown: str) -> None:
        running = "old code" if self.old_code else "running code"
        level = ERROR if self.old_code and self.phase != "abort" else WARNING
        self.say(
            f"rename-{kind}", level, f"{running} that uses {kind} {shown} fails the moment it is renamed",
            _RENAME.get(kind, "keep both names until old code is gone."),
        )
