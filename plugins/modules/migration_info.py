#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_info
short_description: Read where the migrations of a database stand
version_added: 0.1.0
description:
  - Reads the ledger that M(seamless.rollout.migration) keeps, also while a migration is running, with the progress of its backfill.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.attributes
  - seamless.rollout.attributes.info_module
  - seamless.rollout.database
  - seamless.rollout.database.actiongroup_database
attributes:
  platform:
    platforms: posix
options:
  app:
    description:
      - Application whose migrations are read. Without it, all.
    type: str
  name:
    description:
      - Name of the one migration to read.
    type: str
  events:
    description:
      - How many of the last things that happened to each migration to return.
    type: int
    default: 10
seealso:
  - module: seamless.rollout.migration
"""

EXAMPLES = r"""
- name: Read where the migrations of the shop stand
  seamless.rollout.migration_info:
    app: shop
    login_db: shop
  register: database

- name: Show how long the backfill will take
  ansible.builtin.debug:
    msg: "{{ database.migrations[0].fills | map(attribute='eta') }}"
"""

RETURN = r"""
ledger:
  description:
    - Whether the database has a ledger. Before the first migration it has none.
  returned: success
  type: bool
engine:
  description:
    - Kind of database.
  returned: success
  type: str
server_version:
  description:
    - Version of the server.
  returned: success
  type: str
  sample: 15.18.0
pooled:
  description:
    - Whether a connection pooler is between, which M(seamless.rollout.migration) refuses.
  returned: success
  type: bool
running:
  description:
    - Session that holds the migration lock of each application, or V(null) when none of its migrations is running.
  returned: success
  type: dict
  sample: {"shop": null}
floors:
  description:
    - Oldest release of each application that the database still allows, or V(null).
  returned: success
  type: dict
  sample: {"shop": "42"}
migrations:
  description:
    - Migrations, oldest first. All times are seconds since 1970 by the database's clock.
  returned: success
  type: list
  elements: dict
  contains:
    app:
      description: Application of the migration.
      type: str
    name:
      description: Name of the migration.
      type: str
    release:
      description: First release that uses the new shape.
      type: str
    state:
      description: State. One that ends in C(ing) has begun and not ended.
      type: str
      sample: backfilled
    unfinished:
      description: Whether something has begun and not ended.
      type: bool
    final:
      description: Whether nothing is left to do.
      type: bool
    tables:
      description: Tables that it changes.
      type: list
      elements: str
    tag:
      description: What the names of all that it makes have in them.
      type: str
    checksum:
      description: Digest of what can't change since it began.
      type: str
    contract:
      description: When the old shape is to go.
      type: dict
    undoable:
      description: Whether it can be restored from the quarantine.
      type: bool
    quarantined_at:
      description: When the old shape was put away.
      type: float
    drop_after:
      description: Since when the old shape may be dropped.
      type: float
    droppable:
      description: Whether that is now.
      type: bool
    paused_by:
      description: Who has its backfills wait (O(seamless.rollout.migration#module:paused_by)), or V(null).
      type: str
    last_error:
      description: Why the last run stopped, or V(null).
      type: str
    created_at:
      description: When it began.
      type: float
    updated_at:
      description: When its state last changed.
      type: float
    now:
      description: The database's clock.
      type: float
    steps:
      description: Steps that are done, each with C(phase), C(name), C(done_at), C(attempts) and C(max_wait_ms).
      type: list
      elements: dict
    fills:
      description:
        - Backfills, each with C(phase), C(name), C(done), C(rows) walked of C(rows_estimate), C(rows_changed), C(rate) in rows a second, C(eta) in seconds,
          C(batch), what it C(waits) for, and for how many seconds it has not been C(updated).
      type: list
      elements: dict
    gate:
      description: Last record of the gate, with C(id), C(passed), C(age) in seconds and C(evidence), or V(null).
      type: dict
    events:
      description: Last things that happened, newest first, each with C(at), C(run_id), C(what) and C(detail).
      type: list
      elements: dict
"""

from ansible_collections.seamless.rollout.plugins.module_utils._migration.info import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
