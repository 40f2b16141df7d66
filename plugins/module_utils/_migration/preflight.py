# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What must hold before a migration starts: looked at when it is planned, and again under the lock."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import locks_mariadb, runner
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database, DatabaseError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.ledger import Ledger
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import POSTGRESQL, Check, Fill, Name, Plan, Table
from ansible_collections.seamless.rollout.plugins.module_utils._migration.spec import Spec

LONG_TRANSACTION = 5.0

# Keys that MariaDB sorts in another way than it compares them, or does not give back exactly.
_NO_WALK = re.compile(r"^(enum|set|float|double|real|bit)\b", re.IGNORECASE)
# A column that a server without explicit_defaults_for_timestamp, as MariaDB before 10.10, makes one that sets itself on every update.
_SETS_ITSELF = re.compile(r"` timestamp(?:\(\d\))? NOT NULL(?! DEFAULT)", re.IGNORECASE)


@dataclasses.dataclass
class Findings:
    """*problems* stop the migration; *warnings* do not. *facts* are for the plan that is shown."""

    problems: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def insist(self, name: str) -> None:
        """Raise SeamlessError when anything stops the migration *name*, with all of it."""
        if self.problems:
            raise SeamlessError(f"Migration {name} can't start: {' '.join(self.problems)}", problems=self.problems, warnings=self.warnings)


def refuse_pooler(db: Database) -> None:
    """Refuse a connection whose session is not ours alone: neither locks nor settings would hold."""
    if db.is_pooled():
        raise SeamlessError(
            f"The {db.settings} is reached through a connection pooler, where locks and settings of a session leak to others: give the server's own address in "
            "login_host and login_port (or login_unix_socket)."
        )


def refuse_stranger(db: Database) -> None:
    """Refuse a user that can't write the ledger that is there."""
    if db.engine != POSTGRESQL or not Ledger(db).exists():
        return
    user, owner, writes = db.rows(
        "SELECT current_user, pg_get_userbyid(relowner), has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'UPDATE') FROM pg_catalog.pg_class "
        "WHERE oid = 'seamless_rollout.migration'::regclass"
    )[0]
    if not writes:
        raise SeamlessError(
            f"The ledger of this database belongs to {owner}, and {user} can't write it: log in as {owner} or a member of that role (login_user, session_role)."
        )


def examine(db: Database, spec: Spec, plans: t.Sequence[Plan], tables: t.Mapping[Name, Table]) -> Findings:
    """Return what stands in the way of *spec*. Reads only."""
    found = Findings()
    for table, holder in Ledger(db).holders([str(name) for plan in plans for name in plan.tables]).items():
        if holder != (spec.app, spec.name):
            found.problems.append(f"Table {table} is being migrated by {holder[1]} of {holder[0]}: bring that to contracted or aborted first.")
    (_postgresql if db.engine == POSTGRESQL else _mariadb)(db, spec, plans, tables, found)
    _keys(db, plans, tables, found)
    _checks(db, spec, plans, found)
    _size(db, plans, tables, found)
    found.warnings += dict.fromkeys(note for plan in plans for note in plan.notes)
    return found


def _fills(plans: t.Sequence[Plan]) -> list[Fill]:
    return [fill for plan in plans for fill in plan.backfill]


def _statements(plans: t.Sequence[Plan]) -> list[str]:
    return [statement for plan in plans for step in (*plan.expand, *plan.validate, *plan.quarantine, *plan.drop) for statement in step.statements]


def _keys(db: Database, plans: t.Sequence[Plan], tables: t.Mapping[Name, Table], found: Findings) -> None:
    if db.engine == POSTGRESQL:
        return
    for fill in _fills(plans):
        table = tables.get(fill.table)
        for name in fill.key if table else ():
            column = table.column(name) if table else None
            if column is not None and _NO_WALK.match(column.type):
                found.problems.append(
                    f"The rows of {fill.table} are walked by {name}, and a key of type {column.type} can't be walked reliably: give the table a "
                    "NOT NULL unique key of numbers or text."
                )


def _checks(db: Database, spec: Spec, plans: t.Sequence[Plan], found: Findings) -> None:
    before: list[tuple[str, Check]] = runner.parts(plans, "before")
    for name, wrong, rows in runner.failing(db, before):
        found.problems.append(f"Rows are in the way of {runner.told([(name, wrong, rows)])}. Correct them first.")
    for number, plan in enumerate(plans):
        lossy = runner.failing(db, [(f"{number + 1}. {plan.operation}", check) for check in plan.round_trip])
        if not lossy:
            continue
        told = f"the way there and back (up, then down) changes the old value of rows: {runner.told(lossy)}."
        if spec.acknowledged(number):
            found.warnings.append(f"Acknowledged: {told}")
        else:
            found.problems.append(f"With these expressions {told} Correct the expressions or the rows, or say lossy: acknowledge.")


