#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: floating_ip
short_description: Bring a floating IP to a machine, or send it away
version_added: 0.1.0
description:
  - Moves an address between machines, as sites without a balancer do to change over to a new release. The role C(cutover) does the whole move.
  - For V(arp), refuses an address that another machine of the network has, and the machine's own. What was added here is written down; another address
    is not removed.
  - An address of V(arp) is not in any configuration of the machine. After a start it is gone, so that a machine which was away does not come back with
    an address that has moved on.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.floating_ip
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
      - V(present) brings the address here, and V(absent) sends it away.
      - For V(keepalived), V(absent) gives the machine the lowest priority until V(present), and waits until another one has the address.
    type: str
    choices:
      - present
      - absent
    default: present
  replaces:
    description:
      - For V(arp), hardware addresses of machines that may have the address still, since they give it away in the same move.
    type: list
    elements: str
    default: []
  goes_to:
    description:
      - For V(arp) with O(state=absent), the hardware address of the machine that has the address, too, and keeps it. Unless it says so on the network, the
        address stays here. The neighbours are told of it in the moment when the address is removed.
    type: str
    default: ''
  takeover:
    description:
      - For V(arp), whether to take the address from whoever has it, such as a dead machine whose kernel still answers.
    type: bool
    default: false
  announce:
    description:
      - For V(arp), whether to tell the neighbours although the address was here already.
    type: bool
    default: false
  announcements:
    description:
      - For V(arp), how often to tell them.
    type: int
    default: 3
  announce_interval:
    description:
      - Seconds between two announcements.
    type: float
    default: 0.1
  wait:
    description:
      - For V(keepalived), whether V(present) waits until the address is here.
    type: bool
    default: true
  owner:
    description:
      - Who brings the address. It is removed only by the same.
    type: str
    default: ansible
  instead_of:
    description:
      - Host of the inventory that had the address before, for the record.
    type: str
    default: ''
  reason:
    description:
      - Why, for the record.
    type: str
    default: ''
  force:
    description:
      - Whether to remove an address that was not added here, or by somebody else, and for V(keepalived) to bring it where somebody else keeps it away.
    type: bool
    default: false
seealso:
  - module: seamless.rollout.floating_ip_info
"""

EXAMPLES = r"""
- name: Bring the address here, where nobody has it
  seamless.rollout.floating_ip:
    address: 198.51.100.60
    interface: eth0

- name: Have keepalived move it to another machine
  seamless.rollout.floating_ip:
    address: 198.51.100.60
    method: keepalived
    path: /var/lib/keepalived/floating_ip
    state: absent

- name: Send it to the server web2
  seamless.rollout.floating_ip:
    address: 198.51.100.60
    method: hetzner
    server: web2
    token: "{{ hetzner_token }}"
  delegate_to: localhost
"""

RETURN = r"""
address:
  description:
    - The address, with its prefix where it is on an interface.
  returned: success
  type: str
method:
  description:
    - How it moves.
  returned: success
  type: str
held:
  description:
    - Whether it is on this machine, or at O(server).
  returned: success
  type: bool
willing:
  description:
    - For V(keepalived), whether this machine wants it.
  returned: success
  type: bool
holder:
  description:
    - For a provider, the server that has it.
  returned: success
  type: str
interface:
  description:
    - For V(arp), the interface.
  returned: success
  type: str
hardware_address:
  description:
    - For V(arp), the hardware address of the interface.
  returned: success
  type: str
answers:
  description:
    - Hardware addresses of other machines that say it is theirs, as far as they were asked before it came here.
  returned: success
  type: list
  elements: str
record:
  description:
    - Who brought it here, with C(owner), C(reason), C(instead_of) and C(at), or V(null).
  returned: success
  type: dict
announced:
  description:
    - How often the neighbours were told.
  returned: success
  type: int
"""

from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.operation import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
