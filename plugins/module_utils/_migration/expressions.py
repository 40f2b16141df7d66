# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The columns in an SQL expression that a user wrote: found and replaced by a small lexer, since one text serves triggers, backfills and checks.

Strings, comments, quoted names, function and type names and names that are qualified already are left alone.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL

# Words that stand in an expression without being a column, unless they are quoted.
KEYWORDS = frozenset(
    {
        "all", "and", "any", "array", "as", "asc", "at", "between", "both", "case", "cast", "collate", "cross", "current_date", "current_role",
        "current_time", "current_timestamp", "current_user", "default", "desc", "distinct", "else", "end", "except", "false", "filter", "for", "from",
        "group", "having", "ilike", "in", "intersect", "into", "is", "isnull", "leading", "like", "limit", "localtime", "localtimestamp", "not", "notnull",
        "null", "offset", "on", "or", "order", "placing", "select", "session_user", "similar", "some", "symmetric", "then", "to", "trailing", "true", "union",
        "user", "using", "when", "where", "window", "with"
    }
)  # fmt: skip
MARIADB_KEYWORDS = KEYWORDS | frozenset(
    {
        "binary", "by", "div", "escape", "exists", "interval", "match", "mod", "over", "partition", "regexp", "rlike", "row", "sounds", "unknown", "values",
        "xor"
    }
)  # fmt: skip
_QUERIES = ("select", "with", "insert", "update", "delete")

_POSTGRESQL = re.compile(
    r"""(?P<space>\s+)|(?P<comment>--[^\n]*)|(?P<block>/\*)
      |(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*')
      |(?P<dollar>\$(?P<tag>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
      |(?P<quoted>"(?:[^"]|"")+")
      |(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
      |(?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
      |(?P<mark>::|:=|=>|[^'"\s])""",
    re.VERBOSE | re.DOTALL,
)
_MARIADB = re.compile(
    r"""(?P<space>\s+)|(?P<comment>--(?=\s|$)[^\n]*|\#[^\n]*)|(?P<block>/\*)
      |(?P<string>[bBxXnN]?'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
      |(?P<quoted>`(?:[^`]|``)+`)
      |(?P<variable>@@?[A-Za-z0-9_.$]+)
      |(?P<number>0[xX][0-9a-fA-F]+|0b[01]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?![A-Za-z_$])|\.\d+(?:[eE][+-]?\d+)?)
      |(?P<word>[A-Za-z0-9_$\x80-\U0010ffff]+)
      |(?P<mark>:=|[^'"`\s])""",
    re.VERBOSE | re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Token:
    """A piece of an expression. *kind*: space, string, number, word, quoted, variable or mark."""

    kind: str
    text: str


def tokens(engine: str, expression: str) -> list[Token]:
    """Return the pieces of *expression*; comments become a space. Raises SeamlessError for what is no single expression."""
    found: list[Token] = []
    pattern = _POSTGRESQL if engine == POSTGRESQL else _MARIADB
    position, depth = 0, 0
    while position < len(expression):
        match = pattern.match(expression, position)
        if match is None:
            raise SeamlessError(f"the expression {expression!r} has a quote that is not closed, at character {position + 1}.")
        kind, text, position = str(match.lastgroup), match.group(), match.end()
        if kind in ("comment", "block"):
            if kind == "block":
                position = _after_comment(engine, expression, match.start())
            kind, text = "space", " "
        elif match.group("dollar") if engine == POSTGRESQL else False:
            end = expression.find(text, position)
            if end < 0:
                raise SeamlessError(f"the expression {expression!r} has a {text} that is not closed.")
            kind, text, position = "string", expression[match.start() : end + len(text)], end + len(text)
        elif kind == "mark":
            depth += {"(": 1, ")": -1}.get(text, 0)
            if text == ";" or depth < 0:
                what = "a semicolon: it must be one expression, not a statement" if text == ";" else "more ) than ("
                raise SeamlessError(f"the expression {expression!r} has {what}.")
        found.append(Token(kind, text))
    if depth:
        raise SeamlessError(f"the expression {expression!r} has more ( than ).")
    if all(token.kind == "space" for token in found):
        raise SeamlessError("an expression is empty: write a value or something that is computed from columns.")
    return found


def _after_comment(engine: str, expression: str, start: int) -> int:
    if engine != POSTGRESQL and expression[start : start + 3] in ("/*!", "/*M"):
        raise SeamlessError(f"the expression {expression!r} has a comment that the server runs (/*! … */): write it without.")
    depth, position = 1, start + 2
    while depth:
        match = re.compile(r"/\*|\*/").search(expression, position)
        if match is None:
            raise SeamlessError(f"the expression {expression!r} has a comment that is not closed.")
        nested = match.group() == "/*"
        depth += (1 if engine == POSTGRESQL else 0) if nested else -1
        position = match.end()
    return position


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])


