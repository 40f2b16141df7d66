# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The rules about ALTER TABLE."""

from __future__ import annotations

from ansible_collections.seamless.rollout.plugins.module_utils._migration.rules_base import ERROR, WARNING, Judge
from ansible_collections.seamless.rollout.plugins.module_utils._migration.statements import NAME, SYMBOL, WORD, Token, groups, is_word

_LOCKING = {"CONVERT": "rewrite", "ENGINE": "rewrite", "ROW_FORMAT": "rewrite", "PARTITION": "rewrite", "ATTACH": "partition", "DETACH": "partition",
            "INHERIT": "inherit", "ORDER": "rewrite", "DISCARD": "rewrite", "IMPORT": "rewrite", "EXCHANGE": "partition", "REORGANIZE": "rewrite"}
_COLUMN_WORDS = ("NOT", "NULL", "CONSTRAINT", "UNIQUE", "PRIMARY", "REFERENCES", "CHECK", "COLLATE", "GENERATED", "COMMENT", "AFTER", "FIRST")
_STABLE = frozenset(("NOW", "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME", "LOCALTIME", "LOCALTIMESTAMP", "TRANSACTION_TIMESTAMP", "STATEMENT_TIMESTAMP",
                     "CURRENT_SETTING", "VARCHAR", "CHAR", "NUMERIC", "DECIMAL", "TIMESTAMP", "INTERVAL", "BIT", "COALESCE", "LOWER", "UPPER", "TIMEZONE",
                     "JSONB_BUILD_OBJECT", "JSON_BUILD_OBJECT", "TO_TIMESTAMP", "CAST"))


class TableJudge(Judge):
    """Judges every part of an ALTER TABLE by itself."""

    def on_alter(self, words: list[str], second: str) -> None:
        tokens = self.statement.tokens
        at = 2 if second == "TABLE" else 3 if words[1:3] in (["ONLINE", "TABLE"], ["IGNORE", "TABLE"]) else 0
        if not at:
            self.alter_other(words, second)
            return
        table, end = self.name(at)
        if end < len(tokens) and tokens[end].text == "*":
            end += 1
        if self.is_new(table) or self.is_own(table):
            self._note_columns(table, groups(tokens[end:]))
            return
        actions = groups(tokens[end:])
        if self.mariadb:
            self.algorithm(".".join(table), words, [token.text for action in actions for token in action if token.kind == WORD])
        for action in actions:
            self._action(table, action)

    def alter_other(self, words: list[str], second: str) -> None:
        """Judge an ALTER of what is no table."""
        raise NotImplementedError

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
            self._rename_part(shown, action, words, what)
        elif verb in ("ALTER", "MODIFY", "CHANGE"):
            self._alter_column(table, action, words)
        elif verb in _LOCKING:
            self.say(
                f"table-{_LOCKING[verb]}", ERROR, f"{' '.join(filter(None, words[:3]))} rewrites {shown} under a lock or takes it from old code",
                "do it in a maintenance window.",
            )
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
            self.say(
                "table-rewrite", ERROR, f"adding {shown} rewrites the whole table under a lock that stops all clients",
                "add the column empty, and fill it in a backfill.",
            )
        elif self.postgresql and "DEFAULT" in words and self._is_volatile(definition, words):
            self.say(
                "volatile-default", ERROR, f"the default of {shown} differs from row to row, so the whole table is rewritten under a lock",
                "add the column without a default, set the default in a second statement, and fill the old rows in a backfill.",
            )
        if "UNIQUE" in words or "PRIMARY" in words:
            self.say(
                "add-unique", ERROR, f"the unique key on {shown} is built under a lock that stops all clients",
                "add the column, then use the operation add_unique.",
            )
        if "CHECK" in words and self.postgresql:  # measured on 2 million rows: 0.5 s, and 0.3 ms without; with REFERENCES and no default 2 ms
            self.say(
                "add-check", ERROR, f"the whole table is scanned under a lock for the check on {shown}",
                "add the column, then use the operation add_check.",
            )
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
            self.gone_or_warn(
                f"stricter-{kind}", f"old code's writes that break the new constraint of {shown} fail",
                "make sure that old code keeps to it, or add it in contract.",
            )
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

    def _rename_part(self, shown: str, action: list[Token], words: list[str], what: str) -> None:
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
                self.say(
                    "change-type", ERROR, f"{shown} gets another type: the table may be rewritten under a lock, and old code may write what does not fit",
                    "use the operation change_type.",
                )
        elif rest[:3] == ["SET", "NOT", "NULL"]:
            self.say(
                "set-not-null", ERROR, f"the whole table is scanned under a lock, and old code that writes NULL into {shown} fails",
                "use the operation set_not_null.",
            )
        elif rest[:2] == ["DROP", "DEFAULT"]:
            if not self.new_columns.get((table, column), False):
                self.gone(
                    "drop-default", f"old code that leaves {shown} out of its INSERTs fails, if it is NOT NULL",
                    "keep the default in the database until old code is gone (Django: db_default, or django-syzygy).",
                )
        elif rest[:2] == ["SET", "DEFAULT"]:
            self.gone_or_warn("set-default", f"old code that leaves {shown} out gets another value", "make sure that old code can read it.")
        elif rest[:3] == ["DROP", "NOT", "NULL"]:
            self.gone_or_warn(
                "drop-not-null", f"old code may read NULL from {shown}, which it never did",
                "make sure that new code writes none while old code runs.",
            )
        elif rest[:1] in (["SET"], ["RESET"], ["ADD"], ["RESTART"]):
            return
        else:
            self.unknown("this change of a column can't be judged")
