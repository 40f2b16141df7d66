#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_gate
short_description: Record a batch of a rollout and decide how it goes on
version_added: 0.1.0
description:
  - Records the planned batch before anything risky, and its outcome afterwards; then decides whether the rollout goes on.
  - Part of the playbooks of this collection.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.attributes
attributes:
  check_mode:
    support: none
  diff_mode:
    support: none
  idempotent:
    support: none
  platform:
    platforms: posix
options:
  step:
    description:
      - Where in the rollout this is.
    type: str
    required: true
    choices:
      - staged
      - open
      - close
  hosts:
    description:
      - Hosts of the batch.
    type: list
    elements: str
    required: true
  undo:
    description:
      - Whether the batch is part of a rollback.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Record the batch
  seamless.rollout.rollout_gate:
    step: open
    hosts: "{{ ansible_play_batch }}"
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
proceed:
  description:
    - Whether the batch may start.
  returned: when O(step=open)
  type: bool
hosts:
  description:
    - Hosts of the batch.
  returned: when O(step=open)
  type: list
  elements: str
halted:
  description:
    - Why the rollout is halted, or an empty string.
  returned: when O(step=staged) or O(step=close)
  type: str
"""

# This is a virtual module: the code is in the action plugin of the same name and runs on the controller.
