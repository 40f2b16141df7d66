# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  address:
    description:
      - The address, of IPv4 or IPv6, such as V(198.51.100.60).
      - For V(arp) it may have a prefix, by default of all its bits. One that is in no network of the interface needs it.
    type: str
    required: true
  method:
    description:
      - How the address moves. What each needs, and what clients see, is in R(the guide, ansible_collections.seamless.rollout.docsite.floating_ip).
      - V(arp) adds it to an interface of the machine and tells the neighbours. V(keepalived) has it moved by the VRRP of the machines. The others are
        providers, by their interfaces, asked from where the task runs.
    type: str
    choices:
      - arp
      - keepalived
      - hetzner
      - digitalocean
      - linode
      - aws
    default: arp
  interface:
    description:
      - Interface of V(arp). By default the one in whose network the address is.
    type: str
  path:
    description:
      - For V(keepalived), the file that the VRRP instance tracks with C(weight 1), such as V(/var/lib/keepalived/floating_ip).
    type: path
  server:
    description:
      - For a provider, the server that the address is to be at, or to leave, by name or id.
    type: str
  region:
    description:
      - Region of V(aws).
    type: str
  url:
    description:
      - Address of the provider's interface, where it is not the usual one.
    type: str
  username:
    description:
      - Access key of V(aws). By default C(boto3) finds one by itself.
    type: str
  password:
    description:
      - Secret key of V(aws).
    type: str
  token:
    description:
      - Token of the provider's interface. For V(aws) that of a session.
    type: str
  validate_certs:
    description:
      - Whether the certificate of the provider's interface must be valid.
    type: bool
    default: true
  check_url:
    description:
      - For V(keepalived), what must answer on this machine with a status of 200 to 299 before the address comes.
    type: str
  probes:
    description:
      - For V(arp), how often the network is asked who else has the address.
    type: int
    default: 3
  probe_interval:
    description:
      - Seconds to wait for answers each time.
    type: float
    default: 0.2
  timeout:
    description:
      - Seconds in which V(keepalived) or the provider must have moved the address.
    type: float
    default: 30
  state_dir:
    description:
      - Directory for the records of what was added here.
    type: path
    default: /var/lib/seamless-rollout/floating_ip
"""
