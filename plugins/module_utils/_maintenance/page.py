# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import datetime
import html
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.moments import iso, readable

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;background:#f6f7f9;color:#1c2026;"
    "font:1.125rem/1.6 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
    "main{max-width:34rem;padding:2rem}h1{font-size:1.75rem;line-height:1.25;margin:0 0 1rem}p{margin:0 0 1rem}"
    "@media (prefers-color-scheme:dark){body{background:#16181d;color:#e8eaee}}"
)


def default_page(title: str, text: str, end: datetime.datetime | None, lang: str) -> str:
    """Return a page that needs nothing from anywhere: light or dark as the reader's system is, and readable without either."""
    paragraphs = [f"<p>{html.escape(line.strip())}</p>" for line in text.splitlines() if line.strip()]
    if end is not None:
        lead = "Expected end: " if lang.partition("-")[0] == "en" else ""
        paragraphs.append(f'<p>{lead}<time datetime="{iso(end)}">{html.escape(readable(end))}</time></p>')
    return (
        f'<!doctype html>\n<html lang="{html.escape(lang)}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{html.escape(title)}</h1>\n"
        + "\n".join(paragraphs) + "\n</main>\n</body>\n</html>\n"
    )


def page_of(params: t.Mapping[str, t.Any], end: datetime.datetime | None) -> bytes:
    """Return the page that is asked for, the user's own or ours."""
    own = params["page"]
    return (own if own else default_page(params["title"], params["text"], end, params["lang"])).encode()
