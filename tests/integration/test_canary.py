# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A canary is judged by what its balancers counted: a release that answers some requests with an error while its health is as it should be."""

from __future__ import annotations

import json
import os
import time
import typing as t

import pytest
from fleet.fleet import Fleet, Played
from fleet.load import Load
from fleet.site import SERVER, Site

# Which share of its requests fails is in a file beside the release, or in the release.
ANSWER = 'self.send_response(500 if self.path == "/" and random.random() < share() else 200)'
SHARE = '''
def share():
    try:
        with open("/srv/shop/share") as file:
            return float(file.read())
    except OSError:
        return {share}


class Handler('''
# An access log in the combined format.
LOG = '''def log_request(self, code="-", size="-"):
        with open("/srv/shop/access.log", "a") as file:
            file.write(f\'{self.client_address[0]} - - [{self.log_date_time_string()}] "{self.requestline}" {code} {size} "-" "-"\\n\')'''
LOOKING = {"bake_min": 2, "bake_max": 60, "min_requests": 300, "interval": 2}


def program(share: float) -> str:
    made = SERVER.replace("import http", "import random, http", 1).replace("class Handler(", SHARE.format(share=share).lstrip(), 1)
    return made.replace("self.send_response(200)", ANSWER).replace("def log_message(self, *arguments):\n        pass", LOG)


@pytest.fixture(scope="module")
def site() -> t.Iterator[Site]:
    with Fleet(web=6, lb=2) as fleet:
        made = Site(fleet)
        made.prepare()
        for release, share in (("1.0", 0.0), ("2.0", 0.05), ("3.0", 0.0), ("4.0", 0.0)):
            made.build(release, broken=program(share))
        first = made.rollout("1.0")
        assert first.code == 0, first.text
        yield made


def roll(site: Site, release: str, **analysis: t.Any) -> tuple[Played, Load, dict[str, t.Any]]:
    """Roll out under load with two canaries, and return what was said, what clients saw, and the report."""
    urls = [f"http://{site.fleet.addresses[host]}/" for host in site.fleet.lb]
    with Load(urls, rate=300, clients=12, version_key="version") as load:
        load.mark("roll")
        played = site.rollout(release, canary=2, max_unavailable=2, canary_analysis={**LOOKING, **analysis})
    with open(max(reports(site), key=os.path.getmtime), encoding="utf-8") as file:
        return played, load, json.load(file)


def reports(site: Site) -> list[str]:
    state = os.path.join(site.fleet.directory, "state")
    return [os.path.join(place, "report.json") for place, dummy, files in os.walk(state) if "report.json" in files]


def test_a_release_that_fails_requests_goes_no_further_than_the_canary(site: Site) -> None:
    played, load, report = roll(site, "2.0", on_fail="rollback")
    assert played.code != 0
    assert report["state"] == "rolled_back" and report["canary"]["verdict"] == "fail", report["canary"]
    canary = set(report["canary"]["canary"])
    assert len(canary) == 2 and report["canary"]["numbers"]["canary"]["errors"] > 3 and report["canary"]["numbers"]["control"]["errors"] == 0
    assert {host for host, row in report["hosts"].items() if row["state"] == "untouched"} == set(site.fleet.web) - canary
    assert set(site.releases().values()) == {"1.0"} and site.all_up()
    failed = [sample for sample in load.samples if sample.error]
    assert {sample.error for sample in failed} == {"status-500"}, load.summary()
    # Nobody but who came to the canary, and of them one in twenty, give or take.
    asked = sum(sample.served == "2.0" for sample in load.samples) + len(failed)
    assert 0 < len(failed) <= 0.05 * asked + 4 * (0.05 * asked) ** 0.5, (len(failed), asked)
    assert asked < 0.6 * len(load.samples)
    assert "fails more often than the others do" in played.text


@pytest.mark.full
def test_a_release_that_is_as_good_passes(site: Site) -> None:
    played, load, report = roll(site, "3.0")
    assert played.code == 0, played.text
    assert load.summary()["failed"] == 0, load.summary()
    numbers = report["canary"]["numbers"]
    assert report["canary"]["verdict"] == "pass" and numbers["canary"]["requests"] >= 300 and numbers["control"]["requests"] > 0
    assert set(site.releases().values()) == {"3.0"}
    assert "canary: pass" in played.text


