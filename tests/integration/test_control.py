# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rollout that runs can be paused, promoted, stopped and aborted, from another terminal and from another controller, in both paces."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import typing as t

import pytest
from fleet.load import Load
from fleet.running import running
from fleet.site import Site
from sampling import full, some

PACES = ("batch", "window")
# What is told by the same words in both paces is tried in one of them, with TESTS=full in both.
ONE = {pace: some(PACES, (pace,)) for pace in PACES}
LOCK = "/srv/shop/.rollout/lock"


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def is_locked(site: Site, host: str) -> bool:
    return site.fleet.shell(host, f"ls {LOCK}", check=False).strip() == LOCK


@pytest.mark.parametrize("pace", ONE["window"])
def test_a_paused_rollout_starts_no_host_keeps_its_lock_and_goes_on(settled: Site, pace: str) -> None:
    with running(settled, "2.0", pace=pace) as run:
        run.until("Take the host out of rotation")
        paused = settled.rollout("2.0", playbook="control", order="pause", reason="the phone rang")
        assert paused.code == 0 and "was told" in paused.text, paused.text
        run.until(r"paused by \S+ \(the phone rang\)")
        time.sleep(2)
        assert sorted(settled.releases().values()) == ["1.0", "1.0", "2.0"] and settled.all_up()
        assert settled.fleet.shell("web3", "ls /srv/shop/.rollout/lock").strip() == "/srv/shop/.rollout/lock"
        assert "paused by" in settled.rollout("2.0", playbook="status").text
        assert settled.rollout("2.0", playbook="control", order="resume").code == 0
        assert run.end() == 0, run.text
    assert set(settled.releases().values()) == {"2.0"} and settled.all_up()


@pytest.mark.full
@pytest.mark.parametrize("pace", ONE["window"])
def test_the_canary_waits_for_promotion_which_another_controller_may_give(settled: Site, pace: str) -> None:
    elsewhere = os.path.join(settled.fleet.directory, "other-controller")
    with running(settled, "2.0", pace=pace, auto_promote=False) as run:
        run.until("waits for promote")
        assert sorted(settled.releases().values()) == ["1.0", "1.0", "2.0"] and settled.all_up()
        told = settled.rollout("2.0", playbook="control", order="promote", state_dir=elsewhere)
        assert told.code == 0, told.text
        assert run.end() == 0, run.text
    assert set(settled.releases().values()) == {"2.0"}
    nobody = settled.rollout("2.0", playbook="control", order="pause", state_dir=elsewhere)
    assert nobody.code != 0 and "No rollout of shop runs" in nobody.text


@pytest.mark.full
@pytest.mark.parametrize("pace", ONE["batch"])
def test_an_abort_takes_every_touched_host_back(settled: Site, pace: str) -> None:
    with running(settled, "2.0", pace=pace) as run:
        run.until("Take the host out of rotation")
        assert settled.rollout("2.0", playbook="control", order="abort", reason="wrong ticket").code == 0
        assert run.end() != 0
        assert re.search(r"rolled_back[\s\S]*aborted by \S+\s+\(wrong ticket\)", run.text), run.text
    assert set(settled.releases().values()) == {"1.0"} and settled.all_up()


@pytest.mark.full
@pytest.mark.parametrize(("pace", "by"), [("batch", "another-controller"), ("window", "here")])
def test_an_abort_while_the_last_host_is_under_way_takes_all_back(settled: Site, pace: str, by: str) -> None:
    controller: dict[str, t.Any] = {} if by == "here" else {"state_dir": os.path.join(settled.fleet.directory, by)}
    tasks = os.path.join(settled.fleet.directory, "slow.yml")
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: Take your time\n  ansible.builtin.wait_for:\n    timeout: 8\n  when: inventory_hostname == 'web3'\n  delegate_to: localhost\n")
    with running(settled, "2.0", pace=pace, hooks={"after_drain": [tasks]}) as run:
        run.until(r"Take your time[\s\S]*Take your time[\s\S]*Take your time", 90)
        assert settled.rollout("2.0", playbook="control", order="abort", reason="too late", **controller).code == 0
        assert run.end() != 0
        assert re.search(r"rolled_back[\s\S]*aborted by \S+\s+\(too late\)", run.text), run.text
    assert set(settled.releases().values()) == {"1.0"} and settled.all_up()


