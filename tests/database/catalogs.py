# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the catalog: what a database consists of, against what it must be, and what a migration left behind.

It trusts nothing that the engine says: it asks the server itself, as root.
"""

from __future__ import annotations

import typing as t

from database.servers import POSTGRESQL, Session

LEDGER = "seamless_rollout"
OURS = "%seamless%"

# What a database consists of, as text; system's own and the ledger's left out. Column order is none of it.
POSTGRESQL_CATALOG = {
    "column": """
        SELECT c.oid::regclass || '.' || quote_ident(a.attname), concat_ws(' ', format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attnotnull THEN 'not null' END, 'default ' || pg_get_expr(d.adbin, d.adrelid),
            'identity ' || nullif(a.attidentity::text, ''), 'generated ' || nullif(a.attgenerated::text, ''),
            'acl ' || a.attacl::text, col_description(c.oid, a.attnum))
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm') AND {schema}""",
    "relation": """
        SELECT c.oid::regclass::text, concat_ws(' ', c.relkind, c.relowner::regrole, 'acl ' || c.relacl::text, c.reloptions::text, pg_get_viewdef(c.oid),
            CASE WHEN c.relrowsecurity THEN 'row security' END)
        FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {schema}""",
    "index": """
        SELECT i.indexrelid::regclass::text, concat_ws(' ', pg_get_indexdef(i.indexrelid), CASE WHEN NOT i.indisvalid THEN 'INVALID' END,
            CASE WHEN NOT i.indisready THEN 'NOT READY' END)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE {schema}""",
    "constraint": """
        SELECT c.oid::regclass || '.' || quote_ident(o.conname), concat_ws(' ', pg_get_constraintdef(o.oid), CASE WHEN NOT o.convalidated THEN 'NOT VALID' END)
        FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid WHERE {schema}""",
    "trigger": "SELECT c.oid::regclass || '.' || t.tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " WHERE NOT t.tgisinternal AND {schema}",
    "owned sequence": "SELECT s.oid::regclass::text, c.oid::regclass || '.' || a.attname FROM pg_depend d JOIN pg_class s ON s.oid = d.objid"
    " AND s.relkind = 'S' JOIN pg_class c ON c.oid = d.refobjid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid"
    " WHERE d.deptype IN ('a', 'i') AND {schema}",
    "function": "SELECT p.oid::regprocedure::text, p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
    f" WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', '{LEDGER}')",
}
POSTGRESQL_SCHEMA = f"c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast', '{LEDGER}'))"
# What a migration that is over may not leave: in anybody's schema anything with our name, in the ledger's anything but the ledger.
POSTGRESQL_LEFT = f"""
    SELECT 'relation ' || c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname LIKE %s AND n.nspname NOT IN ('{LEDGER}', 'pg_toast')
    UNION ALL SELECT 'column ' || c.oid::regclass || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind <> 'i' AND a.attname LIKE %s AND NOT a.attisdropped AND n.nspname <> '{LEDGER}'
    UNION ALL SELECT 'trigger ' || t.tgname FROM pg_trigger t WHERE t.tgname LIKE %s
    UNION ALL SELECT 'constraint ' || o.conname FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace
        WHERE o.conname LIKE %s AND n.nspname <> '{LEDGER}'
    UNION ALL SELECT 'function ' || p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.proname LIKE %s OR n.nspname = '{LEDGER}'
    UNION ALL SELECT 'canary ' || c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = '{LEDGER}' AND c.relkind = 'S' AND c.relname LIKE %s
    UNION ALL SELECT 'invalid index ' || i.indexrelid::regclass FROM pg_index i WHERE NOT i.indisvalid
    UNION ALL SELECT 'not validated ' || o.conname FROM pg_constraint o WHERE NOT o.convalidated
"""
MARIADB_CATALOG = {
    "column": "SELECT concat(table_name, '.', column_name), concat_ws(' ', column_type, if(is_nullable = 'NO', 'not null', null),"
    " concat('default ', column_default), extra, collation_name, nullif(column_comment, ''), nullif(generation_expression, '')) FROM information_schema.columns"
    " WHERE table_schema = database() AND {ours}",
    "relation": "SELECT table_name, concat_ws(' ', table_type, engine, table_collation) FROM information_schema.tables"
    " WHERE table_schema = database() AND {ours}",
    "index": "SELECT concat(table_name, '.', index_name), concat_ws(' ', if(non_unique = 0, 'unique', null), index_type,"
    " group_concat(concat_ws(':', column_name, sub_part) ORDER BY seq_in_index)) FROM information_schema.statistics WHERE table_schema = database() AND {ours}"
    " GROUP BY table_name, index_name, non_unique, index_type",
    "foreign key": "SELECT concat(k.table_name, '.', k.constraint_name), concat_ws(' ', group_concat(k.column_name ORDER BY ordinal_position),"
    " k.referenced_table_name, group_concat(k.referenced_column_name ORDER BY ordinal_position),"
    " replace(r.update_rule, 'NO ACTION', 'RESTRICT'), replace(r.delete_rule, 'NO ACTION', 'RESTRICT'))"
    " FROM information_schema.key_column_usage k"
    " JOIN information_schema.referential_constraints r ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name"
    " WHERE k.table_schema = database() AND {k.ours} AND k.referenced_table_name IS NOT NULL GROUP BY 1, k.referenced_table_name, r.update_rule, r.delete_rule",
    "check": "SELECT concat(table_name, '.', constraint_name), check_clause FROM information_schema.check_constraints"
    " WHERE constraint_schema = database() AND {ours}",
    "trigger": "SELECT trigger_name, concat(action_timing, ' ', event_manipulation, ' ', event_object_table, ' ', action_statement)"
    " FROM information_schema.triggers WHERE trigger_schema = database()",
    "view": "SELECT table_name, view_definition FROM information_schema.views WHERE table_schema = database()",
    "routine": "SELECT routine_name, routine_definition FROM information_schema.routines WHERE routine_schema = database()",
}
MARIADB_OURS = f"table_name NOT LIKE '{LEDGER}%'"
MARIADB_LEFT = f"""
    SELECT concat('relation ', table_name) FROM information_schema.tables WHERE table_schema = database() AND table_name LIKE %s
        AND table_name NOT LIKE '{LEDGER}%%'
    UNION ALL SELECT concat('column ', column_name) FROM information_schema.columns WHERE table_schema = database() AND column_name LIKE %s
    UNION ALL SELECT concat('trigger ', trigger_name) FROM information_schema.triggers WHERE trigger_schema = database() AND trigger_name LIKE %s
    UNION ALL SELECT concat('index ', index_name) FROM information_schema.statistics WHERE table_schema = database() AND index_name LIKE %s
        AND table_name NOT LIKE '{LEDGER}%%'
    UNION ALL SELECT concat('constraint ', constraint_name) FROM information_schema.table_constraints
        WHERE table_schema = database() AND constraint_name LIKE %s AND table_name NOT LIKE '{LEDGER}%%'
    UNION ALL SELECT concat('routine ', routine_name) FROM information_schema.routines WHERE routine_schema = database() AND routine_name LIKE %s
"""

