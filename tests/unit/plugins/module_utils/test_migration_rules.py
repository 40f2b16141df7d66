# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import rules
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters import sqldir
from ansible_collections.seamless.rollout.plugins.module_utils._migration.statements import split
from hypothesis import given
from hypothesis import strategies as st


def texts(source: str, engine: str = "postgresql") -> list[tuple[int, str]]:
    return [(one.line, one.text) for one in split(source, engine)]


def test_split_postgresql() -> None:
    source = "-- a; b\nSELECT 'a;''b'; /* x /* ; */ y */\nDO $x$ begin; $y$ end $x$;;\nSELECT E'\\';', \"q;\"\"x\", $1, U&'d;', b'1';\n SELECT 2 -- the end;"
    assert texts(source) == [
        (2, "SELECT 'a;''b'"), (3, "DO $x$ begin; $y$ end $x$"), (4, "SELECT E'\\';', \"q;\"\"x\", $1, U&'d;', b'1'"), (5, "SELECT 2"),
    ]
    body = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END"
    assert texts(f"{body}; SELECT 'a\\'; SELECT 3") == [(1, body), (1, "SELECT 'a\\'"), (1, "SELECT 3")]


def test_split_mariadb() -> None:
    body = "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW BEGIN IF a THEN SET b=1; END IF; CASE c WHEN 1 THEN SET d=1; END CASE; END"
    assert texts(f"# a;\nDELIMITER //\n{body};//\nDELIMITER ;\nSELECT 1", "mariadb")[1:] == [(5, "SELECT 1")]
    assert texts(f"DELIMITER //\n{body}//\ndelimiter ;\nSELECT 1;", "mariadb") == [(2, body), (4, "SELECT 1")]
    assert texts(f"{body};\nSELECT 1", "mariadb") == [(1, body), (2, "SELECT 1")]
    assert texts("BEGIN NOT ATOMIC SELECT 1; WHILE a DO SELECT 2; END WHILE; END; BEGIN; COMMIT", "mariadb")[1:] == [(1, "BEGIN"), (1, "COMMIT")]
    source = "/*!50001 ALTER TABLE `a;``b` ADD c int */; SELECT 5--1, \"x\\\";\", 'y\\';' -- d;\n; CREATE TABLE a (b int) /*!50100 ENGINE=InnoDB */"
    assert [text for dummy, text in texts(source, "mariadb")] == [
        "/*!50001 ALTER TABLE `a;``b` ADD c int */", "SELECT 5--1, \"x\\\";\", 'y\\';'", "CREATE TABLE a (b int) /*!50100 ENGINE=InnoDB */",
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("SELECT 1;\nSELECT 'a", "line 2: a quoted text that begins here never ends"),
        ("/* a", "line 1: a comment that begins"),
        ("DO $a$ x $b$", r"line 1: a text in \$a\$"),
        ("\\connect other", "connect is a command of psql"),
        ("COPY a FROM STDIN;\n1\n\\.", "COPY … FROM STDIN reads rows"),
    ],
)
def test_split_refuses(source: str, message: str) -> None:
    with pytest.raises(SeamlessError, match=message):
        split(source, "postgresql")


PIECES = ["a", "'x;y'", '"q;"', "-- c;\n", "/* ; */", "$$ ; $$", "(1, 2)", "\n", "1.5e3", "E'\\''", "::", "é"]


@given(st.lists(st.lists(st.sampled_from(PIECES), min_size=1).map(" ".join), min_size=1))
def test_nothing_is_lost_between_statements(parts: list[str]) -> None:
    alone = [[one.text for one in split(part, "postgresql")] for part in parts]
    assert all(len(one) <= 1 for one in alone)
    assert [one.text for one in split("\n;".join(parts), "postgresql")] == [text for one in alone for text in one]
    for statement in split("\n;".join(parts), "postgresql"):
        assert all(statement.text[token.start : token.end].strip() for token in statement.tokens)


