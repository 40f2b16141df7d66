#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_gate
short_description: Make sure that no old code runs anywhere before its shape of the database is taken away
version_added: 0.1.0
description:
  - Asks every host of the application what it runs, whatever C(--limit) says and whatever happened before in the play, and the database who is connected to it
    and whether something still writes the old shape. The verdict and its evidence are kept in the ledger, and M(seamless.rollout.migration) takes the old
    shape away only with a record of a gate that passed a short time ago.
  - 'C(E1): every host runs a release that carries the migration, from processes that began after the switch to it, and no other process works in an older
    release. C(E2): no session of the database says in its C(application_name) (C(APP@RELEASE)) that it is of a release that does not. C(E3): the canaries in
    the sync triggers have counted no write of the old shape for a quiet period. C(E4): both shapes agree in every row. C(E5): no other rollout or migration of
    the application is under way. C(E6): the last host was switched some time ago, and nobody has pinned an older release.'
  - A refusal names each piece of evidence that is missing, and what would do.
  - Evidence that could not be seen well does not stop it, and is returned in RV(weak).
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.database
  - seamless.rollout.attributes
  - seamless.rollout.database.actiongroup_database
attributes:
  check_mode:
    support: full
    details:
      - Looks, and writes nothing into the ledger. The quiet period is not counted from such a look.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - Each look is written into the ledger, which is no change.
  platform:
    platforms: posix
options:
  app:
    description:
      - Name of the application.
    type: str
    required: true
  name:
    description:
      - Name of the migration. One of O(name) and O(release) must be set.
    type: str
    default: ''
  release:
    description:
      - In place of O(name), the release that every host must run, where a framework migrates the database. The ledger knows nothing of its migrations, so
        nothing counts what old code writes, nothing is recorded, and there is no floor.
    type: str
    default: ''
  purpose:
    description:
      - V(contract) is about old code, before its shape goes. V(abort) is about code that needs the new shape, before that is taken away by C(state=aborted).
        E1 then is that no host runs anything of a release that carries the migration, and E2 that no session says that it is of one. What new code writes
        is counted by nothing, so C(E3), C(E4) and C(E6) are not asked.
    type: str
    choices: [contract, abort]
    default: contract
  groups:
    description:
      - Groups or patterns of the hosts that run the application. Without it, the variable C(rollout_hosts), or V(app).
    type: list
    elements: str
    default: []
  also_runs:
    description:
      - Further groups or patterns whose hosts run code of the application, such as workers and hosts with cron jobs.
    type: list
    elements: str
    default: []
  retired:
    description:
      - Hosts of the groups that are gone for good, and so can't be asked.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description:
          - Name of the host in the inventory.
        type: str
        required: true
      reason:
        description:
          - Why it need not be asked, for the record.
        type: str
        required: true
  pinned:
    description:
      - Releases to which the way back must stay open.
    type: list
    elements: dict
    default: []
    suboptions:
      release:
        description:
          - Name of the release.
        type: str
        required: true
      reason:
        description:
          - Why, for the refusal.
        type: str
        required: true
  root:
    description:
      - Directory of the application on the hosts. Without it, the variable C(rollout_root) of each host, or C(/srv/APP).
    type: path
  services:
    description:
      - Services of the application, as in M(seamless.rollout.release_switch). Without it, the variable C(rollout_services) of each host.
    type: list
    elements: dict
  migrations_directory:
    description:
      - Directory within a release that holds its migrations.
    type: str
    default: migrations
  poolers:
    description:
      - Addresses of connection poolers. Their idle connections keep the name of a client that may have left, and do not stop the gate.
    type: list
    elements: str
    default: []
  quiet_period:
    description:
      - Seconds for which the old shape must not have been written, longer than the pause between two runs of any job. It begins with the first look of this
        module. Without it, what the migration says in C(contract.quiet_period).
    type: float
  min_age:
    description:
      - Seconds since the last host was switched, for as long as a way back may be wanted.
    type: float
    default: 1800
  wait:
    description:
      - Seconds to wait while nothing but time is missing. With V(0) the module says how many seconds are left in RV(pending).
    type: float
    default: 0
  raise_floor:
    description:
      - Whether to raise the release floor on all hosts when all evidence is there. The verdict stands only when every host took it, so that no host can
        go back to old code afterwards. See M(seamless.rollout.release_floor).
      - It stays raised where the old shape is not taken away after all. Lower it with M(seamless.rollout.release_floor) then, and after a restore.
    type: bool
    default: false
  must_pass:
    description:
      - Whether the task fails when the gate does not pass.
    type: bool
    default: true
  rollout_id:
    description:
      - Name of the rollout that asks. Its own locks on the hosts do not stop it.
    type: str
    default: ''
  lock_deadline:
    description:
      - Seconds to wait for the lock of the application's migrations.
    type: float
    default: 5
  hosts:
    description:
      - Used by the action plugin.
    type: list
    elements: dict
  floor_failed:
    description:
      - Used by the action plugin.
    type: dict
  provisional:
    description:
      - Used by the action plugin.
    type: bool
    default: false
