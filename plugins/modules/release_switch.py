#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_switch
short_description: Switch an application to a release and check that it runs
version_added: 0.1.0
description:
  - Points C(current) or C(preview) at a release in one rename, so that no reader ever finds the link missing.
  - Restarts or reloads the services that do not run the release yet, and waits until the application is healthy.
  - Does only what is left to do, so it can be run again after any interruption.
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
  root:
    description:
      - Directory of the application, which holds C(releases/), C(shared/) and C(current).
    type: path
    required: true
  release:
    description:
      - Release to switch to. It must be on the host and complete.
    type: str
    required: true
  link:
    description:
      - Link to switch. V(preview) never touches services.
    type: str
    choices:
      - current
      - preview
    default: current
  services:
    description:
      - Services of the application, in the order in which they are handled.
      - Each has C(name), C(action) (V(restart), V(reload), V(start) or V(none); default V(restart)), C(scope) (V(system) or V(user)) and C(timeout) in
        seconds (default V(60)).
      - A service is restarted only when its running process is older than the switch or works in another release.
    type: list
    elements: dict
    default: []
  health:
    description:
      - Health probes, each with exactly one of C(url), C(tcp) (V(host:port)), C(command) and C(systemd) (a unit), and C(timeout) in seconds (default V(5)).
      - Probes of a C(url) take C(method), C(status) (a number, a list or a class such as V(2xx); default V(200)), C(headers), C(expect_headers), C(json)
        (dotted paths and the values they must have), C(contains), C(version) (C(json) or C(header), and C(equals)), C(host_header), C(validate_certs) and
        C(ca_path).
    type: list
    elements: dict
    default: []
  interval:
    description:
      - Seconds between two rounds of probes.
    type: float
    default: 0.5
  rise:
    description:
      - How many rounds in a row must pass.
    type: int
    default: 2
  healthy_deadline:
    description:
      - Seconds that the application has to become healthy.
    type: float
    default: 60
  min_healthy_seconds:
    description:
      - Seconds for which it must stay healthy without a break. A failed round starts them over.
    type: float
    default: 0
  rollout_id:
    description:
      - Name of the rollout, for the journal.
    type: str
    default: ''
  require_lock:
    description:
      - Whether to switch only while O(rollout_id) holds the lock of M(seamless.rollout.rollout_lock), and to renew it.
    type: bool
    default: false
  reason:
    description:
      - Why the link is switched. With V(rollback) the release that is left is marked bad.
    type: str
    choices:
      - activate
      - rollback
      - promote
    default: activate
  adopt_directory:
    description:
      - Whether a real directory at the link may become a release, with a link in its place in one step.
    type: bool
    default: false
  floor:
    description:
      - Release floor of the application as other hosts have it, a dictionary as RV(seamless.rollout.release_info#module:floor) returns it. It counts beside
        the host's own, and is written there.
      - C(current) is never switched to a release that does not carry every migration of the floor.
    type: dict
seealso:
  - module: seamless.rollout.release_floor
  - module: seamless.rollout.release_stage
  - module: seamless.rollout.release_prune
  - module: seamless.rollout.health_check
"""

EXAMPLES = r"""
- name: Switch to release 1.2.0, restart the service and wait until it serves that version
  seamless.rollout.release_switch:
    root: /srv/shop
    release: "1.2.0"
    services:
      - name: shop
    health:
      - url: http://127.0.0.1:8000/health
        json:
          version: "1.2.0"

- name: Show a staged release at the preview link
  seamless.rollout.release_switch:
    root: /srv/shop
    release: "1.3.0"
    link: preview
"""

RETURN = r"""
previous:
  description:
    - Release that the link pointed to before, or V(null).
  returned: success
  type: str
  sample: 1.1.0
release:
  description:
    - Release that the link points to.
  returned: success
  type: str
  sample: 1.2.0
rollout_id:
  description:
    - The O(rollout_id) for which this was done.
  returned: success
  type: str
switched:
  description:
    - 'Whether the link was moved. On failure: V(true) when the host runs the new release, V(false) when nothing was changed.'
  returned: always
  type: bool
services:
  description:
    - What was done to each service and how it runs.
  returned: success
  type: list
  elements: dict
health:
  description:
    - Result of the last round of probes.
  returned: success
  type: list
  elements: dict
healthy:
  description:
    - Whether all probes passed, or V(null) without probes.
  returned: success
  type: bool
served_version:
  description:
    - Version that a probe saw served.
  returned: success
  type: str
timings:
  description:
    - Seconds that switch, services and health took.
  returned: success
  type: dict
took:
  description:
    - When the task began by the clock of the controller, C(started_at) in seconds since 1970, and how many C(seconds) it took.
  returned: when run as a task
  type: dict
"""

from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module
from ansible_collections.seamless.rollout.plugins.module_utils._release.switch import ARGUMENT_SPEC, run


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
