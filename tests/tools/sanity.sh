#!/usr/bin/env bash
# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ansible-test sanity on a copy of the tree (ansible-test wants …/ansible_collections/NAMESPACE/NAME and a git checkout).
set -euo pipefail
cd "$(dirname "$0")/../.."
repo=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
copy=$work/ansible_collections/seamless/rollout
mkdir -p "$copy"
git ls-files -z -co --exclude-standard | xargs -0 tar -cf - 2>/dev/null | tar -xf - -C "$copy"
mkdir -p ~/.ansible/test/cache
for version in 23_1_2 24_2 25_2; do
    cp "$repo/tests/tools/get_pip_standin.py" ~/.ansible/test/cache/get_pip_$version.py
done
# The real interpreters, not shims of versions that are not active.
interpreters=
for directory in /usr/local/bin /usr/bin $(ls -d ~/.pyenv/versions/3.*/bin 2>/dev/null || true); do
    interpreters=$interpreters:$directory
done
export PATH=$repo/.venv/bin$interpreters:/usr/local/sbin:/usr/sbin:/sbin:/bin
cd "$copy"
git init --quiet . && git add --all
version=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ansible-test sanity --local --color no --python "$version" "$@"