notes:
  - The task runs on the host that reaches the database. The action plugin asks the application's hosts by their own connection variables; the task's
    C(become) counts there too, its C(become_user) does not.
seealso:
  - module: seamless.rollout.migration
  - module: seamless.rollout.release_floor
"""

EXAMPLES = r"""
- name: Look whether old code still runs anywhere, for up to 15 minutes
  seamless.rollout.migration_gate:
    login_db: shop
    app: shop
    name: 2026_11_22_01_user_name
    groups:
      - web
    also_runs:
      - workers
    wait: 900
    raise_floor: true
  register: gate

- name: Take the old shape away
  seamless.rollout.migration:
    login_db: shop
    app: shop
    name: 2026_11_22_01_user_name
    state: quarantined
    gate: "{{ gate.gate }}"

- name: Make sure that nothing needs the new shape any more
  seamless.rollout.migration_gate:
    login_db: shop
    app: shop
    name: 2026_11_22_01_user_name
    purpose: abort
  register: gate

- name: Give the migration up
  seamless.rollout.migration:
    login_db: shop
    app: shop
    name: 2026_11_22_01_user_name
    state: aborted
    gate: "{{ gate.gate }}"

- name: Begin the quiet period after a rollout, and see what is missing so far
  seamless.rollout.migration_gate:
    login_db: shop
    app: shop
    name: 2026_11_22_01_user_name
    must_pass: false
"""

RETURN = r"""
passed:
  description:
    - Whether all evidence is there.
  returned: success or refusal
  type: bool
gate:
  description:
    - Number of the record in the ledger, for the option C(gate) of M(seamless.rollout.migration), or V(null).
  returned: success or refusal
  type: int
  sample: 7
pending:
  description:
    - Seconds until the gate could pass, when nothing but time is missing, or V(null).
  returned: success or refusal
  type: float
missing:
  description:
    - What is missing, each with the name of its evidence.
  returned: success or refusal
  type: list
  elements: str
  sample:
    - 'E1: web3 runs release 41, which does not carry 2026_11_22_01_user_name'
weak:
  description:
    - Evidence that holds, but could not be seen well, and why.
  returned: success or refusal
  type: list
  elements: str
evidence:
  description:
    - 'Every piece of evidence: C(id), C(ok), C(what), C(missing), C(would_do), C(pending), C(weak) and C(seen).'
  returned: success or refusal
  type: list
  elements: dict
carriers:
  description:
    - Releases that carry the migration on every host that has them.
  returned: success or refusal
  type: list
  elements: str
floor:
  description:
    - Hosts that refuse older releases now.
  returned: success or refusal
  type: list
  elements: str
release:
  description:
    - First release that uses the new shape.
  returned: success or refusal
  type: str
state:
  description:
    - State of the migration.
  returned: success or refusal
  type: str
"""

from ansible_collections.seamless.rollout.plugins.module_utils._migration.gate_operation import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
