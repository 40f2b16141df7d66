# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One address that moves between servers, under a client that never waits."""

from __future__ import annotations

import json
import os
import re
import typing as t

import pytest
import yaml
from fleet.fleet import REPO, Fleet, Played
from fleet.floating import TRACK_FILE, Floating
from fleet.load import Load
from fleet.site import SERVER, Site
from fleet.steady import Steady
from sampling import full

# Well on its own host, and ill for everybody else.
SHY = SERVER.replace("self.send_response(200)", 'self.send_response(200 if self.client_address[0] == "127.0.0.1" else 500)')
PAIR = "web1,web2"
# How long a client may be without an answer on a machine that does other things as well; how long it is, `make numbers` says.
PATIENCE = 4.0


@pytest.fixture(scope="module")
def floating() -> t.Iterator[Floating]:
    """web1 has release 1.0, web2 has 2.0, and web3 one that fails under traffic."""
    with Fleet(web=3, lb=2) as fleet:
        site = Site(fleet)
        site.prepare()
        for release in ("1.0", "2.0", "3.0"):
            site.build(release)
        site.build("shy", broken=SHY)
        for host, release in (("web1", "1.0"), ("web2", "2.0"), ("web3", "shy")):
            played = site.rollout(release, "--limit", host, balancers=[])
            assert played.code == 0, played.text
        yield Floating(site)


@pytest.fixture
def at_web1(floating: Floating) -> t.Iterator[Floating]:
    floating.free()
    played = floating.cutover("web1", "1.0")
    assert played.code == 0, played.text
    assert floating.holders() == ["web1"]
    yield floating
    floating.free()


def changed(played: Played) -> int:
    """Return how many tasks changed something."""
    return sum(int(number) for number in re.findall(r"changed=(\d+)", played.text))


def check_move(
    floating: Floating, to: str, release: str, before: str, *, holder: str = "", serves: str = "", **changes: t.Any
) -> None:
    """Move the address to *to* and see what a client saw of it: first *before*, then *release*. On the way back, *holder* is who gets it, and *serves* what
    is there."""
    with Steady(floating.url) as client:
        played = floating.cutover(to, release, **changes)
    assert played.code == 0, played.text
    assert floating.holders() == [holder or to]
    assert client.served()[0] == before and client.served()[-1] == (serves or release), client.served()
    # Nobody has the address from one task to the next where the old host gives it away first: that is as long as the machine makes it.
    if changes.get("cutover_order") != "old_first":
        assert client.gap() < PATIENCE, client.gap()
        assert len(client.failed) < len(client.fresh) / 10, (len(client.failed), len(client.fresh))


@pytest.mark.parametrize("order", ["new_first", full("old_first")])
def test_the_address_moves_by_arp_and_back(at_web1: Floating, order: str) -> None:
    before = at_web1.cutover("web2", "2.0", "--check", "--diff", cutover_order=order)
    assert before.code == 0 and at_web1.holders() == ["web1"], before.text
    assert re.search(rf"^\+{at_web1.address}.*: on eth0", before.text, re.MULTILINE), before.text
    check_move(at_web1, "web2", "2.0", "1.0", cutover_order=order)
    again = at_web1.cutover("web2", "2.0")
    assert again.code == 0 and changed(again) == 0 and at_web1.holders() == ["web2"], again.text
    # Nobody has to say which release was there before, nor who had the address.
    check_move(at_web1, "", "2.0", "2.0", playbook="cutover_back", cutover_order=order, holder="web1", serves="1.0")


@pytest.mark.full
def test_the_address_moves_by_keepalived_and_back(floating: Floating) -> None:
    floating.free()
    floating.keepalived(["web1", "web2"])
    try:
        for to, release, other in (("web2", "2.0", "1.0"), ("web1", "1.0", "2.0")):
            check_move(floating, to, release, other, method="keepalived", cutover_hosts=PAIR)
        again = floating.cutover("web1", "1.0", method="keepalived", cutover_hosts=PAIR)
        assert again.code == 0 and changed(again) == 0, again.text
        # Where the other one is dead, the address stays.
        floating.fleet.shell("web2", "systemctl stop keepalived")
        options = {**floating.options("keepalived"), "timeout": 3}
        alone = floating.cutover("web2", "2.0", cutover_hosts=PAIR, cutover_floating_ip=options)
        assert alone.code != 0 and "did not leave this machine within 3 s" in alone.text, alone.text
        assert floating.holders() == ["web1"] and floating.fleet.shell("web1", f"cat {TRACK_FILE}").strip() == "0"
    finally:
        floating.free()


