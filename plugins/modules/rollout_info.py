#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_info
short_description: Show where an application stands
version_added: 0.1.0
description:
  - Shows what each host runs and serves, how it stands in its balancers, what is not as it should be, and what the last rollout of this controller did.
  - It is the work of the playbook C(status), and reads the C(rollout_*) variables. It changes nothing.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.attributes
  - seamless.rollout.attributes.info_module
attributes:
  platform:
    platforms: posix
options:
  step:
    description:
      - V(read) reads every host of the play and every balancer from this one task, and shows the status unless something is left for other tasks to read.
      - V(show) shows it with what those have read.
      - V(watch) says what the rollout that runs on this controller does, until it is finished.
    type: str
    choices: [watch, read, show]
    required: true
  app:
    description:
      - Name of the application, to watch.
    type: str
  state_dir:
    description:
      - Directory on the controller for ledger, cache and reports, to watch.
    type: path
"""

EXAMPLES = r"""
- name: Show the status
  seamless.rollout.rollout_info:
    step: read
  run_once: true
  delegate_to: localhost
  delegate_facts: true
"""

RETURN = r"""
status:
  description:
    - 'The status as data: C(verdict) (V(ok), V(warning) or V(critical)), C(findings), C(hosts), C(balancer_problems), C(last_rollout) and C(schema).'
  returned: when it was shown
  type: dict
ends_well:
  description:
    - Whether C(rollout_status_fail_on) lets the run end with exit code 0.
  returned: with O(step=read) and O(step=show)
  type: bool
watched:
  description:
    - C(id) of the rollout and the C(state) in which it ended, or nothing where none ran.
  returned: with O(step=watch)
  type: dict
"""

# This is a virtual module: the code is in the action plugin of the same name and runs on the controller.
