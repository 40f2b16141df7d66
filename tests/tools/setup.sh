#!/usr/bin/env bash
# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Sets up what the tests and the demo need: a virtual environment, a container engine, the fleet image, a browser. Does nothing twice.
# Usage: setup.sh venv|fleet|deps|browser …
set -euo pipefail
cd "$(dirname "$0")/../.."

look_for_python() {
    local candidate real
    while read -r candidate; do
        real=$("$candidate" -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null) || continue
        if [ -n "$real" ]; then echo "$real"; return; fi
    done < <(type -aP python3; compgen -c python3. | sort -u | grep -E '^python3\.[0-9]+$' | xargs -r -n1 which -a 2>/dev/null)
    return 1
}

find_python() {
    look_for_python && return
    if ! type -P python3 >/dev/null && command -v apt-get >/dev/null; then
        apt_install python3 python3-venv >&2
        look_for_python && return
    fi
    echo "Python 3.11 or newer is needed: install python3 (Debian 12 has it)." >&2
    return 1
}

apt_install() {
    local missing=() package
    if ! command -v apt-get >/dev/null; then
        for package in "${engine:-podman}" ssh rsync git haproxy; do
            command -v "$package" >/dev/null || { echo "$package is needed, and this is not Debian, where it would be installed now: install it and run again." >&2; return 1; }
        done
        return
    fi
    for package in "$@"; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "Installing ${missing[*]} from the distribution …"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >build/apt.log 2>&1 || { tail -n 20 build/apt.log >&2; return 1; }
}

venv() {
    local stamp
    stamp=.venv/stamp-$(sha256sum tests/requirements.txt | cut -c1-12)
    [ -e "$stamp" ] && return
    local python
    python=$(find_python)
    echo "Making the virtual environment with $("$python" --version) …"
    "$python" -m venv --clear .venv 2>build/venv.log || { apt_install python3-venv; "$python" -m venv --clear .venv; }
    .venv/bin/python -m pip --quiet --disable-pip-version-check install --requirement tests/requirements.txt 2>&1 | grep -v '^WARNING: Location' || true
    .venv/bin/ansible-playbook --version >/dev/null
    touch "$stamp"
}

deps() {
    local wanted=general
    [ "$(tests/tools/engine.sh)" = docker ] && wanted=docker
    [ -d "build/deps/ansible_collections/community/$wanted" ] && return
    echo "Fetching the collections that the tests compare with and connect by …"
    local work
    work=$(mktemp -d)
    .venv/bin/python -m pip --quiet --disable-pip-version-check download --no-deps --dest "$work" 'ansible>=11,<13' 2>&1 | grep -v '^WARNING: Location' || true
    mkdir -p build/deps
    .venv/bin/python - "$work" <<'PY'
import glob, sys, zipfile
wanted = tuple(
    f"ansible_collections/{name}/"
    for name in ("containers/podman", "community/docker", "community/library_inventory_filtering_v1", "community/general", "ansible/posix")
)
with zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0]) as wheel:
    wheel.extractall("build/deps", [name for name in wheel.namelist() if name.startswith(wanted)])
PY
    rm -rf "$work"
}

fleet() {
    local engine
    engine=$(tests/tools/engine.sh)
    case $engine in
        docker) docker info >/dev/null 2>&1 || { echo "CONTAINER_ENGINE is docker and no Docker engine answers: start it, or leave the variable out." >&2; exit 1; } ;;
        *) apt_install podman runc netavark aardvark-dns iptables nftables ;;
    esac
    apt_install mmdebstrap openssh-client rsync haproxy git iproute2
    tests/tools/image.sh >/dev/null
    tests/tools/image.sh database >/dev/null
}

browser() {
    command -v chromium >/dev/null && command -v chromedriver >/dev/null && return
    if ! command -v apt-get >/dev/null; then
        echo "chromium and chromedriver are needed, and this is not Debian, where they would be installed now: install them and run again." >&2
        return 1
    fi
    apt_install chromium chromium-driver
}

mkdir -p build/tree/ansible_collections/seamless
ln -sfn ../../../.. build/tree/ansible_collections/seamless/rollout
for part in "$@"; do "$part"; done
