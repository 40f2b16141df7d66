#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_floor
short_description: Refuse releases that the database no longer suits
version_added: 0.1.0
description:
  - Names migrations of the database that every release must carry from now on. A release that does not is refused by M(seamless.rollout.release_switch),
    and by the plan of a rollout, rollback or recovery before any host is touched.
  - A release carries a migration when its directory C(migrations) holds the file of it (C(NAME.yml), or C(NAME.expand.sql) and so on), or when the file
    C(squashed) in there names it, one name a line, for migrations whose file was deleted long after.
  - M(seamless.rollout.migration_gate) raises the floor on all hosts before old code's shape is taken away. This module is for lowering it, after a restore
    from the quarantine or of a backup, and for migrations that other tools made.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.attributes
  - seamless.rollout.attributes.actiongroup_rollout
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: posix
options:
  root:
    description:
      - Directory of the application, which holds C(releases/), C(shared/) and C(current).
    type: path
    required: true
  migrations:
    description:
      - Names of the migrations.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(present) adds the migrations to the floor. It is refused where the host's live release does not carry them.
      - V(absent) takes them from it. Do it on all hosts, with the old shape back in the database first. The floor that one host still has counts for all hosts
        of a rollout.
    type: str
    choices:
      - present
      - absent
    default: present
  release:
    description:
      - First release that carries them, for the message to whoever goes below it.
    type: str
    default: ''
  directory:
    description:
      - Directory within a release that holds its migrations.
    type: str
    default: migrations
  rollout_id:
    description:
      - Name of the rollout, for the record.
    type: str
    default: ''
seealso:
  - module: seamless.rollout.migration_gate
  - module: seamless.rollout.release_switch
"""

EXAMPLES = r"""
- name: Lower the floor after the old shape is back
  seamless.rollout.release_floor:
    root: /srv/shop
    migrations:
      - 2026_11_22_01_user_name
    state: absent
"""

RETURN = r"""
floor:
  description:
    - 'The floor: C(migrations), C(release), C(set_at), C(set_by) and C(directory), or V(null).'
  returned: success
  type: dict
"""

from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module
from ansible_collections.seamless.rollout.plugins.module_utils._release.floor import ARGUMENT_SPEC, run


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
