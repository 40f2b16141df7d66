# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""nginx's configuration as far as an audit asks: where the application's files and its health endpoint come from. Read, never run."""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._audit import kernel

_DEPTH = 12
_TOKEN = re.compile(r"""\s+|\#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|(?:\$\{[^}]*\}|\\.|[^\s{};"'])+""", re.DOTALL)


@dataclasses.dataclass
class Directive:
    """A directive: its words, and where it stands. *block* are the directives within its braces."""

    words: list[str]
    path: str
    line: int
    block: list[Directive] = dataclasses.field(default_factory=list)

    @property
    def name(self) -> str:
        return self.words[0] if self.words else ""


def parse(text: str, path: str, read: t.Callable[[str], list[tuple[str, str]]], depth: int = 0) -> list[Directive]:
    """Return the directives of *text*, with what they include in its place. *read* gives (path, text) of every file that a pattern means."""
    stack: list[list[Directive]] = [[]]
    words: list[str] = []
    line = begun = 1
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "{":
            directive = Directive(words, path, begun)
            stack[-1].append(directive)
            stack.append(directive.block)
            words = []
        elif token == "}":
            if len(stack) > 1:
                stack.pop()
            words = []
        elif token == ";":
            if words[:1] == ["include"] and len(words) > 1 and depth < _DEPTH:
                for place, content in read(words[1]):
                    stack[-1] += parse(content, place, read, depth + 1)
            elif words:
                stack[-1].append(Directive(words, path, begun))
            words = []
        elif not token.isspace() and not token.startswith("#"):
            begun = begun if words else line
            words = [*words, token[1:-1] if token[0] in "\"'" else token]
        line += token.count("\n")
    return stack[0]


def read_tree(path: str) -> list[Directive]:
    """Return the whole configuration that begins with the file *path*."""
    base = os.path.dirname(path)

    def read(pattern: str) -> list[tuple[str, str]]:
        return [(place, kernel.read_text(place)) for place in sorted(glob.glob(os.path.join(base, pattern)))]

    return parse(kernel.read_text(path), path, read)


def walk(directives: t.Sequence[Directive], above: tuple[Directive, ...] = ()) -> t.Iterator[tuple[Directive, tuple[Directive, ...]]]:
    """Yield every directive with those around it, the innermost last."""
    for directive in directives:
        yield directive, above
        yield from walk(directive.block, (*above, directive))


def files(directives: t.Sequence[Directive]) -> set[str]:
    return {directive.path for directive, dummy in walk(directives)}


def _own(block: t.Sequence[Directive], name: str) -> list[Directive]:
    return [directive for directive in block if directive.name == name]


def _nearest(name: str, around: t.Sequence[Directive]) -> list[Directive]:
    """Return the directives *name* that are in force: those of the innermost block that has any."""
    return next((found for found in (_own(block.block, name) for block in reversed(around)) if found), [])


def scripts(directives: t.Sequence[Directive], root: str) -> list[dict[str, t.Any]]:
    """Return every place that hands scripts below *root* to FastCGI: to which socket, and by which path."""
    found = []
    for directive, around in walk(directives):
        if directive.name != "fastcgi_pass" or len(directive.words) < 2:
            continue
        roots = _nearest("root", around) or _nearest("alias", around)
        if not roots or not (roots[-1].words[1] + "/").startswith(root.rstrip("/") + "/"):
            continue
        names = [item for item in _nearest("fastcgi_param", around) if item.words[1:2] == ["SCRIPT_FILENAME"]]
        script = names[-1] if names else None
        found.append(
            {
                "pass": directive.words[1], "root": roots[-1].words[1], "script": script.words[2] if script and len(script.words) > 2 else "",
                "place": f"{(script or directive).path}:{(script or directive).line}",
            }
        )
    return found


def _listens(server: Directive, port: str) -> bool:
    """Say whether *server* listens at *port*: an address without one means 80, and so does a server without listen."""
    places = [item.words[1] for item in _own(server.block, "listen") if len(item.words) > 1] or ["80"]
    ports = [re.search(r"(?:\A|:)(\d+)\Z", place) for place in places]
    return any((match[1] if match else "80") == port for match in ports)


def fixed_answer(directives: t.Sequence[Directive], port: str, path: str) -> str | None:
    """Say where nginx itself answers *path* at *port*, without asking the application; None where it asks, or that is not known."""
    for server, dummy in walk(directives):
        if server.name != "server" or not server.block or not _listens(server, port):
            continue
        block = _location(server, path)
        answer = next((item for item in _own(block.block, "return") if re.match(r"2\d\d\Z", (item.words[1:] or [""])[0])), None)
        if answer:
            return f"{' '.join(answer.words)} in {answer.path}:{answer.line}"
        if any(_own(block.block, name) for name in ("proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "try_files", "return", "rewrite")):
            continue
        roots = [words[1] for words in (item.words for item in _own(block.block, "root") or _own(server.block, "root")) if len(words) > 1]
        place = os.path.join(roots[-1], path.lstrip("/")) if roots else ""
        if place and os.path.isfile(place) and not place.endswith(".php"):
            return f"{place}, a file that {block.path}:{block.line} serves"
    return None


def _location(server: Directive, path: str) -> Directive:
    """Return the block that answers *path*: an exact location, or the longest prefix, or the server. Regular expressions are not looked at."""
    best, length = server, -1
    for directive, dummy in walk(server.block):
        if directive.name != "location" or len(directive.words) < 2:
            continue
        modifier, pattern = (directive.words[1], directive.words[-1]) if len(directive.words) > 2 else ("", directive.words[1])
        if modifier == "=" and pattern == path:
            return directive
        if modifier in ("", "^~") and path.startswith(pattern) and len(pattern) > length:
            best, length = directive, len(pattern)
    return best
