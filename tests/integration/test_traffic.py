# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Weights of a real fleet with two balancers: hosts that come back slowly, and releases that get a share of the traffic."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import threading
import time
import typing as t

import pytest
from fleet.fleet import Fleet, Played
from fleet.load import Load
from fleet.running import running
from fleet.site import SERVER, Site

RAMP = {"steps": [10, 50], "interval": 2}
LONG = {"steps": [10, 50], "interval": 120}
# Healthy until it has been asked for three seconds by anybody but the health check.
DYING = SERVER.replace("    def do_GET(self):", '    def do_GET(self):\n        if self.path == "/":\n            threading.Timer(3, os._exit, (1,)).start()')
WHOLE = {"web1": 100, "web2": 100, "web3": 100}


@pytest.fixture(scope="module")
def fleet_site() -> t.Iterator[Site]:
    with Fleet(web=3, lb=2) as fleet:
        for host in fleet.lb:
            fleet.shell(host, "sed -i 's/rise 2$/rise 2 weight 100/' /etc/haproxy/haproxy.cfg && systemctl restart haproxy")
        made = Site(fleet)
        made.prepare()
        for release in ("1.0", "2.0", "3.0"):
            made.build(release)
        made.build("dying", broken=DYING)
        yield made


@pytest.fixture
def site(fleet_site: Site) -> Site:
    """The site with release 1.0 everywhere, all in rotation with their weights."""
    restored = split(fleet_site, {}, traffic_split_state="restored")
    assert restored.code == 0, restored.text
    if set(fleet_site.releases().values()) != {"1.0"} or not fleet_site.all_up():
        back = fleet_site.rollout("1.0", break_lock=True)
        assert back.code == 0, back.text
    assert all(weights == WHOLE for weights in every_weight(fleet_site)), every_weight(fleet_site)
    return fleet_site


def weights_on(site: Site, balancer: str) -> dict[str, int]:
    rows = [line.split() for line in site.fleet.runtime(balancer, "show servers state").splitlines() if line[:1].isdigit()]
    return {row[3]: int(row[7]) for row in rows if len(row) > 7 and row[1] == "shop"}


def every_weight(site: Site) -> list[dict[str, int]]:
    return [weights_on(site, balancer) for balancer in site.fleet.lb]


def wait(condition: t.Callable[[], bool], seconds: float = 60, what: str = "") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain {what}"
        time.sleep(0.1)


def split(site: Site, shares: dict[str, t.Any], *options: str, **changes: t.Any) -> Played:
    variables = {name: value for name, value in site.variables("1.0").items() if name not in ("rollout_release", "rollout_source", "rollout_health")}
    return site.fleet.play("seamless.rollout.traffic_split", {**variables, "traffic_split_shares": shares, **changes}, *options)


def load_on(site: Site) -> Load:
    return Load([f"http://{site.fleet.addresses[host]}/" for host in site.fleet.lb], rate=120, clients=10, version_key="version")


