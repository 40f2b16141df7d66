#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_gate
short_description: Record what a rollout does and decide how it goes on
version_added: 0.1.0
description:
  - Records what is planned before anything risky, and its outcome afterwards; then decides whether the rollout goes on.
  - Holds hosts back while the rollout is paused, waits for approval, or is outside its change window.
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
      - V(staged) judges the staging. V(open) and V(close) go round a batch.
      - V(slot) waits until one host may start within the window, V(free) records what became of it, and V(settle) ends the window.
      - V(once_open) and V(once_close) go round the actions that happen once for a rollout.
    type: str
    required: true
    choices:
      - staged
      - open
      - close
      - slot
      - free
      - settle
      - once_open
      - once_close
  hosts:
    description:
      - Hosts that the step is about, a batch or a single one.
    type: list
    elements: str
    required: true
  undo:
    description:
      - Whether the batch is part of a rollback.
    type: bool
    default: false
  point:
    description:
      - With O(step=once_open) and O(step=once_close), which of the actions that happen once for a rollout.
    type: str
    choices:
      - before
      - after
  tries:
    description:
      - With O(step=slot), how often this host has asked already.
    type: int
    default: 0
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
    - Whether the batch or host may start.
  returned: when O(step=open) or O(step=slot)
  type: bool
again:
  description:
    - Whether to ask again, because only a new task knows which hosts are lost meanwhile.
  returned: when O(step=slot)
  type: bool
tries:
  description:
    - How often this host has asked by now.
  returned: when O(step=slot)
  type: int
host:
  description:
    - The host that does what happens once.
  returned: when O(step=once_open)
  type: str
actions:
  description:
    - What it has to do, which is nothing where a run before did it.
  returned: when O(step=once_open)
  type: list
  elements: str
hosts:
  description:
    - Hosts of the batch that start.
  returned: when O(step=open)
  type: list
  elements: str
left:
  description:
    - Hosts of the batch that start after them, because there is no room for all at once. None in a rollback.
  returned: when O(step=open)
  type: list
  elements: str
halted:
  description:
    - Why the rollout is halted, or an empty string.
  returned: when O(step=staged), O(step=close) or O(step=settle)
  type: str
"""

# This is a virtual module: the code is in the action plugin of the same name and runs on the controller.
