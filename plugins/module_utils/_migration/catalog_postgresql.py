# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The catalog of PostgreSQL."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import Database
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import Column, Dependent, ForeignKey, Index, Name, Table

_RELATION = """
SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relispartition,
  (SELECT coalesce(sum(greatest(k.reltuples, 0)), 0)::bigint FROM pg_class k
    WHERE k.relkind <> 'p' AND (k.oid = c.oid OR k.oid IN (SELECT relid FROM pg_partition_tree(c.oid)))),
  CASE WHEN c.relkind IN ('r', 'p', 'm') THEN (SELECT coalesce(sum(pg_total_relation_size(k.oid)), 0)::bigint FROM pg_class k
    WHERE k.oid = c.oid OR k.oid IN (SELECT relid FROM pg_partition_tree(c.oid))) ELSE 0 END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"""

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity <> '', a.attgenerated <> '',
  CASE WHEN a.attcollation <> 0 AND a.attcollation <> y.typcollation THEN quote_ident(cn.nspname) || '.' || quote_ident(co.collname) END,
  col_description(a.attrelid, a.attnum), y.typtype = 'e'
FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_collation co ON co.oid = a.attcollation LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""

_INDEXES = """
SELECT c.relname, ARRAY(SELECT a.attname::text
    FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE k.n <= i.indnkeyatts AND k.attnum > 0 ORDER BY k.n),
  i.indisunique, i.indisprimary, i.indisvalid AND i.indisready, i.indpred IS NOT NULL OR i.indexprs IS NOT NULL,
  (SELECT o.conname FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.conrelid = i.indrelid AND o.contype IN ('p', 'u', 'x') LIMIT 1),
  pg_get_indexdef(i.indexrelid), NOT i.indimmediate
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = %s ORDER BY c.relname"""

_NAMES = """ARRAY(SELECT a.attname::text
    FROM unnest({array}) WITH ORDINALITY k(attnum, n) JOIN pg_attribute a ON a.attrelid = {table} AND a.attnum = k.attnum ORDER BY k.n)"""

_FOREIGN_KEYS = f"""
SELECT o.conname, n.nspname, c.relname, {_NAMES.format(array="o.conkey", table="o.conrelid")}, fn.nspname, f.relname,
  {_NAMES.format(array="o.confkey", table="o.confrelid")}, o.confupdtype::text, o.confdeltype::text, o.condeferrable, o.condeferred,
  o.confmatchtype = 'f', o.conrelid, o.confrelid
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class f ON f.oid = o.confrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
WHERE o.contype = 'f' AND %s IN (o.conrelid, o.confrelid) ORDER BY o.conname"""

_ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}

# What pg_depend knows, one row for each object and column of the table (null: the table as a whole).
_DEPENDENTS = """
SELECT kind, name, coalesce(array_agg(DISTINCT attname::text) FILTER (WHERE attname IS NOT NULL), '{}'), coalesce(max(definition), '') FROM (
  SELECT CASE WHEN v.oid = d.refobjid THEN 'rule' WHEN v.relkind = 'm' THEN 'materialized view' WHEN v.relkind = 'v' THEN 'view' ELSE 'rule' END AS kind,
    CASE WHEN v.relkind IN ('v', 'm') AND v.oid <> d.refobjid THEN n.nspname || '.' || v.relname ELSE r.rulename::text END AS name,
    d.refobjid, d.refobjsubid, NULL AS definition
  FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace
  WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND NOT (v.oid = d.refobjid AND r.rulename = '_RETURN')
  UNION ALL
  SELECT 'policy', CASE WHEN p.polrelid = d.refobjid THEN p.polname::text ELSE p.polname || ' on ' || p.polrelid::regclass END, d.refobjid, d.refobjsubid, NULL
  FROM pg_depend d JOIN pg_policy p ON p.oid = d.objid WHERE d.classid = 'pg_policy'::regclass AND d.refclassid = 'pg_class'::regclass
  UNION ALL
  SELECT 'trigger', g.tgname, d.refobjid, d.refobjsubid, NULL
  FROM pg_depend d JOIN pg_trigger g ON g.oid = d.objid
  WHERE d.classid = 'pg_trigger'::regclass AND d.refclassid = 'pg_class'::regclass AND NOT g.tgisinternal AND d.refobjsubid > 0 AND g.tgname !~ '^~?seamless_'
  UNION ALL
  SELECT 'function', d.objid::regprocedure::text, d.refobjid, d.refobjsubid, NULL
  FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_class'::regclass
  UNION ALL
  SELECT 'statistics', s.stxname, d.refobjid, d.refobjsubid, NULL
  FROM pg_depend d JOIN pg_statistic_ext s ON s.oid = d.objid WHERE d.classid = 'pg_statistic_ext'::regclass AND d.refclassid = 'pg_class'::regclass
  UNION ALL
  SELECT 'generated column', a.attname, d.refobjid, d.refobjsubid, NULL
  FROM pg_depend d JOIN pg_attrdef e ON e.oid = d.objid JOIN pg_attribute a ON a.attrelid = e.adrelid AND a.attnum = e.adnum
  WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND a.attgenerated <> '' AND a.attnum <> d.refobjsubid
  UNION ALL
  SELECT 'check', o.conname, o.conrelid, k.attnum, regexp_replace(pg_get_constraintdef(o.oid), ' NOT VALID$', '')
  FROM pg_constraint o LEFT JOIN LATERAL unnest(o.conkey) k(attnum) ON true WHERE o.contype = 'c'
  UNION ALL
  SELECT 'column grant', x.privilege_type || ' TO ' || coalesce(nullif(pg_get_userbyid(x.grantee), 'unknown (OID=0)'), 'PUBLIC'), a.attrelid, a.attnum, NULL
  FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
  UNION ALL
  SELECT 'partition key', c.relname, p.partrelid, nullif(k.attnum, 0), NULL
  FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid, unnest(p.partattrs::int2[]) k(attnum)
  UNION ALL
  SELECT CASE WHEN c.relispartition THEN 'partition' ELSE 'inheritance' END, i.inhparent::regclass::text, i.inhrelid, NULL, NULL
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  UNION ALL
  SELECT 'inheritance', i.inhrelid::regclass::text, i.inhparent, NULL, NULL FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE NOT c.relispartition
  UNION ALL
  SELECT 'publication', p.pubname, c.oid, NULL, NULL FROM pg_publication p, pg_class c WHERE p.puballtables AND c.relkind IN ('r', 'p')
  UNION ALL
  {publications}
) u(kind, name, relid, attnum, definition) LEFT JOIN pg_attribute a ON a.attrelid = u.relid AND a.attnum = u.attnum AND u.attnum > 0
WHERE u.relid = %s GROUP BY kind, name ORDER BY kind, name"""