class Climbs:
    """Notes every weight that a server in rotation has on any balancer, for as long as the context lasts."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.seen: dict[tuple[str, str], list[int]] = {}
        self._stop = threading.Event()

    def __enter__(self) -> Climbs:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *dummy: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for balancer in self.site.fleet.lb:
                before = self.site.fleet.standing(balancer)
                for host, weight in weights_on(self.site, balancer).items():
                    noted = self.seen.setdefault((balancer, host), [])
                    if before[host].startswith("UP") and noted[-1:] != [weight]:
                        noted.append(weight)


def test_hosts_come_back_in_steps_and_no_request_fails(site: Site) -> None:
    with load_on(site) as load, Climbs(site) as climbs:
        load.mark("roll")
        played = site.rollout("2.0", weight_ramp=RAMP)
    assert played.code == 0, played.text
    seen = load.summary()
    assert seen["failed"] == 0 and seen["requests"] > 500, seen
    assert "weight after the enable: 10, 50 %, then as before (4 s more a host)" in played.text
    for host in site.fleet.web:
        for balancer in site.fleet.lb:
            assert climbs.seen[(balancer, host)] == [100, 10, 50, 100], climbs.seen
    assert set(site.releases().values()) == {"2.0"} and every_weight(site) == [WHOLE] * 2
    for balancer in site.fleet.lb:
        assert site.fleet.shell(balancer, "ls /var/lib/seamless-rollout/balancer/*.json 2>/dev/null || true") == ""


@pytest.mark.full
def test_a_host_that_dies_on_its_way_up_fails_and_is_taken_back(site: Site) -> None:
    with load_on(site):
        played = site.rollout("dying", weight_ramp={"steps": [10, 50], "interval": 10})
    assert played.code != 0
    assert "its weight was on its way up, so it was left out of rotation" in played.text, played.text[-4000:]
    assert set(site.releases().values()) == {"1.0"} and site.all_up()
    assert every_weight(site) == [WHOLE] * 2


@pytest.mark.full
def test_a_rollout_that_was_killed_on_the_way_up_leaves_no_host_there(site: Site) -> None:
    """The machines of the balancers finish by themselves what they have begun."""
    with running(site, "2.0", weight_ramp={"steps": [10, 50], "interval": 8}) as run:
        wait(lambda: all(weights["web1"] == 10 for weights in every_weight(site)) and site.all_up(), 90, "for the first step")
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()
    wait(lambda: every_weight(site) == [WHOLE] * 2, 60, "for the whole weight")
    again = site.rollout("2.0")
    assert again.code == 0 and set(site.releases().values()) == {"2.0"} and site.all_up(), again.text


@pytest.mark.full
def test_a_rollout_that_was_killed_with_all_its_parts_is_finished_by_the_same_command(site: Site) -> None:
    with running(site, "2.0", weight_ramp=LONG) as run:
        wait(lambda: all(weights["web1"] == 10 for weights in every_weight(site)) and site.all_up(), 90, "for the first step")
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()
        for balancer in site.fleet.lb:
            working = "grep -la '[s]eamless-rollout/[0-9a-f]*/run.py' /proc/[0-9]*/cmdline | cut -d/ -f3"
            site.fleet.shell(balancer, f"for pid in $({working}); do kill -9 $pid; done", check=False)
    status = site.rollout("2.0", playbook="status")
    assert "weight 10 instead of 100" in status.text, status.text
    again = site.rollout("2.0", weight_ramp=RAMP)
    assert again.code == 0, again.text
    assert set(site.releases().values()) == {"2.0"} and site.all_up() and every_weight(site) == [WHOLE] * 2


@pytest.mark.full
def test_what_can_not_climb_is_refused_before_anything_is_touched(site: Site) -> None:
    for balancer in site.fleet.lb:
        site.fleet.runtime(balancer, "set server shop/web2 weight 1")
    refused = site.rollout("2.0", weight_ramp=RAMP)
    for balancer in site.fleet.lb:
        site.fleet.runtime(balancer, "set server shop/web2 weight 100")
    assert refused.code != 0 and "web2 can't follow it in shop on lb1: its weight is 1" in refused.text, refused.text
    balancer = {"driver": "health_file", "check_url": "http://127.0.0.1:8000/lb"}
    refused = site.rollout("2.0", weight_ramp=RAMP, balancers=[balancer])
    assert refused.code != 0 and "the driver health_file of rollout_balancers[0] knows no weights" in refused.text, refused.text
    refused = site.rollout("2.0", weight_ramp={"steps": [50, 10]})
    assert refused.code != 0 and "rollout_weight_ramp.steps is [50, 10]" in refused.text, refused.text
    assert set(site.releases().values()) == {"1.0"} and site.all_up()


def within(number: int, requests: int, share: float) -> bool:
    """Say whether *number* of *requests* is within five sigma of the *share*."""
    return abs(number - requests * share) <= 5 * math.sqrt(requests * share * (1 - share))


def share_of(load: Load, release: str, mark: str) -> tuple[int, int]:
    samples = [sample for sample in load.samples if load.interval(sample) == mark]
    return sum(sample.served == release for sample in samples), len(samples)


def test_a_release_gets_five_percent_of_the_traffic_until_it_is_restored(site: Site) -> None:
    canary = site.rollout("2.0", hosts="web1")
    assert canary.code == 0, canary.text
    checked = split(site, {"2.0": 5}, "--check", "--diff")
    assert checked.code == 0 and "changed=1" in checked.text and every_weight(site) == [WHOLE] * 2, checked.text
    with load_on(site) as load:
        played = split(site, {"2.0": "5%"})
        assert played.code == 0, played.text
        load.mark("split")
        started = load.requests
        wait(lambda: load.requests > started + 3000, 180, "for three thousand requests")
        load.mark("over")
        assert every_weight(site) == [{"web1": 2, "web2": 19, "web3": 19}] * 2
        restored = split(site, {}, traffic_split_state="restored")
        assert restored.code == 0, restored.text
        load.mark("restored")
        started = load.requests
        wait(lambda: load.requests > started + 1000, 120, "for a thousand requests")
    assert load.summary()["failed"] == 0, load.summary()
    number, requests = share_of(load, "2.0", "split")
    assert requests >= 2500 and within(number, requests, 0.05), (number, requests)
    number, requests = share_of(load, "2.0", "restored")
    assert within(number, requests, 1 / 3), (number, requests)
    assert "lb1, shop: 2.0 gets 5 % (web1: 2), the rest gets 95 % (web2: 19, web3: 19)" in played.text, played.text
    assert every_weight(site) == [WHOLE] * 2
    again = split(site, {}, traffic_split_state="restored")
    assert again.code == 0 and "changed=0" in again.text


@pytest.mark.full
def test_a_rollout_waits_for_the_end_of_a_split_and_a_rollback_does_not(site: Site) -> None:
    assert site.rollout("2.0", hosts="web1").code == 0
    refused = split(site, {"2.0": 0.05})
    assert refused.code != 0 and "the nearest is 2.0 0.195 %" in refused.text and every_weight(site) == [WHOLE] * 2, refused.text
    refused = split(site, {"2.1": 5})
    assert refused.code != 0 and "no host runs it: there are 1.0, 2.0" in refused.text, refused.text
    assert split(site, {"2.0": 5}).code == 0
    refused = site.rollout("2.0")
    assert refused.code != 0 and "web2 is part of a traffic split of shop" in refused.text and "traffic_split_state=restored" in refused.text, refused.text
    assert sorted(site.releases().values()) == ["1.0", "1.0", "2.0"] and site.all_up()
    back = site.rollout("2.0", playbook="rollback", to="1.0")
    assert back.code == 0 and "stays in force" in back.text, back.text
    assert set(site.releases().values()) == {"1.0"} and every_weight(site) == [{"web1": 2, "web2": 19, "web3": 19}] * 2
    assert split(site, {}, traffic_split_state="restored").code == 0 and every_weight(site) == [WHOLE] * 2


@pytest.mark.full
def test_a_split_for_a_while_ends_by_itself_whatever_happens_meanwhile(site: Site) -> None:
    tasks = os.path.join(site.fleet.directory, "look.yml")
    with open(tasks, "w", encoding="utf-8") as file:
        file.write("- name: Look\n  ansible.builtin.assert:\n    that: inventory_hostname != 'web2'\n    fail_msg: web2 looks bad\n")
    groups = {"traffic_split_by": "group"}
    with Climbs(site) as climbs:
        played = split(site, {"web1": 10}, **groups, traffic_split_seconds=2)
    assert played.code == 0, played.text
    assert climbs.seen[("lb2", "web1")][0] == 100 and climbs.seen[("lb2", "web1")][-1] == 100 and len(climbs.seen[("lb2", "web1")]) >= 3, climbs.seen
    failed = split(site, {"web1": 10}, **groups, traffic_split_during_tasks=tasks)
    assert failed.code != 0 and "web2 looks bad" in failed.text and "has the weight of before again" in failed.text, failed.text
    assert every_weight(site) == [WHOLE] * 2
    process = _split_in_the_background(site)
    try:
        wait(lambda: all(weights["web1"] < 100 for weights in every_weight(site)), 60, "for the split")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert split(site, {}, traffic_split_state="restored").code == 0 and every_weight(site) == [WHOLE] * 2


def _split_in_the_background(site: Site) -> subprocess.Popen[bytes]:
    variables = {**site.variables("1.0"), "traffic_split_shares": {"web1": 10}, "traffic_split_by": "group", "traffic_split_seconds": 300}
    return site.fleet.begin("seamless.rollout.traffic_split", variables, os.path.join(site.fleet.directory, "split.log"))