def test_a_host_that_does_not_serve_does_not_keep_the_address(at_web1: Floating) -> None:
    with Steady(at_web1.url) as client:
        played = at_web1.cutover("web3", "shy", cutover_check_deadline=3)
    assert played.code != 0 and "It is at web1 again." in played.text, played.text
    assert at_web1.holders() == ["web1"] and client.served() == ["1.0"]
    # One without the release does not even get it.
    played = at_web1.cutover("web2", "3.0")
    assert played.code != 0 and "web2 runs 2.0 in /srv/shop, not 3.0" in played.text, played.text
    assert at_web1.holders() == ["web1"]


@pytest.mark.full
def test_a_machine_that_nobody_spoke_of_keeps_its_address(at_web1: Floating) -> None:
    fleet = at_web1.fleet
    fleet.shell("web1", f"ip address del {at_web1.address}/32 dev eth0")
    fleet.shell("web3", f"ip address add {at_web1.address}/32 dev eth0")
    played = at_web1.cutover("web2", "2.0", cutover_hosts=PAIR)
    hardware = fleet.shell("web3", "cat /sys/class/net/eth0/address").strip()
    assert played.code != 0 and f"{at_web1.address} is in use: {hardware}" in played.text, played.text
    assert at_web1.holders() == ["web3"]
    played = at_web1.cutover("web2", "2.0")
    assert played.code != 0 and "was not added by this module" in played.text, played.text
    assert at_web1.holders() == ["web3"], "what was begun was taken back"
    played = at_web1.cutover("web2", "2.0", cutover_force=True)
    assert played.code == 0 and at_web1.holders() == ["web2"], played.text


@pytest.mark.full
def test_a_dead_holder_is_replaced_when_somebody_says_that_it_is_dead(at_web1: Floating) -> None:
    fleet = at_web1.fleet
    fleet.kill("web1")
    try:
        refused = at_web1.cutover("web2", "2.0")
        assert refused.code != 0 and "web1 can't be reached" in refused.text and "cutover_takeover" in refused.text, refused.text
        assert at_web1.holders() == []
        played = at_web1.cutover("web2", "2.0", cutover_takeover=True)
        assert played.code == 0 and at_web1.holders() == ["web2"], played.text
    finally:
        fleet.start("web1")
    assert at_web1.holders() == ["web2"]
    at_web1.wait(lambda: at_web1.site.release_of("web1") == "1.0")


def tasks_of(floating: Floating, *steps: tuple[str, dict[str, t.Any], str]) -> str:
    """Run the module on hosts, one step after another. Each has a host, options, and words: of a refusal, or ``changed`` or ``ok``."""
    plays = []
    for number, (host, options, words) in enumerate(steps):
        task = {"name": f"Step {number}", "seamless.rollout.floating_ip": options, "register": "step", "ignore_errors": True}
        refused = f"step is failed and {json.dumps(words)} in step.msg"
        wanted = {"changed": "step is changed", "ok": "step is success and step is not changed"}.get(words, refused)
        check = {"name": f"Judge {number}", "ansible.builtin.assert": {"that": [wanted], "fail_msg": f"step {number}: {{{{ step }}}}"}}
        plays.append({"hosts": host, "gather_facts": False, "tasks": [task, check]})
    path = os.path.join(floating.fleet.directory, "steps.yml")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(plays, file)
    played = floating.fleet.play(path)
    assert played.code == 0, played.text
    return played.text