_PUBLICATIONS = "SELECT 'publication', p.pubname, r.prrelid, NULL, NULL FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid"
_PUBLICATIONS_15 = """SELECT 'publication', p.pubname, r.prrelid, k.attnum, NULL
  FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid LEFT JOIN LATERAL unnest(r.prattrs::int2[]) k(attnum) ON true
  UNION ALL
  SELECT 'publication', p.pubname, c.oid, NULL, NULL
  FROM pg_publication_namespace m JOIN pg_publication p ON p.oid = m.pnpubid JOIN pg_class c ON c.relnamespace = m.pnnspid AND c.relkind IN ('r', 'p')"""

_TRIGGERS = """SELECT tgname, tgname ~ '^~?seamless_' FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal ORDER BY tgname COLLATE "C" """

_SEQUENCES = """
SELECT n.nspname, s.relname FROM pg_depend d JOIN pg_class s ON s.oid = d.objid JOIN pg_namespace n ON n.oid = s.relnamespace
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %s AND d.refobjsubid > 0
  AND d.deptype IN ('a', 'i') AND s.relkind = 'S'
ORDER BY s.relname"""


def resolve(db: Database, name: Name) -> Name | None:
    """See catalog.resolve."""
    found = db.rows(_RELATION, (name.schema, name.name))
    return Name(found[0][1], found[0][2]) if found else None


def read_table(db: Database, name: Name) -> Table | None:
    """See catalog.read_table."""
    found = db.rows(_RELATION, (name.schema, name.name))
    if not found:
        return None
    oid, schema, relation, kind, dummy, rows, size = found[0]
    triggers = db.rows(_TRIGGERS, (oid,))
    keys = [(_foreign_key(row[:-2]), *row[-2:]) for row in db.rows(_FOREIGN_KEYS, (oid,))]
    return Table(
        name=Name(schema, relation),
        columns=tuple(map(_column, db.rows(_COLUMNS, (oid,)))),
        indexes=tuple(map(_index, db.rows(_INDEXES, (oid,)))),
        foreign_keys=tuple(key for key, source, dummy in keys if source == oid),
        referenced_by=tuple(key for key, dummy, target in keys if target == oid),
        dependents=_dependents(db, oid),
        triggers=tuple(str(trigger) for trigger, ours in triggers if not ours),
        our_triggers=tuple(str(trigger) for trigger, ours in triggers if ours),
        sequences=tuple(Name(*row) for row in db.rows(_SEQUENCES, (oid,))),
        rows=int(rows),
        bytes=int(size),
        is_view=kind in ("v", "m"),
        partitioned=kind == "p",
    )


def _column(row: tuple[t.Any, ...]) -> Column:
    name, type_, nullable, default, identity, generated, collation, comment, enum = row
    plain, computed = (None, default) if generated else (default, None)
    return Column(name, type_, nullable, plain, identity=identity, generated=computed, collation=collation, comment=comment, enum=enum)


def _index(row: tuple[t.Any, ...]) -> Index:
    name, columns, unique, primary, valid, partial, constraint, definition, deferrable = row
    return Index(name, tuple(columns), unique, primary, valid, partial, constraint, definition, deferrable)


def _foreign_key(row: tuple[t.Any, ...]) -> ForeignKey:
    name, schema, table, columns, target_schema, target, target_columns, on_update, on_delete, *more = row
    source, there = Name(schema, table), Name(target_schema, target)
    return ForeignKey(name, source, tuple(columns), there, tuple(target_columns), _ACTIONS[on_update], _ACTIONS[on_delete], *more)


def _dependents(db: Database, oid: int) -> tuple[Dependent, ...]:
    publications = _PUBLICATIONS_15 if db.server.version >= (15,) else _PUBLICATIONS
    found = db.rows(_DEPENDENTS.replace("{publications}", publications), (oid,))
    return tuple(Dependent(kind, name, tuple(columns), definition) for kind, name, columns, definition in found)
