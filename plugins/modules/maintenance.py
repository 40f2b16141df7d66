#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance
short_description: Close a site with a maintenance page, and open it again
version_added: 0.1.0
description:
  - Has the balancer answer every visitor with a page, status C(503), C(Retry-After) and C(Cache-Control=no-store).
  - Health endpoints and addresses of your choice pass on to the application.
  - The site is closed and opened while the balancer runs, without a reload. Everything is verified by a request to the site, or put back as it was.
  - Run it on the machine of the balancer. What its configuration needs once is in R(the guide, ansible_collections.seamless.rollout.docsite.maintenance).
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
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
  name:
    description:
      - Name of the site, of letters, digits and underscores.
    type: str
    required: true
  state:
    description:
      - V(on) closes the site now and until V(off).
      - V(off) opens it, and takes a window back. The first time it writes the files that the balancer's configuration includes.
      - V(scheduled) has the balancer close the site from O(from) until O(until) by itself, and announce it in O(header) until then.
    type: str
    choices:
      - 'on'
      - 'off'
      - scheduled
    required: true
  driver:
    description:
      - Kind of the balancer.
    type: str
    choices:
      - haproxy
      - nginx
      - apache
      - caddy
    default: haproxy
  from:
    description:
      - When the window begins, in ISO 8601 such as V(2026-12-01T02:00:00+01:00), or without an offset together with O(timezone).
    type: str
  until:
    description:
      - When the window ends, written as O(from).
      - With O(state=on), when visitors may expect the site back. It is for the page and C(Retry-After) only; the site stays closed until O(state=off).
    type: str
  timezone:
    description:
      - Time zone of O(from) and O(until) where they have no offset, such as V(Europe/Berlin).
    type: str
  retry_after:
    description:
      - Seconds in C(Retry-After). By default the end as a date where it is known, else V(300).
    type: int
  page:
    description:
      - Page to show, complete HTML. By default a plain one with O(title), O(text) and the end.
    type: str
  page_file:
    description:
      - File on the controller with the page, in UTF-8. For HAProxy of at most 9000 bytes.
    type: str
  title:
    description:
      - Title of the plain page.
    type: str
    default: Down for maintenance
  text:
    description:
      - Text of the plain page, with a paragraph for each line.
    type: str
    default: We are working on this site and will be back soon.
  lang:
    description:
      - Language of O(title) and O(text), as HTML names it.
    type: str
    default: en
  allow:
    description:
      - Addresses and networks that reach the application all the same, such as your own to look at it before it opens.
    type: list
    elements: str
    default: []
  health_paths:
    description:
      - Paths that always reach the application, such as V(/health) for a monitor.
    type: list
    elements: str
    default: []
  header:
    description:
      - Response header that announces a window as V(FROM/UNTIL) in UTC, and is V(on) with the page.
    type: str
    default: X-Maintenance
  check_url:
    description:
      - URL of the site through the balancer, asked from its machine to verify the change. Its address must not be among O(allow).
    type: str
    required: true
  check_host:
    description:
      - C(Host) header for O(check_url), where that names an address.
    type: str
  check_seconds:
    description:
      - Seconds within which the site must follow.
    type: float
    default: 10
  validate_certs:
    description:
      - Whether the certificate of O(check_url) must be valid.
    type: bool
    default: true
  socket:
    description:
      - 'Runtime sockets of HAProxy with C(level admin): paths, or V(host:port). Several for several processes.'
    type: list
    elements: str
    default: []
  commands:
    description:
      - Command lines C(test) and C(reload) for V(nginx), V(apache) and V(caddy), each a string or a list of words.
      - V(nginx) has C(version) and C(pid_file), too.
    type: dict
    default: {}
  owner:
    description:
      - Who closes the site, such as the application. It is opened only by the same; what an operator closed stays closed.
    type: str
    default: ansible
  reason:
    description:
      - Why, for the record.
    type: str
    default: ''
  force:
    description:
      - Whether to take over what somebody else closed.
    type: bool
    default: false
  state_dir:
    description:
      - Directory on the balancer's machine for the files of all sites. The balancer must be able to read it.
    type: path
    default: /var/lib/seamless-rollout/maintenance
seealso:
  - module: seamless.rollout.lb_member
"""

EXAMPLES = r"""
- name: Close the shop, but not for the office
  seamless.rollout.maintenance:
    name: shop
    state: "on"
    driver: nginx
    allow: [198.51.100.0/24]
    health_paths: [/health]
    check_url: http://127.0.0.1/
    check_host: shop.example.com
  delegate_to: lb1

- name: Have it closed on Sunday night, and announce it from now on
  seamless.rollout.maintenance:
    name: shop
    state: scheduled
    from: "2026-12-06T02:00:00"
    until: "2026-12-06T04:00:00"
    timezone: Europe/Berlin
    socket: /run/haproxy/admin.sock
    check_url: http://127.0.0.1/
  delegate_to: lb1
"""

RETURN = r"""
"on":
  description:
    - Whether the site is closed now.
  returned: success
  type: bool
operator:
  description:
    - Whether somebody else had closed the site, so that it was left as it is.
  returned: success, and where it was refused for that
  type: bool
held_by:
  description:
    - Who that was.
  returned: success, and where it was refused for that
  type: str
verified:
  description:
    - Whether the site was seen to be as asked.
  returned: success
  type: bool
from:
  description:
    - Begin of the window in UTC.
  returned: success
  type: str
until:
  description:
    - End of the window in UTC.
  returned: success
  type: str
retry_after:
  description:
    - Value of C(Retry-After).
  returned: success
  type: str
directory:
  description:
    - Directory with the files of the site on the balancer's machine.
  returned: success
  type: str
lines:
  description:
    - What the balancer's configuration needs once, by the place where it belongs.
  returned: success
  type: dict
"""

from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.operation import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
