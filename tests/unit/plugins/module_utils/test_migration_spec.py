# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import json
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.spec import parse, stored, tag_of

GOOD: dict[str, t.Any] = {
    "app": "shop",
    "release": "42",
    "operations": [
        {"rename_column": {"table": "users", "from": "name", "to": "full_name"}},
        {
            "split_column": {
                "table": ["app", "people"],
                "from": "name",
                "to": {"first": "text", "last": "text"},
                "up": {"first": "split_part(name, ' ', 1)", "last": "substr(name, strpos(name || ' ', ' ') + 1)"},
                "down": {"name": "concat_ws(' ', first, last)"},
                "lossy": "acknowledge",
            }
        },
    ],
}


def changed(**changes: t.Any) -> dict[str, t.Any]:
    return {**copy.deepcopy(GOOD), **changes}


def operation(kind: str, **values: t.Any) -> dict[str, t.Any]:
    return changed(operations=[{kind: values}])


def test_a_migration_with_all_defaults() -> None:
    spec = parse(GOOD, "2026_11_22_01_user_name")
    assert (spec.app, spec.release, spec.shield, spec.canary) == ("shop", "42", False, True)
    assert spec.contract.when == "next_release"
    assert spec.limits.max_stall_ms == 150
    assert spec.tag == tag_of("shop", "2026_11_22_01_user_name")
    assert not spec.acknowledged(0)
    assert spec.acknowledged(1)


def test_the_ledger_gives_back_what_it_was_given() -> None:
    spec = parse(changed(limits={"max_lag": None, "batch_ms": 20}, contract={"when": "manual"}), "m")
    again = stored(json.loads(json.dumps(spec.to_json())))
    assert again.to_json() == spec.to_json()
    assert again.checksum == spec.checksum


def test_limits_and_times_can_change_after_the_start_and_nothing_else() -> None:
    first = parse(GOOD, "m").checksum
    assert parse(changed(limits={"batch_ms": 20}, contract={"quarantine": 1}, acknowledge=["galera"]), "m").checksum == first
    for other in (changed(release="43"), changed(canary=False), changed(shield=True), changed(operations=GOOD["operations"][:1])):
        assert parse(other, "m").checksum != first


def test_a_number_can_be_a_release() -> None:
    assert parse(changed(release=42), "m").release == "42"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("text", "must be a mapping with app, release and operations"),
        (changed(app=""), "app is \"\""),
        (changed(app=None), "app is not set"),
        (changed(release=1.1), 'release: "1.10"'),
        (changed(colour="red"), "no key 'colour'.*The keys are: app"),
        (changed(operations=[]), "operations is \\[\\]"),
        (changed(operations=[{"rename": {}}]), "operation 1 is 'rename'.*The operations are: add_column"),
        (changed(operations=[*GOOD["operations"], {"drop_table": {}}]), r"operation 3 \(drop_table\): table is not set"),
        (changed(operations=[{"drop_table": {"table": "t"}, "sql": {}}]), "operation 1 is .*one operation with its keys"),
        (changed(operations=[{"drop_table": "t"}]), 'is "t": it must be a mapping with table'),
        (operation("rename_column", table="t", to="b"), "from is not set"),
        (operation("rename_column", table="t", **{"from": "a", "to": 7}), "to is 7: it must be a text"),
        (operation("rename_column", table="t", **{"from": "a", "to": "b", "form": "c"}), "no key 'form' here .*The keys are: table, from, to"),
        (operation("rename_column", table={"a": "b"}, **{"from": "a", "to": "b"}), "table is .*such as users, app.users"),
        (operation("add_index", table="t", columns="a"), 'columns is "a": it must be a list of column names'),
        (operation("add_index", table="t", columns=["a"], unique="yes"), 'unique is "yes": it must be true or false'),
        (operation("change_type", table="t", column="a", type="bigint", lossy="ignore"), 'lossy is "ignore": it must be one of refuse, acknowledge'),
        (operation("add_foreign_key", table="t", columns=["a"], references={"table": "o"}), "references is .*columns: \\[id\\]"),
        (operation("sql", verify=["SELECT 0"]), "it does nothing"),
        (operation("sql", backfill={"table": "t"}), "backfill is "),
        (changed(contract={"when": "later"}), 'contract.when is "later": it must be next_release, same_run or manual'),
        (changed(contract={"quarantine": "7d"}), 'contract.quarantine is "7d": it must be a number of seconds'),
        (changed(limits={"max_stall_ms": True}), "limits.max_stall_ms is true: it must be a number of milliseconds"),
        (changed(limits={"max_sessions": 1.5}), "limits.max_sessions is 1.5: it must be a number of sessions"),
        (changed(limits={"pause_file": 1}), "limits.pause_file is 1"),
        (changed(limits={"stall": 1}), "limits: there is no key 'stall'"),
        (changed(shield="no"), 'shield is "no"'),
        (changed(acknowledge=["everything"]), "acknowledge is"),
        (changed(name="other"), "name key is 'other'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_what_would_do(data: t.Any, said: str) -> None:
    with pytest.raises(SeamlessError, match=said):
        parse(data, "m")


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden", "x" * 201])
def test_a_name_is_one_of_a_file(name: str) -> None:
    with pytest.raises(SeamlessError, match="a migration's name has letters"):
        parse(GOOD, name)
