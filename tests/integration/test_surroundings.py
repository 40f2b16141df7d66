# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sites as people have them: no root login, interpreters that Ansible finds by itself, balancers that only know health checks, plays of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing as t

import pytest
import yaml
from fleet.fleet import REPO, Fleet, Played
from fleet.load import Load
from fleet.site import SERVER, Site

MARK = "/run/seamless-rollout/shop.drain"
# The balancer's endpoint follows the file; the application's own does not.
FOLLOWING = SERVER.replace("self.send_response(200)", f'self.send_response(503 if self.path == "/health" and os.path.exists("{MARK}") else 200)')
OWN_HEALTH = [{"url": "http://127.0.0.1:8000/up", "json": {"version": "{{ rollout_release }}"}}]


@pytest.fixture(scope="module")
def site() -> t.Iterator[Site]:
    """Two web servers behind two balancers, reached as a user that may become root."""
    with Fleet(web=2, lb=2) as fleet:
        made = Site(fleet)
        made.prepare()
        for release in ("1.0", "2.0", "3.0", "4.0", "5.0"):
            made.build(release, broken=FOLLOWING)
        with open(os.path.join(fleet.directory, "key.pub"), encoding="utf-8") as file:
            key = file.read()
        for host in fleet.hosts:
            fleet.shell(host, "useradd --create-home --shell /bin/sh deploy && echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy")
            fleet.shell(host, "install -d -m 700 -o deploy /home/deploy/.ssh")
            fleet.put(host, "/home/deploy/.ssh/authorized_keys", key)
        with open(fleet.inventory, encoding="utf-8") as file:
            inventory = json.load(file)
        del inventory["all"]["vars"]["ansible_python_interpreter"]
        inventory["all"]["vars"].update(ansible_user="deploy", ansible_become=True)
        with open(fleet.inventory, "w", encoding="utf-8") as file:
            json.dump(inventory, file)
        first = made.rollout("1.0", min_available=0, max_unavailable="")
        assert first.code == 0, first.text
        yield made


def under_load(site: Site, run: t.Callable[[], Played]) -> Played:
    urls = [f"http://{site.fleet.addresses[host]}/" for host in site.fleet.lb]
    with Load(urls, rate=100, clients=10) as load:
        played = run()
    assert played.code == 0, played.text
    summary = load.summary()
    assert summary["requests"] > 200 and summary["failed"] == 0, summary
    return played


def test_a_user_that_becomes_root_on_hosts_whose_interpreter_is_found(site: Site) -> None:
    played = under_load(site, lambda: site.rollout("2.0", bake_seconds=1, health=[], bake_health=[]))
    assert "Wait in rotation" in played.text
    assert set(site.releases().values()) == {"2.0"} and site.all_up()
    assert "nothing to do" in site.rollout("2.0").text


@pytest.mark.full
def test_a_balancer_that_only_knows_health_checks(site: Site) -> None:
    balancers = [{"driver": "health_file", "settle_seconds": 2, "check_url": "http://127.0.0.1:8000/health"}]
    played = under_load(site, lambda: site.rollout("3.0", balancers=balancers, health=OWN_HEALTH))
    assert played.text.count("Take the host out of rotation") == 2
    assert set(site.releases().values()) == {"3.0"} and site.all_up()
    assert site.fleet.shell("web1", f"ls {MARK}", check=False).strip() != MARK
    same = site.rollout("4.0", balancers=balancers, health=[{"url": "http://127.0.0.1:8000/health"}])
    assert same.code != 0 and "Have rollout_health ask another URL" in " ".join(same.text.split())


@pytest.mark.full
def test_what_users_see_through_the_balancer_is_watched_too(site: Site) -> None:
    through = [{"url": f"http://{site.fleet.addresses[host]}/"} for host in site.fleet.lb]
    played = under_load(site, lambda: site.rollout("4.0", bake_health=through))
    assert "Watch the health in rotation" in played.text and set(site.releases().values()) == {"4.0"}
    missing = [{"url": f"http://{site.fleet.addresses['lb1']}:81/"}]
    failed = site.rollout("5.0", bake_health=missing)
    assert failed.code != 0 and "connection refused" in failed.text
    assert set(site.releases().values()) == {"4.0"} and site.all_up()
    wrong = site.rollout("5.0", bake_health=[{"url": "shop"}])
    assert wrong.code != 0 and "rollout_bake_health: health probe 1: url is 'shop'" in " ".join(wrong.text.split())


