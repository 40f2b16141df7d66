# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  driver:
    description:
      - Kind of the balancer. What each needs and can do is in R(the guide, ansible_collections.seamless.rollout.docsite.balancers).
    type: str
    choices:
      - haproxy
      - health_file
      - nginx
      - traefik
      - envoy
      - command
      - none
      - nginx_plus
      - haproxy_dataplane
      - aws_target_group
      - hetzner
      - digitalocean
      - linode
      - cloudflare
      - apache
      - varnish
      - caddy
      - keepalived
    default: haproxy
  socket:
    description:
      - 'Runtime sockets of HAProxy: paths, or V(host:port) for TCP. Several for several processes.'
    type: list
    elements: str
    default: []
  url:
    description:
      - Addresses of the balancer's interface, such as V(http://127.0.0.1:8080). Several for several processes.
    type: list
    elements: str
    default: []
  path:
    description:
      - The file that holds the members, as V(nginx), V(traefik) and V(envoy) read it. It is replaced by a rename; whatever else is in it stays.
      - For V(health_file), the file that makes the health endpoint fail. Defaults to C(/run/seamless-rollout/OWNER.drain).
    type: path
  backend:
    description:
      - Pools, as the balancer calls them. By default every one that holds the member.
    type: list
    elements: str
    default: []
  commands:
    description:
      - Command lines, each a string or a list of words, by what they are for.
      - V(nginx) has C(test), C(reload) and C(version), and C(pid_file), the path of its process id.
      - V(command) has C(list), C(drain), C(ready), C(maintenance) and C(sessions).
    type: dict
    default: {}
  username:
    description:
      - User of the balancer's interface.
    type: str
  password:
    description:
      - Password of O(username).
    type: str
  token:
    description:
      - Token of the balancer's interface, sent as a bearer token.
    type: str
  validate_certs:
    description:
      - Whether the certificate of an C(https) interface must be valid.
    type: bool
    default: true
  check_url:
    description:
      - How the application itself is asked before a member goes back, where no check of the balancer is known to be newer than its restart. V({address})
        and V({port}) stand for where the member listens. By default it must accept a connection.
      - For V(health_file), the health endpoint, to make sure that it follows the file.
    type: str
  settle_seconds:
    description:
      - For balancers that count nothing, the seconds that the longest request may last.
      - For V(health_file), the seconds that balancers need to notice, interval times falls, and the timeout.
    type: float
    default: 5
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
"""
