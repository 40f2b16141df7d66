# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The operations whose old and new columns are both there during the roll: rename_column, change_type, split_column, merge_columns."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Column, Plan, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations import sync_mariadb, sync_postgresql
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.base import Work
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.company import company
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.datatypes import builtin, kept_collation
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.swap import swap
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.sync import Sync
from ansible_collections.seamless.rollout.plugins.module_utils._migration.operations.values import default_of, type_sql


def rename_column(work: Work) -> Plan:
    table = work.table()
    old = work.column(table, work.values["from"])
    new = work.free(table, work.values["to"])
    moved = {old.name: new}
    up, down = {new: work.q(old.name)}, {old.name: work.q(new)}
    return _planned(Sync(work, table, (old,), (dataclasses.replace(old, name=new),), up, down, company(work, table, [old.name], moved, plain=True), plain=True))


def change_type(work: Work) -> Plan:
    table = work.table()
    old = work.column(table, work.values["column"])
    type_ = type_sql(work, work.values["type"])
    new = work.values.get("to")
    if new is None or new == old.name:
        return swap(work, table, old, type_)
    final = dataclasses.replace(old, name=work.free(table, new), type=type_, default=None, collation=kept_collation(old, type_))
    moved = {old.name: new}
    up = {new: _given(work, "up", old.name, type_, table, (old.name,))}
    down = {old.name: _given(work, "down", new, old.type, table, (new,))}
    return _planned(Sync(work, table, (old,), (final,), up, down, company(work, table, [old.name], moved, plain=False, lossy=_lossy(work))))


def _given(work: Work, key: str, source: str, type_: str, table: Table, allowed: t.Sequence[str]) -> str:
    """Return the expression *key*, by default *source* cast to *type_*."""
    value = work.values.get(key)
    if value is not None:
        return work.expression(value, allowed, table)
    if work.postgresql and not builtin(type_) and "." not in type_:
        raise work.refuse(
            f"{key}: the type {type_} is none of the server's own, so a cast to it can't be written by itself: give {key} with the type's schema."
        )
    return work.cast(work.q(source), type_) if work.postgresql else work.q(source)


def split_column(work: Work) -> Plan:
    given = work.values["from"]
    return _reshaped(work, [next(iter(given)) if isinstance(given, t.Mapping) else given])


def merge_columns(work: Work) -> Plan:
    return _reshaped(work, list(work.values["from"]))


def _reshaped(work: Work, old_names: list[str]) -> Plan:
    """Return the plan for old columns that become others by the expressions *up* and *down*."""
    table = work.table()
    if len(set(old_names)) != len(old_names):
        raise work.refuse(f"from is {old_names!r}: each column once.")
    old = tuple(work.column(table, name) for name in old_names)
    finals = tuple(_final(work, table, name, type_) for name, type_ in work.values["to"].items())
    new_names = [column.name for column in finals]
    up, down = work.values["up"], work.values["down"]
    for key, texts, wanted in (("up", up, new_names), ("down", down, old_names)):
        if set(texts) != set(wanted):
            raise work.refuse(f"{key} has expressions for {', '.join(texts)}: it must have one for each of {', '.join(wanted)}, and no other.")
    ups = {name: work.expression(up[name], old_names, table) for name in new_names}
    downs = {name: work.expression(down[name], new_names, table) for name in old_names}
    return _planned(Sync(work, table, old, finals, ups, downs, company(work, table, old_names, {}, plain=False, lossy=_lossy(work))))


def _final(work: Work, table: Table, name: str, text: str) -> Column:
    """Return the new column of ``name: type``, where the type may end in NOT NULL."""
    required = re.search(r"\s+not\s+null\s*$", text, re.IGNORECASE)
    return Column(work.free(table, name), type_sql(work, text[: required.start()] if required else text.rstrip()), nullable=not required)


def _lossy(work: Work) -> bool:
    return bool(work.values.get("lossy") == "acknowledge")


def _planned(sync: Sync) -> Plan:
    """Return the plan of the engine for *sync*. Notes what a NULL of new code would be taken for."""
    work = sync.work
    plan = sync_postgresql.plan(sync) if work.postgresql else sync_mariadb.plan(sync)
    ambiguous = [column.name for column in sync.old if default_of(column) is not None]
    if ambiguous and all(column.nullable for column in sync.finals):
        note = (
            f"New code that inserts an explicit NULL into {', '.join(sync.new_names)} before the contract gets the default of {', '.join(ambiguous)} instead: "
            f"such an INSERT can't be told from one of old code."
        )
        return dataclasses.replace(plan, notes=(*plan.notes, note))
    return plan