def _size(db: Database, plans: t.Sequence[Plan], tables: t.Mapping[Name, Table], found: Findings) -> None:
    filled = {fill.table for fill in _fills(plans)}
    sizes = {name: tables[name].bytes for name in filled if name in tables}
    # Every row is written anew, and once more into the log.
    need = 2 * sum(sizes.values())
    found.facts["tables"] = {str(name): {"rows": table.rows, "bytes": table.bytes, "filled": name in filled} for name, table in tables.items()}
    found.facts["disk_estimate"] = need
    free = _free(db)
    found.facts["disk_free"] = free
    if free is not None and need and free < need * 1.1:
        found.problems.append(
            f"The backfill writes about {_megabytes(need)} to the server's disk, and {_megabytes(free)} are free there: free some, or split the migration."
        )


def _free(db: Database) -> int | None:
    """Return the bytes that are free where the server's data is, when that is on this host and can be told."""
    settings = db.settings
    local = bool(settings.unix_socket) or settings.host in ("", "localhost", "127.0.0.1", "::1") or settings.host.startswith("/")
    try:
        place = db.value("SELECT current_setting('data_directory', true)" if db.engine == POSTGRESQL else "SELECT @@datadir")
        if not local or not place or not os.path.isdir(place):
            return None
        stat = os.statvfs(place)
    except (DatabaseError, OSError):
        return None
    return stat.f_bavail * stat.f_frsize


def _megabytes(size: int) -> str:
    return f"{max(1, round(size / 1_000_000)):,} MB"


def _long(found: Findings, sessions: t.Sequence[t.Sequence[t.Any]]) -> None:
    """Note transactions that are old: locks wait for them."""
    found.facts["long_transactions"] = [
        {"session": pid, "user": str(user), "application": str(application or ""), "seconds": round(float(age), 1), "query": str(query or "")[:200]}
        for pid, user, application, age, query in sessions
    ]
    if sessions:
        told = "; ".join(f"session {pid} of {user} ({float(age):.0f} s: {str(query or 'idle')[:60]})" for pid, user, dummy, age, query in sessions[:5])
        found.warnings.append(f"{len(sessions)} transactions are older than {LONG_TRANSACTION:g} seconds, and locks may have to wait for them: {told}.")


def _postgresql(db: Database, spec: Spec, plans: t.Sequence[Plan], tables: t.Mapping[Name, Table], found: Findings) -> None:
    user, creates = db.rows(
        "SELECT current_user, has_database_privilege(current_database(), 'CREATE') AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = "
        "'seamless_rollout')"
    )[0]
    mine = db.value("SELECT has_schema_privilege(oid, 'CREATE') FROM pg_catalog.pg_namespace WHERE nspname = 'seamless_rollout'")
    if not creates and not mine:
        found.problems.append(
            f"User {user} can't make or use the ledger's schema seamless_rollout: GRANT CREATE ON DATABASE … TO {user}, or be the role that made it."
        )
    names = sorted({name for plan in plans for name in plan.tables} & set(tables), key=str)
    for name in names:
        owner, owned, creatable = db.rows(
            "SELECT pg_get_userbyid(c.relowner), pg_has_role(c.relowner, 'USAGE'), has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
            (name.schema, name.name),
        )[0]
        if not owned:
            found.problems.append(f"Table {name} belongs to {owner}, and {user} is not that role nor a member: only its owner can change it.")
        elif not creatable and any(word in statement for statement in _statements(plans) for word in ("CREATE INDEX", "CREATE UNIQUE", "CREATE VIEW")):
            found.problems.append(f"User {user} can't create anything in schema {name.schema}: GRANT CREATE ON SCHEMA {name.schema} TO {user}.")
    sessions = db.rows(
        "SELECT pid, usename, application_name, extract(epoch FROM clock_timestamp() - xact_start), query FROM pg_catalog.pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND "
        "xact_start < clock_timestamp() - %s * interval '1 second' ORDER BY xact_start",
        (LONG_TRANSACTION,),
    )
    _long(found, sessions)
    standbys, hidden = db.rows("SELECT count(*), count(*) FILTER (WHERE state IS NULL) FROM pg_catalog.pg_stat_replication")[0]
    found.facts["standbys"] = int(standbys)
    if standbys:
        found.warnings.append(f"{standbys} standbys replay the short exclusive locks too, and may cancel queries that read there.")
    if hidden and spec.limits.max_lag is not None:
        found.warnings.append(f"User {user} may not see how far standbys are behind, so max_lag can't hold the backfill: GRANT pg_read_all_stats TO {user}.")


