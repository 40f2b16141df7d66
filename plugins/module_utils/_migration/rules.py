# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Judges the statements of a phase: whether old code goes on working beside them, and whether they block clients. Pure.

What can't be judged is said to be unknown, never called safe. Tables and columns that the same statements created are nobody's yet, so anything goes there.
"""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import MARIADB, POSTGRESQL
from ansible_collections.seamless.rollout.plugins.module_utils._migration.statements import (
    NAME,
    STRING,
    SYMBOL,
    WORD,
    Statement,
    Token,
    groups,
    is_word,
    name_at,
)

ERROR, WARNING, UNKNOWN = "error", "warning", "unknown"
PHASES = ("expand", "backfill", "verify", "contract", "abort")


class Finding(t.NamedTuple):
    """What speaks against a statement. *level*: ``error`` breaks old code or blocks clients, ``warning`` may, ``unknown`` can't be judged."""

    line: int
    rule: str
    level: str
    message: str
    what_would_do: str


class _Judge:
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
        self.say("unknown", UNKNOWN, f"{why}: {shown}", "read it, and allow the rule unknown when old code goes on working beside it and it locks nothing for long.")

    # -- helpers on the tokens

    def words(self) -> list[str]:
        return [token.text if token.kind == WORD else "" for token in self.statement.tokens]

    def name(self, at: int) -> tuple[tuple[str, ...], int]:
        """Return the name at *at* as PostgreSQL folds it, for comparing, and where it ends; words before it such as IF EXISTS and ONLY are left out."""
        tokens = self.statement.tokens
        while at < len(tokens) and (is_word(tokens[at], "IF", "NOT", "EXISTS", "ONLY", "CONCURRENTLY")):
            at += 1
        parts, end = name_at(self.statement, at)
        first = at
        folded = []
        for part in parts:
            folded.append(part.lower() if tokens[first].kind == WORD or self.mariadb else part)
            first += 2
        return tuple(folded), end

    def is_new(self, name: tuple[str, ...]) -> bool:
        return name in self.new or any(known[-1:] == name for known in self.new)

    def is_own(self, name: tuple[str, ...]) -> bool:
        return bool(name) and name[-1].lower() in self.own_tables

    # -- the statements

    def judge(self, statement: Statement) -> None:
        self.statement = statement
        words = self.words()
        first, second = words[0], words[1] if len(words) > 1 else ""
        if self.phase == "verify" and first not in ("SELECT", "WITH", "VALUES", "SET"):
            self.say("verify-changes", ERROR, f"{first} is no query", "write SELECT count(*) … that is 0 when all is well, and change things in another phase.")
            return
        if self.phase == "backfill" and first in ("CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"):
            self.say("ddl-in-backfill", ERROR, f"{first} {second} is a change of the schema", "move it to the expand file: backfills may run in batches and again.")
            return
        handler = getattr(self, f"_{first.lower()}", None) if first else None
        if first in _HARMLESS:
            self.in_transaction = first in ("BEGIN", "START") or self.in_transaction and first not in ("COMMIT", "ROLLBACK", "END")
        elif handler is None:
            self.unknown("this can't be judged")
        else:
            handler(words, second)

    def _create(self, words: list[str], second: str) -> None:
        replaces = words[1:3] == ["OR", "REPLACE"]
        kinds = [word for word in words[1:10] if word in _CREATED]
        kind = kinds[0] if kinds else ""
        if not kind:
            self.unknown("what this creates can't be judged")
            return
        at = words.index(kind)
        if kind == "INDEX":
            self._create_index(words, at)
            return
        name, end = self.name(at + 1)
        if kind == "TRIGGER":
            target = self.name(words.index("ON") + 1)[0] if "ON" in words else ()
            if not self.is_new(target):
                self.say("create-trigger", WARNING, "a trigger changes what the writes of old code do", "make sure that it is harmless for rows as old code writes them.")
        elif replaces and not self.is_new(name):
            self.say(
                "replace", WARNING, f"CREATE OR REPLACE {kind} changes what running code uses", f"create the {kind.lower()} under a new name, and drop the old one later."
            )
        elif kind == "TABLE" and self.postgresql and any(is_word(token, "INHERITS") for token in self.statement.tokens[end:]):
            self.say("create-table-inherits", WARNING, "rows of the new table show up in its parent", "make sure that old code may read them.")
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
            self._algorithm(table, words, words)
        if unique:
            self.gone_or_warn("add-unique", f"old code that writes duplicates into {table} fails once the unique index is there", "use the operation add_unique.")

    def gone_or_warn(self, rule: str, message: str, what_would_do: str) -> None:
        if self.old_code and self.phase != "abort":
            self.say(rule, WARNING, message, what_would_do)

    def _algorithm(self, table: str, words: list[str], action: t.Sequence[str]) -> None:
        if "ALGORITHM" in words and ("LOCK" in words or "INSTANT" in words):
            return
        heavy = {"FULLTEXT", "SPATIAL", "FOREIGN", "CONVERT", "ENGINE", "PARTITION", "ROW_FORMAT", "PRIMARY", "FORCE"}.intersection(action)
        self.say(
            "algorithm-not-stated", ERROR if heavy else WARNING,
            f"without ALGORITHM and LOCK the server falls back to copying {table} and blocks writes" + (f", as it does for {sorted(heavy)[0]}" if heavy else ""),
            "append ALGORITHM=INSTANT (or INPLACE, LOCK=NONE): then it fails at once where that can't be.",
        )

    def _drop(self, words: list[str], second: str) -> None:
        kind = next((word for word in words[1:3] if word in _DROPPED), "")
        if not kind:
            self.unknown("what this drops can't be judged")
            return
        name, dummy = self.name(words.index(kind) + 1)
        shown = ".".join(name)
        if self.is_new(name) or self.is_own(name):
            return
        if kind == "INDEX":
            if self.postgresql and "CONCURRENTLY" not in words:
                self.say("drop-index-not-concurrent", ERROR, f"DROP INDEX {shown} waits for every user of its table, and all others behind it", "write DROP INDEX CONCURRENTLY.")
            elif self.postgresql and self.in_transaction:
                self.say("concurrently-in-transaction", ERROR, "DROP INDEX CONCURRENTLY can't run in a transaction", "take out the BEGIN before it.")
            if self.mariadb:
                self._algorithm(shown, words, [])
            self.gone_or_warn("drop-index", f"queries of old code may need {shown}", "drop it when old code is gone: use the operation drop_index.")
        else:
            rule, what = ("drop-table", "use the operation drop_table, or move it to contract") if kind == "TABLE" else (f"drop-{kind.lower()}", "move it to contract")
            self.gone(rule, f"old code that uses {kind.lower()} {shown} fails", f"{what}.")

    def _alter(self, words: list[str], second: str) -> None:
        tokens = self.statement.tokens
        at = 2 if second == "TABLE" else 3 if words[1:3] in (["ONLINE", "TABLE"], ["IGNORE", "TABLE"]) else 0
        if not at:
            self._alter_other(words, second)
            return
        table, end = self.name(at)
        if end < len(tokens) and tokens[end].text == "*":
            end += 1
        if self.is_new(table) or self.is_own(table):
            self._note_columns(table, groups(tokens[end:]))
            return
        actions = groups(tokens[end:])
        if self.mariadb:
            self._algorithm(".".join(table), words, [token.text for action in actions for token in action if token.kind == WORD])
        for action in actions:
            self._action(table, action)

    def _alter_other(self, words: list[str], second: str) -> None:
        if second == "TYPE" and "ADD" in words and "VALUE" in words:
            self.gone_or_warn("add-enum-value", "old code may read a value that it does not know", "write the value only when old code is gone.")
        elif second in ("VIEW", "SEQUENCE", "INDEX", "TYPE", "DOMAIN", "SCHEMA", "DATABASE", "FUNCTION", "MATERIALIZED") and "RENAME" in words:
            self.renamed(second.lower(), ".".join(self.name(2)[0]))
        elif second in ("DEFAULT", "ROLE", "USER", "EXTENSION", "STATISTICS") or second == "INDEX" and "SET" in words or second == "SEQUENCE":
            return
        else:
            self.unknown("this ALTER can't be judged")

    def renamed(self, kind: str, shown: str) -> None:
        running = "old code" if self.old_code else "running code"
        level = ERROR if self.old_code and self.phase != "abort" else WARNING
        self.say(f"rename-{kind}", level, f"{running} that uses {kind} {shown} fails the moment it is renamed", _RENAME.get(kind, "keep both names until old code is gone."))

    def _note_columns(self, table: tuple[str, ...], actions: list[list[Token]]) -> None:
        for action in actions:
            if is_word(action[0], "ADD") and len(action) > 1:
                at = 2 if is_word(action[1], "COLUMN") else 1
                if at < len(action):
                    self.new_columns[table, action[at].text.lower()] = True

    def _action(self, table: tuple[str, ...], action: list[Token]) -> None:
        words = [token.text if token.kind == WORD else "" for token in action]
        shown = ".".join(table)
        rest = [word for word in words[1:] if word not in ("IF", "EXISTS", "NOT")] if words[0] in ("DROP", "ADD") else words[1:]
        verb, what = words[0], rest[0] if rest else ""
        if verb == "ADD":
            self._add(table, action, words, what)
        elif verb == "DROP":
            self._drop_part(table, action, words, what)
        elif verb == "RENAME":
            self._rename(shown, action, words, what)
        elif verb in ("ALTER", "MODIFY", "CHANGE"):
            self._alter_column(table, action, words)
        elif verb in _LOCKING:
            self.say(f"table-{_LOCKING[verb]}", ERROR, f"{' '.join(filter(None, words[:3]))} rewrites {shown} under a lock or takes it from old code", "do it in a maintenance window.")
        elif verb == "SET" and what in ("SCHEMA", "LOGGED", "UNLOGGED", "TABLESPACE", "ACCESS"):
            if what == "SCHEMA":
                self.renamed("table", shown)
            else:
                self.say("table-rewrite", ERROR, f"SET {what} rewrites {shown} under a lock that stops all clients", "do it in a maintenance window.")
        elif verb in ("ENABLE", "FORCE", "DISABLE", "NO"):
            self.say("table-behaviour", ERROR, f"{' '.join(filter(None, words[:4]))} changes what old code sees or writes in {shown}", "move it to contract.")
        elif verb in ("VALIDATE", "ALGORITHM", "LOCK", "SET", "RESET", "OWNER", "REPLICA", "COMMENT", "WAIT", "NOWAIT", "AUTO_INCREMENT", "CLUSTER"):
            return
        else:
            self.unknown("this part of ALTER TABLE can't be judged")

    def _add(self, table: tuple[str, ...], action: list[Token], words: list[str], what: str) -> None:
        shown = ".".join(table)
        if what in ("CONSTRAINT", "CHECK", "FOREIGN", "UNIQUE", "PRIMARY", "EXCLUDE", "INDEX", "KEY", "FULLTEXT", "SPATIAL"):
            self._add_constraint(shown, words)
            return
        if what == "PARTITION":
            return
        column = next((index for index, token in enumerate(action) if index and not is_word(token, "COLUMN", "IF", "NOT", "EXISTS")), None)
        if column is None:
            self.unknown("this ADD can't be judged")
        elif action[column].text == "(":  # MariaDB: ADD (a int, b int)
            inner = action[column + 1 : -1]
            for part in groups(inner):
                self._add_column(table, part[0].text, part[1:])
        else:
            self._add_column(table, action[column].text, action[column + 1 :])

    def _add_column(self, table: tuple[str, ...], column: str, definition: list[Token]) -> None:
        shown = f"{'.'.join(table)}.{column.lower()}"
        words = [token.text if token.kind == WORD else "" for token in definition]
        pairs = list(zip(words, words[1:] + [""]))
        generated = "GENERATED" in words or "AS" in words and self.mariadb
        filled = "DEFAULT" in words or generated or "AUTO_INCREMENT" in words
        serial = bool({"SERIAL", "BIGSERIAL", "SMALLSERIAL", "IDENTITY", "AUTO_INCREMENT"}.intersection(words))
        not_null = ("NOT", "NULL") in pairs or "PRIMARY" in words
        self.new_columns[table, column.lower()] = not not_null
        if not_null and not filled and not serial:
            self.say(
                "add-column-not-null", ERROR, f"{shown} is NOT NULL without a default: old code's INSERTs, which don't name it, fail",
                "give it a default that stays until old code is gone, or let it be NULL and use the operation set_not_null later.",
            )
        if serial or generated and ("STORED" in words or "PERSISTENT" in words):
            self.say("table-rewrite", ERROR, f"adding {shown} rewrites the whole table under a lock that stops all clients", "add the column empty, and fill it in a backfill.")
        elif self.postgresql and "DEFAULT" in words and self._is_volatile(definition, words):
            self.say(
                "volatile-default", ERROR, f"the default of {shown} differs from row to row, so the whole table is rewritten under a lock",
                "add the column without a default, set the default in a second statement, and fill the old rows in a backfill.",
            )
        if "UNIQUE" in words or "PRIMARY" in words:
            self.say("add-unique", ERROR, f"the unique key on {shown} is built under a lock that stops all clients", "add the column, then use the operation add_unique.")
        if "REFERENCES" in words and filled:
            self.say("add-foreign-key", ERROR, f"the foreign key on {shown} is checked under a lock", "add the column, then use the operation add_foreign_key.")

    def _is_volatile(self, definition: list[Token], words: list[str]) -> bool:
        """Return whether the default calls a function that may answer differently for each row. now() and the like don't within a statement."""
        after = definition[words.index("DEFAULT") + 1 :]
        stop = next((index for index, token in enumerate(after) if is_word(token, *_COLUMN_WORDS)), len(after))
        expression = after[:stop]
        calls = [token for token, bracket in zip(expression, expression[1:]) if bracket.text == "(" and bracket.kind == SYMBOL and token.kind in (WORD, NAME)]
        return any(token.text.upper() not in _STABLE for token in calls)

    def _add_constraint(self, shown: str, words: list[str]) -> None:
        pairs = list(zip(words, words[1:]))
        not_valid = ("NOT", "VALID") in pairs
        if "FOREIGN" in words or "CHECK" in words:
            kind = "foreign-key" if "FOREIGN" in words else "check"
            if self.postgresql and not not_valid:
                self.say(
                    f"add-{kind}", ERROR, f"{shown} is scanned under a lock to check the new constraint",
                    f"append NOT VALID and run VALIDATE CONSTRAINT afterwards, or use the operation add_{kind.replace('-', '_')}.",
                )
            self.gone_or_warn(f"stricter-{kind}", f"old code's writes that break the new constraint of {shown} fail", "make sure that old code keeps to it, or add it in contract.")
        elif "UNIQUE" in words or "PRIMARY" in words or "EXCLUDE" in words:
            if self.postgresql and ("USING", "INDEX") not in pairs or self.mariadb:
                self.say("add-unique", ERROR, f"the new key of {shown} is built under a lock, and old code's duplicates fail", "use the operation add_unique.")
        elif self.postgresql:
            self.unknown("this constraint can't be judged")

    def _drop_part(self, table: tuple[str, ...], action: list[Token], words: list[str], what: str) -> None:
        shown = ".".join(table)
        if what in ("CONSTRAINT", "CHECK", "FOREIGN"):
            self.gone_or_warn("drop-constraint", f"old code may rely on the constraint of {shown}", "drop it in contract.")
        elif what in ("PRIMARY", "INDEX", "KEY"):
            level = ERROR if what == "PRIMARY" else WARNING
            self.say("drop-index", level, f"queries of old code may need the key of {shown}", "drop it in contract: use the operation drop_index.")
        elif what in ("PARTITION", "SYSTEM", "PERIOD"):
            self.gone("drop-rows", f"the rows of the partition or the history of {shown} are gone for old code", "move it to contract.")
        else:
            at = next((index for index, token in enumerate(action) if index and not is_word(token, "COLUMN", "IF", "EXISTS")), None)
            column = action[at].text.lower() if at is not None else "?"
            if (table, column) not in self.new_columns:
                self.gone("drop-column", f"old code that uses {shown}.{column} fails", "use the operation drop_column, or move it to contract.")

    def _rename(self, shown: str, action: list[Token], words: list[str], what: str) -> None:
        if what in ("INDEX", "KEY", "CONSTRAINT"):
            self.gone_or_warn(f"rename-{what.lower()}", f"old code may name the {what.lower()} of {shown}", "rename it in contract.")
        elif what in ("TO", "AS"):
            self.renamed("table", shown)
        else:
            column = next((token.text.lower() for token in action[1:] if not is_word(token, "COLUMN", "IF", "EXISTS")), "?")
            self.renamed("column", f"{shown}.{column}")

    def _alter_column(self, table: tuple[str, ...], action: list[Token], words: list[str]) -> None:
        at = next((index for index, token in enumerate(action) if index and not is_word(token, "COLUMN", "IF", "EXISTS")), None)
        column = action[at].text.lower() if at is not None else "?"
        if words[1:2] in (["INDEX"], ["CONSTRAINT"], ["CHECK"]):
            return self.unknown("this ALTER can't be judged")
        shown = f"{'.'.join(table)}.{column}"
        rest = words[(at or 0) + 1 :]
        new = (table, column) in self.new_columns
        if words[0] in ("MODIFY", "CHANGE") or "TYPE" in rest:
            renamed = words[0] == "CHANGE" and at is not None and at + 1 < len(action) and action[at + 1].text.lower() != column
            if renamed:
                self.renamed("column", shown)
            elif not new:
                self.say("change-type", ERROR, f"{shown} gets another type: the table may be rewritten under a lock, and old code may write what does not fit", "use the operation change_type.")
        elif rest[:3] == ["SET", "NOT", "NULL"]:
            if not new:
                self.say("set-not-null", ERROR, f"the whole table is scanned under a lock, and old code that writes NULL into {shown} fails", "use the operation set_not_null.")
        elif rest[:2] == ["DROP", "DEFAULT"]:
            if not self.new_columns.get((table, column), False):
                self.gone(
                    "drop-default", f"old code that leaves {shown} out of its INSERTs fails, if it is NOT NULL",
                    "keep the default in the database until old code is gone (Django: db_default, or django-syzygy).",
                )
        elif rest[:2] == ["SET", "DEFAULT"]:
            self.gone_or_warn("set-default", f"old code that leaves {shown} out gets another value", "make sure that old code can read it.")
        elif rest[:3] == ["DROP", "NOT", "NULL"]:
            self.gone_or_warn("drop-not-null", f"old code may read NULL from {shown}, which it never did", "make sure that new code writes none while old code runs.")
        elif rest[:1] in (["SET"], ["RESET"], ["ADD"], ["RESTART"]):
            return
        else:
            self.unknown("this change of a column can't be judged")

    # -- data, and the rest

    def _update(self, words: list[str], second: str) -> None:
        table, dummy = self.name(1)
        if self.is_own(table) or self.is_new(table):
            return
        shown = ".".join(table)
        if "WHERE" not in words:
            self.say("update-without-where", ERROR, f"one UPDATE of all of {shown} locks every row until it is done", "backfill in batches: a backfill file, or the operation's backfill.")
        elif self.phase == "expand":
            self.say("update-in-expand", WARNING, f"rows of {shown} that it changes are locked until it is done", "move it to the backfill, which runs in batches.")

    def _delete(self, words: list[str], second: str) -> None:
        table, dummy = self.name(2)
        if not self.is_own(table) and not self.is_new(table):
            self.gone("delete", f"old code may need the rows of {'.'.join(table)} that are deleted", "move it to contract.")

    def _insert(self, words: list[str], second: str) -> None:
        table, dummy = self.name(2)
        if not self.is_own(table) and not self.is_new(table) and "SELECT" in words:
            self.say("insert-select", WARNING, f"one INSERT … SELECT into {'.'.join(table)} may run for long", "move it to the backfill.")

    def _truncate(self, words: list[str], second: str) -> None:
        table = self.name(2 if second == "TABLE" else 1)[0]
        if not self.is_new(table):
            self.say("truncate", ERROR, f"all rows of {'.'.join(table)} are gone, under a lock that stops all clients", "delete in batches, once old code is gone.")

    def _lock(self, words: list[str], second: str) -> None:
        self.say("lock-table", ERROR, "LOCK stops clients for as long as the transaction runs", "take it out: the engine takes the locks that it needs, for a bounded time.")

    def _vacuum(self, words: list[str], second: str) -> None:
        if "FULL" in words:
            self.say("vacuum-full", ERROR, "VACUUM FULL rewrites the table under a lock that stops all clients", "take it out, or use pg_repack in its own time.")

    def _cluster(self, words: list[str], second: str) -> None:
        self.say("cluster", ERROR, "CLUSTER rewrites the table under a lock that stops all clients", "take it out, or use pg_repack in its own time.")

    def _reindex(self, words: list[str], second: str) -> None:
        if "CONCURRENTLY" not in words:
            self.say("reindex", ERROR, "REINDEX blocks writes until it is done", "write REINDEX … CONCURRENTLY.")

    def _refresh(self, words: list[str], second: str) -> None:
        if "CONCURRENTLY" not in words:
            self.say("refresh-view", ERROR, "REFRESH MATERIALIZED VIEW blocks its readers", "write REFRESH MATERIALIZED VIEW CONCURRENTLY.")

    def _optimize(self, words: list[str], second: str) -> None:
        self.say("optimize", ERROR, "OPTIMIZE TABLE rebuilds the table", "take it out, or run it in its own time.")

    def _revoke(self, words: list[str], second: str) -> None:
        self.gone("revoke", "old code may need what is revoked", "move it to contract.")

    def _rename_table(self) -> None:
        self.renamed("table", ".".join(self.name(2)[0]))

    def _select(self, words: list[str], second: str) -> None:
        tokens = self.statement.tokens
        calls = {token.text.lower() for token, bracket in zip(tokens, tokens[1:]) if bracket.text == "(" and bracket.kind == SYMBOL and token.kind in (WORD, NAME)}
        if self.phase != "verify" and calls - _READING:
            self.unknown("a function may do anything")

    def _with(self, words: list[str], second: str) -> None:
        if {"UPDATE", "DELETE", "INSERT", "MERGE"}.intersection(words):
            if "UPDATE" in words and "WHERE" not in words:
                self.say("update-without-where", ERROR, "one UPDATE of a whole table locks every row until it is done", "backfill in batches.")
            else:
                self.unknown("a change behind WITH can't be judged")
        else:
            self._select(words, second)


