# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Writes the report of a run, each file by itself: a rollout that went well does not fail for its report."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._report import result_markdown
from ansible_collections.seamless.rollout.plugins.plugin_utils._report_data import report_data
from ansible_collections.seamless.rollout.plugins.plugin_utils._report_html import page
from ansible_collections.seamless.rollout.plugins.plugin_utils._report_junit import junit
from ansible_collections.seamless.rollout.plugins.plugin_utils._story import Row, Story, tell

Maker = t.Callable[[Story, t.Dict[str, t.Any]], str]
# The first of those that were written is what people are told of.
FILES: dict[str, Maker] = {
    "report.html": page,
    "report.md": lambda story, data: result_markdown(data),
    "report.json": lambda story, data: json.dumps(data, indent=1) + "\n",
    "report.xml": lambda story, data: junit(story),
}


def write_reports(state_dir: str, rollout: Row, hosts: t.Mapping[str, Row], events: t.Sequence[Row]) -> tuple[str, list[str]]:
    """Write all files of the report. Returns the path of the one for people ("" where none could be written), and a sentence for each that could not."""
    directory = os.path.join(state_dir, "reports", str(rollout["id"]))
    written, problems = [], []
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        story = tell(rollout, hosts, events)
        data = report_data(story)
    except Exception as exc:
        return "", [f"No report could be written to {directory}: {_told(exc)}. The rollout itself is as it says."]
    for name, make in FILES.items():
        try:
            _write(directory, name, make(story, data))
            written.append(os.path.join(directory, name))
        except Exception as exc:
            problems.append(f"{name} of the report could not be written to {directory}: {_told(exc)}. The rollout itself is as it says.")
    return (written[0] if written else ""), problems


def _told(exc: Exception) -> str:
    return str(exc) if isinstance(exc, OSError) else f"{type(exc).__name__}: {exc}"


def _write(directory: str, name: str, content: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=directory)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(content)
        os.replace(temporary, os.path.join(directory, name))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
