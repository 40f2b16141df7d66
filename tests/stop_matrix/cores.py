# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The versions of ansible-core that the Pythons of this machine can carry, each in a virtual environment of its own."""

from __future__ import annotations

import glob
import os
import subprocess

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# ansible-core and the Pythons that carry it, the best first.
CORES = {
    "2.16": ("3.12", "3.11", "3.10"),
    "2.17": ("3.12", "3.11", "3.10"),
    "2.18": ("3.12", "3.13", "3.11"),
    "2.19": ("3.12", "3.13", "3.11"),
    "2.20": ("3.12", "3.13", "3.14"),
    "2.21": ("3.12", "3.13", "3.14"),
}


def interpreter(version: str) -> str | None:
    for pattern in (f"~/.pyenv/versions/{version}.*/bin/python3", f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        for path in sorted(glob.glob(os.path.expanduser(pattern))):
            if subprocess.run([path, "-c", "import venv, ensurepip"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return path
    return None


def available() -> dict[str, str]:
    """Return the interpreter for each ansible-core that can be installed here."""
    found = {}
    for core, versions in CORES.items():
        python = next((path for path in map(interpreter, versions) if path), None)
        if python:
            found[core] = python
    return found


OLDEST, NEWEST = next(iter(available()), ""), next(reversed(available()), "")


def environment_of(core: str, python: str) -> str:
    """Return the directory of a virtual environment with that ansible-core, made once."""
    place = os.path.join(REPO, ".venvs", f"core-{core}")
    stamp = os.path.join(place, "complete")
    if not os.path.exists(stamp):
        subprocess.run([python, "-m", "venv", "--clear", place], check=True)
        install = [os.path.join(place, "bin", "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install", f"ansible-core=={core}.*"]
        subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
        with open(stamp, "w", encoding="utf-8"):
            pass
    return place
