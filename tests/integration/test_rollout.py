# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole rollouts on a real fleet: SSH, systemd, HAProxy, and faults that really happen."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tarfile
import threading
import time

import pytest
from fleet.fleet import CUT, REPO, Played
from fleet.load import Load
from fleet.reported import insist_on_order, insist_on_the_way_back
from fleet.site import SERVER, Site
from sampling import full


def test_a_rollout_under_load_fails_no_request_and_the_second_run_changes_nothing(settled: Site) -> None:
    urls = [f"http://{settled.fleet.addresses[host]}/" for host in settled.fleet.lb]
    with Load(urls, rate=150, clients=10) as load:
        time.sleep(1)
        played = settled.rollout("2.0")
        time.sleep(1)
    assert played.code == 0, played.text
    assert set(settled.releases().values()) == {"2.0"}
    assert settled.all_up()
    insist_on_order(settled)
    summary = load.summary()
    assert summary["requests"] > 500
    assert summary["failed"] == 0, summary
    again = settled.rollout("2.0")
    assert again.code == 0, again.text
    assert set(re.findall(r"changed=(\d+)", again.text)) == {"0"}
    assert "nothing to do" in again.text
    assert "Take the host out of rotation" not in again.text


def test_a_broken_release_is_undone_on_the_canary_and_touches_no_other_host(settled: Site) -> None:
    started = {host: settled.fleet.shell(host, "systemctl show -p ExecMainStartTimestampMonotonic --value shop") for host in ("web2", "web3")}
    urls = [f"http://{settled.fleet.addresses[host]}/" for host in settled.fleet.lb]
    with Load(urls, rate=150, clients=10) as load:
        time.sleep(1)
        played = settled.rollout("broken", healthy_deadline=5)
        time.sleep(1)
    assert played.code != 0
    assert "rolled_back" in played.text
    insist_on_the_way_back(settled, load)
    assert set(settled.releases().values()) == {"1.0"}
    assert settled.all_up()
    for host, before in started.items():
        assert settled.fleet.shell(host, "systemctl show -p ExecMainStartTimestampMonotonic --value shop") == before
    status = settled.rollout("1.0", playbook="status")
    assert "this release is broken" in status.text
    info = settled.fleet.shell("web1", "cat /srv/shop/.rollout/releases/broken.json")
    assert json.loads(info)["state"] in ("failed", "bad")


def test_a_host_that_is_lost_after_its_drain_stops_the_roll_and_a_new_run_repairs_it(settled: Site) -> None:
    tasks = os.path.join(settled.fleet.directory, "cut.yml")
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: Lose the network\n  ansible.builtin.command: systemd-run --on-active=0.2 nft -f /root/cut\n  changed_when: true\n")
        file.write("- name: Wait for it\n  ansible.builtin.wait_for:\n    timeout: 1\n  delegate_to: localhost\n")
    settled.fleet.put("web1", "/root/cut", CUT)
    try:
        played = settled.rollout("2.0", hooks={"after_drain": [tasks]}, on_failure="stop")
    finally:
        settled.fleet.connect("web1")
    assert played.code != 0, played.text
    assert settled.release_of("web2") == settled.release_of("web3") == "1.0"
    standing = settled.fleet.standing("lb1")
    assert not standing["web1"].startswith("UP")
    record = settled.fleet.shell("lb1", "cat /var/lib/seamless-rollout/balancer/shop-web1-*.json")
    assert json.loads(record)["owner"] == "shop"
    assert "still out of rotation" in played.text or "in_flight" in settled.rollout("1.0", playbook="status").text
    repaired = settled.rollout("2.0")
    assert repaired.code == 0, repaired.text
    assert set(settled.releases().values()) == {"2.0"}
    assert settled.all_up()


