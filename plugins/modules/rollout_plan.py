#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_plan
short_description: Plan a rollout
version_added: 0.1.0
description:
  - Checks all C(rollout_) variables, reads what hosts and balancers answered, and decides which host is updated when.
  - Part of the playbooks of this collection. Use M(seamless.rollout.release_switch) and the other modules in plays of your own.
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
    support: full
  platform:
    platforms: posix
options:
  step:
    description:
      - V(read) checks the variables and pins the source. V(plan) judges the answers and makes the plan. V(database) checks how the database is reached.
    type: str
    required: true
    choices:
      - read
      - plan
      - database
  mode:
    description:
      - What the rollout does.
    type: str
    choices:
      - release
      - update
      - rollback
      - promote
      - preview
      - recover
    default: release
  balancers:
    description:
      - Answers of M(seamless.rollout.lb_info).
    type: list
    elements: dict
    default: []
  show_only:
    description:
      - Whether the plan is only shown.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Check the variables
  seamless.rollout.rollout_plan:
    step: read
  run_once: true
  delegate_to: localhost
  delegate_facts: true
"""

RETURN = r"""
plan:
  description:
    - The plan as data.
  returned: when O(step=plan)
  type: dict
msg:
  description:
    - The plan as text.
  returned: when O(step=plan)
  type: str
"""

# This is a virtual module: the code is in the action plugin of the same name and runs on the controller.
