#!/usr/bin/env bash
# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Prints the container engine: the one that CONTAINER_ENGINE names, else podman, else a Docker that answers. Where there is neither, podman is to be installed.
if [ -n "${CONTAINER_ENGINE:-}" ]; then
    echo "$CONTAINER_ENGINE"
elif ! command -v podman >/dev/null && docker info >/dev/null 2>&1; then
    echo docker
else
    echo podman
fi