@pytest.mark.full
def test_a_host_that_is_lost_after_its_update_is_not_called_a_success(settled: Site) -> None:
    tasks = os.path.join(settled.fleet.directory, "late.yml")
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: Lose the network later\n  ansible.builtin.command: systemd-run sh -c 'sleep 1; nft -f /root/late'\n  changed_when: true\n")
        file.write("  when: inventory_hostname == 'web3'\n- name: Let it happen\n  ansible.builtin.wait_for:\n    timeout: 2\n  delegate_to: localhost\n")
    settled.fleet.put("web3", "/root/late", CUT)
    try:
        played = settled.rollout("2.0", hooks={"after_enable": [tasks]})
    finally:
        settled.fleet.connect("web3")
    assert played.code != 0
    assert "web3: it could not be reached at the end" in " ".join(played.text.split()), played.text
    again = settled.rollout("2.0")
    assert again.code == 0 and settled.all_up() and set(settled.releases().values()) == {"2.0"}, again.text
    assert settled.fleet.shell("web3", "ls /srv/shop/.rollout/lock", check=False).strip() != "/srv/shop/.rollout/lock"


def test_a_controller_that_dies_in_the_middle_is_finished_by_the_same_command(settled: Site) -> None:
    process = settled.fleet.begin("seamless.rollout.rollout", settled.variables("2.0", health_interval=1, health_rise=4), os.devnull)
    deadline = time.monotonic() + 60
    while settled.release_of("web1") != "2.0" and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, 9)
    process.wait()
    assert not settled.fleet.standing("lb1")["web1"].startswith("UP")
    status = settled.rollout("1.0", playbook="status")
    assert "interrupted" in status.text
    again = settled.rollout("2.0")
    assert again.code == 0, again.text
    assert set(settled.releases().values()) == {"2.0"}
    assert settled.all_up()


@pytest.mark.full
def test_what_a_killed_run_left_out_of_rotation_goes_back_when_the_next_one_fails(settled: Site) -> None:
    tasks = os.path.join(settled.fleet.directory, "fails.yml")
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: See where it points\n  ansible.builtin.command: readlink /srv/shop/current\n  register: points\n  changed_when: false\n")
        file.write("- name: Fail\n  ansible.builtin.command: 'false'\n  when: inventory_hostname == 'web3' and '2.0' in points.stdout\n")
    changes = {"canary": 1, "batch": [1], "max_unavailable": 2, "hooks": {"after_switch": [tasks]}}
    process = settled.fleet.begin("seamless.rollout.rollout", settled.variables("2.0", **changes), os.devnull)
    deadline = time.monotonic() + 60
    while settled.fleet.standing("lb1")["web2"].startswith("UP") and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, 9)
    process.wait()
    assert settled.release_of("web1") == "2.0" and not settled.fleet.standing("lb1")["web2"].startswith("UP")
    # web2, out of rotation, is no canary: web3 is, and fails before web2 has its turn.
    again = settled.rollout("2.0", **changes)
    assert again.code != 0 and "rolled_back" in again.text, again.text
    assert set(settled.releases().values()) == {"1.0"} and settled.all_up()


def test_an_operators_maintenance_survives_a_rollout(settled: Site) -> None:
    for balancer in settled.fleet.lb:
        settled.fleet.runtime(balancer, "set server shop/web3 state maint")
    try:
        played = settled.rollout("2.0", max_unavailable=2)
        assert played.code == 0, played.text
        assert "stays out" in played.text
        assert set(settled.releases().values()) == {"2.0"}
        assert [settled.fleet.standing(balancer)["web3"] for balancer in settled.fleet.lb] == ["MAINT", "MAINT"]
    finally:
        for balancer in settled.fleet.lb:
            settled.fleet.runtime(balancer, "set server shop/web3 state ready")
        time.sleep(1.5)


