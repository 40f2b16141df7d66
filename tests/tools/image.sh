#!/usr/bin/env bash
# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Builds the image of the test fleet, once for each recipe: Debian with systemd as PID 1, sshd, Python, HAProxy, keepalived.
# Usage: image.sh            prints the image's name; everything else goes to standard error.
#        image.sh database   the same with PostgreSQL, MariaDB and the drivers for Python; the services are there and not enabled.
#        image.sh examples   the same with what the examples in molecule/ run; the services are there and not enabled.
#        image.sh balancers [SUITE]   the balancers that Debian's SUITE has, bookworm by default, without systemd.
set -euo pipefail

engine=$("$(dirname "$0")/engine.sh")
packages=systemd,systemd-sysv,dbus,openssh-server,sudo,python3,haproxy,keepalived,rsync,nftables,iproute2,procps,ca-certificates,curl
suite=bookworm
prepare='
systemctl mask systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-logind.service \
    getty@.service console-getty.service systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer \
    systemd-networkd-wait-online.service systemd-remount-fs.service dev-hugepages.mount sys-kernel-debug.mount >/dev/null 2>&1
systemctl disable haproxy.service keepalived.service nftables.service >/dev/null 2>&1
mkdir -p /root/.ssh && chmod 700 /root/.ssh && rm -f /etc/ssh/ssh_host_*
printf "UseDNS no\nPermitRootLogin prohibit-password\nMaxStartups 100:30:200\nMaxSessions 100\n" > /etc/ssh/sshd_config.d/fleet.conf
printf "[Unit]\nBefore=ssh.service\n[Service]\nType=oneshot\nExecStart=/usr/bin/ssh-keygen -A\n[Install]\nWantedBy=multi-user.target\n" > /etc/systemd/system/host-keys.service
systemctl enable host-keys.service >/dev/null 2>&1
rm -rf /var/cache/apt/*.bin /var/lib/apt/lists/*
'
name=fleet
options=()
case ${1:-} in
    "") ;;
    database)
        name=database
        packages+=,postgresql,mariadb-server,python3-psycopg,python3-psycopg2,python3-pymysql
        prepare="systemctl disable postgresql.service mariadb.service >/dev/null 2>&1$prepare"
        ;;
    examples)
        name=examples
        packages+=,python3-apt,python3-venv,gunicorn,nginx-light,php-fpm,php8.2-opcache,apache2,libapache2-mod-php,nodejs,caddy
        prepare="systemctl disable nginx.service php8.2-fpm.service apache2.service caddy.service >/dev/null 2>&1$prepare"
        ;;
    balancers)
        name=balancers
        suite=${2:-bookworm}
        packages=python3,python3-yaml,haproxy,procps,iproute2,socat,ca-certificates
        case $suite in
            bookworm) packages+=,nginx-light,apache2,varnish,caddy,keepalived ;;
            # A mirror of what is not released yet may lag behind.
            forky) packages+=,nginx-light; options=(--aptopt='Acquire::Check-Valid-Until "false"') ;;
        esac
        prepare='rm -rf /var/cache/apt/*.bin /var/lib/apt/lists/*'
        ;;
    *) echo "image.sh makes the image of the fleet (no argument), of its databases (\"database\"), of the examples (\"examples\") or of balancers (\"balancers SUITE\"), not \"$1\"." >&2; exit 2 ;;
esac
digest=$(printf '%s' "$packages$suite$prepare" | sha256sum | cut -c1-12)
image=localhost/seamless-rollout-$name:$digest

from_archive() {
    PREPARE=$prepare mmdebstrap --quiet "${options[@]}" --variant=minbase --include="$packages" --customize-hook='printf "%s" "$PREPARE" > "$1/prepare" && chroot "$1" sh /prepare; rm "$1/prepare"' \
        "$suite" "$work/image.tar" && "$engine" import "$work/image.tar" "$image"
}

from_registry() {
    printf '%s' "$prepare" >"$work/prepare"
    printf 'FROM docker.io/library/debian:%s\nCOPY prepare /prepare\nRUN %s\n' "$suite" \
        "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ${packages//,/ } && sh /prepare && rm /prepare" >"$work/Containerfile"
    "$engine" build --network host --tag "$image" --file "$work/Containerfile" "$work"
}

# Two that come at once must not both build.
exec 9>"${TMPDIR:-/tmp}/seamless-rollout-image.lock"
if command -v flock >/dev/null; then flock 9; fi
if ! "$engine" image inspect "$image" >/dev/null 2>&1; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    echo "Building the $name image (about a minute, once) …" >&2
    # On Debian the distribution's own archive, which needs nothing else; elsewhere, and where that fails, the base image of a registry.
    for way in from_archive from_registry; do
        if [ "$way" = from_archive ] && ! command -v mmdebstrap >/dev/null; then continue; fi
        if "$way" >"$work/$way" 2>&1; then break; fi
        echo "It can't be built ${way/_/ the } ($(tail -n 1 "$work/$way"))." >&2
        if [ "$way" = from_registry ]; then tail -n 20 "$work"/from_* >&2; exit 1; fi
    done
fi
echo "$image"
