#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_order
short_description: Tell a rollout that runs on this controller to pause, go on, or end
version_added: 0.2.0
description:
  - Writes an order for the rollout of an application that runs on this controller now, in another process.
  - The rollout follows it before the next host or batch starts. What is in flight is finished first.
  - Where none runs and one has ended as paused, V(abort) gives it up. It is not undone; its locks are free for the next rollout of this controller.
  - A rollout of another controller hears orders that M(seamless.rollout.rollout_lock) leaves with its hosts.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
  platform:
    platforms: posix
options:
  app:
    description:
      - Name of the application.
    type: str
    required: true
  order:
    description:
      - V(pause) holds back every host that has not started. The rollout keeps its lock, and its deadlines stand still.
      - V(resume) lets a paused rollout go on.
      - V(promote) lets the hosts after the canary start, where O(seamless.rollout.rollout#role:plan:rollout_auto_promote) is V(false).
      - V(stop) ends the rollout after what is in flight. The same command goes on with it later.
      - V(abort) ends it as a failure does, so by default every host that it touched goes back.
    type: str
    required: true
    choices:
      - pause
      - resume
      - promote
      - stop
      - abort
  by:
    description:
      - Who gives the order, for the record. By default the user and machine that run Ansible.
    type: str
  reason:
    description:
      - Why, for the record.
    type: str
    default: ''
  state_dir:
    description:
      - Directory on the controller for ledger, cache and reports.
    type: path
"""

EXAMPLES = r"""
- name: Have the rollout wait
  seamless.rollout.rollout_order:
    app: shop
    order: pause
    reason: the payment provider is down
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
found:
  description:
    - Whether a rollout of the application runs on this controller, or was given up.
  returned: success
  type: bool
given_up:
  description:
    - The paused rollouts that were given up.
  returned: success
  type: list
  elements: str
paused:
  description:
    - The rollouts that have ended as paused on this controller and hear nothing, where none runs.
  returned: success
  type: list
  elements: str
rollout_id:
  description:
    - Its name.
  returned: success
  type: str
by:
  description:
    - Who gave the order, as it was recorded.
  returned: success
  type: str
"""

# This is a virtual module: the code is in the action plugin of the same name and runs on the controller.
