# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What a migration is made of: pure data that the operations write, the ledger keeps and the runner executes."""

from __future__ import annotations

import dataclasses
import typing as t

POSTGRESQL, MARIADB = "postgresql", "mariadb"
ENGINES = (POSTGRESQL, MARIADB)

# In the order of a migration's life. `abort` leads back from any point before the quarantine, `restore` back from the quarantine.
PHASES = ("expand", "backfill", "validate", "quarantine", "drop", "abort", "restore", "reverse_backfill")


@dataclasses.dataclass(frozen=True)
class Name:
    """A table, view or sequence: its schema (PostgreSQL) or database (MariaDB), and its name, both unquoted."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column as the catalog has it. *type* and *default* are SQL as the engine writes them."""

    name: str
    type: str
    nullable: bool
    default: str | None = None
    identity: bool = False  # PostgreSQL's GENERATED ... AS IDENTITY, MariaDB's AUTO_INCREMENT
    generated: str | None = None  # the expression of a generated column
    on_update: bool = False  # MariaDB's ON UPDATE CURRENT_TIMESTAMP
    collation: str | None = None
    comment: str | None = None
    enum: bool = False  # of a type that PostgreSQL's CREATE TYPE ... AS ENUM made


@dataclasses.dataclass(frozen=True)
class Index:
    """An index or unique constraint. *definition* is what creates it again (PostgreSQL's pg_get_indexdef); *constraint* its constraint's name."""

    name: str
    columns: tuple[str, ...]
    unique: bool
    primary: bool = False
    valid: bool = True
    partial: bool = False  # has a WHERE or is over expressions
    constraint: str | None = None
    definition: str = ""
    deferrable: bool = False  # PostgreSQL's DEFERRABLE


@dataclasses.dataclass(frozen=True)
class ForeignKey:
    """A foreign key of *table* that points to *target*."""

    name: str
    table: Name
    columns: tuple[str, ...]
    target: Name
    target_columns: tuple[str, ...]
    on_update: str = "NO ACTION"
    on_delete: str = "NO ACTION"
    deferrable: bool = False  # PostgreSQL's DEFERRABLE, and INITIALLY DEFERRED
    deferred: bool = False
    full: bool = False  # PostgreSQL's MATCH FULL


@dataclasses.dataclass(frozen=True)
class Dependent:
    """Something else that uses a column or a table: a view, a policy, a publication, a check, a generated column, a column grant …

    *columns* is empty when it uses the table as a whole. *kind* is told to the user; the operations know "check", "view", "trigger", "publication" and
    "statistics", and take every other one for something that can't be made again.
    """

    kind: str
    name: str
    columns: tuple[str, ...] = ()
    definition: str = ""  # of a check: CHECK (...), as the engine writes it


