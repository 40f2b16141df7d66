# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import re
import typing as t

_TOKEN = re.compile(
    r'/\*.*?\*/|//[^\n]*|#[^\n]*|\{"(?P<long>.*?)"\}|"""(?P<longer>.*?)"""|"(?P<short>[^"\n]*)"|(?P<word>[A-Za-z0-9_.\-]+)|(?P<sign>[{}=;])|.', re.DOTALL
)


class Backend(t.NamedTuple):
    """Where a ``backend`` of VCL listens. One with a ``.path`` has no address."""

    address: str
    port: int | None


def parse_backends(text: str) -> dict[str, Backend]:
    """Return the backends that VCL declares, by name. What can't be understood is left out."""
    tokens = list(_tokens(text))
    found = {}
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token == "{") - (token == "}")
        if depth == 0 and token == "backend" and tokens[index + 2 : index + 3] == ["{"]:
            found[tokens[index + 1]] = _backend(_settings(tokens[index + 3 :]))
    return found


def _tokens(text: str) -> t.Iterator[str]:
    """Return words and signs as they are, and strings with a quotation mark before."""
    for match in _TOKEN.finditer(text):
        if match.lastgroup in ("word", "sign"):
            yield match[0]
        elif match.lastgroup:
            yield f'"{match[match.lastgroup]}'


def _settings(tokens: t.Sequence[str]) -> dict[str, str]:
    """Return the strings that are assigned in a block; *tokens* begin inside of it. What is assigned in a block within, as a probe, is its own."""
    found = {}
    depth = 1
    for index, token in enumerate(tokens):
        depth += (token == "{") - (token == "}")
        if depth == 0:
            break
        if depth == 1 and token == "=" and index and tokens[index + 1 : index + 2]:
            found[tokens[index - 1]] = tokens[index + 1].lstrip('"')
    return found


def _backend(settings: t.Mapping[str, str]) -> Backend:
    if ".path" in settings or ".host" not in settings:
        return Backend("", None)
    host, port = settings[".host"], settings.get(".port", "80")
    together = re.fullmatch(r"(\[[^\]]*\]|[^:]*)[: ](\d+)", host)
    if together and ".port" not in settings:
        host, port = together[1], together[2]
    return Backend(host.strip("[]"), int(port) if re.fullmatch(r"[0-9]+", port) else None)