def _mariadb(db: Database, spec: Spec, plans: t.Sequence[Plan], dummy: t.Mapping[Name, Table], found: Findings) -> None:
    triggers = any(re.search(r"\bCREATE\b.*\bTRIGGER\b", statement[:80]) for statement in _statements(plans))
    grants = [str(row[0]) for row in db.rows("SHOW GRANTS")]
    log_bin, trusted = db.rows("SELECT @@log_bin, @@log_bin_trust_function_creators")[0]
    powerful = any(re.match(r"GRANT (ALL PRIVILEGES|.*\bSUPER\b).* ON \*\.\*", grant) for grant in grants)
    if triggers and int(log_bin) and not int(trusted) and not powerful:
        found.problems.append(
            "The binary log is on, so triggers need SUPER or log_bin_trust_function_creators=1, and this user has neither: GRANT SUPER, or "
            "SET GLOBAL log_bin_trust_function_creators = 1 for as long as the migration takes."
        )
    if int(log_bin) and str(db.value("SELECT @@binlog_format")).upper() == "STATEMENT":
        found.problems.append(
            "binlog_format is STATEMENT, with which no row can be changed in READ COMMITTED, and what triggers write can come out differently on replicas: "
            "SET GLOBAL binlog_format = MIXED, and connect anew."
        )
    if any(map(_SETS_ITSELF.search, _statements(plans))) and not int(db.value("SELECT @@explicit_defaults_for_timestamp")):
        found.problems.append(
            "explicit_defaults_for_timestamp is OFF, with which the server gives a TIMESTAMP that is NOT NULL and has no default the attribute ON UPDATE "
            "CURRENT_TIMESTAMP, so that each update of a row would set it: switch it on and connect anew, give the column a default, or make it a datetime."
        )
    if triggers and not _granted(db, grants, "TRIGGER"):
        found.problems.append(f"This user lacks TRIGGER on {db.default_schema}: GRANT TRIGGER ON `{db.default_schema}`.* TO it.")
    for right in ("ALTER", "CREATE", "DROP", "REFERENCES"):
        if not _granted(db, grants, right):
            found.problems.append(f"This user lacks {right} on {db.default_schema}: GRANT {right} ON `{db.default_schema}`.* TO it.")
    wsrep = db.rows("SHOW GLOBAL VARIABLES LIKE 'wsrep_on'")
    if wsrep and str(wsrep[0][1]).upper() in ("ON", "1") and "galera" not in spec.acknowledge:
        found.problems.append("This is a Galera cluster, where DDL stops all nodes while it runs: say acknowledge: [galera] if that is acceptable.")
    if spec.limits.kill_blockers is not None and not locks_mariadb.tells_holders(db):
        found.warnings.append(
            "kill_blockers ends nobody here, since this server does not tell who holds a table: INSTALL SONAME 'metadata_lock_info' (MariaDB), or switch on "
            "the instrument wait/lock/metadata/sql/mdl of performance_schema."
        )
    try:
        _long(
            found,
            db.rows(
                "SELECT p.ID, p.USER, p.HOST, TIMESTAMPDIFF(MICROSECOND, x.trx_started, NOW(6)) / 1000000, x.trx_query FROM information_schema.INNODB_TRX x "
                "JOIN information_schema.PROCESSLIST p ON p.ID = x.trx_mysql_thread_id WHERE p.ID <> CONNECTION_ID() AND p.USER <> 'system user' "
                "AND x.trx_started < NOW() - INTERVAL %s SECOND ORDER BY x.trx_started",
                (LONG_TRANSACTION,),
            ),
        )
        replicas = int(db.value("SELECT count(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'"))
    except DatabaseError as exc:
        if exc.kind != "privilege":
            raise
        found.warnings.append("Long transactions and replicas can't be seen without the PROCESS privilege.")
        return
    found.facts["standbys"] = replicas
    if replicas:
        found.warnings.append(
            f"{replicas} replicas run the migration's statements one after another and lag meanwhile; throttle_query or pause_file can hold the backfill then."
        )


def _granted(db: Database, grants: t.Sequence[str], right: str) -> bool:
    """Say whether *grants* have *right* on the database. With roles nobody can tell from them: then it is taken for granted."""
    for grant in grants:
        match = re.match(r"GRANT (.*?) ON (\S+) TO ", grant)
        if not match:
            return True
        rights, where = match.groups()
        schema = where.rpartition(".")[0].strip("`\"").replace("\\_", "_")
        wide = where in ("*.*",) or schema == db.default_schema or ("%" in schema and re.fullmatch(schema.replace("%", ".*"), db.default_schema))
        if wide and ("ALL PRIVILEGES" in rights or right in [item.strip() for item in rights.split(",")]):
            return True
    return False
