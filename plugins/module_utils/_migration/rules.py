# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Judges the statements of a phase: whether old code goes on working beside them, and whether they block clients. Pure.

What can't be judged is said to be unknown, never called safe. Tables and columns that the same statements created are nobody's yet, so anything goes there.
"""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration.rules_alter import TableJudge
from ansible_collections.seamless.rollout.plugins.module_utils._migration.rules_base import ERROR, WARNING, Finding
from ansible_collections.seamless.rollout.plugins.module_utils._migration.statements import NAME, SYMBOL, WORD, Statement, is_word

PHASES = ("expand", "backfill", "verify", "contract", "abort")
_CREATED = ("TABLE", "INDEX", "VIEW", "FUNCTION", "PROCEDURE", "TRIGGER", "SEQUENCE", "TYPE", "DOMAIN", "SCHEMA", "EXTENSION", "COLLATION", "AGGREGATE",
            "CAST", "STATISTICS", "PUBLICATION", "ROLE", "USER", "EVENT", "DATABASE")
_DROPPED = (*_CREATED, "COLUMN", "MATERIALIZED")
_HARMLESS = ("SET", "BEGIN", "START", "COMMIT", "ROLLBACK", "END", "SAVEPOINT", "RELEASE", "COMMENT", "GRANT", "ANALYZE", "USE", "RESET", "SHOW", "NOTIFY",
             "VALUES", "DISCARD")
_READING = frozenset(("setval", "nextval", "set_config", "count", "max", "min", "coalesce", "current_setting", "now", "pg_get_serial_sequence", "exists", "in",
                      "version", "sum", "lower", "upper", "select"))


class _StatementJudge(TableJudge):
    def judge(self, statement: Statement) -> None:
        self.statement = statement
        words = self.words()
        first, second = words[0], words[1] if len(words) > 1 else ""
        if self.phase == "verify" and first not in ("SELECT", "WITH", "VALUES", "SET"):
            self.say("verify-changes", ERROR, f"{first} is no query", "write SELECT count(*) … that is 0 when all is well, and change things in another phase.")
            return
        if self.phase == "backfill" and first in ("CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"):
            self.say(
                "ddl-in-backfill", ERROR, f"{first} {second} is a change of the schema",
                "move it to the expand file: backfills may run in batches and again.",
            )
            return
        handler = getattr(self, f"on_{first.lower()}", None) if first else None
        if first in _HARMLESS and words[:2] != ["SET", "GLOBAL"]:
            self.in_transaction = first in ("BEGIN", "START") or self.in_transaction and first not in ("COMMIT", "ROLLBACK", "END")
        elif handler is None:
            self.unknown("this can't be judged")
        else:
            handler(words, second)

    def on_create(self, words: list[str], second: str) -> None:
        replaces = words[1:3] == ["OR", "REPLACE"]
        kinds = [word for word in words[1:10] if word in _CREATED]
        kind = kinds[0] if kinds else ""
        if not kind:
            self.unknown("what this creates can't be judged")
            return
        at = words.index(kind)
        at = words.index(kind)
        if kind == "INDEX":
            self._create_index(words, at)
            return
        name, end = self.name(at + 1)
        guarded = words[at + 1 : at + 4] == ["IF", "NOT", "EXISTS"]  # then it may be an old one
        if replaces and kind in ("TABLE", "SEQUENCE"):
            self.gone(f"drop-{kind.lower()}", f"CREATE OR REPLACE drops the {kind.lower()} that is there", "create it under another name.")
        elif kind == "TRIGGER":
            target = self.name(words.index("ON") + 1)[0] if "ON" in words else ()
            if not self.is_new(target):
                self.say(
                    "create-trigger", WARNING, "a trigger changes what the writes of old code do",
                    "make sure that it is harmless for rows as old code writes them.",
                )
        elif replaces and not self.is_new(name):
            self.say(
                "replace", WARNING, f"CREATE OR REPLACE {kind} changes what running code uses",
                f"create the {kind.lower()} under a new name, and drop the old one later.",
            )
        elif kind == "TABLE" and self.postgresql and any(is_word(token, "INHERITS") for token in self.statement.tokens[end:]):
            self.say("create-table-inherits", WARNING, "rows of the new table show up in its parent", "make sure that old code may read them.")
        if not guarded:
            self.new.add(name)

    def _create_index(self, words: list[str], at: int) -> None:
        on = words.index("ON") if "ON" in words else len(words)
        target = self.name(on + 1)[0]
        if self.is_new(target) or self.is_own(target):
            return
        unique = "UNIQUE" in words[:at]
        table = ".".join(target)
        if self.postgresql and "CONCURRENTLY" not in words[:on]:
            self.say(
                "index-not-concurrent", ERROR, f"CREATE INDEX blocks all writes to {table} until it is built",
                "write CREATE INDEX CONCURRENTLY outside a transaction, or use the operation add_index.",
            )
        elif self.postgresql and self.in_transaction:
            self.say("concurrently-in-transaction", ERROR, "CREATE INDEX CONCURRENTLY can't run in a transaction", "take out the BEGIN before it.")
        if self.mariadb:
            self.algorithm(table, words, words)
        if unique:
            self.gone_or_warn(
                "add-unique", f"old code that writes duplicates into {table} fails once the unique index is there",
                "use the operation add_unique.",
            )

    def on_drop(self, words: list[str], second: str) -> None:
        kind = next((word for word in words[1:3] if word in _DROPPED), "")
        if not kind:
            self.unknown("what this drops can't be judged")
            return
        at = words.index(kind) + (2 if kind == "MATERIALIZED" else 1)
        names = [name for name in self.names(at) if not self.is_new(name) and not self.is_own(name)]
        shown = ", ".join(".".join(name) for name in names)
        if not names:
            return
        if kind == "INDEX":
            if self.postgresql and "CONCURRENTLY" not in words:
                self.say(
                    "drop-index-not-concurrent", ERROR, f"DROP INDEX {shown} waits for every user of its table, and all others behind it",
                    "write DROP INDEX CONCURRENTLY.",
                )
            elif self.postgresql and self.in_transaction:
                self.say("concurrently-in-transaction", ERROR, "DROP INDEX CONCURRENTLY can't run in a transaction", "take out the BEGIN before it.")
            if self.mariadb:
                self.algorithm(shown, words, [])
            self.gone_or_warn("drop-index", f"queries of old code may need {shown}", "drop it when old code is gone: use the operation drop_index.")
        else:
            what = "use the operation drop_table, or move it to contract." if kind == "TABLE" else "move it to contract."
            self.gone(f"drop-{kind.lower()}", f"old code that uses {kind.lower()} {shown} fails", what)

    def alter_other(self, words: list[str], second: str) -> None:
        if second == "TYPE" and "ADD" in words and "VALUE" in words:
            self.gone_or_warn("add-enum-value", "old code may read a value that it does not know", "write the value only when old code is gone.")
        elif second in ("VIEW", "SEQUENCE", "INDEX", "TYPE", "DOMAIN", "SCHEMA", "DATABASE", "FUNCTION", "MATERIALIZED") and "RENAME" in words:
            self.renamed(second.lower(), ".".join(self.name(2)[0]))
        elif second in ("DEFAULT", "ROLE", "USER", "EXTENSION", "STATISTICS") or second == "INDEX" and "SET" in words or second == "SEQUENCE":
            return
        else:
            self.unknown("this ALTER can't be judged")

    # -- data, and the rest

    def on_update(self, words: list[str], second: str) -> None:
        table, end = self.name(1)
        if words[end : end + 1] == ["SET"] and (self.is_own(table) or self.is_new(table)):
            return
        shown = ".".join(table)
        if "WHERE" not in words:
            self.say(
                "update-without-where", ERROR, f"one UPDATE of all of {shown} locks every row until it is done",
                "backfill in batches: a backfill file, or the operation's backfill.",
            )
        elif self.phase == "expand":
            self.say(
                "update-in-expand", WARNING, f"rows of {shown} that it changes are locked until it is done",
                "move it to the backfill, which runs in batches.",
            )

    def on_delete(self, words: list[str], second: str) -> None:
        table, dummy = self.name(2)
        if second != "FROM" or not self.is_own(table) and not self.is_new(table):
            self.gone("delete", f"old code may need the rows of {'.'.join(table)} that are deleted", "move it to contract.")

    def on_insert(self, words: list[str], second: str) -> None:
        table, dummy = self.name(2)
        if not self.is_own(table) and not self.is_new(table) and "SELECT" in words:
            self.say("insert-select", WARNING, f"one INSERT … SELECT into {'.'.join(table)} may run for long", "move it to the backfill.")

    def on_truncate(self, words: list[str], second: str) -> None:
        tables = [name for name in self.names(2 if second == "TABLE" else 1) if not self.is_new(name)]
        if tables:
            self.say(
                "truncate", ERROR, f"all rows of {'.'.join(tables[0])} are gone, under a lock that stops all clients",
                "delete in batches, once old code is gone.",
            )

    def on_lock(self, words: list[str], second: str) -> None:
        self.say(
            "lock-table", ERROR, "LOCK stops clients for as long as the transaction runs",
            "take it out: the engine takes the locks that it needs, for a bounded time.",
        )

    def on_vacuum(self, words: list[str], second: str) -> None:
        if "FULL" in words:
            self.say(
                "vacuum-full", ERROR, "VACUUM FULL rewrites the table under a lock that stops all clients",
                "take it out, or use pg_repack in its own time.",
            )

    def on_cluster(self, words: list[str], second: str) -> None:
        self.say("cluster", ERROR, "CLUSTER rewrites the table under a lock that stops all clients", "take it out, or use pg_repack in its own time.")

    def on_reindex(self, words: list[str], second: str) -> None:
        if "CONCURRENTLY" not in words:
            self.say("reindex", ERROR, "REINDEX blocks writes until it is done", "write REINDEX … CONCURRENTLY.")

    def on_refresh(self, words: list[str], second: str) -> None:
        if "CONCURRENTLY" not in words:
            self.say("refresh-view", ERROR, "REFRESH MATERIALIZED VIEW blocks its readers", "write REFRESH MATERIALIZED VIEW CONCURRENTLY.")

    def on_optimize(self, words: list[str], second: str) -> None:
        self.say("optimize", ERROR, "OPTIMIZE TABLE rebuilds the table", "take it out, or run it in its own time.")

    def on_revoke(self, words: list[str], second: str) -> None:
        self.gone("revoke", "old code may need what is revoked", "move it to contract.")

    def on_rename(self, words: list[str], second: str) -> None:
        self.renamed("table", ".".join(self.name(2)[0]))

    def on_select(self, words: list[str], second: str) -> None:
        tokens = self.statement.tokens
        brackets = [bracket.text == "(" and bracket.kind == SYMBOL for bracket in tokens[1:]]
        calls = {token.text.lower() for token, bracket in zip(tokens, brackets) if bracket and token.kind in (WORD, NAME)}
        if self.phase != "verify" and calls - _READING:
            self.unknown("a function may do anything")

    def on_with(self, words: list[str], second: str) -> None:
        if {"UPDATE", "DELETE", "INSERT", "MERGE"}.intersection(words):
            if "UPDATE" in words and "WHERE" not in words:
                self.say("update-without-where", ERROR, "one UPDATE of a whole table locks every row until it is done", "backfill in batches.")
            else:
                self.unknown("a change behind WITH can't be judged")
        else:
            self.on_select(words, second)


def judge(statements: t.Iterable[Statement], engine: str, phase: str = "expand", own_tables: t.Collection[str] = ()) -> list[Finding]:
    """Return what speaks against running *statements* in *phase*. *own_tables* are a framework's own, in which it notes what it ran."""
    judged = _StatementJudge(engine, phase, own_tables)
    for statement in statements:
        judged.judge(statement)
    return judged.findings


