# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What status and history say of a real site, which they leave as it is."""

from __future__ import annotations

import json
import os
import re
import typing as t

import pytest
from fleet.site import Site


def read(printed: str) -> dict[str, t.Any]:
    found = re.search(r"^\{$.*?^\}$", printed, re.MULTILINE | re.DOTALL)
    assert found, printed
    return dict(json.loads(found[0]))


HEALTH = [{"url": "http://127.0.0.1:8000/health", "version": {"json": "version", "equals": "{{ rollout_release }}"}}]


def status(site: Site, release: str = "1.0", **changes: t.Any) -> dict[str, t.Any]:
    told = site.rollout(release, playbook="status", status_format="json", health=HEALTH, **changes)
    assert told.code == 0, told.text
    return read(told.text)


def codes(told: dict[str, t.Any]) -> list[tuple[str, str]]:
    return [(one["code"], one["host"]) for one in told["findings"]]


def everything_on(site: Site) -> dict[str, str]:
    look = "find /srv/shop -printf '%p %m %T@ %s %l\\n' | sort | sha256sum"
    return {host: site.fleet.shell(host, look) for host in site.fleet.web}


def test_status_says_what_is_there_and_changes_nothing(settled: Site) -> None:
    before = everything_on(settled)
    told = status(settled, status_verify="full")
    assert told["verdict"] == "ok" and told["findings"] == [] and told["headline"] == "OK - shop 1.0 on 3 hosts"
    for host in settled.fleet.web:
        row = told["hosts"][host]
        assert (row["current"], row["served"], row["running"], row["healthy"], row["state"]) == ("1.0", "1.0", ["1.0"], True, "good")
        assert set(row["balancers"]) == {"lb1/shop", "lb2/shop"} and row["balancers"]["lb1/shop"]["sessions"] == 0
        assert row["verified"]["files"] == row["verified"]["read"] > 20 and row["lock"] is None
    assert everything_on(settled) == before


def test_health_is_that_of_the_release_that_runs_whichever_is_named(settled: Site) -> None:
    """A release on the command line is not the one that hosts run: they are healthy all the same."""
    told = status(settled, "2.0")
    assert told["verdict"] == "ok" and all(row["healthy"] for row in told["hosts"].values())


def test_drift_is_found_and_ends_the_run_for_a_monitoring_that_wants_that(settled: Site) -> None:
    fleet = settled.fleet
    try:
        fleet.shell("web1", "echo '# patched by hand' >> /srv/shop/current/server.py")
        fleet.shell("web2", "ln -sfn releases/1.0 /srv/shop/c; mkdir -p /srv/shop/releases/byhand; ln -sfn releases/byhand /srv/shop/current")
        fleet.runtime("lb1", "set server shop/web3 state maint")
        told = settled.rollout("1.0", playbook="status", status_format="json", status_fail_on="critical")
        found = read(told.text)
        assert told.code != 0 and found["verdict"] == "critical"
        assert set(codes(found)) == {
            ("bytes_differ", "web1"), ("stale_process", "web2"), ("not_healthy", "web2"), ("drained_unknown", "web3"), ("mixed_releases", None),
        }
        assert found["hosts"]["web1"]["verified"]["paths"] == ["server.py"]
        assert found["headline"] in " ".join(told.text.split("End as the status did")[-1].split())
    finally:
        fleet.runtime("lb1", "set server shop/web3 state ready")
        fleet.shell("web2", "ln -sfn releases/1.0 /srv/shop/current; rm -rf /srv/shop/releases/byhand /srv/shop/c")
        fleet.shell("web1", "sed -i '/^# patched by hand/d' /srv/shop/releases/1.0/server.py")
    assert status(settled)["verdict"] == "ok"


def test_a_dead_host_and_a_dead_balancer_are_lines_and_not_the_end(settled: Site) -> None:
    settled.fleet.disconnect("web3")
    settled.fleet.shell("lb2", "systemctl stop haproxy")
    try:
        told = status(settled)
    finally:
        settled.fleet.connect("web3")
        settled.fleet.shell("lb2", "systemctl start haproxy")
    assert set(codes(told)) >= {("unreachable", "web3"), ("balancer_unread", None)} and told["hosts"]["web1"]["healthy"]


@pytest.mark.full
def test_history_tells_of_rollouts_of_this_controller_and_of_others(settled: Site) -> None:
    rolled = settled.rollout("2.0", reason="INC-7")
    assert rolled.code == 0, rolled.text
    settled.rollout("broken", healthy_deadline=3)
    ours = read(settled.rollout("2.0", playbook="history", history_format="json").text)
    broken, good = ours["rollouts"][:2]
    assert (broken["state"], broken["release"], broken["source"]) == ("rolled_back", "broken", "ledger") and "web1" in broken["why"]
    assert (good["state"], good["from"], good["release"], good["reason"]) == ("succeeded", ["1.0"], "2.0", "INC-7")
    assert ours["dora"]["failed"] >= 1 and ours["dora"]["recovery_seconds"] > 0 and ours["dora"]["lead_time_from"]["staged"] >= 1

    elsewhere = os.path.join(settled.fleet.directory, "another-controller")
    before = everything_on(settled)
    theirs = read(settled.rollout("2.0", playbook="history", history_format="json", state_dir=elsewhere, history_limit=2).text)
    assert everything_on(settled) == before and not os.path.exists(elsewhere)
    assert [(one["id"], one["state"], one["from"], one["release"], one["who"], one["source"]) for one in theirs["rollouts"]] == [
        (one["id"], one["state"], one["from"], one["release"], one["who"], "journals") for one in (broken, good)
    ]
    assert theirs["rollouts"][1]["reason"] == "INC-7" and set(theirs["rollouts"][1]["hosts"]) == set(settled.fleet.web)
