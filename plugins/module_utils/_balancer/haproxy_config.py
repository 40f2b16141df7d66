# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What HAProxy's configuration files say of a backend and its runtime socket does not: sticky sessions, and what a health check asks. Pure, but for reading."""

from __future__ import annotations

import glob
import os
import re
import shlex
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.base import Setup

_UNITS = {"us": 1e-6, "ms": 1e-3, "": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PROXIES = ("defaults", "backend", "listen", "frontend")
_HASHES = ("source", "uri", "url_param", "hdr", "rdp-cookie", "hash")
_OTHER_CHECKS = ("external-check", "ldap-check", "mysql-check", "pgsql-check", "redis-check", "smtpchk", "ssl-hello-chk", "tcp-check")
Lines = t.List[t.List[str]]


def seconds(text: str) -> float | None:
    """Return a time of HAProxy in seconds; a number alone is milliseconds."""
    match = re.match(r"(\d+)(us|ms|s|m|h|d|)\Z", text)
    return float(match[1]) * _UNITS[match[2]] if match else None


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    try:
        return list(lexer)
    except ValueError:
        return line.split()


def proxies(texts: t.Sequence[str]) -> dict[str, Lines]:
    """Return the lines of every backend and listen section, those of its defaults before them."""
    found: dict[str, Lines] = {}
    named: dict[str, Lines] = {}
    last: Lines = []
    current: Lines | None = None
    for words in (_words(line) for text in texts for line in text.splitlines()):
        if not words:
            continue
        if words[0] in (*_PROXIES, "global", "resolvers", "peers", "userlist", "program", "cache", "ring", "mailers", "http-errors", "fcgi-app"):
            current = None
            base = named.get(words[words.index("from") + 1], []) if "from" in words[:-1] else last
            if words[0] == "defaults":
                current = list(base) if "from" in words else []
                last = current
                if len(words) > 1 and words[1] != "from":
                    named[words[1]] = current
            elif words[0] in ("backend", "listen") and len(words) > 1:
                current = found.setdefault(words[1], list(base))
        elif current is not None:
            current.append(words)
    return found


def setup_of(lines: Lines) -> Setup:
    """Return how the backend of these lines keeps clients on a server, and what its health checks ask."""
    kind, lifetime, line = _sticky(lines)
    asked = "tcp"
    path = None
    off = False
    for words in lines:
        if words[:1] == ["no"]:
            off = off or words[1:3] == ["option", "httpchk"]
            continue
        if words[:2] == ["option", "httpchk"]:
            rest = [word for word in words[2:] if word.startswith(("/", "*"))]
            asked, path, off = "http", rest[0] if rest else path or "/", False
        elif words[0] == "option" and words[1:2] and words[1] in _OTHER_CHECKS:
            asked, path = words[1], None
        elif words[:2] == ["http-check", "send"] and "uri" in words[:-1]:
            path = words[words.index("uri") + 1]
    if off:
        asked, path = "tcp", None
    return Setup(sticky=kind, lifetime=lifetime, line=line, check=asked, check_path=path if asked == "http" else None)


def _sticky(lines: Lines) -> tuple[str, float | None, str]:
    """Return what keeps a client on its server, for how long at most in seconds (None: for ever), and the line that says so."""
    for words in reversed(lines):
        if words[0] == "cookie" and len(words) > 1 and any(word in words for word in ("insert", "prefix", "rewrite", "indirect", "dynamic")):
            life = words[words.index("maxlife") + 1] if "maxlife" in words[:-1] else ""
            return "cookie", seconds(life), " ".join(words)
    for words in lines:
        if words[0] == "stick" and words[1:2] in (["on"], ["match"]):
            table = next((other for other in lines if other[0] == "stick-table"), [])
            # Every request renews an entry: for a client that comes often it never ends.
            return "table", None, " ".join(["stick", *words[1:3], *(["with", *table] if table else [])])
    for words in reversed(lines):
        if words[0] == "balance":
            hashed = len(words) > 1 and words[1].split("(")[0] in _HASHES
            return ("hash", 0.0, " ".join(words)) if hashed else ("none", 0.0, " ".join(words))
    return "none", 0.0, ""


def config_files(arguments: t.Sequence[str], directory: str = "/") -> list[str]:
    """Return the files that an HAProxy with these *arguments* has read, in its order; a directory stands for its ``*.cfg``."""
    found: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "-f":
            found.append(next(words, ""))
        elif word == "--":
            found += list(words)
    paths = [os.path.join(directory, path) for path in found or ["/etc/haproxy/haproxy.cfg"] if path]
    return [name for path in paths for name in (sorted(glob.glob(os.path.join(path, "*.cfg"))) if os.path.isdir(path) else [path])]


def read(pid: int | None) -> list[str] | None:
    """Return the texts of the configuration that process *pid* was started with, None where they are not on this machine or can't be read."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read().decode(errors="replace").split("\0")
        if "haproxy" not in os.path.basename(arguments[0]):
            return None
        texts = []
        for path in config_files(arguments, os.readlink(f"/proc/{pid}/cwd")):
            with open(path, encoding="utf-8", errors="replace") as text:
                texts.append(text.read())
        return texts
    except OSError:
        return None