@pytest.mark.parametrize(("pace", "number"), [("batch", signal.SIGTERM), full("window", signal.SIGINT)])
def test_a_signal_ends_the_rollout_in_order_and_the_same_command_goes_on(settled: Site, pace: str, number: signal.Signals) -> None:
    urls = [f"http://{settled.fleet.addresses[host]}/" for host in settled.fleet.lb]
    with Load(urls, rate=100, clients=10) as load, running(settled, "2.0", pace=pace) as run:
        run.until("Switch, restart and check")
        os.kill(run.process.pid, number)
        assert run.end() not in (0, 99, 143), run.text
        assert f"stopped by {number.name}" in run.text and "aborted" in run.text, run.text
    assert sorted(settled.releases().values()) == ["1.0", "1.0", "2.0"] and settled.all_up()
    assert load.summary()["failed"] == 0, load.summary()
    again = settled.rollout("2.0", pace=pace)
    assert again.code == 0, again.text
    assert set(settled.releases().values()) == {"2.0"} and settled.all_up()


@pytest.mark.full
def test_a_host_that_is_lost_in_the_window_frees_its_slot_and_stops_the_roll(settled: Site) -> None:
    tasks = os.path.join(settled.fleet.directory, "lose.yml")
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: Lose the connection\n  ansible.builtin.set_fact:\n    ansible_host: 127.0.0.1\n    ansible_port: 1\n")
        file.write("  when: inventory_hostname == 'web1'\n- name: Notice\n  ansible.builtin.ping:\n")
    played = settled.rollout("2.0", pace="window", hooks={"after_drain": [tasks]}, on_failure="stop")
    assert played.code != 0
    assert sorted(settled.releases().values()) == ["1.0", "1.0", "1.0"], played.text
    assert "lost in the middle of its update" in " ".join(played.text.split()), played.text
    again = settled.rollout("2.0", pace="window")
    assert again.code == 0 and set(settled.releases().values()) == {"2.0"} and settled.all_up(), again.text


@pytest.mark.full
def test_a_rollout_is_followed_beside_it_and_the_exit_code_is_its_own(settled: Site) -> None:
    log = os.path.join(settled.fleet.directory, "watch.log")
    for release, changes, ends in (("2.0", {}, 0), ("broken", {"healthy_deadline": 4}, 2)):
        with running(settled, release, **changes) as run:
            run.until("Take the host out of rotation")
            watching = settled.fleet.begin("seamless.rollout.status", settled.variables(release, watch=True), log)
            try:
                assert (run.end() != 0) is bool(ends), run.text
                assert watching.wait(60) == ends
            finally:
                watching.kill()
                watching.wait()
        text = read(log)
        assert re.search(r"\d\d:\d\d:\d\d  web1  in_flight[\s\S]*Status of shop", text), text
        assert ("which was followed, has not succeeded: it ended as rolled_back" in " ".join(text.split())) is bool(ends), text
    nobody = settled.rollout("2.0", playbook="status", watch=True)
    assert nobody.code == 0 and "No rollout runs on this controller" in nobody.text


@pytest.mark.full
def test_whoever_waits_for_the_lock_rolls_afterwards_and_orders_go_to_the_one_that_runs(settled: Site) -> None:
    log = os.path.join(settled.fleet.directory, "second.log")
    with running(settled, "2.0", bake_seconds=2) as run:
        run.until("Take the host out of rotation")
        second = settled.fleet.begin("seamless.rollout.rollout", settled.variables("3.0", lock_policy="wait", lock_wait=120), log)
        try:
            deadline = time.monotonic() + 60
            while "Wait for the lock" not in read(log) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert settled.rollout("2.0", playbook="control", order="pause", reason="have a look").code == 0
            run.until(r"paused by \S+ \(have a look\)")
            assert second.poll() is None and "3.0" not in settled.releases().values()
            assert settled.rollout("2.0", playbook="control", order="resume").code == 0
            assert run.end() == 0, run.text
            assert second.wait(120) == 0, read(log)
        finally:
            second.kill()
            second.wait()
    assert set(settled.releases().values()) == {"3.0"} and settled.all_up()


