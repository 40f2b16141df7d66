# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import stat
import sys
import types
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _migration_lint as lint

# A squawk that flags every DROP COLUMN, CREATE INDEX and VARCHAR, and refuses options that the real one (2.70) does not have.
SQUAWK = """#!{python}
import json, sys
known = ("--reporter=json", "--stdin-filepath=", "--exclude=", "--pg-version=")
if any(not one.startswith(known) for one in sys.argv[1:]):
    sys.exit("unexpected argument")
excluded = "".join(one for one in sys.argv if one.startswith("--exclude="))[10:].split(",")
rules = {{"drop column": "ban-drop-column", "create index": "require-concurrent-index-creation", "char(20)": "ban-char-field"}}
print(json.dumps([
    {{"file": "x", "line": number, "column": 0, "level": "Warning", "message": "m " + rule, "help": None, "rule_name": rule, "column_end": 1}}
    for number, line in enumerate(sys.stdin.read().splitlines()) for sign, rule in rules.items() if sign in line.lower() and rule not in excluded
]))
sys.exit(1)
"""


@pytest.fixture
def squawk(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "squawk"
    path.write_text(SQUAWK.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def found(text: str, engine: str = "postgresql", phase: str = "expand", tools: lint.Tools = lint.NO_TOOLS) -> list[tuple[int, str, str]]:
    return [(one.line, one.rule, one.by) for one in lint.lint_sql([lint.Source("x.sql", text, phase)], engine, tools, "15")]


def test_squawk_adds_what_our_rules_do_not_say(squawk: str) -> None:
    text = "ALTER TABLE a\n  DROP COLUMN b;\nCREATE INDEX i ON a (c);\nCREATE TABLE n (c char(20));"
    assert found(text) == [(1, "drop-column", "seamless"), (3, "index-not-concurrent", "seamless")]
    assert found(text, tools=lint.Tools(squawk)) == [*found(text), (4, "ban-char-field", "squawk")]
    assert found("ALTER TABLE a DROP COLUMN b", phase="contract", tools=lint.Tools(squawk)) == []
    assert found("SELECT 1", engine="mariadb", tools=lint.Tools("/nonexistent")) == []


def test_a_squawk_that_can_not_be_asked_ends_nothing() -> None:
    assert found("SELECT 1", tools=lint.Tools("/nonexistent")) == [(1, "squawk", "squawk")]
    assert found("SELECT 1", tools=lint.Tools("/bin/true")) == [(1, "squawk", "squawk")]


def test_sqlglot_is_believed_with_care() -> None:
    def parse(text: str, dialect: str) -> None:
        assert dialect == "mysql"
        if "FROM FROM" in text:
            raise ValueError("Unexpected token\nand more")

    sqlglot = types.SimpleNamespace(parse=parse)
    tools = lint.Tools(sqlglot=sqlglot)
    assert found("INSERT INTO a VALUES (1);\nDELETE FROM FROM a", "mariadb", tools=tools) == [(2, "delete", "seamless"), (2, "parse", "sqlglot")]
    assert lint.Tools().missing("mariadb") == ["sqlglot"] and lint.Tools().missing("postgresql") == ["squawk-cli", "sqlglot"]


def test_specs() -> None:
    text = """app: shop
operations:
  - split_column:
      table: people
      up: {first: "split_part(name, ' ', 1)", last: "random()::text"}
      down: {name: "(SELECT 1); drop"}
  - sql:
      expand:
        - CREATE TABLE n (a int)
        - |
          ALTER TABLE people
            DROP COLUMN name
      backfill: {table: people, set: "a = b"}
      verify: [UPDATE people SET a = 1]
"""
    spec: dict[str, t.Any] = {"operations": [
        {"split_column": {"up": {"first": "split_part(name, ' ', 1)", "last": "random()::text"}, "down": {"name": "(SELECT 1); drop"}}},
        {"sql": {"expand": ["CREATE TABLE n (a int)", "ALTER TABLE people\n  DROP COLUMN name"], "backfill": {"table": "people", "set": "a = b"},
                 "verify": ["UPDATE people SET a = 1"]}},
        "nonsense",
    ]}
    findings = lint.lint_spec(spec, "m.yml", "postgresql", text=text)
    assert [(one.line, one.rule) for one in findings] == [(5, "not-repeatable"), (6, "no-expression"), (11, "drop-column"), (14, "verify-changes")]
    assert [one.rule for one in lint.refused(findings, allow=["drop-column"])] == ["not-repeatable", "no-expression", "verify-changes"]
    assert lint.report(findings).startswith("m.yml:5: error: not-repeatable: up of split_column, random()::text answers differently")


def test_a_directory(tmp_path: pathlib.Path) -> None:
    (tmp_path / "001_a.expand.sql").write_text("ALTER TABLE a ADD b int;\nLOCK TABLE a;")
    (tmp_path / "001_a.contract.sql").write_text("ALTER TABLE a DROP b")
    findings = lint.lint_directory(str(tmp_path), "postgresql")
    assert [(one.file, one.line, one.rule) for one in findings] == [(str(tmp_path / "001_a.expand.sql"), 2, "lock-table")]
    (tmp_path / "names.sql").write_text("SELECT 1")
    with pytest.raises(SeamlessError, match="names.sql is no name of a migration"):
        lint.lint_directory(str(tmp_path), "postgresql")


def test_what_can_not_be_split() -> None:
    assert found("SELECT 'a") == [(1, "syntax", "seamless")]
