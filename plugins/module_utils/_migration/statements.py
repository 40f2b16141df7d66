# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Splits SQL into its statements and these into tokens: enough to send them one by one and to see what they are, no parser."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import MARIADB, POSTGRESQL

# What a token is. A *word* is a keyword or an unquoted name, a *name* is quoted; comments and white space are no tokens.
WORD, NAME, STRING, NUMBER, SYMBOL = "word", "name", "string", "number", "symbol"


class Token(t.NamedTuple):
    """A token. *text* of a word is in capitals, that of a name or string is without its quotes; *start* and *end* are where it is in the source."""

    kind: str
    text: str
    start: int
    end: int


class Statement(t.NamedTuple):
    """A statement without its terminator and without the comments around it. *line* is where it begins, from 1."""

    text: str
    line: int
    tokens: tuple[Token, ...]


_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\W\d][\w$]*")
_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)")
_DOLLAR = re.compile(r"\$(?:[^\W\d]\w*)?\$")
_RUN_COMMENT = re.compile(r"/\*M?!\d*")  # what is in /*!50003 … */ is run
_DELIMITER = re.compile(r"[ \t]*DELIMITER[ \t]+(\S+)[ \t]*(?:\r?\n|$)", re.IGNORECASE)


class _Reader:
    """Reads one source, token by token."""

    def __init__(self, source: str, engine: str, line: int) -> None:
        self.source, self.engine, self.first_line = source, engine, line
        self.mariadb = engine == MARIADB

    def line(self, position: int) -> int:
        return self.first_line + self.source.count("\n", 0, position)

    def _unclosed(self, what: str, start: int) -> SeamlessError:
        return SeamlessError(f"line {self.line(start)}: {what} that begins here never ends: close it.")

    def _comment(self, at: int) -> int | None:
        """Return where the comment at *at* ends, or None when there is none."""
        source = self.source
        if source.startswith("--", at) and (not self.mariadb or at + 2 >= len(source) or source[at + 2].isspace()) or self.mariadb and source[at] == "#":
            end = source.find("\n", at)
            return len(source) if end < 0 else end
        if not source.startswith("/*", at):
            return None
        depth, position = 1, at + 2
        while depth:
            end = source.find("*/", position)
            if end < 0:
                raise self._unclosed("a comment", at)
            inner = source.find("/*", position, end) if self.engine == POSTGRESQL else -1  # only PostgreSQL nests them
            depth, position = (depth + 1, inner + 2) if inner >= 0 else (depth - 1, end + 2)
        return position

    def _quoted(self, at: int, backslash: bool) -> tuple[str, int]:
        """Return the content of the quoted text at *at* and where it ends."""
        source, quote, position = self.source, self.source[at], at + 1
        parts = []
        while position < len(source):
            char = source[position]
            if char == "\\" and backslash:
                parts.append(source[position + 1 : position + 2])
                position += 2
            elif char != quote:
                parts.append(char)
                position += 1
            elif source.startswith(quote * 2, position):
                parts.append(quote)
                position += 2
            else:
                return "".join(parts), position + 1
        raise self._unclosed("a quoted text" if quote == "'" else "a quoted name", at)

    def token(self, at: int) -> tuple[Token | None, int]:
        """Return the token at *at*, None for white space and comments, and where it ends."""
        source = self.source
        match = _SPACE.match(source, at)
        if match:
            return None, match.end()
        match = _RUN_COMMENT.match(source, at) if self.mariadb else None
        if match:
            return None, match.end()
        end = self._comment(at)
        if end is not None:
            return None, end
        if self.mariadb and source.startswith("*/", at):
            return None, at + 2
        char = source[at]
        if char == "'":
            text, end = self._quoted(at, self.mariadb)
            return Token(STRING, text, at, end), end
        if char == '"' or char == "`" and self.engine != POSTGRESQL:
            text, end = self._quoted(at, self.mariadb and char == '"')
            return Token(STRING if self.mariadb and char == '"' else NAME, text, at, end), end
        match = _DOLLAR.match(source, at) if self.engine == POSTGRESQL else None
        if match:
            end = source.find(match.group(), match.end())
            if end < 0:
                raise self._unclosed(f"a text in {match.group()}", at)
            return Token(STRING, source[match.end() : end], at, end + len(match.group())), end + len(match.group())
        match = _WORD.match(source, at)
        if match:
            # E'…' has backslash escapes, B'…', X'…', N'…' and U&'…' are strings too.
            if source.startswith("'", match.end()) and match.group().upper() in ("E", "B", "X", "N"):
                text, end = self._quoted(match.end(), self.mariadb or match.group().upper() == "E")
                return Token(STRING, text, at, end), end
            return Token(WORD, match.group().upper(), at, match.end()), match.end()
        match = _NUMBER.match(source, at)
        if match:
            return Token(NUMBER, match.group(), at, match.end()), match.end()
        return Token(SYMBOL, char, at, at + 1), at + 1


