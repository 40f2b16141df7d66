# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example of the README, run as a reader would run it, from the collection as it is published."""

from __future__ import annotations

import os
import re
import subprocess
import typing as t

import pytest
import yaml
from database.servers import PASSWORD, POSTGRESQL, Servers
from fleet.fleet import REPO, Fleet
from fleet.site import Site

with open(os.path.join(REPO, "README.md"), encoding="utf-8") as readme:
    BLOCKS: list[str] = re.findall(r"^```\w+\n(.*?)^```$", readme.read(), re.MULTILINE | re.DOTALL)


class Reader:
    """Somebody with an empty directory, servers, and the README."""

    def __init__(self, fleet: Fleet, directory: str) -> None:
        self.fleet = fleet
        self.site = Site(fleet)
        self.directory = directory
        self.used: set[str] = set()
        self.site.builds = os.path.join(directory, "build")
        for name, release in (("shop-1.1.0", "1.1.0"), ("shop-1.2.0", "1.2.0"), ("shop", "1.2.0")):
            os.rename(self.site.build(release), os.path.join(directory, "build", name))
        self.site.prepare()
        inventory = self.block("ansible_host: 198.51.100.11")
        for host, address in fleet.addresses.items():
            inventory = re.sub(rf"{host}: {{ansible_host: [\d.]+}}", f"{host}: {{ansible_host: {address}}}", inventory)
        self.write("inventory.yml", inventory)
        self.write("group_vars/app.yml", self.smallest)
        self.write("ansible.cfg", self.block("[ssh_connection]"))

    @property
    def smallest(self) -> str:
        return self.block("rollout_app: shop\nrollout_source")

    def block(self, words: str) -> str:
        """Return the README's block that has *words*, and note that it was used."""
        found = [text for text in BLOCKS if words in text]
        assert found, f"no block of the README has {words!r}"
        self.used.add(found[0])
        return found[0]

    def write(self, name: str, text: str) -> None:
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def run(self, line: str) -> str:
        """Run a line of a shell block and return what it says; it must succeed."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE")},
            "ANSIBLE_COLLECTIONS_PATH": os.path.join(self.directory, "collections"),
            "ANSIBLE_ROLES_PATH": os.path.join(self.directory, "roles"),
            "ANSIBLE_REMOTE_USER": "root",
            "ANSIBLE_PRIVATE_KEY_FILE": os.path.join(self.fleet.directory, "key"),
            "ANSIBLE_HOST_KEY_CHECKING": "false",
            "ANSIBLE_SSH_COMMON_ARGS": "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            "XDG_STATE_HOME": os.path.join(self.directory, "state"),
            "ANSIBLE_NOCOLOR": "1",
            "PYTHONPATH": "",
        }
        done = subprocess.run(
            ["sh", "-c", line], cwd=self.directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}"
        return done.stdout

    def rollout(self, *options: str) -> str:
        """Run the command of the first screen."""
        line = next(line for line in self.block("seamless.rollout.rollout -e").splitlines() if "ansible-playbook" in line)
        return self.run(" ".join([line, *options]))

    def releases(self) -> set[str]:
        return set(self.site.releases().values())


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Reader]:
    with Servers([POSTGRESQL], web=2, lb=1) as fleet:
        made = Reader(fleet, str(tmp_path_factory.mktemp("reader")))
        install = made.block("ansible-galaxy collection install").splitlines()[0]
        built = subprocess.run(
            ["ansible-galaxy", "collection", "build", REPO, "--output-path", made.directory, "--force"], stdout=subprocess.PIPE, text=True, check=True
        )
        tarball = built.stdout.strip().rpartition(" ")[2]
        made.run(f"{install.replace('seamless.rollout', tarball)} -p collections")
        yield made


def test_releases_alone_on_one_server(reader: Reader) -> None:
    reader.write("site.yml", reader.block("role: seamless.rollout.release"))
    reader.run("ansible-playbook -i inventory.yml site.yml")
    assert reader.site.release_of("web1") == "1.2.0"
    reader.fleet.shell("web1", "systemctl is-active shop")


def test_the_first_screen_rolls_a_site_out(reader: Reader) -> None:
    text = reader.rollout("-e rollout_release=1.1.0 -e rollout_min_available=0")
    assert reader.releases() == {"1.1.0"}, text
    reader.rollout()
    assert reader.releases() == {"1.2.0"} and reader.site.all_up()


def test_plan_rollout_rollback_status(reader: Reader) -> None:
    plan, again, back, status, history = reader.block("seamless.rollout.plan").splitlines()
    assert "nothing to do" in reader.run(plan)
    assert "nothing to do" in reader.run(again)
    command, dummy, release = plan.partition(" -e rollout_release=")
    assert "nothing to do" in reader.run(f"ROLLOUT_RELEASE={release} ROLLOUT_HOSTS=app ROLLOUT_REASON=why {command}")
    with pytest.raises(AssertionError, match="no host of the inventory matches"):
        reader.run(f"ROLLOUT_RELEASE={release} ROLLOUT_HOSTS=nobody {command}")
    reader.run(back)
    assert reader.releases() == {"1.1.0"} and reader.site.all_up()
    assert "web2" in reader.run(status)
    assert "1.2.0 -> 1.1.0" in reader.run(history)


def test_a_canary_a_watch_and_a_budget(reader: Reader) -> None:
    reader.write("group_vars/app.yml", reader.smallest + reader.block("rollout_canary: 1"))
    text = reader.rollout("-e rollout_bake_seconds=1")
    assert "canary" in text and "Watch the health in rotation" in text
    assert reader.releases() == {"1.2.0"}


def test_data_outside_the_release_and_hooks(reader: Reader) -> None:
    reader.write("group_vars/app.yml", reader.smallest + reader.block("rollout_linked_dirs"))
    reader.write("hooks/warm_cache.yml", "- name: Warm the cache\n  ansible.builtin.file:\n    path: /srv/warm\n    state: touch\n    mode: '0644'\n")
    for host in reader.fleet.web:
        reader.fleet.put(host, "/srv/shop/shared/.env", "A=1\n")
    reader.site.build("1.3.0")
    os.rename(os.path.join(reader.directory, "build", "1.3.0"), os.path.join(reader.directory, "build", "shop-1.3.0"))
    reader.rollout("-e rollout_release=1.3.0")
    for host in reader.fleet.web:
        reader.fleet.shell(host, "test -f /srv/warm && test -d /srv/shop/current/uploads/ && grep A=1 /srv/shop/current/.env")
    os.unlink(os.path.join(reader.directory, "hooks", "warm_cache.yml"))
    with pytest.raises(AssertionError, match="there is no such task file"):
        reader.rollout("-e rollout_release=1.3.0")


def test_a_role_of_the_readers_own_is_wrapped(reader: Reader) -> None:
    reader.write("group_vars/app.yml", reader.block("rollout_update_role"))
    with pytest.raises(AssertionError, match="there is no such role"):
        reader.rollout()
    patch = "- name: Patch\n  ansible.builtin.file:\n    path: /srv/patched\n    state: touch\n    mode: '0644'\n"
    reader.write("roles/my.kernel_patch/tasks/main.yml", patch)
    text = reader.rollout()
    assert "Take the host out of rotation" in text and reader.site.all_up()
    for host in reader.fleet.web:
        reader.fleet.shell(host, "test -f /srv/patched")


def test_a_release_that_changes_the_database(reader: Reader) -> None:
    assert isinstance(reader.fleet, Servers)
    place = reader.fleet.make(POSTGRESQL, "shop")
    with place.connect("owner") as session:
        session.script("CREATE TABLE users (id integer PRIMARY KEY, name text)", "INSERT INTO users VALUES (1, 'Ada')")
    with open(os.path.join(reader.directory, "inventory.yml"), encoding="utf-8") as file:
        inventory = file.read()
    reader.write("inventory.yml", f"{inventory}db:\n  hosts:\n    db1: {{ansible_host: {place.host}}}\n")
    migration = reader.block("rename_column: {table: users")
    release = os.path.join(reader.directory, "build", "shop-2.0")
    os.rename(reader.site.build("2.0"), release)
    reader.write(os.path.join(release, re.findall(r"migrations/\S+\.yml", migration)[0]), migration)
    reader.write("group_vars/app.yml", reader.smallest + reader.block("rollout_migrations:"))
    reader.rollout(f"-e rollout_release=2.0 -e vault_shop_owner={PASSWORD}")
    with place.connect("owner") as session:
        assert session.rows("SELECT name, full_name FROM users") == [("Ada", "Ada")]
    assert reader.releases() == {"2.0"} and reader.site.all_up()


def test_what_make_can_do_is_what_the_readme_says(reader: Reader) -> None:
    lines = reader.block("make demo").splitlines()
    with open(os.path.join(REPO, "Makefile"), encoding="utf-8") as file:
        targets = re.findall(r"^([a-z-]+):", file.read(), re.MULTILINE)
    assert all(line.split()[1] in targets for line in lines)


def test_no_example_was_left_out(reader: Reader) -> None:
    reader.block("ansible-galaxy collection install seamless.rollout\n```".rstrip("`").rstrip("\n"))
    left = [text for text in BLOCKS if text not in reader.used and not set(text.splitlines()) <= {line for used in reader.used for line in used.splitlines()}]
    assert left == []
    assert all(yaml.safe_load(text) for text in BLOCKS if text.startswith(("rollout_", "- hosts", "#")))
