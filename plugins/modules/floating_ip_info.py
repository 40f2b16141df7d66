#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: floating_ip_info
short_description: Say who has a floating IP
version_added: 0.1.0
description:
  - Says whether an address is on this machine or, for a provider, which server has it.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.floating_ip
  - seamless.rollout.attributes
  - seamless.rollout.attributes.actiongroup_rollout
  - seamless.rollout.attributes.info_module
attributes:
  platform:
    platforms: posix
options:
  ask:
    description:
      - For V(arp), whether to ask the network who else has the address. It needs C(become) and takes O(probes) times O(probe_interval).
    type: bool
    default: false
seealso:
  - module: seamless.rollout.floating_ip
"""

EXAMPLES = r"""
- name: Look who has the address
  seamless.rollout.floating_ip_info:
    address: 198.51.100.60
    ask: true
  become: true
  register: floating
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
    - Hardware addresses of other machines that say it is theirs, with O(ask=true).
  returned: success
  type: list
  elements: str
record:
  description:
    - Who brought it here, with C(owner), C(reason), C(instead_of) and C(at), or V(null).
  returned: success
  type: dict
"""

from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.info import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
