# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._migration import catalog_mariadb


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`a` > 0", ("a",)),
        ("SET NEW.b = concat(OLD.A, 'na me')", ("a", "b")),
        ("SET NEW.abc = 1", ()),
        ("select `shop`.`t`.`na me` AS `x`", ("na me",)),
        ("SET NEW.c$d = 'it''s b'", ("c$d",)),
    ],
)
def test_columns_that_a_text_names(text: str, expected: tuple[str, ...]) -> None:
    assert catalog_mariadb.mentioned(text, ["a", "b", "na me", "c$d"]) == expected


@pytest.mark.parametrize(
    ("mysql", "default", "extra", "kind", "expected"),
    [
        (False, None, "", "int", None),
        (False, "NULL", "", "int", None),
        (False, "'NULL'", "", "varchar", "'NULL'"),
        (False, "current_timestamp()", "", "timestamp", "current_timestamp()"),
        (True, None, "", "int", None),
        (True, "7", "", "int", "7"),
        (True, "it's", "", "varchar", "'it''s'"),
        (True, "CURRENT_TIMESTAMP(6)", "default_generated", "datetime", "CURRENT_TIMESTAMP(6)"),
        (True, "uuid()", "default_generated", "char", "(uuid())"),
    ],
)
def test_a_default_as_sql(mysql: bool, default: str | None, extra: str, kind: str, expected: str | None) -> None:
    assert catalog_mariadb._default(mysql, default, extra, kind) == expected


@pytest.mark.parametrize(
    ("line", "name", "definition"),
    [
        ("  PRIMARY KEY (`id`),", None, "PRIMARY KEY (`id`)"),
        ("  UNIQUE KEY `a``b` (`n`,`p`) USING BTREE,", "a``b", "UNIQUE KEY `a``b` (`n`,`p`) USING BTREE"),
        ("  KEY `pre` (`na me`(5) DESC)", "pre", "KEY `pre` (`na me`(5) DESC)"),
    ],
)
def test_an_index_in_the_statement_that_creates_a_table(line: str, name: str | None, definition: str) -> None:
    found = catalog_mariadb._INDEX_LINE.match(line)
    assert found
    assert (found.group(2), found.group(1)) == (name, definition)


@pytest.mark.parametrize("line", ["  `k` varchar(9) DEFAULT 'x, KEY (',", "  CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `p` (`id`)", ") ENGINE=InnoDB"])
def test_what_is_no_index(line: str) -> None:
    assert not catalog_mariadb._INDEX_LINE.match(line)
