# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What the ledger's tables are in PostgreSQL: a schema of their own in the application's database."""

from __future__ import annotations

SCHEMA = "seamless_rollout"
PREFIX = "seamless_rollout."
NOW = "clock_timestamp()"
EXISTS = "SELECT count(*) = 7 FROM pg_catalog.pg_tables WHERE schemaname = 'seamless_rollout' AND tablename IN " + (
    "('migration', 'active_table', 'step', 'backfill', 'release_floor', 'gate', 'event')"
)
# DDL of the sync triggers' functions and sequences is run by whoever writes the table: the schema must be theirs to look into.
CREATE = (
    "CREATE SCHEMA IF NOT EXISTS seamless_rollout",
    "GRANT USAGE ON SCHEMA seamless_rollout TO PUBLIC",
    """CREATE TABLE IF NOT EXISTS seamless_rollout.migration (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, app text NOT NULL, name text NOT NULL, checksum text NOT NULL, spec jsonb NOT NULL,
      plan jsonb NOT NULL, first_release text NOT NULL, tag text NOT NULL, tables jsonb NOT NULL, state text NOT NULL, paused_by text, drop_after timestamptz,
      quarantined_at timestamptz, last_error text, run_id text, created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(), UNIQUE (app, name))""",
    """CREATE TABLE IF NOT EXISTS seamless_rollout.active_table (
      rel text PRIMARY KEY, migration_id bigint NOT NULL REFERENCES seamless_rollout.migration ON DELETE CASCADE)""",
    """CREATE TABLE IF NOT EXISTS seamless_rollout.step (
      migration_id bigint NOT NULL REFERENCES seamless_rollout.migration ON DELETE CASCADE, phase text NOT NULL, number int NOT NULL, name text NOT NULL,
      sql_sha text NOT NULL, done_at timestamptz NOT NULL DEFAULT now(), attempts int, max_wait_ms double precision, run_id text,
      PRIMARY KEY (migration_id, phase, number))""",
    """CREATE TABLE IF NOT EXISTS seamless_rollout.backfill (
      migration_id bigint NOT NULL REFERENCES seamless_rollout.migration ON DELETE CASCADE, phase text NOT NULL, number int NOT NULL, position jsonb,
      done boolean NOT NULL DEFAULT false, rows_done bigint NOT NULL DEFAULT 0, rows_changed bigint NOT NULL DEFAULT 0, rows_estimate bigint,
      batch int NOT NULL, seconds double precision NOT NULL DEFAULT 0, waits text, updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (migration_id, phase, number))""",
    """CREATE TABLE IF NOT EXISTS seamless_rollout.release_floor (
      app text PRIMARY KEY, floor text NOT NULL, set_by bigint, set_at timestamptz NOT NULL DEFAULT now())""",
    """CREATE TABLE IF NOT EXISTS seamless_rollout.gate (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, migration_id bigint NOT NULL REFERENCES seamless_rollout.migration ON DELETE CASCADE,
      verdict boolean NOT NULL, evidence jsonb NOT NULL, at timestamptz NOT NULL DEFAULT now())""",
    """CREATE TABLE IF NOT EXISTS seamless_rollout.event (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), run_id text, migration_id bigint, what text NOT NULL,
      detail jsonb)""",
)
JSON = "%s::jsonb"
INSERTED = " RETURNING id"


def epoch(expression: str) -> str:
    """Return the SQL of a timestamp as seconds since 1970."""
    return f"(extract(epoch FROM {expression}))::double precision"


def text(column: str) -> str:
    """Return the SQL of a JSON column as text, whatever a driver would make of it."""
    return f"{column}::text"


def later(seconds: str) -> str:
    return f"{NOW} + {seconds} * interval '1 second'"


def upsert(key: str, columns: str) -> str:
    return f" ON CONFLICT ({key}) DO UPDATE SET " + ", ".join(f"{column.strip()} = EXCLUDED.{column.strip()}" for column in columns.split(","))
