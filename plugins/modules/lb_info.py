#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lb_info
short_description: Read the pools of a balancer
version_added: 0.1.0
description:
  - 'Reads every member of every pool: administrative state, health, sessions, and who took it out.'
  - Run it on the machine of the balancer, for V(health_file) on the application's.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.balancer
  - seamless.rollout.attributes
  - seamless.rollout.attributes.actiongroup_rollout
  - seamless.rollout.attributes.info_module
attributes:
  platform:
    platforms: posix
options:
  balancers:
    description:
      - Balancers to read at the same moment. Without it, the module runs where the task runs.
      - Each entry names the machine of the inventory in C(delegate), by default the task's host, and may have any option of M(seamless.rollout.lb_member).
        P(seamless.rollout.balancer_machines#filter) makes such a list.
      - Their pools are returned together in RV(pools), and the answer of each in RV(results).
    type: list
    elements: dict
    default: []
  setup:
    description:
      - Whether to say how each pool was set up too, in C(setup) of RV(pools), V(null) where that can't be read.
      - 'C(sticky) is V(none), V(cookie), V(table) or V(hash), C(lifetime) after how many seconds at most a sticky client may come to another member (V(null)
        for never), C(line) the setting that says so. C(check) is what health checks ask: V(http) with C(check_path), V(tcp), or the name of another check.'
      - For V(haproxy), from the files that it was started with.
    type: bool
    default: false
seealso:
  - module: seamless.rollout.lb_member
"""

EXAMPLES = r"""
- name: Read the balancer
  seamless.rollout.lb_info:
    socket: /run/haproxy/admin.sock
    owner: shop
  delegate_to: lb1
  register: balancer
"""

RETURN = r"""
pools:
  description:
    - Pools, each with C(balancer), C(backend), C(up), C(total), C(weights) (the least and the most that a weight can be, null where there are none) and
      C(members).
    - 'Of each member, among others: C(weight); C(weight_before), the weight that it gets back, while a ramp, a traffic split or a drain has set another one;
      C(ramping), whether it is on its way up; C(split_by), whose traffic split it is part of.'
    - A member has, beside how it stands, C(requests), how many it got since the balancer began to count, and C(errors), how many of these failed. HAProxy,
      the Data Plane API, Envoy and NGINX Plus tell of them.
  returned: success
  type: list
  elements: dict
results:
  description:
    - With O(balancers), the answer of each, with its entry in C(item).
  returned: when balancers are named
  type: list
  elements: dict
hints:
  description:
    - What to know of the set-up before relying on it.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.info import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