class _Depth:
    """Whether a semicolon is inside the body of a routine: MariaDB's BEGIN … END, PostgreSQL's BEGIN ATOMIC … END."""

    def __init__(self, mariadb: bool) -> None:
        self.mariadb, self.depth, self.opened = mariadb, 0, False

    def see(self, tokens: list[Token]) -> None:
        word = tokens[-1]
        if word.kind != WORD:
            return
        before = tokens[-2].text if len(tokens) > 1 and tokens[-2].kind == WORD else ""
        if self.depth and word.text in ("BEGIN", "CASE") and before != "END":
            self.depth += 1
        elif self.depth and word.text == "END":
            self.depth -= 1
        elif self.opened and before == "END" and word.text in ("IF", "LOOP", "WHILE", "REPEAT", "FOR"):
            self.depth += 1  # that END closed none of those counted
        elif not self.depth and self._opens(tokens, before):
            self.depth, self.opened = 1, True

    def _opens(self, tokens: list[Token], before: str) -> bool:
        word = tokens[-1].text
        if not self.mariadb:
            return word == "ATOMIC" and before == "BEGIN" and tokens[0].text == "CREATE"
        if word == "NOT" and before == "BEGIN" and len(tokens) == 2:
            return True
        routine = any(token.text in ("TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "PACKAGE") for token in tokens[:12] if token.kind == WORD)
        return word == "BEGIN" and tokens[0].text == "CREATE" and routine


def split(source: str, engine: str, line: int = 1) -> list[Statement]:
    """Return the statements of *source*, which begins at line *line* of its file.

    Strings, quoted names, comments, PostgreSQL's dollar quotes and ``BEGIN ATOMIC``, MariaDB's ``BEGIN … END`` and the client's ``DELIMITER`` are heeded.
    *engine* is ``postgresql``, ``mariadb`` or anything else for plain SQL. Raises SeamlessError for a quote that never ends, and for what only psql
    understands (a backslash command, rows after COPY … FROM STDIN).
    """
    source = source.lstrip("\ufeff")
    reader = _Reader(source, engine, line)
    found: list[Statement] = []
    tokens: list[Token] = []
    depth = _Depth(reader.mariadb)
    delimiter, at = ";", 0
    spans: list[tuple[int, int]] = []  # of the tokens, and of the marks around what MariaDB runs though it is in a comment

    def end_statement() -> None:
        nonlocal tokens, depth, spans
        if tokens:
            _refuse_psql(tokens, reader)
            start, end = spans[0][0], spans[-1][1]
            shifted = tuple(token._replace(start=token.start - start, end=token.end - start) for token in tokens)
            found.append(Statement(source[start:end], reader.line(start), shifted))
        tokens, depth, spans = [], _Depth(reader.mariadb), []

    while at < len(source):
        if reader.mariadb and not tokens and (at == 0 or source[at - 1] == "\n"):
            match = _DELIMITER.match(source, at)
            if match:
                delimiter, at = match.group(1), match.end()
                continue
        if source.startswith(delimiter, at) and (delimiter != ";" or not depth.depth):
            at += len(delimiter)
            end_statement()
            continue
        if not tokens and source[at] == "\\" and engine == POSTGRESQL:
            command = source[at:].split(None, 1)[0]
            raise SeamlessError(f"line {reader.line(at)}: {command} is a command of psql, not SQL: take it out, and put what it includes in a file of its own.")
        begin = at
        token, at = reader.token(at)
        if token is not None or reader.mariadb and (source.startswith("*/", begin) or _RUN_COMMENT.match(source, begin)):
            spans.append((begin, at))
        if token is not None:
            tokens.append(token)
            depth.see(tokens)
    end_statement()
    return found


def _refuse_psql(tokens: list[Token], reader: _Reader) -> None:
    words = [token.text for token in tokens if token.kind == WORD]
    if words[:1] == ["COPY"] and ("FROM", "STDIN") in zip(words, words[1:]):
        raise SeamlessError(
            f"line {reader.line(tokens[0].start)}: COPY … FROM STDIN reads rows that follow it in the file, which only psql can do: write INSERT statements."
        )


def is_word(token: Token | None, *texts: str) -> bool:
    """Return whether *token* is one of the unquoted words *texts*."""
    return token is not None and token.kind == WORD and token.text in texts


def name_at(statement: Statement, at: int) -> tuple[tuple[str, ...], int]:
    """Return the parts of the possibly qualified name at token *at* as the source has them, and where it ends; an empty name when there is none."""
    tokens, parts = statement.tokens, []
    while at < len(tokens) and tokens[at].kind in (WORD, NAME):
        token = tokens[at]
        parts.append(token.text if token.kind == NAME else statement.text[token.start : token.end])
        at += 1
        if at + 1 < len(tokens) and tokens[at].text == "." and tokens[at].kind == SYMBOL:
            at += 1
            continue
        break
    return tuple(parts), at


def groups(tokens: t.Sequence[Token]) -> list[list[Token]]:
    """Return *tokens* cut at the commas that are in no parentheses."""
    found: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.kind == SYMBOL and token.text in "([":
            depth += 1
        elif token.kind == SYMBOL and token.text in ")]":
            depth -= 1
        if token.kind == SYMBOL and token.text == "," and depth == 0:
            found.append([])
        else:
            found[-1].append(token)
    return [group for group in found if group]