@pytest.mark.full
def test_what_can_not_be_meant_is_refused(at_web1: Floating) -> None:
    address, own = at_web1.address, at_web1.fleet.addresses["web1"]
    network = address.rpartition(".")[0]
    tasks_of(
        at_web1,
        ("web1", {"address": address}, "ok"),
        ("web1", {"address": address, "owner": "somebody", "state": "absent"}, "was brought here by shop"),
        ("web1", {"address": f"{address}/26"}, "remove it first"),
        ("web1", {"address": "shop"}, "use an address such as"),
        ("web1", {"address": "127.0.0.2"}, "a loopback address"),
        ("web1", {"address": "224.0.0.1"}, "a multicast address"),
        ("web1", {"address": "10.0.0.1"}, "Set interface"),
        ("web1", {"address": "10.0.0.1", "interface": "eth0"}, "10.0.0.1/32"),
        ("web1", {"address": address, "interface": "eth9"}, "remove it first"),
        ("web2", {"address": address, "interface": "eth9"}, "there are eth0"),
        ("web2", {"address": address, "interface": "lo"}, "no neighbour is asked"),
        ("web2", {"address": address}, "is in use"),
        ("web2", {"address": address, "announcements": 0}, "announcements is 0"),
        ("web2", {"address": address, "method": "keepalived"}, "path is not set"),
        ("web2", {"address": address, "method": "hetzner", "server": "web2"}, "token is not set"),
        ("web1", {"address": own, "state": "absent", "force": True}, "by which Ansible reaches this machine"),
        ("web1", {"address": address, "state": "absent", "owner": "shop", "goes_to": "02:00:00:00:00:01"}, "it stays here"),
        ("web1", {"address": f"{network}.{int(address.rpartition('.')[2]) | 63}", "interface": "eth0"}, "all of its machines"),
        ("web1", {"address": address, "state": "absent", "owner": "shop"}, "changed"),
        ("web1", {"address": address, "state": "absent", "owner": "shop"}, "ok"),
        ("web1", {"address": address, "become": True}, "Supported parameters include"),
    )
    for changes, words in (
        ({"cutover_floating_ip": {"address": address, "adress": 1}}, "Did you mean address?"),
        ({"cutover_floating_ip": {"method": "arp"}}, "use a dictionary such as"),
        ({"cutover_to": "web9"}, "cutover_to is 'web9', which is none of the hosts"),
        ({"cutover_to": ""}, "cutover_to is not set"),
        ({"cutover_hosts": "nobody"}, "which matches no host"),
    ):
        played = at_web1.cutover("web2", "2.0", **changes)
        assert played.code != 0 and words in played.text, played.text
    assert at_web1.holders() == []


@pytest.mark.full
def test_an_address_of_ipv6_moves_as_well(at_web1: Floating) -> None:
    fleet, address = at_web1.fleet, "2001:db8::60"
    hardware = {host: fleet.shell(host, "cat /sys/class/net/eth0/address").strip() for host in fleet.web}
    for number, host in enumerate(fleet.web, 1):
        fleet.shell(host, f"ip address add 2001:db8::{number}/64 dev eth0 nodad")
    ask = f"""python3 -c "import urllib.request as u; print(u.urlopen('http://[{address}]:8000/', timeout=5).read())" """
    listen = r"""cd /srv/shop/current && sed -i 's/"0.0.0.0"/"::"/; s/^    request_queue_size/    address_family = 10\n&/' server.py && """
    for host in ("web1", "web2"):
        fleet.shell(host, listen + "systemctl restart shop")
    try:
        tasks_of(at_web1, ("web1", {"address": address}, "changed"), ("web1", {"address": address}, "ok"), ("web2", {"address": address}, "is in use"))
        at_web1.wait(lambda: '"1.0"' in fleet.shell("web3", ask, check=False))
        tasks_of(
            at_web1,
            ("web2", {"address": address, "replaces": [hardware["web1"]]}, "changed"),
            ("web1", {"address": address, "state": "absent", "goes_to": hardware["web2"]}, "changed"),
        )
        assert hardware["web2"] in fleet.shell("web3", f"ip neigh show {address}")
        assert '"2.0"' in fleet.shell("web3", ask)
    finally:
        for host in ("web1", "web2"):
            fleet.shell(host, f"ip address del {address}/128 dev eth0", check=False)
            fleet.shell(host, "sed -i '/address_family/d; s/\"::\"/\"0.0.0.0\"/' /srv/shop/current/server.py; systemctl restart shop")