def test_the_roles_one_by_one_in_a_play_of_ones_own(site: Site) -> None:
    balancer = {"balancer_balancers": [{"driver": "haproxy", "hosts": "lb", "socket": "/run/haproxy/admin.sock", "backend": "shop"}], "balancer_owner": "mine"}
    release = {
        "release_app": "shop", "release_id": "5.0", "release_source": {"type": "directory", "path": os.path.join(site.builds, "5.0")},
        "release_services": [{"name": "shop"}],
    }
    play: dict[str, t.Any] = {
        "hosts": "app", "serial": 1, "gather_facts": False,
        "tasks": [
            {"include_role": {"name": "seamless.rollout.release", "tasks_from": "stage"}},
            {"include_role": {"name": "seamless.rollout.balancer", "tasks_from": "drain"}},
            {"include_role": {"name": "seamless.rollout.release", "tasks_from": "activate"}},
            {"include_role": {"name": "seamless.rollout.health"}},
            {"include_role": {"name": "seamless.rollout.balancer", "tasks_from": "enable"}},
            {"include_role": {"name": "seamless.rollout.release", "tasks_from": "prune"}},
        ],
        "vars": {**balancer, **release, "health_probes": [{"url": "http://127.0.0.1:8000/", "json": {"version": "5.0"}}], "health_interval": 0.3},
    }
    path = os.path.join(site.fleet.directory, "own.yml")
    with open(path, "w", encoding="utf-8") as file:
        yaml.safe_dump([play], file)
    under_load(site, lambda: site.fleet.play(path))
    assert set(site.releases().values()) == {"5.0"} and site.all_up()
    again = site.fleet.play(path)
    assert again.code == 0 and set(site.releases().values()) == {"5.0"}, again.text


def own_play(site: Site, role: str, entry: str, hosts: str = "app", **variables: t.Any) -> Played:
    """Run one entry point of a role in a play of one's own, host after host."""
    path = os.path.join(site.fleet.directory, f"{role}-{entry}.yml")
    play = {
        "hosts": hosts, "serial": 1, "gather_facts": False, "vars": {f"{role}_{name}": value for name, value in variables.items()},
        "tasks": [{"include_role": {"name": f"seamless.rollout.{role}", "tasks_from": entry}}],
    }
    with open(path, "w", encoding="utf-8") as file:
        yaml.safe_dump([play], file)
    return site.fleet.play(path)


@pytest.mark.full
def test_the_release_role_shows_a_preview_and_goes_back(site: Site) -> None:
    def run(entry: str, release: str) -> Played:
        options: dict[str, t.Any] = {"app": "shop", "id": release, "services": [{"name": "shop"}], "health": [{"url": "http://127.0.0.1:8000/"}]}
        if entry == "main":
            options["source"] = {"type": "directory", "path": site.build(release, broken=FOLLOWING)}
        played = own_play(site, "release", entry, **options)
        assert played.code == 0, played.text
        return played

    def web1(command: str) -> str:
        return site.fleet.shell("web1", command).strip()

    pid, served = "systemctl show -p MainPID --value shop", "curl -s http://127.0.0.1:8000/ | cut -d'\"' -f4"
    for release in ("5.1", "5.2"):
        run("main", release)
    process = web1(pid)
    run("preview", "5.1")
    assert web1("readlink /srv/shop/preview /srv/shop/current").split() == ["releases/5.1", "releases/5.2"]
    assert (web1(pid), web1(served)) == (process, "5.2")
    run("rollback", "")
    assert set(site.releases().values()) == {"5.1"} and (web1(served), web1(pid) != process) == ("5.1", True)
    assert json.loads(web1("cat /srv/shop/.rollout/releases/5.2.json"))["state"] == "bad"
    assert re.findall(r"changed=(\d)", run("rollback", "5.1").text) == ["0", "0"]
    run("rollback", "")
    assert not {"5.1", "5.2"} & set(site.releases().values())


