# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two hosts that are both this machine, with an update that is a task file: whole rollouts without containers."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

from fleet.fleet import REPO


class Here:
    def __init__(self, directory: pathlib.Path, **environment: str) -> None:
        self.directory, self.environment = directory, environment
        hosts = {host: {"rollout_root": str(directory / "roots" / host)} for host in ("web1", "web2")}
        connection = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        (directory / "inventory.yml").write_text(json.dumps({"app": {"hosts": hosts, "vars": connection}}))
        (directory / "update.yml").write_text("- name: Update\n  ansible.builtin.fail:\n    msg: it is broken\n  when: broken | default(false)\n")

    def command(self, playbook: str, **variables: t.Any) -> list[str]:
        extra = {
            "rollout_app": "shop", "rollout_update_tasks": str(self.directory / "update.yml"), "rollout_state_dir": str(self.directory / "state"), **variables,
        }
        ansible = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
        return [ansible, "-i", "inventory.yml", f"seamless.rollout.{playbook}", "-e", json.dumps(extra)]

    @property
    def how(self) -> dict[str, t.Any]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE")},
            "ANSIBLE_COLLECTIONS_PATH": os.path.join(REPO, "build", "tree"), "ANSIBLE_NOCOLOR": "1", "HOME": str(self.directory),
            **self.environment,
        }
        return {"cwd": self.directory, "env": environment, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}

    def run(self, playbook: str = "rollout", **variables: t.Any) -> tuple[int, str]:
        done = subprocess.run(self.command(playbook, **variables), check=False, **self.how)
        return done.returncode, " ".join(done.stdout.split())
