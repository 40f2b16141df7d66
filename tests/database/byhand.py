# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renames a column by statements written by hand, well or with a defect: what the clients and the checker are tested with.

    python byhand.py '{"engine": "postgresql", …, "target": "backfilled", "defect": "no trigger"}'
"""

from __future__ import annotations

import json
import os
import sys
import time
import typing as t

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from database.servers import POSTGRESQL, Place, Session

# What must make the checker fail, and the outcome of which it is a part.
DEFECTS = {
    "no trigger": "abort",
    "backfill before the trigger": "abort",
    "backfill by the client": "abort",
    "no backfill": "abort",
    "trigger dropped early": "abort",
    "column dropped before its trigger": "contract",
    "trigger left": "abort",
    "column left": "contract",
    "quarantine forgets NOT NULL": "contract",
    "no reverse backfill": "restore",
}
FUNCTION = """CREATE OR REPLACE FUNCTION public.seamless_sync() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$ BEGIN
  IF current_setting('seamless_rollout.backfill', true) = 'on' THEN RETURN NEW; END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.full_name IS NULL THEN NEW.full_name := NEW.name; ELSE NEW.name := NEW.full_name; END IF;
  ELSIF NEW.full_name IS DISTINCT FROM OLD.full_name THEN NEW.name := NEW.full_name;
  ELSIF NEW.name IS DISTINCT FROM OLD.name OR NEW.full_name IS NULL THEN NEW.full_name := NEW.name; END IF;
  RETURN NEW; END $f$"""
POSTGRESQL_TRIGGER = (FUNCTION, 'CREATE TRIGGER "~seamless" BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION public.seamless_sync()')
POSTGRESQL_UNSYNC = ('DROP TRIGGER IF EXISTS "~seamless" ON users', "DROP FUNCTION IF EXISTS public.seamless_sync()")
MARIADB_TRIGGER = (
    "CREATE TRIGGER IF NOT EXISTS seamless_i BEFORE INSERT ON users FOR EACH ROW"
    " BEGIN IF NEW.full_name IS NULL THEN SET NEW.full_name = NEW.name; ELSE SET NEW.name = NEW.full_name; END IF; END",
    "CREATE TRIGGER IF NOT EXISTS seamless_u BEFORE UPDATE ON users FOR EACH ROW BEGIN IF @seamless_backfill = 1 THEN SET NEW.full_name = NEW.name;"
    " ELSEIF NOT (NEW.full_name <=> OLD.full_name) THEN SET NEW.name = NEW.full_name;"
    " ELSEIF NOT (NEW.name <=> OLD.name) OR NEW.full_name IS NULL THEN SET NEW.full_name = NEW.name; END IF; END",
)
MARIADB_UNSYNC = ("DROP TRIGGER IF EXISTS seamless_i", "DROP TRIGGER IF EXISTS seamless_u")


class ByHand:
    """The phases on one connection. Each step is tried until nobody is in its way."""

    def __init__(self, session: Session, defect: str) -> None:
        self.session, self.defect = session, defect
        self.pg = session.engine == POSTGRESQL
        self.trigger, self.unsync = (POSTGRESQL_TRIGGER, POSTGRESQL_UNSYNC) if self.pg else (MARIADB_TRIGGER, MARIADB_UNSYNC)
        self.online = "" if self.pg else ", ALGORITHM=INSTANT, LOCK=NONE"

    def step(self, *statements: str) -> None:
        if self.pg:
            def transaction() -> None:
                with self.session.transaction():
                    self.session.script("SET LOCAL lock_timeout = '100ms'", "LOCK TABLE users IN ACCESS EXCLUSIVE MODE", *statements)

            self.patiently(transaction)
        else:
            self.session.run("SET SESSION lock_wait_timeout = 0")
            for statement in statements:
                self.patiently(lambda text=statement: self.session.run(text))  # type: ignore[misc]

    @staticmethod
    def patiently(function: t.Callable[[], object]) -> None:
        for attempt in range(200):
            try:
                function()
                return
            except Exception as exc:
                if attempt == 199 or not any(word in str(exc) for word in ("lock timeout", "Lock wait timeout")):
                    raise
            time.sleep(0.02)

    def copy(self, target: str, source: str) -> None:
        """Fill *target* from *source*, in the server, or as one must not: through the client."""
        if self.defect == "backfill by the client":
            for key, value in self.session.rows(f"SELECT id, {source} FROM users WHERE {target} IS NULL"):
                self.session.run(f"UPDATE users SET {target} = %s WHERE id = %s", (value, key))
            return
        last = int(self.session.value("SELECT max(id) FROM users"))
        extra = "" if self.pg else ", stamp = stamp"
        differs = f"{target} IS DISTINCT FROM {source}" if self.pg else f"NOT ({target} <=> {source})"
        if not self.pg:
            self.session.script("SET @seamless_backfill = " + ("1" if target == "full_name" else "0"), "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        for low in range(0, last + 1, 500):
            with self.session.transaction():
                if self.pg:
                    self.session.run("SET LOCAL seamless_rollout.backfill = 'on'")
                self.session.run(f"UPDATE users SET {target} = {source}{extra} WHERE id > {low} AND id <= {low + 500} AND {differs}")
        if not self.pg:
            self.session.run("SET @seamless_backfill = NULL")

    def backfilled(self) -> None:
        add = "ALTER TABLE users ADD COLUMN full_name text" if self.pg else "ALTER TABLE users ADD COLUMN IF NOT EXISTS full_name varchar(200) NULL INVISIBLE"
        if self.defect == "backfill before the trigger":
            self.step(add + self.online)
            self.copy("full_name", "name")
            time.sleep(0.3)
            self.step(*self.trigger)
        else:
            self.step(add + self.online, *(self.trigger if self.defect != "no trigger" else ()))
            if self.defect != "no backfill":
                self.copy("full_name", "name")
        if self.defect == "trigger dropped early":
            time.sleep(0.5)
            self.step(*self.unsync)

    def quarantined(self) -> None:
        if self.pg:
            rest = () if self.defect == "quarantine forgets NOT NULL" else ("ALTER TABLE users ALTER COLUMN name DROP NOT NULL",)
            self.step(*self.unsync, *rest, "ALTER TABLE users RENAME COLUMN name TO seamless_q_name")
        else:
            default = () if self.defect == "quarantine forgets NOT NULL" else (f"ALTER TABLE users ALTER COLUMN name SET DEFAULT ''{self.online}",)
            self.step(*default, *self.unsync, f"ALTER TABLE users RENAME COLUMN name TO seamless_q_name{self.online}")

    def contracted(self) -> None:
        if self.defect == "column dropped before its trigger":
            self.step("ALTER TABLE users DROP COLUMN name")
            time.sleep(0.2)
            self.step(*self.unsync)
            return
        if self.defect == "column left":
            return
        if self.pg:
            self.step(
                "ALTER TABLE users DROP COLUMN seamless_q_name", "CREATE INDEX users_name ON users (full_name)",
                "ALTER TABLE users ALTER COLUMN full_name SET NOT NULL",
            )
        else:
            self.step(
                "ALTER TABLE users DROP INDEX users_name, DROP COLUMN seamless_q_name, MODIFY full_name varchar(200) NULL, ALGORITHM=NOCOPY, LOCK=NONE",
                "ALTER TABLE users MODIFY full_name varchar(200) NOT NULL, ALGORITHM=INPLACE, LOCK=NONE",
                "ALTER TABLE users ADD INDEX users_name (full_name), ALGORITHM=NOCOPY, LOCK=NONE",
            )

    def restored(self) -> None:
        self.step(f"ALTER TABLE users RENAME COLUMN seamless_q_name TO name{self.online}", *self.trigger)
        if self.defect != "no reverse backfill":
            self.copy("name", "full_name")

    def aborted(self) -> None:
        if self.defect != "trigger left":
            self.step(*self.unsync, f"ALTER TABLE users DROP COLUMN full_name{self.online}")
        if self.session.engine == POSTGRESQL:
            self.step("ALTER TABLE users ALTER COLUMN name SET NOT NULL")
        else:
            self.step("ALTER TABLE users ALTER COLUMN name DROP DEFAULT, ALGORITHM=INSTANT, LOCK=NONE")


def main() -> None:
    job = json.loads(sys.argv[1])
    place = Place(job["engine"], job["host"], job["database"])
    with place.connect("owner", name="migration") as session:
        print("ready", flush=True)
        targets = {"expanded": lambda: None}
        work = ByHand(session, job.get("defect", ""))
        targets.update({name: getattr(work, name) for name in ("backfilled", "quarantined", "contracted", "restored", "aborted")})
        if not (job["target"] == "quarantined" and work.defect == "column dropped before its trigger"):
            targets[job["target"]]()
    print("{}")


if __name__ == "__main__":
    main()
