#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_audit
short_description: Judge whether a site is ready for rolling releases
version_added: 0.1.0
description:
  - Judges what M(seamless.rollout.audit_info) and M(seamless.rollout.lb_info) read, and shows it.
  - Part of the playbook C(seamless.rollout.audit), whose variables it reads.
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
      - V(check) checks the variables. V(consent) decides whether the host in C(rollout_audit_consent) may be tried. V(report) judges.
    type: str
    required: true
    choices:
      - check
      - consent
      - report
  balancers:
    description:
      - Answers of M(seamless.rollout.lb_info).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Judge
  seamless.rollout.rollout_audit:
    step: report
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
audit:
  description:
    - 'The audit as data: C(ready), C(counts), C(smallest_first), and C(checks), each with C(check), C(verdict) (V(ready), V(fix) or V(not checked)),
      C(evidence), C(settings), C(effort), C(not_checked) and C(guide).'
  returned: when O(step=report)
  type: dict
ends_well:
  description:
    - Whether the playbook ends with exit code 0, by C(rollout_audit_fail_on).
  returned: when O(step=report)
  type: bool
msg:
  description:
    - The answer in one line.
  returned: when O(step=report)
  type: str
"""

# This is a virtual module: the code is in the action plugin of the same name and runs on the controller.