@pytest.mark.full
def test_an_undo_for_which_there_is_no_room_waits_until_there_is(settled: Site) -> None:
    """web1 dies while web3 fails. web2 is well but can't leave before web1 is back, and the undo comes to web2 first."""
    tasks = os.path.join(settled.fleet.directory, "dies.yml")
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: See where it points\n  ansible.builtin.command: readlink /srv/shop/current\n  register: points\n  changed_when: false\n")
        file.write("- name: Fail\n  when: inventory_hostname == 'web3' and '2.0' in points.stdout\n  block:\n")
        file.write("    - name: Stop web1\n      ansible.builtin.command: systemctl stop shop\n      delegate_to: web1\n")
        file.write("    - name: Let the balancers notice\n      ansible.builtin.wait_for:\n        timeout: 3\n      delegate_to: localhost\n")
        file.write("    - name: Fail\n      ansible.builtin.command: 'false'\n")
    played = settled.rollout("2.0", canary=0, batch=[1], max_unavailable=1, hooks={"after_switch": [tasks]})
    assert played.code != 0 and "rolled_back" in played.text, played.text
    assert "2 of 3 members are up and 2 must stay up" in re.sub(r"\s+", " ", played.text), played.text
    assert set(settled.releases().values()) == {"1.0"} and settled.all_up()
    assert "still out of rotation" not in played.text and "rollback_failed" not in played.text


def test_the_last_healthy_member_is_never_drained(settled: Site) -> None:
    for host in ("web2", "web3"):
        settled.fleet.shell(host, "systemctl stop shop")
    deadline = time.monotonic() + 10
    while settled.fleet.standing("lb1")["web3"].startswith("UP") and time.monotonic() < deadline:
        time.sleep(0.2)
    try:
        played = settled.rollout("2.0", "--limit", "web1", batch=[3], canary=0, max_unavailable="100%")
        assert played.code != 0
        assert re.search(r"1 of 3 members are up and\s+1 must stay up", played.text), played.text
        assert settled.fleet.standing("lb1")["web1"].startswith("UP")
        assert settled.release_of("web1") == "1.0"
    finally:
        for host in ("web2", "web3"):
            settled.fleet.shell(host, "systemctl start shop")
        time.sleep(3)


def test_a_reload_that_forgets_the_drain_does_not_go_unnoticed(settled: Site) -> None:
    tasks = os.path.join(settled.fleet.directory, "reload.yml")
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: Reload the balancer\n  ansible.builtin.command: systemctl reload haproxy\n  changed_when: true\n  delegate_to: lb1\n")
        file.write("- name: Let it settle\n  ansible.builtin.wait_for:\n    timeout: 1\n  delegate_to: localhost\n")
    played = settled.rollout("2.0", "--limit", "web1", hooks={"after_drain": [tasks]})
    assert played.code == 0, played.text
    redrain = played.text.split("Make sure that the host is still out of rotation")[1].split("TASK")[0]
    assert "changed: [web1]" in redrain
    assert "lb1: shop/web1 on /run/haproxy/admin.sock was back in rotation" in redrain and "lb2: " not in redrain
    assert settled.all_up()


@pytest.mark.full
def test_two_rollouts_of_one_application_cannot_run_at_once(settled: Site) -> None:
    results: list[Played] = []
    plans: list[Played] = []
    first = threading.Thread(target=lambda: results.append(settled.rollout("2.0")))
    first.start()
    deadline = time.monotonic() + 30
    while settled.fleet.shell("web2", "ls /srv/shop/.rollout/lock", check=False).strip() != "/srv/shop/.rollout/lock" and time.monotonic() < deadline:
        time.sleep(0.05)
    elsewhere = {"state_dir": os.path.join(settled.fleet.directory, "other-controller")}
    planned = threading.Thread(target=lambda: plans.append(settled.rollout("3.0", playbook="plan", plan_format="json", **elsewhere)))
    planned.start()
    second = settled.rollout("3.0", **elsewhere)
    planned.join()
    first.join()
    found = re.search(r"^\{$.*?^\}$", plans[0].text, re.MULTILINE | re.DOTALL)
    assert plans[0].code != 0 and found, plans[0].text
    data = json.loads(found.group())
    assert data["can_run"] is False and data["locks"]["web2"]["release"] == "2.0", data
    assert second.code != 0
    assert "is locked by rollout" in second.text
    assert results[0].code == 0, results[0].text
    assert set(settled.releases().values()) == {"2.0"}


