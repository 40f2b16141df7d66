#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: Read the releases of an application on a host
version_added: 0.1.0
description:
  - Reads which releases are there, which one is live, which one its processes really run, and whether it is healthy.
  - Creates and changes nothing. Knows the trees of Capistrano, Ansistrano and Deployer too.
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
      - Services of the application, in the order in which they are handled.
      - Each has C(name), C(action) (V(restart), V(reload), V(start) or V(none); default V(restart)), C(scope) (V(system) or V(user)) and C(timeout) in
        seconds (default V(60)).
    type: list
    elements: dict
    default: []
  health:
    description:
      - Health probes, each with exactly one of C(url), C(tcp) (V(host:port)), C(command) and C(systemd) (a unit), and C(timeout) in seconds (default V(5)).
      - Probes of a C(url) take C(method), C(status) (a number, a list or a class such as V(2xx); default V(200)), C(headers), C(expect_headers), C(json)
        (dotted paths and the values they must have), C(contains), C(version) (C(json) or C(header), and C(equals)), C(host_header), C(validate_certs) and
        C(ca_path).
      - They are run once, without waiting. The text V(@current@) stands for the release that the host runs.
    type: list
    elements: dict
    default: []
  keep_releases:
    description:
      - Also say what M(seamless.rollout.release_prune) would remove with this number.
    type: int
  coming:
    description:
      - Say with O(keep_releases) what would be removed after a switch to this release that proves good. It need not be on the host yet.
    type: str
  migrations_directory:
    description:
      - Directory within a release that holds its migrations. Defaults to the one that the release floor was set with, or V(migrations).
    type: str
  migrations_of:
    description:
      - Also read the files of the migrations that this release carries.
    type: str
  running:
    description:
      - Also say since when the host runs its release, and which processes work in which release.
    type: bool
    default: false
  verify:
    description:
      - Also compare the live release with the manifest that it was staged with.
      - V(quick) looks at kinds, sizes and times, and reads only files that were written after the release was staged. V(full) reads every file.
      - Modes and owners don't count, nor do files that the manifest doesn't know, and what is linked to a shared place.
    type: str
    choices: [none, quick, full]
    default: none
  journal_days:
    description:
      - Also say what the host's journal tells of rollouts in so many days, at most the newest 1000 lines.
    type: float
    default: 0
seealso:
  - module: seamless.rollout.release_switch
"""

EXAMPLES = r"""
- name: Read the releases
  seamless.rollout.release_info:
    root: /srv/shop
    services:
      - name: shop
  register: shop

- name: Show what runs
  ansible.builtin.debug:
    msg: "{{ shop.current.release }}, way back: {{ shop.previous }}"
"""

RETURN = r"""
exists:
  description:
    - Whether O(root) is there.
  returned: success
  type: bool
root:
  description:
    - Directory of the application.
  returned: success
  type: str
layout:
  description:
    - Which tool made the tree.
  returned: success
  type: str
  sample: seamless
current:
  description:
    - The link C(current), with C(kind) (V(link), V(missing), V(directory), V(dangling) or V(foreign)), C(release) and C(path).
  returned: success
  type: dict
  sample:
    kind: link
    release: 1.2.0
    path: /srv/shop/releases/1.2.0
preview:
  description:
    - Release at the link C(preview), or V(null).
  returned: success
  type: str
releases:
  description:
    - Releases on the host, with C(id), C(state), C(digest), C(managed) and more.
    - C(migrations) has the migrations of the database that a release carries, each with the digest of its file.
  returned: success
  type: list
  elements: dict
migrations:
  description:
    - Migrations of O(migrations_of) that M(seamless.rollout.migration) takes, in their order, each with C(name), C(file) and C(text).
  returned: with O(migrations_of)
  type: list
  elements: dict
floor:
  description:
    - 'The release floor: C(migrations) that every release must carry, C(release), C(set_at), C(set_by) and C(directory), or V(null).'
  returned: success
  type: dict
running:
  description:
    - 'C(switched_ago) in seconds, C(services), each with C(since_switch), and C(processes), a list for each release that some process works in.'
  returned: when O(running=true)
  type: dict
last_good:
  description:
    - Release that was marked good last.
  returned: success
  type: str
previous:
  description:
    - 'Release to roll back to: the one marked good last besides the live one.'
  returned: success
  type: str
lock:
  description:
    - The lock of a rollout, or V(null).
  returned: success
  type: dict
unfinished:
  description:
    - What interrupted staging left behind.
  returned: success
  type: list
  elements: str
disk:
  description:
    - Free and total bytes and inodes.
  returned: success
  type: dict
services:
  description:
    - How each service runs, from which release.
  returned: success
  type: list
  elements: dict
healthy:
  description:
    - Whether all probes passed, or V(null) without probes.
  returned: success
  type: bool
health:
  description:
    - Result of each probe.
  returned: success
  type: list
  elements: dict
served_version:
  description:
    - Version that a probe saw served.
  returned: success
  type: str
clock:
  description:
    - Seconds since 1970 by the host's clock.
  returned: success
  type: float
verified:
  description:
    - 'The live release against its manifest: C(files) that were looked at, C(read) in full, how many C(differ), and the first C(paths) that do.'
    - V(null) where there is no manifest.
  returned: with O(verify)
  type: dict
  sample:
    release: 1.2.0
    how: quick
    files: 2400
    read: 0
    differ: 0
    paths: []
journal:
  description:
    - Lines of the journal, oldest first, each with C(at), C(event), C(release) and mostly C(rollout_id).
  returned: with O(journal_days)
  type: list
  elements: dict
would_prune:
  description:
    - Releases that pruning would remove.
  returned: when O(keep_releases) is given
  type: list
  elements: str
"""

from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module
from ansible_collections.seamless.rollout.plugins.module_utils._release.info import ARGUMENT_SPEC, run


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
