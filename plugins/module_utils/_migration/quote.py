# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Names and values as SQL of an engine."""

from __future__ import annotations

import hashlib
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Name


def identifier(engine: str, text: str) -> str:
    """Return the name *text* quoted. Raises SeamlessError where no name can be *text*."""
    if not text or "\0" in text:
        raise SeamlessError(f"{text!r} can't be a name in a database: it is empty or has a NUL character.")
    mark = '"' if engine == POSTGRESQL else "`"
    return mark + text.replace(mark, mark * 2) + mark


def identifiers(engine: str, texts: t.Iterable[str]) -> str:
    """Return the names *texts* quoted, with commas between them."""
    return ", ".join(identifier(engine, text) for text in texts)


def table(engine: str, name: Name) -> str:
    """Return *name* with its schema, quoted."""
    return f"{identifier(engine, name.schema)}.{identifier(engine, name.name)}"


def literal(engine: str, value: str | float | bool | None) -> str:
    """Return *value* as a constant that means the same whatever the session's settings for backslashes are."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if not isinstance(value, str):
        return repr(value)
    if "\0" in value:
        raise SeamlessError(f"{value!r} can't be a value in a database: it has a NUL character.")
    if "\\" not in value:
        return "'" + value.replace("'", "''") + "'"
    if engine == POSTGRESQL:
        return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    return f"_utf8mb4 X'{value.encode().hex()}'"


def shortened(engine: str, text: str) -> str:
    """Return *text*, cut and with a digest at its end where it is too long for a name: 63 bytes in PostgreSQL, 64 characters in MariaDB."""
    limit = 63 if engine == POSTGRESQL else 64
    size = len(text.encode()) if engine == POSTGRESQL else len(text)
    if size <= limit:
        return text
    room = limit - 9
    kept = text.encode()[:room].decode(errors="ignore") if engine == POSTGRESQL else text[:room]
    return f"{kept}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