@dataclasses.dataclass(frozen=True)
class Table:
    """What the catalog says of a table when the migration is planned."""

    name: Name
    columns: tuple[Column, ...]
    indexes: tuple[Index, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()  # from this table
    referenced_by: tuple[ForeignKey, ...] = ()  # to this table
    dependents: tuple[Dependent, ...] = ()
    triggers: tuple[str, ...] = ()  # the users' own, in the order in which they fire
    our_triggers: tuple[str, ...] = ()
    sequences: tuple[Name, ...] = ()  # owned by its columns
    rows: int = 0  # the catalog's estimate
    bytes: int = 0
    is_view: bool = False
    partitioned: bool = False
    coming: tuple[str, ...] = ()  # of its columns, those that an earlier operation of the same migration adds
    leaving: tuple[str, ...] = ()  # those that one of them replaces or drops
    bound: tuple[str, ...] = ()  # those that one of them changes, or makes an index or constraint over

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    @property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """The columns by which rows can be told apart: those of the primary key first, then of each NOT NULL unique key."""
        unique = [index for index in self.indexes if index.unique and index.valid and not index.partial]
        found = []
        for index in sorted(unique, key=lambda index: (not index.primary, index.name)):
            columns = [self.column(name) for name in index.columns]
            if columns and all(column is not None and not column.nullable for column in columns):
                found.append(index.columns)
        return tuple(found)

    @property
    def key(self) -> tuple[str, ...] | None:
        """The columns by which rows are walked, None where nothing tells them apart."""
        return next(iter(self.keys), None)


@dataclasses.dataclass(frozen=True)
class Server:
    """The server that a plan is for. *version* as (major, minor, patch); MySQL's is told by *mysql*."""

    engine: str
    version: tuple[int, ...]
    mysql: bool = False


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a phase: it is done as a whole, and the ledger knows it by its name.

    PostgreSQL: with *locks*, one transaction that locks these tables first, in this order (views before tables), then runs the statements and writes the
    ledger. Without *transaction* (CONCURRENTLY, VALIDATE) each statement by itself and with no lock timeout.
    MariaDB has no transactional DDL: each statement by itself on the lock ladder, so each must be harmless when repeated.

    *done* is a query that returns one row with one true value when the step's effect is already there: then it is not run. *repair* is run before the
    statements when *broken* (a query like *done*) is true: an index that a killed CREATE INDEX CONCURRENTLY left invalid.
    *session* is set for this step only, and *unset* takes it back whatever happens.
    """

    name: str
    statements: tuple[str, ...]
    locks: tuple[Name, ...] = ()
    transaction: bool = True
    done: str | None = None
    broken: str | None = None
    repair: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Fill:
    """A backfill: ``UPDATE table SET assignments WHERE key in (low, high] AND condition``, computed by the server, walked by *key* in batches.

    *marked* says that it runs under the marker, so that the sync triggers take it for a backfill and not for a write of new code.
    """

    table: Name
    key: tuple[str, ...]
    assignments: str
    condition: str
    marked: bool = True


@dataclasses.dataclass(frozen=True)
class Check:
    """A query that must return 0. *sample* returns rows that are wrong, for the report; it ends without LIMIT, which the runner adds.

    *prepare* is run before on the same connection and leaves nothing behind (PostgreSQL's functions in pg_temp, which catch what a cast raises).
    """

    name: str
    query: str
    sample: str
    prepare: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Canary:
    """What counts the writes of old code. PostgreSQL and MariaDB: a sequence. *step* its increment.

    *blind* are old columns with a default that can't be told from a value that was given, such as gen_random_uuid().
    """

    sequence: Name
    step: int = 1
    blind: tuple[str, ...] = ()

    @property
    def weakness(self) -> str:
        """What is not counted, as a sentence's part; "" where all is."""
        if not self.blind:
            return ""
        several = " and ".join(self.blind)
        return f"an INSERT of old code that gives no old column but {several} is not counted, for a default that is no constant looks like a value"


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that an operation does, in every phase. A migration's plan is that of its operations, one after another.

    *verify* must hold once *backfill* and *validate* are done; *before* must hold before *expand* (duplicates where a unique key comes).
    *round_trip* counts the rows whose old value does not survive down(up(x)); they are listed, and refused unless acknowledged.
    After *restore* and *reverse_backfill* comes *restore_validate*; *before_restore* must hold before all of them.
    *undoable* says whether a restore from the quarantine is possible; *notes* are for the person who reads the plan.
    """

    operation: str
    tables: tuple[Name, ...]
    expand: tuple[Step, ...] = ()
    backfill: tuple[Fill, ...] = ()
    validate: tuple[Step, ...] = ()
    quarantine: tuple[Step, ...] = ()
    drop: tuple[Step, ...] = ()
    abort: tuple[Step, ...] = ()
    abort_backfill: tuple[Fill, ...] = ()
    abort_validate: tuple[Step, ...] = ()
    restore: tuple[Step, ...] = ()
    reverse_backfill: tuple[Fill, ...] = ()
    restore_validate: tuple[Step, ...] = ()
    before_restore: tuple[Check, ...] = ()
    before: tuple[Check, ...] = ()
    verify: tuple[Check, ...] = ()
    round_trip: tuple[Check, ...] = ()
    canary: Canary | None = None
    undoable: bool = True
    notes: tuple[str, ...] = ()


def to_json(plan: Plan) -> dict[str, t.Any]:
    """Return *plan* as JSON's own types: this is what the ledger keeps."""
    return dataclasses.asdict(plan)


def from_json(data: t.Mapping[str, t.Any]) -> Plan:
    """Return the plan that :func:`to_json` wrote."""

    def name(value: t.Mapping[str, str]) -> Name:
        return Name(value["schema"], value["name"])

    def step(value: t.Mapping[str, t.Any]) -> Step:
        lists = {field: tuple(value[field]) for field in ("statements", "repair", "session", "unset")}
        return Step(**{**value, **lists, "locks": tuple(map(name, value["locks"]))})

    def fill(value: t.Mapping[str, t.Any]) -> Fill:
        return Fill(**{**value, "table": name(value["table"]), "key": tuple(value["key"])})

    def check(value: t.Mapping[str, t.Any]) -> Check:
        return Check(**{**value, "prepare": tuple(value["prepare"])})

    readers: dict[str, t.Callable[[t.Any], t.Any]] = {
        **dict.fromkeys(("expand", "validate", "quarantine", "drop", "abort", "abort_validate", "restore", "restore_validate"), step),
        **dict.fromkeys(("backfill", "abort_backfill", "reverse_backfill"), fill),
        **dict.fromkeys(("before", "before_restore", "verify", "round_trip"), check),
        "tables": name,
        "notes": str,
    }
    values: dict[str, t.Any] = {field: tuple(map(readers[field], value)) if field in readers else value for field, value in data.items()}
    canary = data["canary"]
    values["canary"] = Canary(name(canary["sequence"]), canary["step"], tuple(canary.get("blind", ()))) if canary else None
    return Plan(**values)
