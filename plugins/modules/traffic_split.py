#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_split
short_description: Split the requests of a pool by weights, and give the weights back
version_added: 0.1.0
description:
  - Gives parts of a pool's members a share of its requests each, such as 5 percent to those that run a new release. It finds the whole weights that come
    nearest to that within what the balancer takes, from the weights that the members have, sets them and reads them back.
  - Within a part, members keep the proportions of their weights.
  - What the weights were is recorded on the balancer's machine before they are changed. O(state=restored) gives them back, also after the controller was lost.
  - A share that weights can't give is refused, with the nearest one that they can, before anything is changed.
  - Members that are out of rotation, that have no weight, and backup servers have no share and are left alone.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.balancer
  - seamless.rollout.attributes
  - seamless.rollout.attributes.actiongroup_rollout
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: posix
options:
  state:
    description:
      - V(split) brings the pools to the shares of O(parts). V(restored) gives every member the weight back that it had before the first split of O(owner).
    type: str
    choices:
      - split
      - restored
    default: split
  parts:
    description:
      - The parts, two or more. Pools that have members of one of them only are left alone.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - What it is called where it is shown, such as a release.
        type: str
        required: true
      share:
        description:
          - Percent of the requests, more than 0 and less than 100. The part without one gets what is left, and members that no part names belong to it.
        type: float
      members:
        description:
          - Its members, by server name or address.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description:
              - Name of the server.
            type: str
            required: true
          address:
            description:
              - Address, for when no server has that name.
            type: str
          port:
            description:
              - Port, where the address alone is not enough.
            type: int
  tolerance:
    description:
      - How far a share may be from what was asked, in percent of itself or of what is left beside it, whichever is smaller. 10 takes 4.5 to 5.5 for 5.
    type: float
    default: 10
  reason:
    description:
      - Why, for the record.
    type: str
    default: ''
  persist_state:
    description:
      - Path of HAProxy's server state file, written after every change.
    type: path
  balancers:
    description:
      - Balancers to change at the same moment. Without it, the module runs where the task runs.
      - Each entry names the machine of the inventory in C(delegate), by default the task's host, and may have any option of this module.
        P(seamless.rollout.traffic_parts#filter) makes such a list.
      - Their pools are returned together in RV(pools), and the result of each in RV(results).
    type: list
    elements: dict
    default: []
seealso:
  - module: seamless.rollout.lb_member
  - module: seamless.rollout.lb_info
"""

EXAMPLES = r"""
- name: Send 5 percent of the requests to web1, which runs the new release
  seamless.rollout.traffic_split:
    socket: /run/haproxy/admin.sock
    backend: shop
    parts:
      - {name: "2.0", share: 5, members: [{name: web1}]}
      - {name: the rest}
    owner: shop
  delegate_to: lb1

- name: Give the weights back
  seamless.rollout.traffic_split:
    socket: /run/haproxy/admin.sock
    backend: shop
    state: restored
    owner: shop
  delegate_to: lb1
"""

RETURN = r"""
pools:
  description:
    - 'Each pool that is split: C(balancer), C(backend), C(parts) with C(name), C(wanted) and C(share) in percent, and C(members) with C(name), C(part),
      C(weight_before) (what it gets back) and C(weight).'
  returned: success
  type: list
  elements: dict
members:
  description:
    - 'Each member whose weight is set: C(name), C(backend), C(balancer), C(weight_before) (what it was before this call) and C(weight).'
  returned: success
  type: list
  elements: dict
summary:
  description:
    - A sentence for each pool that is split, with shares and weights.
  returned: success
  type: list
  elements: str
results:
  description:
    - With O(balancers), the result of each, with its entry in C(item).
  returned: when balancers are named
  type: list
  elements: dict
state:
  description:
    - State that was asked for.
  returned: success
  type: str
"""

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.traffic_split import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
