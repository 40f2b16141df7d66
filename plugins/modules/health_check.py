#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Wait until an application is healthy
version_added: 0.1.0
description:
  - Runs probes until all of them pass, several rounds in a row and for as long as asked, or fails with what they saw last.
  - In check mode the probes are run once, and a failure is only reported.
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
    support: full
  platform:
    platforms: posix
options:
  probes:
    description:
      - Health probes, each with exactly one of C(url), C(tcp) (V(host:port)), C(command) and C(systemd) (a unit), and C(timeout) in seconds (default V(5)).
      - Probes of a C(url) take C(method), C(status) (a number, a list or a class such as V(2xx); default V(200)), C(headers), C(expect_headers), C(json)
        (dotted paths and the values they must have), C(contains), C(version) (C(json) or C(header), and C(equals)), C(host_header), C(validate_certs) and
        C(ca_path).
      - A user and a password in a C(url) are sent as Basic auth, unless C(headers) have C(Authorization). They and the query are left out of what is shown.
    type: list
    elements: dict
    required: true
  interval:
    description:
      - Seconds between two rounds. Until the first good round they come faster.
    type: float
    default: 1
  rise:
    description:
      - How many rounds in a row must pass.
    type: int
    default: 3
  min_healthy_seconds:
    description:
      - Seconds for which all probes must pass without a break.
    type: float
    default: 0
  healthy_deadline:
    description:
      - Seconds after which to give up.
    type: float
    default: 60
"""

EXAMPLES = r"""
- name: Wait until the new version is served
  seamless.rollout.health_check:
    probes:
      - url: http://127.0.0.1:8000/health
        json:
          version: "1.2.0"
      - systemd: shop-worker
    min_healthy_seconds: 5
"""

RETURN = r"""
healthy:
  description:
    - Whether all probes passed.
  returned: always
  type: bool
health:
  description:
    - 'Result of each probe in the last round: C(name), C(ok), C(detail), C(status), C(version), C(elapsed).'
  returned: always
  type: list
  elements: dict
attempts:
  description:
    - Rounds.
  returned: success
  type: int
elapsed:
  description:
    - Seconds.
  returned: success
  type: float
flaps:
  description:
    - How often a good round was followed by a bad one.
  returned: success
  type: int
served_version:
  description:
    - Version that a probe saw served.
  returned: success
  type: str
took:
  description:
    - When the task began by the clock of the controller, C(started_at) in seconds since 1970, and how many C(seconds) it took.
  returned: when run as a task
  type: dict
"""

from ansible_collections.seamless.rollout.plugins.module_utils._health_check import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