def obstacles(statements: t.Iterable[Statement], engine: str, own_tables: t.Collection[str] = ()) -> list[Finding]:
    """Return what keeps *statements* from being additive: all that breaks old code, blocks clients, or can't be judged."""
    return [finding for finding in judge(statements, engine, "expand", own_tables) if finding.level != WARNING]


def is_additive(statements: t.Iterable[Statement], engine: str, own_tables: t.Collection[str] = ()) -> bool:
    """Return whether old code goes on working beside *statements* and no client is blocked for long, as far as can be told without the database."""
    return not obstacles(statements, engine, own_tables)


def holds_concurrently(statements: t.Iterable[Statement]) -> bool:
    """Return whether one of *statements* is PostgreSQL's CONCURRENTLY, which must not run under a short lock timeout: it would leave an invalid index."""
    return any(is_word(token, "CONCURRENTLY") for statement in statements for token in statement.tokens)


def locks_tables(statements: t.Iterable[Statement], own_tables: t.Collection[str] = ()) -> bool:
    """Return whether one of *statements* waits for a lock on a table that was there before, which needs a bound."""
    judged = _StatementJudge("", "abort", own_tables)
    for statement in statements:
        judged.judge(statement)  # notes what it creates
        words = [token.text if token.kind == WORD else "" for token in statement.tokens]
        if "CONCURRENTLY" in words or "VALIDATE" in words:
            continue
        at = 2 if words[:2] in (["ALTER", "TABLE"], ["DROP", "TABLE"]) else words.index("ON") + 1 if "INDEX" in words[:3] and "ON" in words else 0
        target = judged.name(at)[0] if at else ()
        if target and "REFERENCES" not in words and (judged.is_new(target) or judged.is_own(target)):
            continue
        creates = words[0] == "CREATE" and ("TRIGGER" in words or "INDEX" in words[:3] or "REFERENCES" in words)
        if creates or words[0] in ("ALTER", "DROP", "TRUNCATE", "LOCK", "RENAME", "CLUSTER", "DO", "CALL"):
            return True
    return False