BREAKS = {
    "drop-table": "DROP TABLE IF EXISTS a.users", "drop-column": "ALTER TABLE users DROP COLUMN IF EXISTS name CASCADE", "drop-view": "DROP VIEW v",
    "rename-table": "ALTER TABLE users RENAME TO people", "rename-column": "ALTER TABLE users RENAME name TO full_name",
    "add-column-not-null": "ALTER TABLE users ADD x int NOT NULL", "set-not-null": "ALTER TABLE ONLY users ALTER x SET NOT NULL",
    "index-not-concurrent": "CREATE UNIQUE INDEX ON users (x)", "add-check": "ALTER TABLE users ADD CONSTRAINT c CHECK (x > 0)",
    "add-foreign-key": "ALTER TABLE users ADD FOREIGN KEY (x) REFERENCES y", "add-unique": "ALTER TABLE users ADD CONSTRAINT u UNIQUE (x)",
    "change-type": "ALTER TABLE users ALTER COLUMN x SET DATA TYPE bigint", "update-without-where": "UPDATE users SET x = 1", "lock-table": "LOCK users",
    "truncate": "TRUNCATE users", "vacuum-full": "VACUUM FULL users", "cluster": "CLUSTER users", "delete": "DELETE FROM users WHERE id = 1",
    "drop-default": "ALTER TABLE users ALTER x DROP DEFAULT", "volatile-default": "ALTER TABLE users ADD x uuid DEFAULT gen_random_uuid()",
    "table-rewrite": "ALTER TABLE users ADD x bigserial", "drop-index-not-concurrent": "DROP INDEX i", "revoke": "REVOKE SELECT ON users FROM app",
    "concurrently-in-transaction": "BEGIN; CREATE INDEX CONCURRENTLY i ON users (x)", "reindex": "REINDEX TABLE users",
    "unknown": "DO $$ begin end $$",
}  # fmt: skip


def test_a_check_of_a_new_column_is_scanned_for() -> None:
    assert [one.rule for one in rules.obstacles(split("ALTER TABLE users ADD age int NULL CHECK (age > 0)", "postgresql"), "postgresql")] == ["add-check"]


@pytest.mark.parametrize("rule", BREAKS)
def test_what_is_not_additive(rule: str) -> None:
    assert [one.rule for one in rules.obstacles(split(BREAKS[rule], "postgresql"), "postgresql")] == [rule]
    assert not rules.is_additive(split(f"SELECT 1; {BREAKS[rule]}", "postgresql"), "postgresql")


@pytest.mark.parametrize(
    "source",
    [
        "CREATE TABLE a (id int NOT NULL); CREATE INDEX ON a (id); ALTER TABLE a ADD UNIQUE (id); ALTER TABLE a ADD b int NOT NULL; DROP TABLE a",
        "ALTER TABLE users ADD COLUMN x int NOT NULL DEFAULT 0, ADD y timestamptz NOT NULL DEFAULT now()",
        "ALTER TABLE users ADD x bigint NULL CONSTRAINT f REFERENCES y (id) DEFERRABLE; SET CONSTRAINTS f IMMEDIATE",
        "ALTER TABLE users ADD x int DEFAULT 0 NULL; ALTER TABLE users ALTER COLUMN x DROP DEFAULT",
        "CREATE INDEX CONCURRENTLY i ON users (x); DROP INDEX CONCURRENTLY j",
        "ALTER TABLE users ADD CONSTRAINT c CHECK (x > 0) NOT VALID; ALTER TABLE users VALIDATE CONSTRAINT c",
        "BEGIN; CREATE VIEW v AS SELECT 1; COMMENT ON VIEW v IS 'drop table'; GRANT SELECT ON v TO app; COMMIT",
        "INSERT INTO kinds VALUES (1, 'DROP TABLE users; --')",
    ],
)
def test_what_is_additive(source: str) -> None:
    assert rules.obstacles(split(source, "postgresql"), "postgresql") == []


@pytest.mark.parametrize(
    "source",
    ["CREATE TABLE IF NOT EXISTS users (id int); DROP TABLE users", "CREATE TABLE a (id int); DROP TABLE a, users",
     'CREATE TABLE "Users" (id int); DROP TABLE users',
     "CREATE TABLE a (id int); TRUNCATE a, users", "ALTER TABLE users ADD x int; ALTER TABLE users ALTER x SET NOT NULL", "MERGE INTO a USING b ON true"],
)
def test_what_only_looks_new(source: str) -> None:
    assert not rules.is_additive(split(source, "postgresql"), "postgresql")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("ALTER TABLE u ADD c int, ALGORITHM=INSTANT, LOCK=NONE", []),
        ("ALTER TABLE u ADD c int", [("algorithm-not-stated", "warning")]),
        ("ALTER TABLE u ADD FULLTEXT (c)", [("algorithm-not-stated", "error")]),
        ("ALTER TABLE u CHANGE a b int, ALGORITHM=INSTANT", [("rename-column", "error")]),
        ("ALTER TABLE u CHANGE a a bigint, ALGORITHM=INPLACE, LOCK=NONE", [("change-type", "error")]),
        ("ALTER TABLE u ADD (d int NOT NULL, e int), ALGORITHM=INSTANT", [("add-column-not-null", "error")]),
        ("RENAME TABLE a TO b", [("rename-table", "error")]),
        ("CREATE OR REPLACE TABLE a (b int)", [("drop-table", "error")]),
        ("OPTIMIZE TABLE a", [("optimize", "error")]),
        ("SET GLOBAL read_only = 1", [("unknown", "unknown")]),
    ],
)
def test_mariadb(source: str, expected: list[tuple[str, str]]) -> None:
    assert [(one.rule, one.level) for one in rules.judge(split(source, "mariadb"), "mariadb")] == expected