@pytest.mark.full
@pytest.mark.parametrize("pace", ONE["window"])
def test_whoever_supersedes_rolls_when_the_other_one_has_taken_its_hosts_back(settled: Site, pace: str) -> None:
    elsewhere = os.path.join(settled.fleet.directory, "other-controller")
    with running(settled, "2.0", pace=pace, bake_seconds=2) as run:
        run.until("Take the host out of rotation")
        second = settled.rollout("3.0", lock_policy="supersede", lock_wait=120, reason="more urgent", state_dir=elsewhere)
        assert run.end() != 0
        assert re.search(r"rolled_back[\s\S]*aborted by \S+\s+\(superseded\s+by", run.text), run.text
    assert second.code == 0, second.text
    assert set(settled.releases().values()) == {"3.0"} and settled.all_up()


@pytest.mark.full
def test_ctrl_c_in_a_terminal_reaches_every_process_and_tears_nothing(settled: Site) -> None:
    with running(settled, "2.0") as run:
        run.until("Switch, restart and check")
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.end() not in (0, 99, 130), run.text
        assert "stopped by SIGINT" in run.text and "aborted" in run.text, run.text
    assert sorted(settled.releases().values()) == ["1.0", "1.0", "2.0"] and settled.all_up()
    assert not any(is_locked(settled, host) for host in settled.fleet.web)
    again = settled.rollout("2.0")
    assert again.code == 0 and set(settled.releases().values()) == {"2.0"}, again.text


@pytest.mark.full
def test_a_signal_goes_to_the_second_rollout_of_one_run(settled: Site) -> None:
    tasks, book, log = (os.path.join(settled.fleet.directory, name) for name in ("patch.yml", "two.yml", "two.log"))
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: Patch\n  ansible.builtin.wait_for:\n    timeout: 3\n  delegate_to: localhost\n")
    patch = settled.variables("", app="patch", root="/srv/patch", update_tasks=tasks, batch=[1], health=[])
    patch = {name: value for name, value in patch.items() if name not in ("rollout_release", "rollout_source", "rollout_services")}
    with open(book, "w", encoding="utf-8") as file:
        json.dump([{"import_playbook": "seamless.rollout.rollout", "vars": variables} for variables in (settled.variables("2.0"), patch)], file)
    process = settled.fleet.begin(book, {}, log)
    try:
        deadline = time.monotonic() + 120
        while not re.search(r"TASK \[.*Patch\]", read(log)) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) not in (0, 143), read(log)
    finally:
        process.kill()
        process.wait()
    assert "stopped by SIGTERM" in read(log) and read(log).count("untouched") == 2, read(log)
    assert set(settled.releases().values()) == {"2.0"} and settled.all_up()


NEVER = [{"url": "http://127.0.0.1:8000/", "contains": "never"}]


def pause_by_a_failure(site: Site) -> None:
    paused = site.rollout("2.0", health=NEVER, on_failure="pause", healthy_deadline=3)
    assert paused.code != 0 and "paused" in paused.text, paused.text
    refused = site.rollout("3.0")
    told = " ".join(refused.text.split())
    assert refused.code != 0 and "is locked by rollout" in told and "is paused and keeps its locks" in told and "rollout_order=abort" in told, refused.text
    assert "Put the release beside the live one" not in refused.text
    assert all(is_locked(site, host) for host in site.fleet.web)


@pytest.mark.full
def test_a_paused_rollout_keeps_its_lock_from_another_release_until_a_rollback_takes_it_back(settled: Site) -> None:
    pause_by_a_failure(settled)
    back = settled.rollout("2.0", playbook="rollback")
    assert back.code == 0, back.text
    assert set(settled.releases().values()) == {"1.0"} and settled.all_up()
    assert not any(is_locked(settled, host) for host in settled.fleet.web)


@pytest.mark.full
def test_a_paused_rollout_that_is_given_up_leaves_the_way_to_another_release(settled: Site) -> None:
    pause_by_a_failure(settled)
    nobody = settled.rollout("2.0", playbook="control", order="resume")
    assert nobody.code != 0 and "the order abort gives up a paused one" in " ".join(nobody.text.split()), nobody.text
    given_up = settled.rollout("2.0", playbook="control", order="abort", reason="3.0 mends it")
    assert given_up.code == 0 and "is given up; nothing is undone" in given_up.text, given_up.text
    assert not any(is_locked(settled, host) for host in settled.fleet.web)
    forward = settled.rollout("3.0")
    assert forward.code == 0, forward.text
    assert set(settled.releases().values()) == {"3.0"} and settled.all_up()
