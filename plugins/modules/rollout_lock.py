#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_lock
short_description: Hold the lock of an application on a host
version_added: 0.1.0
description:
  - Takes or gives back the lock that keeps two rollouts of one application apart.
  - Holding a lock that one holds already renews it. A lock whose holder gave no sign of life for its O(ttl) is taken over, with a warning.
  - Taking and giving back a lock is not reported as a change.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.attributes
  - seamless.rollout.attributes.actiongroup_rollout
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
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
  state:
    description:
      - Whether to hold or to give back the lock. Another's lock is never given back.
    type: str
    choices:
      - held
      - released
    default: held
  lock_id:
    description:
      - Name of the holder, the same in every call of one rollout.
    type: str
    required: true
  app:
    description:
      - Application, for whoever meets the lock.
    type: str
    default: ''
  owner:
    description:
      - Who holds it, for whoever meets the lock.
    type: str
    default: ''
  reason:
    description:
      - Why, for whoever meets the lock.
    type: str
    default: ''
  release:
    description:
      - Release that the holder puts on the host, for whoever has to settle what it left. Kept from the holder before when it is empty.
    type: str
    default: ''
  ttl:
    description:
      - Seconds without a sign of life after which the lock may be taken over.
    type: int
    default: 3600
  break:
    description:
      - Whether to take the lock from a holder that may still live. Recorded in the journal.
    type: bool
    default: false
  takeover:
    description:
      - Holders that are known to be dead.
    type: list
    elements: str
    default: []
  policy:
    description:
      - What to do when another rollout holds the lock and lives.
      - V(reject) fails at once. V(wait) waits for it for O(wait) seconds. V(supersede) orders it to abort, and waits until it has.
      - Of two rollouts that start at the same moment the one whose O(lock_id) sorts first waits a few seconds, and the other one steps back.
    type: str
    choices:
      - reject
      - wait
      - supersede
    default: reject
  wait:
    description:
      - Seconds to wait for the holder, with O(policy=wait) and O(policy=supersede).
    type: float
    default: 600
  alone:
    description:
      - With O(policy=wait) and O(policy=supersede), whether the caller holds no lock on any other host yet.
      - Who wants the locks of several hosts waits for the first one this way, and takes the others afterwards. Two that wait can't block each other then.
    type: bool
    default: false
  renew:
    description:
      - Only show that the holder O(lock_id) still lives. Nothing happens where it doesn't hold the lock.
    type: bool
    default: false
  order:
    description:
      - Leave an order in the lock, for the rollout that holds it, whatever its name. It hears the order when it next looks at this host.
    type: str
    choices:
      - pause
      - resume
      - promote
      - stop
      - abort
  survey:
    description:
      - Also read the host, in the same call. Options as of M(seamless.rollout.release_info), without C(root).
    type: dict
seealso:
  - module: seamless.rollout.release_info
"""

EXAMPLES = r"""
- name: Take the lock
  seamless.rollout.rollout_lock:
    root: /srv/shop
    lock_id: maintenance-42
    owner: "{{ lookup('ansible.builtin.env', 'USER') }}"
    reason: moving the uploads

- name: Give it back
  seamless.rollout.rollout_lock:
    root: /srv/shop
    lock_id: maintenance-42
    state: released
"""

RETURN = r"""
lock:
  description:
    - The lock after the call, or V(null).
  returned: success
  type: dict
lock_changed:
  description:
    - Whether the lock was taken or given back.
  returned: success
  type: bool
survey:
  description:
    - What O(survey) asked for.
  returned: success
  type: dict
"""

from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module
from ansible_collections.seamless.rollout.plugins.module_utils._release.lock import ARGUMENT_SPEC, run


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