def test_phases() -> None:
    def found(source: str, phase: str) -> list[str]:
        return [one.rule for one in rules.judge(split(source, "postgresql"), "postgresql", phase)]

    drop = "ALTER TABLE users DROP name; DROP TABLE old; DELETE FROM users WHERE a = 1"
    assert found(drop, "contract") == [] and found(drop, "abort") == []
    assert found("CREATE INDEX i ON users (a); TRUNCATE users", "contract") == ["index-not-concurrent", "truncate"]
    assert found("ALTER TABLE users ADD b int; UPDATE users SET b = 1 WHERE b IS NULL", "backfill") == ["ddl-in-backfill"]
    assert found("SELECT count(*) FROM users; UPDATE users SET a = 1", "verify") == ["verify-changes"]


def test_locks_and_concurrently() -> None:
    index, alter = "CREATE INDEX CONCURRENTLY i ON a (b)", "ALTER TABLE a ADD c int"
    new = "CREATE TABLE n (a int); ALTER TABLE n ADD b int; CREATE INDEX ON n (b)"
    assert rules.holds_concurrently(split(index, "postgresql")) and not rules.holds_concurrently(split(alter, "postgresql"))
    assert rules.locks_tables(split("CREATE TABLE n (a int REFERENCES a)", "postgresql")) and rules.locks_tables(split("DO $$ $$", "postgresql"))
    assert not rules.locks_tables(split(f"{index}; {new}", "postgresql")) and rules.locks_tables(split(f"{index}; {alter}", "postgresql"))


def test_a_directory_becomes_specs(tmp_path: pathlib.Path) -> None:
    files = {
        "002_split.expand.sql": 'ALTER TABLE app."People" ADD first text;',
        "002_split.backfill.sql": "UPDATE app.\"People\" SET first = split_part(name, ' ', (1)) -- all\nWHERE first IS NULL;",
        "002_split.verify.sql": "SELECT count(*) FROM app.\"People\" WHERE first IS NULL",
        "002_split.contract.sql": 'ALTER TABLE app."People" DROP name; DROP TABLE Old',
        "002_split.abort.sql": 'ALTER TABLE app."People" DROP first',
        "010_more.backfill.sql": "UPDATE a SET b = 1 WHERE c; UPDATE a SET d = 2 WHERE e",
        "9_first.expand.sql": "CREATE TABLE n (a int); CREATE INDEX ON n (a); INSERT INTO n SELECT b FROM source",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = sqldir.specs(sqldir.read(str(tmp_path)), "postgresql", "shop", "42")
    assert [spec["name"] for spec in found] == ["002_split", "9_first", "010_more"]
    assert found[0] == {
        "name": "002_split", "app": "shop", "release": "42",
        "operations": [{"sql": {
            "expand": ['ALTER TABLE app."People" ADD first text'],
            "backfill": {"table": ["app", "People"], "set": "first = split_part(name, ' ', (1))", "where": "first IS NULL"},
            "verify": ["SELECT count(*) FROM app.\"People\" WHERE first IS NULL"],
            "contract": ['ALTER TABLE app."People" DROP name', "DROP TABLE Old"],
            "abort": ['ALTER TABLE app."People" DROP first'],
            "tables": [["app", "People"], "old"],
        }}],
    }
    assert found[1]["operations"][0]["sql"]["tables"] == ["source"]
    assert found[2]["operations"][0]["sql"]["backfill"] == ["UPDATE a SET b = 1 WHERE c", "UPDATE a SET d = 2 WHERE e"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"names.expand.sql": "SELECT 1"}, "no name of a migration"),
        ({"1_a.expand.sql": " -- nothing"}, "holds no statement"),
        ({"1_a.verify.sql": "SELECT 0"}, "has only verify"),
        ({"1_a.expand.sql": "BEGIN; SELECT 1; COMMIT"}, "1_a.expand.sql, line 1: the engine makes the transactions: take BEGIN out"),
        ({"1_a.expand.sql": "SELECT 1", "1_a.verify.sql": "DELETE FROM a"}, "verify holds queries"),
        ({"1_a.expand.sql": "SELECT 'a"}, "1_a.expand.sql, line 1: a quoted text"),
    ],
)
def test_directories_that_are_refused(files: dict[str, str], message: str) -> None:
    with pytest.raises(SeamlessError, match=message):
        sqldir.specs(files, "postgresql", "shop", "42")