def test_check_mode_shows_the_whole_plan_and_changes_nothing(settled: Site) -> None:
    def snapshot() -> list[str]:
        unrelated = "-not -path '/proc/*' -not -path '/run/*' -not -path '/var/log/*'"
        return [settled.fleet.shell(host, f"find / -xdev -newer /tmp/mark {unrelated} -type f") for host in settled.fleet.hosts]

    for host in settled.fleet.hosts:
        settled.fleet.shell(host, "touch /tmp/mark; sleep 0.01")
    played = settled.rollout("2.0", "--check", "--diff")
    assert played.code == 0, played.text
    for expected in ("canary:", "web1  1.0 -> 2.0", "batch 2", "on failure: rollback", "plan only"):
        assert expected in played.text
    assert [text for text in snapshot() if text.strip()] == []
    assert settled.all_up()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_unavailable": "0%"}, "rollout_max_unavailable is '0%'"),
        full({"batch": "150%"}, "rollout_batch is '150%'"),
        ({"on_failure": "rolback"}, "nearest: rollback"),
        full({"hosts": "apps"}, "no host of the inventory matches it. Nothing was done. Give a group"),
        full({"unavailable": 1}, "Did you mean rollout_max_unavailable"),
        ({"balancers": [{"driver": "haproxy", "hosts": "lb", "socket": "/run/haproxy/admin.sock", "backend": "shp"}]}, "backend shp is not on"),
        full({"balancers": [{"driver": "haproxy", "hosts": "lb", "socket": "/run/nope.sock", "backend": "shop"}]}, "is not there: set socket"),
        full({"balancers": [{"driver": "haproxy", "hosts": "lbs", "socket": "/run/haproxy/admin.sock"}]}, "Did you mean lb"),
        ({"balancers": [{"driver": "haproxy", "hosts": "lb", "socket": "/run/haproxy/admin.sock", "member": "wbe1"}]}, "Did you mean web1"),
        full({"source": {"type": "archive", "path": "/etc/hostname"}}, "has no checksum"),
        full({"source": {"type": "directory", "path": "/nowhere"}}, "is not a directory"),
        full({"health": [{"url": "localhost"}]}, "complete one such as"),
        full({"services": [{"nam": "shop"}]}, "has no name"),
        ({"services": [{"name": "shpo"}]}, "not known to systemd"),
        full({"min_free": "900T"}, "min_free"),
        full({"linked_files": ["config/.env"]}, "linked_files are missing"),
        full({"owner": "nobody-here"}, "no such user"),
        ({"hooks": {"after_switch": ["hooks/wram.yml"]}}, "there is no such task file"),
        full({"hooks": {"validate": ["my.wram"]}}, "there is no such role"),
    ],
)
def test_bad_input_is_refused_before_the_first_host_is_drained(settled: Site, changes: dict[str, object], message: str) -> None:
    played = settled.rollout("4.0", **changes)
    assert played.code != 0
    assert message in re.sub(r"\s+", " ", played.text), played.text
    assert "Take the host out of rotation" not in played.text
    assert settled.all_up()
    assert settled.fleet.shell("web1", "ls /srv/shop/.rollout/lock", check=False).strip() != "/srv/shop/.rollout/lock"


@pytest.mark.full
def test_a_release_that_dies_while_it_is_watched_in_rotation_is_undone(settled: Site) -> None:
    program = SERVER.replace("server.serve_forever()", "threading.Timer(5, os._exit, [1]).start()\nserver.serve_forever()")
    settled.build("dies", broken=program)
    played = settled.rollout("dies", bake_seconds=8, health_interval=0.5, health_rise=2)
    assert played.code != 0 and "rolled_back" in played.text, played.text
    assert "Watch the health in rotation: not healthy" in re.sub(r"\s+", " ", played.text)
    assert set(settled.releases().values()) == {"1.0"} and settled.all_up()
    watched = settled.rollout("2.0", bake_seconds=1, health_interval=0.5, health_rise=2)
    assert watched.code == 0, watched.text


