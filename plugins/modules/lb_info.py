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
  - seamless.rollout.attributes
  - seamless.rollout.attributes.actiongroup_rollout
  - seamless.rollout.attributes.info_module
attributes:
  platform:
    platforms: posix
options:
  driver:
    description:
      - Kind of the balancer.
    type: str
    choices:
      - haproxy
      - health_file
    default: haproxy
  socket:
    description:
      - 'Runtime sockets of HAProxy: paths, or V(host:port) for TCP. Several for several processes.'
    type: list
    elements: str
    default: []
  backend:
    description:
      - Backends. By default every one that holds the member.
    type: list
    elements: str
    default: []
  owner:
    description:
      - Who takes members out, such as the application. A member is enabled only by who took it out.
    type: str
    default: ansible
  state_dir:
    description:
      - Directory on the balancer's machine for the records of who took what out.
    type: path
    default: /var/lib/seamless-rollout/balancer
  path:
    description:
      - For V(health_file), the file that makes the health endpoint fail. Defaults to C(/run/seamless-rollout/OWNER.drain).
    type: path
  check_url:
    description:
      - For V(health_file), the health endpoint, to make sure that it follows the file.
    type: str
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
    - Pools, each with C(balancer), C(backend), C(up), C(total) and C(members).
  returned: success
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