@pytest.mark.full
def test_blue_and_green_by_a_floating_ip(at_web1: Floating) -> None:
    fleet, site = at_web1.fleet, at_web1.site
    with open(fleet.inventory, encoding="utf-8") as file:
        inventory = json.load(file)
    inventory["all"]["children"].update(blue={"hosts": {"web1": {}}}, green={"hosts": {"web2": {}}})
    with open(fleet.inventory, "w", encoding="utf-8") as file:
        json.dump(inventory, file)
    variables = {"blue_green_floating_ip": at_web1.options(), "blue_green_hosts": PAIR, "rollout_balancers": []}
    for playbook, release, holder, served in (("blue_green", "3.0", "web2", "3.0"), ("blue_green_back", "3.0", "web1", "1.0")):
        with Steady(at_web1.url) as client:
            played = fleet.play(f"seamless.rollout.{playbook}", {**site.variables(release), **variables})
        assert played.code == 0, played.text
        assert at_web1.holders() == [holder] and client.served()[-1] == served and client.gap() < PATIENCE
    assert {host: site.release_of(host) for host in PAIR.split(",")} == {"web1": "1.0", "web2": "3.0"}
    # What fails under traffic goes back, as with a balancer.
    played = fleet.play("seamless.rollout.blue_green", {**site.variables("shy"), **variables, "cutover_check_deadline": 3})
    assert played.code != 0 and "It is at web1 again." in played.text, played.text
    assert at_web1.holders() == ["web1"]


def blocks(words: str) -> list[str]:
    """Return the blocks of the guide that have *words*."""
    with open(os.path.join(REPO, "docs", "docsite", "rst", "floating_ip.rst"), encoding="utf-8") as file:
        found = re.findall(r"^\.\. code-block:: \w+\n\n((?:   .*\n|\n)+)", file.read(), re.MULTILINE)
    return ["\n".join(line[3:] for line in text.splitlines()) + "\n" for text in found if words in text]


@pytest.mark.full
def test_the_guides_pair_of_balancers_is_rolled_one_after_the_other(floating: Floating) -> None:
    fleet = floating.fleet
    address = floating.address.rpartition(".")[0] + "." + str(int(floating.address.rpartition(".")[2]) + 1)
    floating.free()
    health = blocks("frontend health")[0].replace("# in haproxy.cfg", "\n# in haproxy.cfg")
    for number, host in enumerate(fleet.lb):
        text = blocks("vrrp_instance lb")[0].replace("198.51.100.61", address).replace("priority 100", f"priority {100 - 10 * number}")
        fleet.put(host, "/etc/keepalived/keepalived.conf", text)
        fleet.shell(host, "cat >> /etc/haproxy/haproxy.cfg && systemctl restart haproxy && systemctl restart keepalived", data=health.encode())
    held = f"ip -o address show to {address}"
    floating.wait(lambda: address in fleet.shell("lb1", held) and address not in fleet.shell("lb2", held))
    work = os.path.join(fleet.directory, "pair")
    os.makedirs(work)
    with open(os.path.join(work, "patch.yml"), "w", encoding="utf-8") as file:
        file.write(blocks("# patch.yml")[0])
    variables = yaml.safe_load(blocks("# group_vars/lb.yml")[0].replace("198.51.100.61", address))
    started = {host: fleet.shell(host, "systemctl show -P MainPID haproxy") for host in fleet.lb}
    # Those whose connection moves lose it; the rest is new ones.
    with Steady(f"http://{address}/", kept=0, every=0.02) as client:
        played = fleet.play("seamless.rollout.rollout", {**variables, "rollout_hosts": "lb"}, cwd=work)
    assert played.code == 0, played.text
    assert {host: fleet.shell(host, "systemctl show -P MainPID haproxy") for host in fleet.lb} != started
    assert all(fleet.shell(host, "systemctl show -P MainPID haproxy") != started[host] for host in fleet.lb)
    assert client.gap() < PATIENCE and len(client.failed) < len(client.fresh) / 10, (client.gap(), len(client.failed), len(client.fresh))
    assert address in fleet.shell("lb1", held)
    with Load([f"http://{address}/"], rate=20, clients=2) as load:
        floating.wait(lambda: load.requests > 10)
    assert load.summary()["failed"] == 0