# RENAME TABLE is MariaDB's; the name _rename is that of a part of ALTER TABLE.
class _Judged(_Judge):
    def judge(self, statement: Statement) -> None:
        if statement.tokens and is_word(statement.tokens[0], "RENAME") and self.phase != "backfill":
            self.statement = statement
            self._rename_table()
        else:
            super().judge(statement)


_CREATED = ("TABLE", "INDEX", "VIEW", "FUNCTION", "PROCEDURE", "TRIGGER", "SEQUENCE", "TYPE", "DOMAIN", "SCHEMA", "EXTENSION", "COLLATION", "AGGREGATE",
            "CAST", "STATISTICS", "POLICY", "PUBLICATION", "ROLE", "USER", "EVENT", "DATABASE")
_DROPPED = (*_CREATED, "COLUMN", "MATERIALIZED")
_HARMLESS = ("SET", "BEGIN", "START", "COMMIT", "ROLLBACK", "END", "SAVEPOINT", "RELEASE", "COMMENT", "GRANT", "ANALYZE", "USE", "RESET", "SHOW", "NOTIFY",
             "VALUES", "DISCARD")
_LOCKING = {"CONVERT": "rewrite", "ENGINE": "rewrite", "ROW_FORMAT": "rewrite", "PARTITION": "rewrite", "ATTACH": "partition", "DETACH": "partition",
            "INHERIT": "inherit", "ORDER": "rewrite", "DISCARD": "rewrite", "IMPORT": "rewrite", "EXCHANGE": "partition", "REORGANIZE": "rewrite"}
