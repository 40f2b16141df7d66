#!/usr/bin/env bash
# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Checks from outside: yamllint, ansible-lint (production), antsibull with rstcheck, galaxy-importer. Every step says PASS or FAIL.
set -uo pipefail
cd "$(dirname "$0")/../.."
mkdir -p build
lint=.venvs/lint
stamp=$lint/stamp-$(sha256sum tests/requirements-lint.txt | cut -c1-12)
if [ ! -e "$stamp" ]; then
    echo "Installing the linters …"
    mkdir -p .venvs
    .venv/bin/python -m venv --clear "$lint" && "$lint/bin/python" -m pip --quiet --disable-pip-version-check install -r tests/requirements-lint.txt 2>&1 | grep -v '^WARNING: Location'
    [ -x "$lint/bin/ansible-lint" ] && touch "$stamp"
fi
PATH=$PWD/$lint/bin:$PWD/.venv/bin:$PATH
export ANSIBLE_COLLECTIONS_PATH=$PWD/build/tree ANSIBLE_HOME=$PWD/build/ansible-home
failed=0

step() {
    local name=$1
    shift
    if "$@" >build/lint.log 2>&1; then
        echo "PASS $name"
    else
        echo "FAIL $name"
        tail -n 60 build/lint.log
        failed=$((failed + 1))
    fi
}

importer() {
    local work result=0
    work=$(mktemp -d)
    # The tarball is built from what git knows, as a release would be.
    mkdir "$work/tree"
    git ls-files -z -co --exclude-standard | xargs -0 tar -cf - 2>/dev/null | tar -xf - -C "$work/tree"
    ansible-galaxy collection build "$work/tree" --output-path "$work" --force
    # Its own ansible-lint is less strict than the one before, and ends after three minutes, which a busy machine may need.
    printf '[galaxy-importer]\nCHECK_REQUIRED_TAGS=True\nRUN_ANSIBLE_LINT=False\nRUN_FLAKE8=False\nRUN_ANSIBLE_TEST=False\n' >"$work/importer.cfg"
    # It writes its result into the current directory.
    (cd "$work" && GALAXY_IMPORTER_CONFIG=$work/importer.cfg python -m galaxy_importer.main "$work"/seamless-rollout-*.tar.gz 2>&1 | tee "$work/log")
    grep -qE '^(WARNING|ERROR)' "$work/log" && result=1
    grep -q 'Importer processing completed successfully' "$work/log" || result=1
    rm -rf "$work"
    return "$result"
}

no_machine_paths() {
    ! git grep -nIE '/(w)ork/(main|shared)|/root/\.pyenv|/tmp/(l)ab' -- . ':!tests/tools/lint.sh'
}

step yamllint yamllint --strict .
step ansible-lint ansible-lint --offline --profile production
step antsibull-docs antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=self .
step antsibull-changelog antsibull-changelog lint
step galaxy-importer importer
step machine-paths no_machine_paths
exit "$failed"
