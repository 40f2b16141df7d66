#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_info
short_description: Read what an application on a host does that a rolling release has to know
version_added: 0.1.0
description:
  - 'Reads, without changing anything, what the playbook C(seamless.rollout.audit) judges: the units of the services and how their processes end, what was
    written into the live release, which files of configuration name a release, the settings of nginx and PHP, directories with data of users, and the clock.'
  - The files of nginx and PHP are read, no program of them is run. Contents of files and the values of variables are not returned.
  - Run it as root. Another user does not see what the processes of others have open.
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
  root:
    description:
      - Directory of the application, which holds C(releases/), C(shared/) and C(current).
    type: path
    required: true
  services:
    description:
      - Services of the application, as C(rollout_services) has them. See M(seamless.rollout.release_info).
    type: list
    elements: dict
    default: []
  health:
    description:
      - Health probes, as M(seamless.rollout.release_info) takes them. They are run once.
    type: list
    elements: dict
    default: []
  linked_dirs:
    description:
      - Directories of O(root)/shared that all releases link to.
    type: list
    elements: str
    default: []
  data_dirs:
    description:
      - Other directories in which the application keeps what its users made.
    type: list
    elements: path
    default: []
  hooks:
    description:
      - Whether tasks of yours run after a switch. Then what is newer than the moment in which the release was marked good counts as written by the application.
    type: bool
    default: false
seealso:
  - module: seamless.rollout.lb_info
"""

EXAMPLES = r"""
- name: Read what an audit needs
  seamless.rollout.audit_info:
    root: /srv/shop
    services:
      - name: shop
    health:
      - url: http://127.0.0.1:8000/health
  register: evidence
"""

RETURN = r"""
survey:
  description:
    - What M(seamless.rollout.release_info) returns.
  returned: success
  type: dict
units:
  description:
    - 'The services: unit, settings that name a directory of O(root), where they listen, and how they are ended.'
  returned: success
  type: list
  elements: dict
endpoints:
  description:
    - Who answers at each URL of O(health), and in C(fixed) what answers it without the application.
  returned: success
  type: list
  elements: dict
says:
  description:
    - Where the answers have the live release, as C(header) or as C(json), a dotted path. Empty where a probe looks for it.
  returned: success
  type: list
  elements: dict
tree:
  description:
    - What was written into the live release since it went live.
  returned: success
  type: dict
mentions:
  description:
    - Lines of configuration that name C(current) or a release, by file, line and path.
  returned: success
  type: list
  elements: dict
scripts:
  description:
    - Where nginx hands scripts of the application to FastCGI, and by which path.
  returned: success
  type: list
  elements: dict
php:
  description:
    - Every php-fpm, and Apache with PHP in it, with the settings of its pools that matter.
  returned: success
  type: list
  elements: dict
directories:
  description:
    - Directories that may hold data of users, with their file system, the number of files, a digest of their names and sizes, and the names of the newest.
  returned: success
  type: list
  elements: dict
databases:
  description:
    - Files of embedded databases that a service has open for writing.
  returned: success
  type: list
  elements: dict
time:
  description:
    - Whether the clock is kept right, and by whom.
  returned: success
  type: dict
clock:
  description:
    - Seconds since 1970 by the host's clock.
  returned: success
  type: float
root_user:
  description:
    - Whether this was read as root.
  returned: success
  type: bool
asked:
  description:
    - Two moments by the controller's clock, before and after RV(clock) was read.
  returned: success
  type: list
  elements: float
"""

from ansible_collections.seamless.rollout.plugins.module_utils._audit.info import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
