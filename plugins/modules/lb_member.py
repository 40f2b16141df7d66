#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lb_member
short_description: Take servers out of a balancer and put them back
version_added: 0.1.0
description:
  - 'Takes members out of every pool that holds them and waits until they are quiet: no session, no queue, and a total that stands still.'
  - Puts members back once a health check of the balancer has passed that began while they were out, and waits until they are up. What the balancer
    said of their health before can be older than their death.
  - Verifies every change. Keeps a floor of members in service, judged and drained under one lock.
  - Records who took a member out, and how far, before it does. A member that somebody else took out is left alone, and so is one that somebody put into
    maintenance after it was drained here.
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
  members:
    description:
      - Members, by server name or address. Needed unless O(balancers) name a member each.
      - Servers of other names at the same address and port are the same process and go with them.
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
          - Address, for when no server has that name. Refused where several servers have it and O(members[].port) does not tell which one is meant.
        type: str
      port:
        description:
          - Port, where the address alone is not enough.
        type: int
  instead_of:
    description:
      - With O(state=enabled), members that are drained by the same order that enables O(members), so that a whole pool changes at one moment.
      - O(members) must be healthy before anything is changed, and afterwards the floor must be kept. The same call with both lists exchanged is the way back.
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
  balancers:
    description:
      - Balancers to change at the same moment, for one host's task. Without it, the module runs where the task runs.
      - Each entry names the machine of the inventory in C(delegate), by default the task's host, and may have any option of this module and C(member), the
        name of the server. P(seamless.rollout.balancer_calls#filter) makes such a list.
      - Their members are returned together in RV(members), and the result of each in RV(results).
    type: list
    elements: dict
    default: []
  state:
    description:
      - V(drained) lets running requests end and sends no new ones. V(maintenance) sends nothing, sticky sessions included, and stops health checks. V(enabled)
        puts the member back.
    type: str
    choices:
      - enabled
      - drained
      - maintenance
    default: enabled
  weight:
    description:
      - Weight to set.
    type: int
  weight_ramp:
    description:
      - With O(state=enabled), members that come back get a part of their weight first and the rest in steps. Without it, all of it at once.
      - A member that is not up any more meanwhile is taken out again, with the weight that it had, and the task fails.
      - What the weight was stands in the member's record until it is back. Where the module was interrupted, the next call for the member gives it back.
      - A member on its way up is no capacity for O(min_available).
    type: dict
    suboptions:
      steps:
        description:
          - Rising percentages of the full weight, from 1 to 99, such as V([10, 25, 50]). What follows the last one is the full weight.
          - The first one must be at least 1 in whole weights, so 10 percent need a weight of 10.
        type: list
        elements: int
        required: true
      interval:
        description:
          - Seconds for which each of them is held.
        type: float
        default: 10
  wait:
    description:
      - Whether to wait until members are quiet, or up.
    type: bool
    default: true
  drain_timeout:
    description:
      - Seconds to wait until members are quiet.
    type: float
    default: 30
  on_timeout:
    description:
      - What to do with members that are not quiet in time. V(fail) leaves them drained.
    type: str
    choices:
      - fail
      - maintenance
      - shutdown_sessions
      - continue
    default: fail
  enable_timeout:
    description:
      - Seconds that the balancer has to see a member healthy.
    type: float
    default: 30
  min_available:
    description:
      - Least members of a pool that must stay up, a number or a percentage that is rounded up. Members that are down already cost nothing.
    type: str
    default: '1'
  pool_min_available:
    description:
      - O(min_available) of single pools, by the names of their backends, for members that are in pools of different sizes.
    type: dict
    default: {}
    version_added: 0.1.0
  poll_interval:
    description:
      - Seconds between two looks at the balancer.
    type: float
    default: 0.1
  settle_polls:
    description:
      - How many looks in a row must find a member quiet.
    type: int
    default: 3
  sticky:
    description:
      - V(keep) drains, so that clients with a sticky session still come. V(move) goes to maintenance instead, which sends them elsewhere at once; running
        requests end all the same.
    type: str
    choices:
      - keep
      - move
    default: keep
  rollout_id:
    description:
      - Name of the rollout, for the record.
    type: str
    default: ''
  reason:
    description:
      - Why, for the record.
    type: str
    default: ''
  force:
    description:
      - Whether to touch members that somebody else took out. They are ours from then on.
    type: bool
    default: false
  persist_state:
    description:
      - Path of HAProxy's server state file, written after every change.
    type: path
seealso:
  - module: seamless.rollout.lb_info
"""

EXAMPLES = r"""
- name: Take this host out on the balancer lb1
  seamless.rollout.lb_member:
    socket: /run/haproxy/admin.sock
    backend: shop
    members:
      - name: "{{ inventory_hostname }}"
    state: drained
    owner: shop
  delegate_to: lb1

- name: Put it back on all balancers at the same moment
  seamless.rollout.lb_member:
    socket: /run/haproxy/admin.sock
    members:
      - name: "{{ inventory_hostname }}"
    balancers:
      - delegate: lb1
        backend: shop
      - delegate: lb2
        backend: shop
    state: enabled
    owner: shop

- name: Put it back with a tenth of its weight, and raise that in steps
  seamless.rollout.lb_member:
    socket: /run/haproxy/admin.sock
    backend: shop
    members:
      - name: "{{ inventory_hostname }}"
    state: enabled
    weight_ramp:
      steps: [10, 25, 50]
      interval: 20
    owner: shop
  delegate_to: lb1

- name: Send everything to the green servers instead of the blue ones, at once
  seamless.rollout.lb_member:
    socket: /run/haproxy/admin.sock
    backend: shop
    members: [{name: green1}, {name: green2}]
    instead_of: [{name: blue1}, {name: blue2}]
    owner: shop
  delegate_to: lb1
"""

RETURN = r"""
members:
  description:
    - 'Each member in each pool: C(name), C(backend), C(balancer), C(admin_before), C(admin), C(health), C(weight), C(sessions), C(changed), C(at) (seconds
      since 1970 when it was changed) and C(seconds).'
  returned: always
  type: list
  elements: dict
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
drain_lost:
  description:
    - Whether the balancer had forgotten that the member was out, as after a reload.
  returned: always
  type: bool
took:
  description:
    - When the task began by the clock of the controller, C(started_at) in seconds since 1970, and how many C(seconds) it took.
  returned: when run as a task
  type: dict
"""

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.member import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
