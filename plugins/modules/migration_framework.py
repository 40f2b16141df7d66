#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_framework
short_description: Run a framework's migrations in the phases of a rolling release
version_added: 0.1.0
description:
  - Runs what a framework has pending for one phase of a rolling release, once, under the application's migration lock in the database, and reads back
    that it is done. What is not pending is not run.
  - V(expand) runs before the first host gets the new release, so old code must go on working. Where the framework can print its SQL, rules look at it
    first, and what would break old code or block clients is refused, with what would do.
  - V(contract) runs when no old code is left. This module does not look for old code, so call it only behind the gate.
  - The SQL that a framework can't show is unknown. Where migrations are split by phase that is a warning, and without a split it is refused.
  - On a database on which the framework has never run anything there is no old code, and nothing is refused.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.attributes
  - seamless.rollout.database
  - seamless.rollout.database.actiongroup_database
attributes:
  check_mode:
    support: full
    details:
      - The framework's status and the SQL of what is pending are read, and what would be refused is refused. No lock is taken.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - O(framework=command) without O(status_cmd) runs each time.
  platform:
    platforms: posix
options:
  framework:
    description:
      - What the application migrates its database with.
      - V(alembic) and V(django) are tested against themselves. V(rails), V(laravel), V(flyway) and V(liquibase) are tested against their documented
        command lines with stand-ins.
      - V(command) runs O(expand_cmd) and O(contract_cmd).
      - V(sql) is a directory of files C(NNN_name.expand.sql), and beside them C(.backfill.sql), C(.verify.sql), C(.contract.sql) and C(.abort.sql) as
        needed. With O(phase=status) they are returned in RV(specs), for M(seamless.rollout.migration), which runs them. Statements that would break
        running code or hold up its clients are refused then, unless their rules are in O(allow).
    type: str
    choices:
      - alembic
      - django
      - rails
      - laravel
      - flyway
      - liquibase
      - command
      - sql
    required: true
  directory:
    description:
      - Directory of the new release in which the framework is called, usually below C(releases/). With O(framework=sql) the directory of the files.
    type: path
    required: true
  phase:
    description:
      - What to run, or V(status) to only tell what is pending.
    type: str
    choices:
      - expand
      - contract
      - status
    required: true
  app:
    description:
      - Application. Its migration lock is held while something is run.
    type: str
    required: true
  release:
    description:
      - First release that uses the new shape. Needed with O(framework=sql).
    type: str
    default: ''
  split:
    description:
      - How the migrations of the two phases are told apart.
      - Alembic has V(branches) (default), with the branch labels C(expand) and C(contract), and V(none).
      - Django has V(none) (default), V(syzygy) (django-syzygy is installed in the application), and V(targets).
      - Rails has V(post_migrate) (default, C(db/post_migrate) is left out while C(SKIP_POST_DEPLOYMENT_MIGRATIONS) is set, by an initializer as GitLab's),
        V(databases) (two entries of C(database.yml) with C(migrations_paths) of their own), and V(none).
      - Laravel has V(directories) (default) and V(none).
      - Flyway has V(directories) (default), V(targets), and V(none).
      - Liquibase has V(contexts) (default), V(labels), and V(none).
      - V(none) means that the framework knows only "migrate everything". Then V(expand) runs when all of it is additive, and is refused otherwise.
    type: str
    default: ''
  expand:
    description:
      - What O(phase=expand) runs, by O(split). Branches (default V(expand@head)), applications with their last migration (such as V(shop 0012_full_name)),
        databases (V(primary)), directories (V(database/migrations/expand) or V(db/expand)), a version, contexts or labels (V(expand)).
    type: list
    elements: str
    default: []
  contract:
    description:
      - The same for O(phase=contract). By default V(contract@head), everything, V(contract), V(database/migrations/contract), V(db/contract).
    type: list
    elements: str
    default: []
  binary:
    description:
      - Words that start the framework, in place of what O(bin_dir) finds, such as V([bundle, exec, rails]) or V([poetry, run, alembic]).
      - With Django and Laravel they include C(manage.py) or C(artisan).
    type: list
    elements: str
    default: []
  bin_dir:
    description:
      - Directory of the framework's program, such as the C(bin) directory of a virtual environment. Without it, Rails is O(directory)C(/bin/rails), and
        others are looked for in C(PATH).
    type: path
    default: ''
  arguments:
    description:
      - More arguments, such as V([-c, conf/alembic.ini]) or V([--changelog-file=db/changelog.xml]).
    type: list
    elements: str
    default: []
  environment:
    description:
      - Environment of the framework, beside the task's own. Values are written as text. What looks like a secret is refused here.
    type: dict
    default: {}
  secret_environment:
    description:
      - The same for secrets, such as C(DATABASE_URL). They are shown and logged nowhere, and taken out of the framework's output.
    type: dict
    default: {}
  expand_cmd:
    description:
      - Command of O(framework=command). A list of words, or a text for the shell. C(SEAMLESS_PHASE), C(SEAMLESS_APP) and C(SEAMLESS_LOCK_TIMEOUT_MS) are
        set for it.
    type: raw
  contract_cmd:
    description:
      - The same for the other phase. A phase without a command has nothing to do.
    type: raw
  status_cmd:
    description:
      - Command that prints the names of what is pending in C(SEAMLESS_PHASE), a line each, and ends with 0.
    type: raw
  allow:
    description:
      - Rules that may be broken, by the names that a refusal and RV(findings) give, such as V(drop-index) or V(unknown).
    type: list
    elements: str
    default: []
  begun:
    description:
      - Migrations of O(framework=sql) that the ledger of M(seamless.rollout.migration) has as begun. What they hold is past judging.
    type: list
    elements: str
    default: []
  lock_timeout_ms:
    description:
      - Milliseconds for which a statement may wait for a lock, since all clients wait behind it. V(0) sets no limit.
      - It reaches drivers that use libpq by C(PGOPTIONS), unless the application's own connection settings set C(options). It reaches Flyway by C(initSql),
        and Liquibase by the JDBC URL where that is in O(secret_environment) or O(environment) as C(LIQUIBASE_COMMAND_URL).
      - Other frameworks on MariaDB need it in the application's own connection settings; a warning says so.
      - CREATE INDEX CONCURRENTLY runs without it, where the SQL can be seen.
    type: int
    default: 500
  lock_wait_total:
    description:
      - Seconds for which a run on PostgreSQL that waited too long for a lock is tried again.
    type: float
    default: 120
  lock_deadline:
    description:
      - Seconds to wait for the application's migration lock.
    type: float
    default: 60
  timeout:
    description:
      - Seconds after which a command of the framework is ended.
    type: float
    default: 3600
seealso:
  - module: seamless.rollout.migration
"""

EXAMPLES = r"""
- name: Run the expand branch of Alembic before the first host
  seamless.rollout.migration_framework:
    framework: alembic
    app: shop
    directory: /srv/shop/releases/1.2.0
    bin_dir: /srv/shop/releases/1.2.0/venv/bin
    phase: expand
    login_db: shop
    secret_environment:
      DATABASE_URL: "{{ shop_database_url }}"

- name: Run what django-syzygy holds back, behind the gate
  seamless.rollout.migration_framework:
    framework: django
    split: syzygy
    app: shop
    directory: /srv/shop/releases/1.2.0
    bin_dir: /srv/shop/releases/1.2.0/venv/bin
    phase: contract
    login_db: shop

- name: Run a script of one's own
  seamless.rollout.migration_framework:
    framework: command
    app: shop
    directory: /srv/shop/releases/1.2.0
    phase: expand
    expand_cmd: [./migrate, --expand]
    contract_cmd: [./migrate, --contract]
    status_cmd: ./migrate --list-pending "$SEAMLESS_PHASE"
    engine: mariadb
    login_db: shop
"""

RETURN = r"""
applied:
  description:
    - Migrations that the framework has run, as far as it tells.
  returned: O(framework) is not V(sql)
  type: list
  elements: str
pending:
  description:
    - Migrations that the phase found to run. With O(phase=status) a dictionary with those of both phases.
  returned: success
  type: raw
known:
  description:
    - Whether the framework could tell its state.
  returned: O(framework) is not V(sql)
  type: bool
ran:
  description:
    - Migrations that were run.
  returned: O(phase) is not V(status)
  type: list
  elements: str
commands:
  description:
    - The command lines, each with C(command), C(directory) and C(environment), without secrets.
  returned: O(phase) is not V(status)
  type: list
  elements: dict
sql:
  description:
    - SQL of what is pending, where the framework can show it. Its beginning.
  returned: O(phase) is not V(status)
  type: str
findings:
  description:
    - 'What the rules say of that SQL: C(line), C(rule), C(level) (V(error), V(warning) or V(unknown)), C(message) and C(what_would_do).'
  returned: O(phase) is not V(status), or O(framework=sql)
  type: list
  elements: dict
fresh:
  description:
    - Whether the framework has never run anything on this database.
  returned: O(phase) is not V(status)
  type: bool
attempts:
  description:
    - How often the framework was started to run what is pending.
  returned: O(phase) is not V(status)
  type: int
lock_timeout_by:
  description:
    - What bounds the waits for locks, or V(null) when nothing does.
  returned: something was run
  type: str
output:
  description:
    - End of the framework's output, without secrets.
  returned: O(phase) is not V(status)
  type: str
specs:
  description:
    - The directory's migrations in their order, each a C(spec) of M(seamless.rollout.migration).
  returned: O(framework=sql)
  type: list
  elements: dict
"""

from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.run import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
