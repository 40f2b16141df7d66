#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_try
short_description: Restart and stop an application on a host that is out of rotation, and see who notices
version_added: 0.1.0
description:
  - Restarts the services while a request to O(slow_url) is under way, and says whether it was answered.
  - Then stops each service that listens, one after another, asks the health probes and O(endpoints) until they fail, for at most 10 seconds, and starts
    it again.
  - Fails where something does not run afterwards, or is not healthy.
  - Take the host out of rotation before, as the playbook C(seamless.rollout.audit) does.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.attributes
  - seamless.rollout.attributes.actiongroup_rollout
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Every run restarts and stops the services.
  platform:
    platforms: posix
options:
  root:
    description:
      - Directory of the application.
    type: path
    required: true
  services:
    description:
      - Services of the application, as C(rollout_services) has them. See M(seamless.rollout.release_info).
    type: list
    elements: dict
    required: true
  health:
    description:
      - Health probes, as M(seamless.rollout.release_info) takes them.
    type: list
    elements: dict
    default: []
  endpoints:
    description:
      - URLs that balancers ask for the health of this host.
    type: list
    elements: str
    default: []
  slow_url:
    description:
      - A URL that takes some seconds to answer, as this host reaches it. Without it, no request is under way.
    type: str
  host_header:
    description:
      - Value of C(Host) in the request to O(slow_url).
    type: str
  healthy_deadline:
    description:
      - Seconds within which the host must be healthy after each start.
    type: float
    default: 60
  request_timeout:
    description:
      - Seconds that the request to O(slow_url) may take.
    type: float
    default: 60
seealso:
  - module: seamless.rollout.lb_member
"""

EXAMPLES = r"""
- name: Try a drained host
  seamless.rollout.audit_try:
    root: /srv/shop
    services:
      - name: shop
    health:
      - url: http://127.0.0.1:8000/health
    slow_url: http://127.0.0.1:8000/slow
  register: tried
"""

RETURN = r"""
tried:
  description:
    - Names of the services that were restarted.
  returned: success
  type: list
  elements: str
request:
  description:
    - 'What became of the request: C(status), C(error), C(seconds), whether it was C(in_time) for the restart, and the C(orders) that were given.'
  returned: success
  type: dict
dead:
  description:
    - For each service, what each endpoint said while it was stopped (C(asked)), or C(why) it was not stopped.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.seamless.rollout.plugins.module_utils._audit.attempt import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
