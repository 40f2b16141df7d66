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
  - Shows what each host runs and serves, how it stands in its balancers, and what the last rollout of this controller did.
  - Reads the variable C(__rollout_survey) of each host, as the C(status) playbook registers it.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.attributes
  - seamless.rollout.attributes.info_module
attributes:
  platform:
    platforms: posix
options:
  app:
    description:
      - Name of the application.
    type: str
    required: true
  state_dir:
    description:
      - Directory on the controller for ledger, cache and reports.
    type: path
  balancers:
    description:
      - Answers of M(seamless.rollout.lb_info).
    type: list
    elements: dict
    default: []
  watch:
    description:
      - Whether to say what the rollout that runs on this controller does, until it is finished, instead of the status.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show the status
  seamless.rollout.rollout_info:
    app: shop
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
status:
  description:
    - 'The status as data: C(hosts), C(balancer_problems) and C(last_rollout).'
  returned: success
  type: dict
watched:
  description:
    - With O(watch), C(id) of the rollout and the C(state) in which it ended, or nothing where none ran.
  returned: when O(watch) is V(true)
  type: dict
"""

# This is a virtual module: the code is in the action plugin of the same name and runs on the controller.