@pytest.mark.full
def test_the_balancer_role_puts_a_host_into_maintenance_and_back(site: Site) -> None:
    def stand(state: str) -> list[str]:
        balancers = [{"driver": "haproxy", "hosts": "lb", "socket": "/run/haproxy/admin.sock", "backend": "shop"}]
        played = own_play(site, "balancer", "main", "web1", balancers=balancers, owner="mine", state=state)
        assert played.code == 0, played.text
        return [site.fleet.standing(balancer)["web1"] for balancer in site.fleet.lb]

    assert stand("enabled") == ["UP", "UP"]
    assert stand("maintenance") == ["MAINT", "MAINT"]
    assert stand("enabled") == ["UP", "UP"]


@pytest.mark.full
def test_several_members_on_several_balancers_in_one_call(site: Site) -> None:
    def stand(state: str, **more: str) -> tuple[Played, list[str]]:
        balancers = [{"delegate": balancer, "backend": "shop"} for balancer in site.fleet.lb]
        arguments = {"members": [{"name": host} for host in site.fleet.web], "balancers": balancers, "socket": "/run/haproxy/admin.sock", "owner": "mine"}
        task = ("-m", "seamless.rollout.lb_member", "-a", json.dumps({**arguments, "state": state, **more}))
        played = site.fleet.play("web1", None, *task, ansible="ansible")
        return played, [site.fleet.standing(balancer)[host] for balancer in site.fleet.lb for host in site.fleet.web]

    refused, standing = stand("drained")
    assert "lb1: web1, web2 can't be taken out of shop" in refused.text and "lb2: web1, web2 can't be" in refused.text, refused.text
    assert standing == ["UP"] * 4
    for state, expected in (("drained", "DRAIN"), ("maintenance", "MAINT"), ("enabled", "UP")):
        played, standing = stand(state, min_available="0")
        assert (played.code, standing) == (0, [expected] * 4), played.text
    assert "web1 | SUCCESS" in stand("enabled")[0].text


WSGI = """\
import json, os

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "VERSION")) as file:
    VERSION = file.read().strip()


def app(environ, start):
    body = json.dumps({"version": VERSION}).encode()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""
GUNICORN = """\
[Service]
Type=notify
WorkingDirectory={directory}
Environment=PYTHONPATH=/srv/shop/current/lib PYTHONDONTWRITEBYTECODE=1
ExecStart=/usr/bin/python3 -m gunicorn {options} --workers 2 --bind 0.0.0.0:8000 server:app
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
"""


@pytest.mark.full
def test_gunicorn_is_reloaded_as_the_guide_says_and_the_other_way_is_undone(site: Site) -> None:
    for release in ("6.0", "7.0", "8.0"):
        place = site.build(release, broken=WSGI)
        command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--target", os.path.join(place, "lib"), "gunicorn"]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    with open(os.path.join(REPO, "docs", "docsite", "rst", "restarts.rst"), encoding="utf-8") as file:
        guide = file.read()
    directory, options = "/srv/shop", "--chdir /srv/shop/current"
    assert f"WorkingDirectory={directory}``" in guide and options in guide

    def unit(directory: str, options: str) -> None:
        for host in site.fleet.web:
            site.fleet.put(host, "/etc/systemd/system/shop.service", GUNICORN.format(directory=directory, options=options))
            site.fleet.shell(host, "systemctl daemon-reload")

    unit(directory, options)
    assert site.rollout("6.0").code == 0
    master = site.fleet.shell("web1", "systemctl show -p MainPID --value shop")
    reload = [{"name": "shop", "action": "reload", "timeout": 10}]
    under_load(site, lambda: site.rollout("7.0", services=reload))
    assert set(site.releases().values()) == {"7.0"} and site.all_up()
    assert site.fleet.shell("web1", "systemctl show -p MainPID --value shop") == master
    unit(directory + "/current", "")
    for host in site.fleet.web:
        site.fleet.shell(host, "systemctl restart shop")
    wrong = site.rollout("8.0", services=reload, healthy_deadline=4)
    assert wrong.code != 0 and "a process keeps the directory it was started in" in " ".join(wrong.text.split())
    assert set(site.releases().values()) == {"7.0"} and site.all_up()