def _references(engine: str, pieces: t.Sequence[Token], known: t.Collection[str]) -> dict[int, str]:
    """Return which of *pieces* are columns of *known*: position -> column."""
    solid = [(index, piece) for index, piece in enumerate(pieces) if piece.kind != "space"]
    folded = {column.casefold(): column for column in known} if engine != POSTGRESQL else {column: column for column in known}
    found: dict[int, str] = {}
    keywords = KEYWORDS if engine == POSTGRESQL else MARIADB_KEYWORDS
    nothing = Token("mark", "")
    for place, (index, piece) in enumerate(solid):
        before = solid[place - 1][1] if place else nothing
        behind = solid[place + 1][1] if place + 1 < len(solid) else nothing
        if piece.kind not in ("word", "quoted") or before.text in (".", "::") or behind.text in (".", "(", "=>", ":="):
            continue
        if piece.kind == "word":
            word = piece.text.lower()
            earlier = solid[place - 2][1].text.lower() if place > 1 else ""
            if word in keywords or behind.kind == "string" or before.kind in ("number", "string") or before.text == ")":
                continue
            if before.text.lower() in ("as", "at") or (before.text.lower(), word) == ("time", "zone") or (before.text == "(" and earlier == "extract"):
                continue
            name = word if engine == POSTGRESQL else piece.text.casefold()
        else:
            name = _unquoted(piece.text) if engine == POSTGRESQL else _unquoted(piece.text).casefold()
        if name in folded:
            found[index] = folded[name]
    return found


def columns(engine: str, expression: str, known: t.Collection[str]) -> list[str]:
    """Return which columns of *known* the *expression* uses, each once, in their order in it."""
    return list(dict.fromkeys(_references(engine, tokens(engine, expression), known).values()))


def rewritten(engine: str, expression: str, replacements: t.Mapping[str, str]) -> str:
    """Return *expression* with its columns replaced by the SQL that *replacements* has for them."""
    pieces = tokens(engine, expression)
    found = _references(engine, pieces, replacements)
    return "".join(replacements[found[index]] if index in found else piece.text for index, piece in enumerate(pieces)).strip()


def checked(engine: str, expression: str, allowed: t.Collection[str], all_columns: t.Collection[str]) -> str:
    """Return *expression* when it can be computed from the columns *allowed* alone. Raises SeamlessError that says what is wrong with it."""
    pieces = tokens(engine, expression)
    words = [piece.text.lower() for piece in pieces if piece.kind == "word"]
    inner = next((word for word in words if word in _QUERIES), None)
    if inner:
        raise SeamlessError(f"the expression {expression!r} has a query ({inner}): only what is computed from the row itself can be kept in step by triggers.")
    solid = [piece for piece in pieces if piece.kind != "space"]
    for place, piece in enumerate(solid[:-1]):
        if piece.kind == "word" and piece.text.lower() in ("new", "old") and solid[place + 1].text == ".":
            raise SeamlessError(f"the expression {expression!r} has {piece.text}.: write the column's name alone, it is put right for triggers and backfill.")
    other = [column for column in columns(engine, expression, all_columns) if column not in allowed]
    if other:
        raise SeamlessError(
            f"the expression {expression!r} uses {', '.join(other)}: it can use only {', '.join(allowed) or 'constants'}. "
            f"Write it with these, or do the step by an sql operation."
        )
    return expression