def test_hosts_fetch_an_archive_by_themselves_and_a_wrong_one_touches_nobody(settled: Site) -> None:
    path = os.path.join(settled.fleet.directory, "shop.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(os.path.join(settled.builds, "3.0"), "shop-3.0")
    with open(path, "rb") as file:
        data = file.read()
    settled.fleet.put("lb1", "/srv/artifacts/shop.tar.gz", data)
    settled.fleet.shell("lb1", "systemd-run --unit artifacts --working-directory=/srv/artifacts python3 -m http.server 8088")
    source = {"type": "url", "url": f"http://{settled.fleet.addresses['lb1']}:8088/shop.tar.gz", "strip_components": 1}
    wrong = settled.rollout("3.0-fetched", source={**source, "checksum": f"sha256:{'0' * 64}"})
    assert wrong.code != 0 and "no host was touched" in wrong.text and "has the checksum sha256:" in wrong.text
    assert settled.all_up() and set(settled.releases().values()) == {"1.0"}
    checksum = f"sha256:{hashlib.sha256(data).hexdigest()}"
    health = [{"url": "http://127.0.0.1:8000/health", "json": {"version": "3.0"}}]
    played = settled.rollout("3.0-fetched", source={**source, "checksum": checksum}, health=health)
    assert played.code == 0, played.text
    assert set(settled.releases().values()) == {"3.0-fetched"}
    again = settled.rollout("3.0-fetched", source={**source, "checksum": checksum}, health=health)
    assert again.code == 0 and "nothing to do" in again.text
    other = settled.rollout("3.0-fetched", source={**source, "checksum": f"sha256:{'0' * 64}"}, health=health)
    assert other.code != 0 and "with other content (archive's checksum" in other.text.replace("\n", " ")


@pytest.mark.full
def test_bad_input_an_archive_that_leaves_the_tree_is_refused(settled: Site) -> None:
    path = os.path.join(settled.fleet.directory, "evil.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../evil"))
    with open(path, "rb") as file:
        checksum = hashlib.sha256(file.read()).hexdigest()
    played = settled.rollout("4.0", source={"type": "archive", "path": path, "checksum": f"sha256:{checksum}"})
    assert played.code != 0
    assert "has the member '../evil', which would leave" in re.sub(r"\s+", " ", played.text), played.text
    assert "Take the host out of rotation" not in played.text


@pytest.mark.full
def test_bad_input_a_current_that_is_a_real_directory_is_refused(settled: Site) -> None:
    settled.fleet.shell("web2", "mv /srv/shop/current /srv/shop/kept && mkdir /srv/shop/current && touch /srv/shop/current/precious")
    try:
        played = settled.rollout("4.0")
        assert settled.fleet.shell("web2", "ls /srv/shop/current").strip() == "precious"
    finally:
        settled.fleet.shell("web2", "rm -r /srv/shop/current && mv /srv/shop/kept /srv/shop/current")
    assert played.code != 0
    assert "web2: /srv/shop/current is a real directory, not a link" in re.sub(r"\s+", " ", played.text), played.text
    assert "Take the host out of rotation" not in played.text


def test_rollback_preview_and_promote(settled: Site) -> None:
    forward = settled.rollout("2.0")
    assert forward.code == 0, forward.text
    back = settled.rollout("2.0", playbook="rollback")
    assert back.code == 0, back.text
    assert set(settled.releases().values()) == {"1.0"}
    preview = settled.rollout("3.0", playbook="preview")
    assert preview.code == 0, preview.text
    assert os.path.basename(settled.fleet.shell("web2", "readlink /srv/shop/preview").strip()) == "3.0"
    assert set(settled.releases().values()) == {"1.0"}
    promoted = settled.rollout("ignored", playbook="promote")
    assert promoted.code == 0, promoted.text
    assert set(settled.releases().values()) == {"3.0"}
    assert settled.all_up()


