# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What the ledger's tables are in MariaDB and MySQL: tables of the application's own database."""

from __future__ import annotations

PREFIX = "seamless_rollout_"
NOW = "UTC_TIMESTAMP(6)"
_NAMES = ("migration", "active_table", "step", "backfill", "release_floor", "gate", "event")
EXISTS = "SELECT count(*) = 7 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (" + (
    ", ".join(f"'{PREFIX}{name}'" for name in _NAMES) + ")"
)
_END = "ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
_ID = "id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY"
_OWNER = "FOREIGN KEY (migration_id) REFERENCES seamless_rollout_migration (id) ON DELETE CASCADE"
CREATE = (
    f"""CREATE TABLE IF NOT EXISTS seamless_rollout_migration (
      {_ID}, app varchar(190) NOT NULL, name varchar(255) NOT NULL, checksum varchar(64) NOT NULL, spec longtext NOT NULL, plan longtext NOT NULL,
      first_release varchar(255) NOT NULL, tag varchar(16) NOT NULL, tables longtext NOT NULL, state varchar(16) NOT NULL, paused_by varchar(255) NULL,
      drop_after datetime(6) NULL, quarantined_at datetime(6) NULL, last_error longtext NULL, run_id varchar(255) NULL, created_at datetime(6) NOT NULL,
      updated_at datetime(6) NOT NULL, UNIQUE KEY (app, name)) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS seamless_rollout_active_table (
      rel varchar(190) NOT NULL PRIMARY KEY, migration_id bigint NOT NULL, {_OWNER}) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS seamless_rollout_step (
      migration_id bigint NOT NULL, phase varchar(32) NOT NULL, number int NOT NULL, name text NOT NULL, sql_sha varchar(64) NOT NULL,
      done_at datetime(6) NOT NULL, attempts int NULL, max_wait_ms double NULL, run_id varchar(255) NULL,
      PRIMARY KEY (migration_id, phase, number), {_OWNER}) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS seamless_rollout_backfill (
      migration_id bigint NOT NULL, phase varchar(32) NOT NULL, number int NOT NULL, position longtext NULL, done boolean NOT NULL DEFAULT false,
      rows_done bigint NOT NULL DEFAULT 0, rows_changed bigint NOT NULL DEFAULT 0, rows_estimate bigint NULL, batch int NOT NULL,
      seconds double NOT NULL DEFAULT 0, waits text NULL, updated_at datetime(6) NOT NULL, PRIMARY KEY (migration_id, phase, number), {_OWNER}) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS seamless_rollout_release_floor (
      app varchar(190) NOT NULL PRIMARY KEY, floor varchar(255) NOT NULL, set_by bigint NULL, set_at datetime(6) NOT NULL) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS seamless_rollout_gate (
      {_ID}, migration_id bigint NOT NULL, verdict boolean NOT NULL, evidence longtext NOT NULL, at datetime(6) NOT NULL, {_OWNER}) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS seamless_rollout_event (
      {_ID}, at datetime(6) NOT NULL, run_id varchar(255) NULL, migration_id bigint NULL, what varchar(64) NOT NULL, detail longtext NULL) {_END}""",
)
JSON = "%s"
INSERTED = ""


def epoch(expression: str) -> str:
    """Return the SQL of a timestamp as seconds since 1970."""
    return f"(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {expression}) / 1000000.0)"


def text(column: str) -> str:
    return column


def later(seconds: str) -> str:
    return f"{NOW} + INTERVAL {seconds} * 1000000 MICROSECOND"


def upsert(_key: str, columns: str) -> str:
    return " ON DUPLICATE KEY UPDATE " + ", ".join(f"{column.strip()} = VALUES({column.strip()})" for column in columns.split(","))
