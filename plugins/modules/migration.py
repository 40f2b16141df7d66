#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration
short_description: Change a database while old and new code both use it
version_added: 0.1.0
description:
  - Brings a migration to a state, and does only what is left to do.
  - First the new shape is added beside the old one, with triggers that keep both the same (V(expanded)); then the rows that were there before are filled
    in small batches and checked (V(backfilled)). From then on old and new code can both read and write, for as long as the new release takes to get
    everywhere.
  - When no old code runs any more, the old shape is put away under another name (V(quarantined)), where it can be brought back from, and dropped at last
    (V(contracted)).
  - What is done is in a ledger in the database itself, so a run that was killed at any moment is gone on with by the next one.
  - Locks are asked for so that clients never wait longer than C(limits.max_stall_ms).
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.attributes
  - seamless.rollout.database
  - seamless.rollout.database.actiongroup_database
attributes:
  async:
    description: Supports being used with the C(async) keyword.
    support: full
    details:
      - A migration that runs with C(async) goes on when the SSH connection is lost.
  check_mode:
    support: full
    details:
      - Tells the exact SQL, its locks and about how many rows it is for, and looks for everything that would stop it.
  diff_mode:
    support: full
    details:
      - The columns, indexes, constraints and triggers of the tables before and after; in check mode the SQL.
  idempotent:
    support: full
  platform:
    platforms: posix
options:
  state:
    description:
      - State to bring the migration to. One that is reached already, or passed, changes nothing.
      - V(planned) tells what would be done, and changes nothing.
      - V(expanded) adds the new shape. V(backfilled) fills it and checks it twice; new code may start only then.
      - V(quarantined) takes the old shape away, and raises the floor under the application's releases. V(contracted) drops it.
      - V(restored) brings the old shape back from the quarantine, with what was written since. V(aborted) takes the new shape away again.
    type: str
    choices:
      - planned
      - expanded
      - backfilled
      - quarantined
      - contracted
      - aborted
      - restored
    default: planned
  src:
    description:
      - File with the migration, as YAML. Without its ending it is the migration's name, unless O(name) is set.
      - A relative path is looked for beside the playbook, and in C(migrations/) there.
    type: str
  remote_src:
    description:
      - Whether O(src) is on the host.
    type: bool
    default: false
  spec:
    description:
      - The migration itself, in place of O(src).
      - C(app), C(release) (the first that uses the new shape) and C(operations) must be there; C(contract), C(limits), C(canary) and C(acknowledge)
        can be.
      - 'An operation is one of C(add_column), C(drop_column), C(rename_column), C(rename_table), C(change_type), C(split_column), C(merge_columns),
        C(set_not_null), C(add_unique), C(add_foreign_key), C(add_check), C(add_index), C(drop_index), C(drop_table) and C(sql), with its keys.
        C(add_check) is refused on MariaDB before 11.2 and on MySQL, which can add one only while writes wait.'
      - C(contract) has C(when) (V(next_release), V(same_run) or V(manual)), C(quiet_period) and C(quarantine), both in seconds.
      - C(limits) has C(max_stall_ms), C(lock_wait_total), C(kill_blockers), C(batch_ms), C(max_lag), C(max_sessions), C(throttle_query) and C(pause_file).
        C(max_lag) is for PostgreSQL only, since a primary of MariaDB or MySQL does not know how far its replicas are behind.
    type: dict
  app:
    description:
      - Application of the migration. Only needed without O(src) and O(spec), for one that has begun.
    type: str
  name:
    description:
      - Name of the migration. Needed with O(spec), and without O(src).
    type: str
  gate:
    description:
      - Number of the gate's record that says that no old code runs any more. V(quarantined) and V(contracted) need it, or O(force_contract_reason).
      - V(aborted) needs one of a gate with C(purpose=abort), which says that no code runs that needs the new shape, or O(force_abort_reason).
    type: int
  force_abort_reason:
    description:
      - Why the new shape may go without a gate. It is kept in the ledger.
    type: str
    default: ''
  gate_ttl:
    description:
      - Seconds for which the gate's word counts.
    type: float
    default: 600
  force_contract_reason:
    description:
      - Why the old shape may go without a gate, and before the quarantine is over. It is kept in the ledger.
    type: str
    default: ''
  paused_by:
    description:
      - Who has the backfills of a migration that has begun wait. A running one ends its batch and waits, until this is set to an empty string.
      - Nothing else is done then. Goes with O(app) and O(name), and without O(state).
    type: str
  lock_deadline:
    description:
      - Seconds to wait for another run of a migration of the same application.
    type: float
    default: 60
  verify_window:
    description:
      - Seconds between the two checks that both shapes are the same, in which the triggers serve the application's writes.
    type: float
    default: 1
  rollout_id:
    description:
      - Name of the rollout, for the ledger.
    type: str
    default: ''