@pytest.mark.full
def test_the_access_logs_of_the_hosts_tell_it_as_well(site: Site) -> None:
    source = {"type": "access_log", "path": "/srv/shop/access.log", "ignore": "GET /health"}
    played, dummy, report = roll(site, "2.0", on_fail="rollback", source=source)
    assert played.code != 0
    assert report["state"] == "rolled_back" and report["canary"]["verdict"] == "fail", report["canary"]
    assert report["canary"]["numbers"]["canary"]["errors"] > 3 and report["canary"]["numbers"]["control"]["errors"] == 0
    assert site.all_up()
    missing = site.rollout("2.0", canary=2, canary_analysis={**LOOKING, "source": {**source, "path": "/srv/shop/acess.log"}})
    assert missing.code != 0 and "/srv/shop/acess.log" in missing.text and "name the access log" in missing.text, missing.text
    assert "Put the release beside the live one" not in missing.text


@pytest.mark.full
def test_an_outage_of_all_is_not_blamed_on_the_release(site: Site) -> None:
    for host in site.fleet.web:
        site.fleet.shell(host, "echo 0.3 > /srv/shop/share")
    try:
        played, load, report = roll(site, "4.0", min_requests=1500, on_fail="rollback")
    finally:
        for host in site.fleet.web:
            site.fleet.shell(host, "rm -f /srv/shop/share")
    assert load.summary()["failed"] > 500
    assert report["canary"]["verdict"] == "pass", report["canary"]
    assert played.code == 0 and set(site.releases().values()) == {"4.0"}


def test_what_can_not_be_judged_is_refused_before_anything(site: Site) -> None:
    before = site.releases()
    for analysis, want in (({"min_request": 5}, "Did you mean min_requests"), ({"on_fail": "rolback"}, "pause, rollback")):
        played = site.rollout("2.0", canary_analysis=analysis)
        assert played.code != 0 and want in played.text, played.text
    played = site.rollout("2.0", canary=0, canary_analysis={"min_requests": 5})
    assert played.code != 0 and "there is no canary to judge" in played.text
    listing = json.dumps([{"backend": "shop", "name": host, "address": host, "state": "ready", "health": "up"} for host in site.fleet.web])
    for balancer in site.fleet.lb:
        site.fleet.put(balancer, "/bin/list", f"#!/bin/sh\necho '{listing}'\n")
        site.fleet.shell(balancer, "chmod +x /bin/list")
    commands = {"list": "/bin/list", "drain": "/bin/false", "ready": "/bin/false"}
    uncounted = {"driver": "command", "hosts": "lb", "backend": "shop", "commands": commands}
    played = site.rollout("2.0", canary_analysis={"min_requests": 5}, balancers=[uncounted])
    assert played.code != 0 and "does not count the failed requests" in played.text, played.text
    assert site.releases() == before


@pytest.mark.full
def test_the_rollout_waits_paused_until_somebody_decides(site: Site) -> None:
    urls = [f"http://{site.fleet.addresses[host]}/" for host in site.fleet.lb]
    log = os.path.join(site.fleet.directory, "paused.log")
    variables = site.variables("2.0", canary=2, max_unavailable=2, canary_analysis=LOOKING)
    with Load(urls, rate=300, clients=12):
        process = site.fleet.begin("seamless.rollout.rollout", variables, log)
        try:
            deadline = time.monotonic() + 240
            while "waits for resume or abort" not in _read(log) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.2)
            assert "waits for resume or abort" in _read(log), _read(log)
            assert sorted(site.releases().values()).count("2.0") == 2
            ordered = site.rollout("2.0", playbook="control", order="abort", reason="it fails requests")
            assert ordered.code == 0, ordered.text
            assert process.wait(240) != 0, _read(log)
        finally:
            process.kill()
            process.wait()
    assert "2.0" not in site.releases().values() and site.all_up(), _read(log)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