Catalog = t.Dict[str, t.Dict[str, str]]


def catalog(session: Session, database: str) -> Catalog:
    """Return what the database consists of: kind, name, and what it is. The database's own name, which its roles bear too, is left out."""
    queries = POSTGRESQL_CATALOG if session.engine == POSTGRESQL else MARIADB_CATALOG
    found: Catalog = {}
    for kind, query in queries.items():
        rows = session.rows(query.replace("{schema}", POSTGRESQL_SCHEMA).replace("{ours}", MARIADB_OURS).replace("{k.ours}", f"k.{MARIADB_OURS}"))
        found[kind] = {str(name): str(what or "").replace(f"{database}_", "_").replace(f"`{database}`.", "") for name, what in rows}
    return found


def catalog_differences(is_now: Catalog, expected: Catalog) -> list[str]:
    wrong = []
    for kind in expected:
        for name in sorted({*is_now[kind], *expected[kind]}):
            now, then = is_now[kind].get(name), expected[kind].get(name)
            if now != then:
                wrong.append(f"{kind} {name}: {'missing' if now is None else repr(now)}, expected {'none' if then is None else repr(then)}")
    return wrong


def leftovers(session: Session) -> list[str]:
    """Return what a migration left that is over."""
    query = POSTGRESQL_LEFT if session.engine == POSTGRESQL else MARIADB_LEFT
    return [f"left behind: {row[0]}" for row in session.rows(query, (OURS,) * 6)]
