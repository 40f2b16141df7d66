# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to happen once per rollout happens once, or the rollout fails."""

from __future__ import annotations

import os
import signal
import time
import typing as t

import pytest
from fleet.site import Site


def write(site: Site, name: str, *lines: str) -> tuple[str, str]:
    """Make a task file that appends a line to a log on the controller after *lines*; return its path and the log's."""
    path, log = (os.path.join(site.fleet.directory, f"{name}.{kind}") for kind in ("yml", "log"))
    for old in (path, log):
        if os.path.exists(old):
            os.unlink(old)
    note = f"- name: Note\n  ansible.builtin.shell: echo {{{{ inventory_hostname }}}} >> {log}\n  delegate_to: localhost\n  changed_when: true\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines) + note)
    return path, log


def ran(log: str) -> list[str]:
    if not os.path.exists(log):
        return []
    with open(log, encoding="utf-8") as file:
        return file.read().split()


def test_once_actions_run_once_over_all_batches_and_over_runs(settled: Site) -> None:
    before, before_log = write(settled, "before")
    after, after_log = write(settled, "after", "- name: Fail the first time", "  ansible.builtin.fail:", "  when: fail_after | bool")
    changes = {"once_before": [before], "once_after": [after], "canary": 1, "batch": [1]}
    first = settled.rollout("2.0", "-e", "fail_after=true", **changes)
    assert first.code != 0 and "rollout_once_after" in first.text, first.text
    assert set(settled.releases().values()) == {"2.0"} and settled.all_up()
    assert (ran(before_log), ran(after_log)) == (["web1"], [])
    second = settled.rollout("2.0", "-e", "fail_after=false", **changes)
    assert second.code == 0, second.text
    third = settled.rollout("2.0", "-e", "fail_after=false", **changes)
    assert third.code == 0, third.text
    assert (ran(before_log), ran(after_log)) == (["web1"], ["web1"])


@pytest.mark.full
def test_a_once_action_that_fails_or_loses_its_host_touches_no_host(settled: Site) -> None:
    lost, log = write(
        settled, "lost", "- name: Lose the connection", "  ansible.builtin.set_fact:", "    ansible_host: 127.0.0.1", "    ansible_port: 1",
        "  when: inventory_hostname == 'web1'", "- name: Notice", "  ansible.builtin.ping:",
    )
    played = settled.rollout("2.0", once_before=[lost])
    assert played.code != 0 and "web1 was lost while it ran" in " ".join(played.text.split()), played.text
    assert set(settled.releases().values()) == {"1.0"} and settled.all_up() and ran(log) == []
    failing, log = write(settled, "failing", "- name: Migrate", "  ansible.builtin.fail:", "    msg: no such column")
    played = settled.rollout("2.0", once_before=[failing])
    assert played.code != 0 and "Migrate: no such column" in " ".join(played.text.split()), played.text
    assert set(settled.releases().values()) == {"1.0"} and ran(log) == []


@pytest.mark.full
def test_what_comes_after_the_hosts_is_done_again_when_those_follow_that_were_left_out(settled: Site) -> None:
    before, before_log = write(settled, "before")
    after, after_log = write(settled, "after")
    for options, times in ((["--limit", "web1"], 1), ([], 2), ([], 2)):
        played = settled.rollout("2.0", *options, once_before=[before], once_after=[after])
        assert played.code == 0, played.text
        assert (len(ran(before_log)), len(ran(after_log))) == (1, times)
    assert set(settled.releases().values()) == {"2.0"} and settled.all_up()


@pytest.mark.full
@pytest.mark.parametrize("point", ["before", "after"])
def test_an_action_that_was_killed_before_it_was_recorded_runs_again_and_only_that(settled: Site, point: str) -> None:
    first, first_log = write(settled, "first")
    killed, killed_log = write(settled, "killed")
    with open(killed, "a", encoding="utf-8") as file:
        file.write("- name: Be slow to end\n  ansible.builtin.wait_for:\n    timeout: 6\n  delegate_to: localhost\n  when: slow | bool\n")
    changes: dict[str, t.Any] = {f"once_{point}": [first, killed], "canary": 1, "batch": [2], "max_unavailable": 2}
    process = settled.fleet.begin("seamless.rollout.rollout", {**settled.variables("2.0", **changes), "slow": True}, os.devnull)
    deadline = time.monotonic() + 90
    while not ran(killed_log) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (ran(first_log), ran(killed_log)) == (["web1"], ["web1"])
    for dummy in range(2):
        again = settled.rollout("2.0", "-e", "slow=false", **changes)
        assert again.code == 0, again.text
        assert (ran(first_log), ran(killed_log)) == (["web1"], ["web1", "web1"])
    assert set(settled.releases().values()) == {"2.0"} and settled.all_up()
