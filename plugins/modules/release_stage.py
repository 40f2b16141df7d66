#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_stage
short_description: Put a release beside the live one
version_added: 0.1.0
description:
  - Packs a release on the controller and unpacks it on the host, beside the live release, which is not touched.
  - Only the contents that the host lacks travel; the others are taken from its earlier releases. All of it is verified before the release appears, in one
    rename.
  - 'A release is never changed: another content under the same name is refused.'
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
notes:
  - The action plugin runs on the controller and needs C(git) there for sources of type V(git).
options:
  root:
    description:
      - Directory of the application, which holds C(releases/), C(shared/) and C(current).
    type: path
    required: true
  app:
    description:
      - Name of the application, for the cache on the controller.
    type: str
  release:
    description:
      - Name of the release.
    type: str
    required: true
  source:
    description:
      - Where the release comes from. C(type) is one of the following. Relative paths belong to the directory that Ansible is run in.
      - V(directory) takes C(path) on the controller and C(exclude), a list of patterns.
      - V(git) takes C(repo), C(ref) and C(subdirectory). The ref is resolved to a commit once for a rollout.
      - V(archive) takes C(path) on the controller or C(url) that the controller gets, C(checksum) and C(strip_components). Hosts get only what they lack.
      - V(url) takes C(url), C(checksum) and C(strip_components). Each host gets the whole archive by itself, for fleets that are nearer to the artifact store
        than to the controller. C(file:///path) is an archive that is on the hosts already.
      - All but V(url) take C(build), a command that runs once on the controller in a copy of the tree.
      - All take C(external_links). Links that point out of the release are refused, since they would point elsewhere or nowhere on the hosts. V(true) keeps
        them, for example for a virtual environment whose C(bin/python3) is C(/usr/bin/python3).
    type: dict
  linked_dirs:
    description:
      - Directories in C(shared/) to link into the release. What a release brings there becomes the shared content the first time.
    type: list
    elements: str
    default: []
  linked_files:
    description:
      - Files in C(shared/) to link into the release. They must be there.
    type: list
    elements: str
    default: []
  owner:
    description:
      - User that shall own the files.
    type: str
  group:
    description:
      - Group that shall own the files.
    type: str
  file_mode:
    description:
      - Mode of the files, an octal string. Files that are executable stay so. By default files keep their mode without group and world write.
    type: str
  dir_mode:
    description:
      - Mode of the directories, an octal string.
    type: str
  min_free:
    description:
      - 'What must stay free on the file system: a percentage, or an amount such as V(500M).'
    type: str
    default: 5%
  rollout_id:
    description:
      - Name of the rollout. Calls with the same name and release use the same pinned source.
    type: str
    default: ''
  host_releases:
    description:
      - What M(seamless.rollout.release_info) returned as C(releases). Spares a question to the host.
    type: list
    elements: dict
  state_dir:
    description:
      - Directory on the controller for the cache.
    type: path
  floor:
    description:
      - Release floor of the application as other hosts have it, a dictionary as RV(seamless.rollout.release_info#module:floor) returns it. It counts beside
        the host's own, and is written there.
      - A release that does not carry every migration of the floor fails, since it could never be switched to.
    type: dict
  digest:
    description:
      - Used by the action plugin.
    type: str
  revision:
    description:
      - Used by the action plugin.
    type: str
  bundle_path:
    description:
      - Used by the action plugin.
    type: path
  fetch:
    description:
      - Used by the action plugin.
    type: dict
seealso:
  - module: seamless.rollout.release_switch
"""

EXAMPLES = r"""
- name: Stage a build
  seamless.rollout.release_stage:
    root: /srv/shop
    app: shop
    release: "1.2.0"
    source:
      type: directory
      path: build/
    owner: shop
    linked_dirs:
      - uploads
    linked_files:
      - .env

- name: Stage a tag
  seamless.rollout.release_stage:
    root: /srv/shop
    app: shop
    release: "1.2.0"
    source:
      type: git
      repo: https://git.example.com/shop.git
      ref: v1.2.0

- name: Have the host fetch what the build server made
  seamless.rollout.release_stage:
    root: /srv/shop
    app: shop
    release: "1.2.0"
    source:
      type: url
      url: https://artifacts.example.com/shop-1.2.0.tar.gz
      checksum: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
      strip_components: 1
"""

RETURN = r"""
digest:
  description:
    - 'Digest of the manifest: paths, modes and contents.'
  returned: success
  type: str
state:
  description:
    - State of the release.
  returned: success
  type: str
  sample: ready
base:
  description:
    - Earlier release that contents were taken from.
  returned: success
  type: str
revision:
  description:
    - Commit, for a source of type V(git).
  returned: success
  type: str
files_sent:
  description:
    - Files whose content travelled.
  returned: success
  type: int
files_reused:
  description:
    - Files taken from earlier releases.
  returned: success
  type: int
bytes_reused:
  description:
    - Bytes taken from earlier releases.
  returned: success
  type: int
bytes_sent:
  description:
    - Bytes of the bundles.
  returned: success
  type: int
seconds:
  description:
    - Seconds that the host took.
  returned: success
  type: float
"""

from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module
from ansible_collections.seamless.rollout.plugins.module_utils._release.stage import ARGUMENT_SPEC, run


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
