# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Facts about the data types of both engines. Pure."""

from __future__ import annotations

import re

from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Column

_BUILTIN = re.compile(
    r"""\s*(?:pg_catalog\.)?(?:
      (?:small|big)?int(?:eger|2|4|8)?|bool(?:ean)?|real|float[48]?(?:\(\d+\))?|double\ precision|(?:numeric|decimal)(?:\s*\([\d, -]+\))?
      |(?:character\ varying|varchar|character|char|bpchar|bit\ varying|bit|varbit)(?:\s*\(\d+\))?|"char"
      |text|name|date|uuid|bytea|jsonb|inet|cidr|macaddr8?|money|oid|tsvector|tsquery|pg_lsn|xid8?|reg\w+
      |(?:time|timestamp)(?:tz)?(?:\s*\(\d\))?(?:\ with(?:out)?\ time\ zone)?|interval(?:\b[^.]*)?|(?:int[48]|num|ts|tstz|date)(?:multi)?range
    )\s*$""",
    re.IGNORECASE | re.VERBOSE,
)

# Not among them: numeric (1.0 is 1.00), floats (0 is -0), char(n), jsonb, intervals (a day is 24 hours), inet.
_EXACT = re.compile(
    r"""\s*(?:pg_catalog\.)?(?:
      (?:small|big)?int(?:eger|2|4|8)?|bool(?:ean)?|oid|uuid|bytea|date|text|(?:character\ varying|varchar)(?:\s*\(\d+\))?
      |timestamp(?:tz)?(?:\s*\(\d\))?(?:\ with(?:out)?\ time\ zone)?|time(?:\s*\(\d\))?(?:\ without\ time\ zone)?
    )\s*$""",
    re.IGNORECASE | re.VERBOSE,
)

_NO_EQUALITY = re.compile(r"\s*(?:pg_catalog\.)?(json|xml|point|line|lseg|box|path|polygon|circle)(?:\[\])*\s*$", re.IGNORECASE)


def builtin(type_: str) -> bool:
    """Say whether PostgreSQL's *type_* is one of its own, with an = of its own: names of others depend on the search_path."""
    return bool(_BUILTIN.match(re.sub(r"(\[\])+$", "", type_.strip())))


def without_equality(type_: str) -> bool:
    """Say whether PostgreSQL's *type_* is one of its own that has no =, or one that is not about sameness."""
    return bool(_NO_EQUALITY.match(type_))


def exact(type_: str) -> bool:
    """Say whether two values of PostgreSQL's *type_* that are = are the same to the last bit (of a text: in collation C)."""
    return bool(_EXACT.match(type_))


def collated(type_: str) -> bool:
    """Say whether a column of *type_* has a collation, and the type leaves it open which."""
    low = type_.strip().lower()
    if re.search(r"\b(?:character set|charset|ascii|unicode|byte|binary)\b|^n(?:ational|char|varchar)\b", low):
        return False
    return bool(re.match(r"(?:pg_catalog\.)?(?:character(?: varying)?|(?:var|bp)?char|(?:tiny|medium|long)?text|enum|set)\b(?!\s*\[)", low))


def kept_collation(old: Column, type_: str) -> str | None:
    """Return the collation that *old* keeps when it becomes one of *type_*."""
    return old.collation if collated(old.type) and collated(type_) else None


def cast_type(type_: str) -> str | None:
    """Return what MariaDB's CAST takes for a column of *type_*; None where it has nothing."""
    low = type_.strip().lower()
    match = re.match(r"([a-z]+)\s*(\([^)]*\))?", low)
    word, size = (match.group(1), match.group(2) or "") if match else ("", "")
    if word in ("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "bool", "boolean"):
        return "UNSIGNED" if "unsigned" in low else "SIGNED"
    if word in ("decimal", "numeric", "dec", "fixed"):
        return f"DECIMAL{size or '(10,0)'}"
    if word in ("char", "varchar"):
        return f"CHAR{size}"
    if word in ("text", "tinytext", "mediumtext", "longtext", "enum", "set", "json"):
        return "CHAR"
    if word in ("date", "double", "float"):
        return word.upper()
    if word in ("datetime", "time"):
        return f"{word.upper()}{size}"
    return f"DATETIME{size}" if word == "timestamp" else None


def integer_range(type_: str) -> tuple[int, int] | None:
    """Return the least and the greatest value of MariaDB's integer *type_*, which its CAST does not check."""
    bits = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "integer": 32, "bigint": 64, "bool": 8, "boolean": 8}.get(
        re.split(r"[\s(]", type_.strip().lower())[0]
    )
    if bits is None:
        return None
    return (0, 2**bits - 1) if "unsigned" in type_.lower() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
