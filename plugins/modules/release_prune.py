#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_prune
short_description: Remove old releases of an application
version_added: 0.1.0
description:
  - Keeps the newest releases and removes the others that this collection put on the host.
  - Never removes what is live, previewed, the last good release, the rollback target, in use by a process, named in O(protect), or staged by a running
    rollout, and never a directory that it does not know.
  - A release that can't be removed is a warning, not a failure.
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
  keep_releases:
    description:
      - How many releases to keep, at least V(1). Failed and bad ones don't count; the newest of them stays as evidence.
    type: int
    default: 5
  good:
    description:
      - Mark this release good before, which must be the live one. A good release is a way back.
    type: str
  protect:
    description:
      - Releases to keep in any case.
    type: list
    elements: str
    default: []
  prune:
    description:
      - Whether to remove releases at all. With V(false), only O(good) and O(lock_id) count.
    type: bool
    default: true
  lock_id:
    description:
      - Give the lock of this id back afterwards.
    type: str
seealso:
  - module: seamless.rollout.release_switch
  - module: seamless.rollout.release_info
"""

EXAMPLES = r"""
- name: Keep five releases
  seamless.rollout.release_prune:
    root: /srv/shop
    keep_releases: 5
"""

RETURN = r"""
pruned:
  description:
    - Releases that were removed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample:
    - 1.0.0
kept:
  description:
    - Releases that stay, and why.
  returned: success
  type: list
  elements: dict
  sample:
    - id: 1.2.0
      why: current
good:
  description:
    - Release that O(good) named.
  returned: success
  type: str
"""

from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module
from ansible_collections.seamless.rollout.plugins.module_utils._release.prune import ARGUMENT_SPEC, run


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
