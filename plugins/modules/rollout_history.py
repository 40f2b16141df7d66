#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_history
short_description: Show the rollouts of an application so far
version_added: 0.1.0
description:
  - Shows who rolled out what, when, how long it took and how it ended, and the four measures of software delivery by DORA.
  - Reads the ledger of this controller, and for rollouts of other controllers the journals of the play's hosts. It changes nothing.
  - It is the work of the playbook C(history), and reads the C(rollout_*) variables.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.attributes
  - seamless.rollout.attributes.info_module
attributes:
  platform:
    platforms: posix
options: {}
seealso:
  - module: seamless.rollout.rollout_info
"""

EXAMPLES = r"""
- name: Show the history
  seamless.rollout.rollout_history:
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
history:
  description:
    - 'The history as data: C(rollouts), the newest first, C(dora), and C(unread), the hosts that gave no answer, with the reason.'
  returned: success
  type: dict
"""

# This is a virtual module: the code is in the action plugin of the same name and runs on the controller.