@pytest.mark.full
def test_an_existing_role_is_wrapped_in_drain_check_and_enable(settled: Site) -> None:
    tasks = os.path.join(settled.fleet.directory, "patch.yml")
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: Patch\n  ansible.builtin.command: touch /root/patched\n  changed_when: true\n")
    changes = {"source": "", "services": [], "health": [{"url": "http://127.0.0.1:8000/"}]}
    played = settled.rollout("", update_tasks=tasks, **changes)
    assert played.code == 0, played.text
    for host in settled.fleet.web:
        assert settled.fleet.shell(host, "ls /root/patched").strip() == "/root/patched"
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: Fail\n  ansible.builtin.command: 'false'\n")
    failed = settled.rollout("", update_tasks=tasks, **changes)
    assert failed.code != 0
    assert failed.text.count("fatal: [web") >= 1
    assert "web2  untouched" in failed.text
    assert not settled.fleet.standing("lb1")["web1"].startswith("UP")


@pytest.mark.full
def test_the_modules_work_without_the_light_transport(settled: Site) -> None:
    played = settled.rollout("2.0", pipelining=False)
    assert played.code == 0, played.text
    assert set(settled.releases().values()) == {"2.0"}
    assert settled.all_up()


def test_the_repository_names_no_place_of_this_machine() -> None:
    listed = subprocess.run(["git", "-C", REPO, "grep", "-lE", "/(r)oot/\\.pyenv"], stdout=subprocess.PIPE, text=True, check=False).stdout
    assert listed == ""


@pytest.mark.full
def test_a_pause_keeps_the_lock_and_the_same_command_goes_on(settled: Site) -> None:
    never = [{"url": "http://127.0.0.1:8000/", "contains": "never"}]
    paused = settled.rollout("2.0", health=never, on_failure="pause", healthy_deadline=3)
    assert paused.code != 0
    assert "paused" in paused.text
    assert settled.fleet.shell("web3", "cat /srv/shop/.rollout/lock").strip().startswith("{")
    again = settled.rollout("2.0", on_failure="pause")
    assert again.code == 0, again.text
    assert set(settled.releases().values()) == {"2.0"}
    assert settled.all_up()
    assert settled.fleet.shell("web3", "ls /srv/shop/.rollout/lock", check=False).strip() != "/srv/shop/.rollout/lock"


@pytest.mark.full
@pytest.mark.parametrize(("left", "message"), [(0, "the disk is full"), (200, r"are free, the release needs \S+ \S+ and min_free keeps")])
def test_bad_input_a_full_disk_is_refused_before_a_drain(settled: Site, left: int, message: str) -> None:
    mount = "mkdir -p /mnt/full && mount -t tmpfs -o size=8m tmpfs /mnt/full && cp -a /srv/shop/. /mnt/full && mount --bind /mnt/full /srv/shop"
    fill = f"dd if=/dev/zero of=/mnt/full/filler bs=1k 2>/dev/null; truncate -s -{left}k /mnt/full/filler; sync"
    settled.fleet.mount_shell("web2", f"{mount}; {fill}")
    try:
        played = settled.rollout("4.0")
    finally:
        settled.fleet.mount_shell("web2", "umount -l /srv/shop /mnt/full")
    assert played.code != 0
    assert re.search(f"web2: .*{message}", re.sub(r"\s+", " ", played.text)), played.text
    assert "Take the host out of rotation" not in played.text
    assert settled.all_up() and set(settled.releases().values()) == {"1.0"}


