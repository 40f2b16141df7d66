# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import expressions, quote
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Name
from hypothesis import given
from hypothesis import strategies as st

PG, MARIA = "postgresql", "mariadb"


@pytest.mark.parametrize(
    ("engine", "expression", "wanted"),
    [
        (PG, "split_part(name, ' ', 1)", "split_part(<name>, ' ', 1)"),
        (PG, 'NAME || \'name\' || "name" || "Name"', "<name> || 'name' || <name> || \"Name\""),
        (PG, "$$name$$ || $x$ name $$ $x$ || name", "$$name$$ || $x$ name $$ $x$ || <name>"),
        (PG, r"E'it\'s name' || name", r"E'it\'s name' || <name>"),
        (PG, "name::date + date::int", "<name>::date + <date>::int"),
        (PG, "CAST(name AS date)", "CAST(<name> AS date)"),
        (PG, "date '2020-01-01' + age", "date '2020-01-01' + <age>"),
        (PG, "extract(year FROM date) + year", "extract(year FROM <date>) + <year>"),
        (PG, "s.name(age) + t.age", "s.name(<age>) + t.age"),
        (PG, "name(age)", "name(<age>)"),
        (PG, "f(age => age)", "f(age => <age>)"),
        (PG, "name -- age\n|| age", "<name>  \n|| <age>"),
        (PG, "/* age /* age */ */ age", "<age>"),
        (PG, "CASE WHEN age > 1 THEN name ELSE 'x' END", "CASE WHEN <age> > 1 THEN <name> ELSE 'x' END"),
        (MARIA, "substring_index(Name,' ',1)", "substring_index(<name>,' ',1)"),
        (MARIA, "concat(\"name\", `name`, 'it\\'s name', name)", "concat(\"name\", <name>, 'it\\'s name', <name>)"),
        (MARIA, "date + INTERVAL 1 year", "<date> + INTERVAL 1 year"),
        (MARIA, "@name + age # name", "@name + <age>"),
        (MARIA, "IF(age, name, _utf8mb4'name')", "IF(<age>, <name>, _utf8mb4'name')"),
    ],
)
def test_columns_are_found_and_nothing_else(engine: str, expression: str, wanted: str) -> None:
    columns = {name: f"<{name}>" for name in ("name", "age", "date", "year")}
    assert " ".join(expressions.rewritten(engine, expression, columns).split()) == " ".join(wanted.split())


@pytest.mark.parametrize(
    ("engine", "expression", "message"),
    [
        (PG, "a; DROP TABLE x", "a semicolon"),
        (PG, "a)", "more ) than ("),
        (PG, "(a", "more ( than )"),
        (PG, "'a", "not closed"),
        (PG, "$x$ a", "not closed"),
        (PG, "/* a", "not closed"),
        (PG, "  ", "empty"),
        (MARIA, "1 /*! a */", "that the server runs"),
        (PG, "(SELECT 1)", "a query"),
        (PG, "NEW.a", "NEW."),
        (PG, "a + b", "uses b"),
    ],
)
def test_what_is_no_expression_over_the_row_is_refused(engine: str, expression: str, message: str) -> None:
    with pytest.raises(SeamlessError) as caught:
        expressions.checked(engine, expression, ["a"], ["a", "b"])
    assert message in str(caught.value)


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1, max_size=100))
def test_names_are_quoted_and_cut(text: str) -> None:
    for engine, mark, size in ((PG, '"', 63), (MARIA, "`", 64)):
        quoted = quote.identifier(engine, text)
        assert quoted[0] == quoted[-1] == mark and quoted[1:-1].replace(mark * 2, mark) == text
        assert expressions.columns(engine, quoted, [text]) == [text]
        cut = quote.shortened(engine, text)
        assert len(cut.encode() if engine == PG else cut) <= size
        assert cut == quote.shortened(engine, cut)


def test_values() -> None:
    assert [quote.literal(PG, value) for value in (None, True, 7, 1.5, "it's", "a\\b")] == ["NULL", "TRUE", "7", "1.5", "'it''s'", "E'a\\\\b'"]
    assert quote.literal(MARIA, "a\\b") == "_utf8mb4 X'615c62'"
    assert quote.table(MARIA, Name("a`b", "c")) == "`a``b`.`c`"
    for call in (quote.identifier, quote.literal):
        with pytest.raises(SeamlessError):
            call(PG, "a\0b")
