# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What the type and the default of a column say."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import expressions
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Column
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.datatypes import builtin, without_equality

if t.TYPE_CHECKING:
    from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work

_TRANSACTION_TIME = re.compile(r"(?:(?:now|transaction_timestamp)\(\)|current_date|(?:current_timestamp|localtimestamp)(?:\(\d\))?)\Z")


def type_sql(work: Work, text: str) -> str:
    """Return the type *text* of a new column. Raises SeamlessError when it holds more than a type."""
    words = {piece.text.lower() for piece in expressions.tokens(work.engine, text) if piece.kind == "word"}
    more = words & {
        "not",
        "null",
        "default",
        "primary",
        "unique",
        "references",
        "check",
        "generated",
        "constraint",
        "collate",
        "auto_increment",
        "invisible",
        "as",
    }
    if more:
        raise work.refuse(
            f"type is {text!r}, which says more than a type ({', '.join(sorted(more))}): use the keys default and nullable, "
            f"and operations of their own for the rest."
        )
    if words & {"serial", "bigserial", "smallserial", "serial4", "serial8"}:
        raise work.refuse(f"type is {text!r}: use an integer type with a default such as nextval('my_sequence').")
    if work.postgresql and "." not in text and not builtin(text) and not without_equality(text):
        raise work.refuse(f"type is {text!r}, which is none of the server's own: write it with its schema, such as public.{text}, for triggers know no other.")
    return text.strip()


def constant(work: Work, expression: str) -> bool:
    """Say whether *expression* is provably the same for every row: literals, signs, casts, and on PostgreSQL the time of the transaction."""
    pieces = [piece for piece in expressions.tokens(work.engine, expression) if piece.kind != "space"]
    if work.postgresql and _TRANSACTION_TIME.match("".join(piece.text.lower() for piece in pieces)):
        return True
    if pieces[0].text in ("+", "-"):
        pieces = pieces[1:]
    if not pieces or not (pieces[0].kind in ("number", "string") or pieces[0].text.lower() in ("true", "false", "null")):
        return False
    if len(pieces) == 1:
        return True
    return (
        work.postgresql
        and pieces[1].text == "::"
        and all(piece.kind in ("word", "quoted", "number") or piece.text in ("::", ".", ",", "(", ")", "[", "]") for piece in pieces[1:])
    )


def zero(work: Work, column: Column) -> str:
    """Return a constant that MariaDB takes for *column*, for rows that are written without it."""
    low = column.type.strip().lower()
    word = re.split(r"[\s(]", low)[0]
    if word in ("enum",):
        match = re.search(r"'(?:[^']|'')*'", column.type)
        return match.group() if match else "''"
    if word in ("text", "tinytext", "mediumtext", "longtext", "blob", "tinyblob", "mediumblob", "longblob"):
        return "('')" if work.server.mysql else "''"
    if word == "json":
        return "('{}')" if work.server.mysql else "'{}'"
    known = {
        **dict.fromkeys(("char", "varchar", "binary", "varbinary", "set"), "''"),
        "date": "'1971-01-01'", "datetime": "'1971-01-01 00:00:00'", "timestamp": "'1971-01-01 00:00:00'", "time": "'00:00:00'", "year": "'2000'",
        "uuid": "'00000000-0000-0000-0000-000000000000'", "inet6": "'::'", "inet4": "'0.0.0.0'",
        **dict.fromkeys(("point", "geometry", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection"), ""),
    }  # fmt: skip
    value = known.get(word, "0")
    if not value:
        raise work.refuse(f"{column.name} is a {column.type} and NOT NULL: no constant stands in for it in the quarantine. Make it nullable first.")
    return value


def default_of(column: Column) -> str | None:
    """Return the default of *column* as SQL, None where it is NULL by nature or by its text."""
    return None if column.default is None or re.match(r"NULL\s*(::.*)?$", column.default, re.IGNORECASE) else column.default
