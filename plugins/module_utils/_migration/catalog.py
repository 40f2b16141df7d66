# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What the catalog says of a table: its shape, and all that depends on it.

The kinds of :class:`~.model.Dependent` are: ``view``, ``materialized view``, ``rule``, ``policy``, ``publication``, ``check``, ``generated column``,
``column grant``, ``statistics``, ``partition key``, ``partition`` (the table is one, of the named table), ``inheritance``, ``trigger`` (its columns are
those that it names), ``function`` (with a body in SQL that the catalog understands), ``system versioning``. What an index uses beside its columns is in its
definition.

MariaDB keeps the text of views, checks, generated columns and triggers only: there, a column is taken for used where its name stands in that text.
"""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration import catalog_mariadb, catalog_postgresql
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Name, Table


def resolve(db: Database, name: Name) -> Name | None:
    """Return *name* as the catalog has it, in the default schema where it has none, or None when there is no such table or view."""
    wanted = Name(name.schema or db.default_schema, name.name)
    return catalog_postgresql.resolve(db, wanted) if db.engine == POSTGRESQL else catalog_mariadb.resolve(db, wanted)


def read_table(db: Database, name: Name) -> Table | None:
    """Return what the catalog says of the table or view *name*, or None when there is none."""
    found = resolve(db, name)
    if found is None:
        return None
    return catalog_postgresql.read_table(db, found) if db.engine == POSTGRESQL else catalog_mariadb.read_table(db, found)


def read_tables(db: Database, names: t.Iterable[Name]) -> dict[Name, Table]:
    """Return those of the tables *names* that are there, each under the name by which it was asked for."""
    found = {name: read_table(db, name) for name in names}
    return {name: table for name, table in found.items() if table is not None}
