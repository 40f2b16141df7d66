#!/usr/bin/env bash
# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The Molecule scenarios that are named, on fleets that the scenario "default" makes and removes: one for the examples and one for the others.
# Without a name some of each kind, with TESTS=full all of them.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CONTAINER_ENGINE
CONTAINER_ENGINE=$(tests/tools/engine.sh)
export SEAMLESS_MOLECULE_NAME=molecule$$
export SEAMLESS_MOLECULE_PREFIX=seamless-$SEAMLESS_MOLECULE_NAME
export SEAMLESS_MOLECULE_DIRECTORY=${TMPDIR:-/tmp}/$SEAMLESS_MOLECULE_PREFIX
export XDG_STATE_HOME=$SEAMLESS_MOLECULE_DIRECTORY/state
export ANSIBLE_COLLECTIONS_PATH=$PWD/build/tree:$PWD/build/deps ANSIBLE_HOME=$PWD/build/ansible-home
export MOLECULE_GLOB='molecule/*/molecule.yml'
export PATH=$PWD/.venv/bin:$PATH
trap 'for fleet in "$SEAMLESS_MOLECULE_NAME-examples" "$SEAMLESS_MOLECULE_NAME"; do python tests/fleet/fleet.py down --prefix "$fleet"; done' EXIT
molecule reset >/dev/null 2>&1 || true
if [ $# -eq 0 ] && [ "${TESTS:-}" = full ]; then
    molecule test --all
else
    [ $# -gt 0 ] || set -- release rollout failing_canary haproxy_gunicorn
    molecule create --scenario-name default
    molecule test "${@/#/--scenario-name=}"
fi