_COLUMN_WORDS = ("NOT", "NULL", "CONSTRAINT", "UNIQUE", "PRIMARY", "REFERENCES", "CHECK", "COLLATE", "GENERATED", "COMMENT", "AFTER", "FIRST")
_STABLE = frozenset(("NOW", "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME", "LOCALTIME", "LOCALTIMESTAMP", "TRANSACTION_TIMESTAMP", "STATEMENT_TIMESTAMP",
                     "CURRENT_SETTING", "VARCHAR", "CHAR", "NUMERIC", "DECIMAL", "TIMESTAMP", "INTERVAL", "BIT", "COALESCE", "LOWER", "UPPER", "TIMEZONE",
                     "JSONB_BUILD_OBJECT", "JSON_BUILD_OBJECT", "TO_TIMESTAMP", "CAST"))
_READING = frozenset(("setval", "nextval", "set_config", "count", "max", "min", "coalesce", "current_setting", "now", "pg_get_serial_sequence", "exists", "in",
                      "version", "sum", "lower", "upper", "select"))
_RENAME = {"column": "use the operation rename_column, which keeps both names in step.", "table": "use the operation rename_table, which keeps both names."}


def judge(statements: t.Iterable[Statement], engine: str, phase: str = "expand", own_tables: t.Collection[str] = ()) -> list[Finding]:
    """Return what speaks against running *statements* in *phase*. *own_tables* are a framework's own, in which it notes what it ran."""
    judged = _Judged(engine, phase, own_tables)
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
