# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Says what is wrong with rows: against what the clients' logs say of them, and in one shape against the other.

It trusts nothing that the engine says: it reads the tables itself, as root.
"""

from __future__ import annotations

import collections
import typing as t

from database.cases import Case, RowKey, Shape, Wrong
from database.clients import Log
from database.servers import POSTGRESQL, Place, Session


def read_shape(session: Session, case: Case, shape: Shape) -> tuple[dict[RowKey, int], list[str]]:
    """Return the number of every row as *shape* has it, and the rows that have none."""
    numbers: dict[RowKey, int] = {}
    wrong = []
    width = len(case.key.columns)
    for row in session.rows(f"SELECT {', '.join((*case.key.columns, *shape.values))} FROM {shape.table}"):
        try:
            numbers[row[:width]] = shape.decode(row[width:])
        except Wrong as exc:
            wrong.append(f"{row[:width]}: {exc}")
    return numbers, wrong


def diverged(place: Place, case: Case) -> list[str]:
    """Return the rows that differ between the two shapes, both read in one snapshot."""
    with place.connect("root") as session:
        session.run("BEGIN ISOLATION LEVEL REPEATABLE READ" if place.engine == POSTGRESQL else "START TRANSACTION WITH CONSISTENT SNAPSHOT")
        old, wrong_old = read_shape(session, case, case.old)
        new, wrong_new = read_shape(session, case, case.new)
        session.run("COMMIT")
    wrong = [f"old shape {line}" for line in wrong_old] + [f"new shape {line}" for line in wrong_new]
    if not wrong:
        wrong = [f"{key}: {old.get(key)} in the old shape and {new.get(key)} in the new one" for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    if len(old) < case.rows:
        wrong.append(f"only {len(old)} rows are left")
    return wrong


def lost(place: Place, case: Case, shape: Shape, logs: t.Sequence[Log]) -> list[str]:
    """Return every row that isn't what the logs say, as *shape* has it now: lost, back again, with lost updates, or with more than there were."""
    inserted: dict[RowKey, int] = {case.key.seeded(number): number % 7 for number in range(1, case.rows + 1)}
    added = collections.Counter[RowKey]()
    deleted: set[RowKey] = set()
    unsure: set[RowKey] = set()
    for log in logs:
        inserted.update(log.inserted)
        added.update(log.added)
        deleted |= log.deleted
        unsure |= log.unsure
    with place.connect("root") as session:
        numbers, wrong = read_shape(session, case, shape)
        columns = ", ".join(case.key.columns)
        hits = {row[:-1]: int(row[-1]) for row in session.rows(f"SELECT {columns}, hits FROM {shape.table}")}
        also = session.value(f"SELECT count(*) FROM {shape.also_table}") if shape.also_table else None
        if case.untouched:
            where = f"hits = 0 AND {case.untouched} > '2020-01-02' AND {case.key.columns[0]} <= {case.rows}"
            stamps = session.rows(f"SELECT {columns} FROM {shape.table} WHERE {where}")
            wrong += [f"{row}: nobody wrote this row and {case.untouched} changed" for row in stamps]
    for key in sorted({*inserted, *hits}):
        if key in unsure:
            continue
        there, expected = key in hits, key in inserted and key not in deleted
        if there != expected:
            wrong.append(f"{key}: {'a row that nobody wrote or that was deleted' if there else 'lost'}")
        elif there and key in numbers:
            if numbers[key] != inserted[key] + added[key]:
                wrong.append(f"{key}: {numbers[key]} instead of {inserted[key]} + {added[key]} acknowledged updates")
            if hits[key] != added[key]:
                wrong.append(f"{key}: {hits[key]} writes counted and {added[key]} acknowledged")
    wrote = sum(log.also for log in logs)
    if also is not None and also != wrote:
        wrong.append(f"{shape.also_table}: {also} rows and {wrote} acknowledged")
    return wrong


def client_errors(logs: t.Sequence[Log]) -> tuple[int, list[str]]:
    """Return how many statements failed, and the texts of some."""
    return sum(log.failed for log in logs), [f"{log.version} client {log.client}: {text}" for log in logs for dummy, text in log.errors]


def wrong_reads(logs: t.Sequence[Log]) -> tuple[int, list[str]]:
    """Return how many reads showed what can't have been written, and the texts of some."""
    return sum(log.mistaken for log in logs), [f"{log.version} client {log.client}: {text}" for log in logs for dummy, text in log.wrong]
