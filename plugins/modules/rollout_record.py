#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_record
short_description: Record what happened to a host, and report a rollout
version_added: 0.1.0
description:
  - Records why a host failed, or that it is back in rotation, and writes the report at the end, which fails when the rollout did not succeed.
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
      - What to record.
    type: str
    required: true
    choices:
      - failed
      - restored
      - bake
      - once
      - finish
  task:
    description:
      - Name of the task that failed.
    type: str
    default: ''
  outcome:
    description:
      - Result of the task that failed.
    type: dict
    default: {}
  hidden:
    description:
      - With O(step=failed), whether the task that failed has C(no_log), so that nothing of what it said is kept.
    type: bool
    default: false
  point:
    description:
      - With O(step=once), whether the action belongs before or after the hosts.
    type: str
    choices:
      - before
      - after
  action:
    description:
      - With O(step=once), the task file or role that is done.
    type: str
    default: ''
  unseen:
    description:
      - With O(step=once), hosts of the application that are no part of this run.
    type: list
    elements: str
    default: []
  seconds:
    description:
      - How long to leave the host in rotation before its batch ends, where nothing can be probed, with O(step=bake).
    type: float
    default: 0
  undo:
    description:
      - Whether this is part of a rollback.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Report
  seamless.rollout.rollout_record:
    step: finish
"""

RETURN = r"""
rollout:
  description:
    - The report as data.
  returned: when O(step=finish) and the rollout succeeded
  type: dict
report:
  description:
    - Directory on the controller that holds C(report.html), C(report.json), C(report.md) and C(report.xml).
  returned: when O(step=finish)
  type: str
"""

# This is a virtual module: the code is in the action plugin of the same name and runs on the controller.
