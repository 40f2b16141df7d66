# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook and the role by Ansible itself, with HAProxy on this machine: ``python -m maintenance.playbooks [CASE …]``.

It wants a network of its own, since its ports are those of the conformance suite: ``unshare --net``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
import typing as t

import yaml
from conformance.subject import FRONT

from maintenance.site import HAProxySite, later

Case = t.Callable[["Playbooks"], None]
CASES: dict[str, Case] = {}

UPDATE = """
- hosts: app
  gather_facts: false
  connection: local
  tasks:
    - ansible.builtin.uri: {{url: "http://127.0.0.1:{front}/", status_code: 503}}
    - ansible.builtin.copy: {{content: "{{{{ inventory_hostname }}}} {{{{ word | default('') }}}}", dest: "{directory}/ran"}}
    - ansible.builtin.fail: {{msg: the migration did not work}}
      when: word | default('') == 'fail'
"""


def case(function: Case) -> Case:
    CASES[function.__name__.replace("_", " ")] = function
    return function


class Playbooks(HAProxySite):
    def start(self) -> None:
        super().start()
        hosts = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        self.write("inventory.yml", yaml.safe_dump({
            "lb": {"hosts": {"lb1": hosts}, "vars": {
                "maintenance_name": "shop", "maintenance_check_url": f"http://127.0.0.1:{FRONT}/", "maintenance_socket": [self.path("admin.sock")],
                "maintenance_state_dir": self.path("m"), "maintenance_owner": "shop", "maintenance_check_seconds": 3, "maintenance_health_paths": ["/healthz"],
            }},
            "app": {"hosts": {"web1": hosts}},
            "broken": {"hosts": {"lb1": {}, "lb2": {**hosts, "maintenance_socket": [self.path("nobody.sock")]}}},
        }))
        self.write("update.yml", UPDATE.format(front=FRONT, directory=self.directory))
        self.write("tasks.yml", "- ansible.builtin.fail: {msg: a task that fails}\n")
        os.makedirs(self.path("work/tasks"), exist_ok=True)
        self.write("work/tasks/main.yml", f"- ansible.builtin.copy: {{content: a role, dest: {self.directory}/ran}}\n")
        self.write("page.html", "<!doctype html><title>The site's own</title>")

    def play(self, *arguments: str, **variables: t.Any) -> tuple[int, str]:
        """Run the playbook; return its exit code and what it said."""
        values = {f"maintenance_{name}": value for name, value in variables.items()}
        done = subprocess.run(
            [
                sys.executable, "-m", "ansible", "playbook", "-i", self.path("inventory.yml"), "seamless.rollout.maintenance", "-e", json.dumps(values),
                *arguments,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=self.directory,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "PWD": self.directory, "ANSIBLE_LOCALHOST_WARNING": "0"},
        )
        return done.returncode, done.stdout

    def ran(self) -> str:
        """Return what the update left, and take it away."""
        path = self.path("ran")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as file:
            text = file.read()
        os.unlink(path)
        return text.strip()

    @property
    def closed(self) -> bool:
        seen = self.see()
        return seen.status == 503 and seen.headers.get("x-maintenance") == "on"


@case
def on_and_off(site: Playbooks) -> None:
    code, said = site.play(state=True, page_file=site.path("page.html"))
    assert code == 0 and site.closed and "The site's own" in site.see().body, said
    code, said = site.play(state="on", page_file=site.path("page.html"))
    assert code == 0 and "changed=0" in said, said
    code, said = site.play("--check", "--diff", state="off")
    assert code == 0 and site.closed and "-on" in said and "+off" in said, said
    # As Ansible sends modules by itself.
    code, said = site.play("-e", "ansible_pipelining=false", state="off")
    assert code == 0 and not site.closed, said


@case
def scheduled_by_a_local_clock(site: Playbooks) -> None:
    code, said = site.play(state="scheduled", **{"from": "2099-01-01T01:00:00", "until": "2099-01-01T03:00:00", "timezone": "Europe/Berlin"})
    assert code == 0, said
    assert site.see().headers["x-maintenance"] == "2099-01-01T00:00:00Z/2099-01-01T02:00:00Z", site.see()
    code, said = site.play(state="scheduled", **{"from": "2099-03-29T02:30:00", "until": "2099-03-29T04:00:00", "timezone": "Europe/Berlin"})
    assert code != 0 and "does not have" in said, said
    code, said = site.play(state="scheduled", **{"from": "2099-01-01T01:00:00", "until": later(9)})
    assert code != 0 and "without an offset" in said, said
    assert site.play(state="off")[0] == 0 and "x-maintenance" not in site.see().headers


@case
def during_an_update(site: Playbooks) -> None:
    code, said = site.play(during="update.yml", during_vars={"word": "fine"})
    assert code == 0 and site.ran() == "web1 fine" and not site.closed, said


@case
def during_an_update_that_fails(site: Playbooks) -> None:
    code, said = site.play(during="update.yml", during_vars={"word": "fail"})
    assert code != 0 and site.ran() == "web1 fail" and not site.closed, said
    assert "the migration did not work" in said and "The site is open again." in said, said


@case
def it_may_stay_closed(site: Playbooks) -> None:
    code, said = site.play(during="update.yml", during_vars={"word": "fail"}, on_failure="stay")
    assert code != 0 and site.ran() and site.closed and "stays closed" in said, said
    code, said = site.play(during="update.yml", during_vars={"word": "again"})
    assert code == 0 and site.ran() == "web1 again" and not site.closed, said


@case
def tasks_that_fail(site: Playbooks) -> None:
    code, said = site.play(during_tasks=site.path("tasks.yml"))
    assert code != 0 and not site.closed and "a task that fails" in said, said


@case
def a_role_of_one_s_own(site: Playbooks) -> None:
    code, said = site.play(during_role=site.path("work"))
    assert code == 0 and site.ran() == "a role" and not site.closed, said


@case
def a_balancer_that_can_t_be_closed(site: Playbooks) -> None:
    code, said = site.play(during="update.yml", hosts="broken")
    assert code != 0 and not site.ran() and not site.closed and "lb2: nothing was run" in said, said


@case
def an_operator_s_own(site: Playbooks) -> None:
    site.close_by_hand()
    code, said = site.play(during="update.yml")
    assert code == 0 and site.ran() and site.closed, said
    code, said = site.play(state="off")
    assert code != 0 and site.closed and "an operator" in said, said


@case
def in_check_mode(site: Playbooks) -> None:
    code, said = site.play("--check", during="update.yml")
    assert code == 0 and not site.ran() and not site.closed, said


@case
def nobody_matches(site: Playbooks) -> None:
    code, said = site.play(state="on", hosts="nobody")
    assert code != 0 and "matches no host" in said and not site.closed, said


def main() -> None:
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        site = Playbooks(directory)
        try:
            site.start()
            for title in sys.argv[1:] or CASES:
                text = ""
                try:
                    CASES[title](site)
                except Exception:
                    failed, text = failed + 1, traceback.format_exc()[-6000:]
                print(f"{'failed' if text else 'passed'}: {title}\n{text}".rstrip(), flush=True)
                site.back_to_normal()
        finally:
            site.stop()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
