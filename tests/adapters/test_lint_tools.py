# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lint with squawk and sqlglot themselves, run by the Python that has them."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t

from .ground import REPO

PROGRAM = """
import json, sys
from ansible_collections.seamless.rollout.plugins.plugin_utils import _migration_lint as lint
tools, request = lint.installed(), json.loads(sys.argv[1])
assert tools.squawk and tools.sqlglot and not tools.missing("postgresql")
sources = [lint.Source("001_a.expand.sql", request.get("text", ""), request["phase"])]
found = lint.lint_sql(sources, request["engine"], tools, "15") if "text" in request else lint.lint_spec(request["spec"], "m.yml", request["engine"], tools)
print(json.dumps([[one.line, one.rule, one.by] for one in found]))
"""


def ask(bin_dir: str, **request: t.Any) -> list[list[t.Any]]:
    environment = {**os.environ, "PYTHONPATH": os.path.join(REPO, "build", "tree"), "PATH": f"{bin_dir}:{os.environ['PATH']}"}
    command = [os.path.join(bin_dir, "python"), "-c", PROGRAM, json.dumps({"engine": "postgresql", "phase": "expand", **request})]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, encoding="utf-8")
    found: list[list[t.Any]] = json.loads(done.stdout)
    return found


def test_squawk_and_sqlglot(bin_dir: str) -> None:
    text = "ALTER TABLE users\n  DROP COLUMN a;\nCREATE INDEX i ON users (a);\nALTER TABLE u ADD CONSTRAINT c CHECK (a > 0);\nALTER TABLE u ADD d int NOT NULL;"
    ours = [[1, "drop-column", "seamless"], [3, "index-not-concurrent", "seamless"], [4, "add-check", "seamless"], [4, "stricter-check", "seamless"],
            [5, "add-column-not-null", "seamless"]]
    assert ask(bin_dir, text=text) == ours, "what squawk says of the same statements is no second finding"
    assert ask(bin_dir, text="SELECT 1;\nCREATE TABLE n (a char(3));") == [[2, "ban-char-field", "squawk"]]
    assert ask(bin_dir, text="SELECT 1;\nselec 1;") == [[2, "unknown", "seamless"], [2, "syntax-error", "squawk"]]
    assert ask(bin_dir, text="ALTER TABLE users DROP COLUMN a", phase="contract") == []
    assert ask(bin_dir, text="ALTER TABLE u ADD c int, ALGORITHM=INSTANT, LOCK=NONE", engine="mariadb") == []


def test_expressions(bin_dir: str) -> None:
    values = {"table": "people", "up": {"first": "split_part(name, ' ', 1)", "last": "substr(name, 1"}, "down": {"name": "concat_ws(' ', first, last)"}}
    assert ask(bin_dir, spec={"operations": [{"split_column": values}]}) == [[1, "parse", "sqlglot"]]