@pytest.mark.full
def test_hooks_run_in_an_undo_and_know_it_and_nothing_is_watched_there(settled: Site) -> None:
    log, note, fails = (os.path.join(settled.fleet.directory, name) for name in ("hooks.log", "note.yml", "fails-forward.yml"))
    said = "{{ inventory_hostname }} {{ rollout_undo }} {{ rollout_target_release }} {{ rollout_target_path }} {{ rollout_release }}"
    with open(note, "w", encoding="utf-8") as file:
        file.write(f"- name: Note\n  ansible.builtin.shell: echo {said} >> {log}\n  delegate_to: localhost\n  changed_when: true\n")
    with open(fails, "w", encoding="utf-8") as file:
        file.write("- name: Fail\n  ansible.builtin.command: 'false'\n  when: inventory_hostname == 'web2' and not rollout_undo\n")
    played = settled.rollout("2.0", canary=1, batch=[1], bake_seconds=1, hooks={"before_drain": [note], "after_switch": [fails], "after_enable": [note]})
    assert played.code != 0 and "rolled_back" in played.text, played.text
    with open(log, encoding="utf-8") as file:
        lines = file.read().split("\n")[:-1]
    forth = [f"{host} False 2.0 /srv/shop/releases/2.0 2.0" for host in ("web1", "web1", "web2")]
    back = [f"{host} True 1.0 /srv/shop/releases/1.0 2.0" for host in ("web2", "web2", "web1", "web1")]
    assert lines == [*forth, *back], lines
    forward, dummy, undo = played.text.partition("PLAY [Undo]")
    assert "Watch the health in rotation" in forward and "Watch the health in rotation" not in undo and "Switch the link" in undo
    assert set(settled.releases().values()) == {"1.0"} and settled.all_up()


@pytest.mark.full
def test_a_host_that_fails_in_rotation_and_may_is_taken_out_again_and_the_others_go_on(settled: Site) -> None:
    tasks, once = (os.path.join(settled.fleet.directory, name) for name in ("fails-in-rotation.yml", "before.yml"))
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: Fail\n  ansible.builtin.command: 'false'\n  when: inventory_hostname == 'web2'\n")
    with open(once, "w", encoding="utf-8") as file:
        file.write("- name: Come once\n  ansible.builtin.command: 'true'\n  changed_when: true\n")
    # There is room for two, so that web3 can go although web2 stays out.
    played = settled.rollout("2.0", canary=1, batch=[1], max_unavailable=2, max_fail=1, hooks={"after_enable": [tasks]}, once_before=[once])
    assert played.code != 0 and "Come once" in played.text and "rolled_back" not in played.text, played.text
    assert settled.releases() == {"web1": "2.0", "web2": "2.0", "web3": "2.0"}
    standing = [{host: state.split()[0] for host, state in settled.fleet.standing(balancer).items()} for balancer in settled.fleet.lb]
    assert all(found["web1"] == found["web3"] == "UP" and found["web2"] != "UP" for found in standing), standing
    assert re.search(r"web2 +failed .*still out of rotation", played.text), played.text
    again = settled.rollout("2.0", max_unavailable=2)
    assert again.code == 0 and settled.all_up(), again.text


@pytest.mark.full
def test_a_reload_while_a_host_restarts_is_in_the_report(settled: Site) -> None:
    settled.build("slow", broken=SERVER.replace('"1.0"', '"4.0"'))
    process = settled.fleet.begin("seamless.rollout.rollout", settled.variables("slow"), os.devnull)
    try:
        deadline = time.monotonic() + 60
        while settled.release_of("web1") != "slow" and time.monotonic() < deadline:
            time.sleep(0.05)
        settled.fleet.shell("lb1", "systemctl reload haproxy")
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
    assert set(settled.releases().values()) == {"slow"} and settled.all_up()
    status = settled.rollout("slow", playbook="status")
    assert re.search(r"web1 .*was back in rotation too early on lb1 \(reloaded\?\)", status.text), status.text
    assert status.text.count("was back in rotation too early") == 1