seealso:
  - module: seamless.rollout.migration_info
"""

EXAMPLES = r"""
- name: Show what a migration would do
  seamless.rollout.migration:
    src: migrations/2026_11_22_01_user_name.yml
    login_db: shop
    state: planned
  register: plan

- name: Add the new shape beside the old one and fill it, also when the connection to the host is lost
  seamless.rollout.migration:
    src: migrations/2026_11_22_01_user_name.yml
    login_db: shop
    state: backfilled
  async: 86400
  poll: 5

- name: Put the old shape away once the gate has seen that nobody uses it
  seamless.rollout.migration:
    src: migrations/2026_11_22_01_user_name.yml
    login_db: shop
    state: quarantined
    gate: "{{ gate.gate }}"

- name: Bring it back
  seamless.rollout.migration:
    app: shop
    name: 2026_11_22_01_user_name
    login_db: shop
    state: restored

- name: Let a backfill wait that somebody else has started
  seamless.rollout.migration:
    app: shop
    name: 2026_11_22_01_user_name
    login_db: shop
    paused_by: bob, until the sale is over

- name: Rename a column of MariaDB, written in the task
  seamless.rollout.migration:
    engine: mariadb
    login_db: shop
    login_unix_socket: /run/mysqld/mysqld.sock
    name: 2026_11_22_01_user_name
    spec:
      app: shop
      release: "42"
      operations:
        - rename_column:
            table: users
            from: name
            to: full_name
    state: backfilled
"""

RETURN = r"""
app:
  description:
    - Application of the migration.
  returned: success
  type: str
  sample: shop
migration:
  description:
    - Name of the migration.
  returned: success
  type: str
  sample: 2026_11_22_01_user_name
release:
  description:
    - First release that uses the new shape.
  returned: success
  type: str
  sample: "42"
tag:
  description:
    - What the names of all that the migration makes have in them.
  returned: success
  type: str
  sample: 3f2a9c01
state:
  description:
    - State of the migration, also when the task failed. One that ends in C(ing) has begun and not ended; run the task again.
  returned: always
  type: str
  sample: backfilled
previous_state:
  description:
    - State that it was in before.
  returned: success
  type: str
  sample: pending
tables:
  description:
    - Tables that it changes.
  returned: success
  type: list
  elements: str
  sample: [public.users]
drop_after:
  description:
    - Since when the old shape may be dropped, in seconds since 1970, or V(null) when it is not in quarantine.
  returned: success
  type: float
floor:
  description:
    - Oldest release of the application that the database still allows, or V(null).
  returned: success
  type: str
steps:
  description:
    - Steps that were run, each with its C(phase), C(name), C(attempts) to get the locks, C(max_wait_ms) (the longest that clients waited behind an attempt) and
      C(was_there) (whether its effect was there already).
  returned: success
  type: list
  elements: dict
fills:
  description:
    - Backfills that were run, each with its C(phase), C(name), C(rows), C(rows_changed), C(batch) and C(seconds).
  returned: success
  type: list
  elements: dict
rows:
  description:
    - How many rows the backfills changed, with those of earlier runs that were cut off.
  returned: success
  type: int
notices:
  description:
    - What somebody should know, and what stops nothing.
  returned: success
  type: list
  elements: str
paused_by:
  description:
    - Who has the backfills wait, or V(null).
  returned: with O(paused_by)
  type: str
plan:
  description:
    - Every step of every phase, each with its C(phase), C(name), C(sql), C(locks) and C(lock_mode), and for a backfill about how many C(rows) and C(seconds).
  returned: with O(state=planned), and in check mode
  type: list
  elements: dict
plan_text:
  description:
    - The same as SQL with comments.
  returned: with O(state=planned), and in check mode
  type: str
preflight:
  description:
    - C(problems) that would stop the migration, and facts about the server, C(tables), C(long_transactions), C(standbys), C(disk_estimate) and C(disk_free).
  returned: before the migration has begun, with O(state=planned) and in check mode
  type: dict
blockers:
  description:
    - Sessions that held the locks.
  returned: when a lock was not to be had
  type: list
  elements: dict
wrong:
  description:
    - Checks that did not hold, each with its C(check), the number of C(rows) that are wrong, and a C(sample) of them.
  returned: when both shapes are not the same
  type: list
  elements: dict
"""

from ansible_collections.seamless.rollout.plugins.module_utils._migration.migrate import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
