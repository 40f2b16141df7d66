# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report of a rollout must say of a site that it was rolled out on."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger

from fleet.load import Load
from fleet.site import Site


def newest(site: Site) -> tuple[dict[str, t.Any], list[dict[str, t.Any]]]:
    """Return the report of the last rollout, and the events of its ledger."""
    ledger = Ledger(os.path.join(site.fleet.directory, "state", "seamless-rollout", "shop"))
    rollout_id = ledger.rollouts(1)[0]["id"]
    with open(os.path.join(os.path.dirname(ledger.path), "reports", rollout_id, "report.json"), encoding="utf-8") as file:
        return json.load(file), ledger.events(rollout_id)


def insist_on_order(site: Site) -> None:
    """Every host went through its steps, one after another, within the time of the rollout."""
    report, dummy = newest(site)
    for host in site.fleet.web:
        steps = report["hosts"][host]["steps"]
        assert [step["step"] for step in steps] == ["drain", "switch", "restart", "health", "enable"], (host, steps)
        assert all(step["ok"] and 0 < step["seconds"] < 30 for step in steps), steps
        assert report["started_at"] < steps[0]["started_at"] <= steps[-1]["started_at"] < report["finished_at"]
    assert report["actual"]["order_kept"] and report["actual"]["most_out"] == 1


def insist_on_the_way_back(site: Site, load: Load) -> None:
    """The way of the canary and back, and as many requests as clients made between the first reading of the counters and the last."""
    report, events = newest(site)
    assert [(step["step"], step["ok"], step["undo"]) for step in report["hosts"]["web1"]["steps"]] == [
        ("drain", True, False), ("switch", True, False), ("restart", True, False), ("health", False, False),
        ("drain", True, True), ("switch", True, True), ("restart", True, True), ("health", True, True), ("enable", True, True),
    ], report["hosts"]["web1"]["steps"]
    assert [host for host, row in report["hosts"].items() if row["steps"]] == ["web1"]
    counted = [event for event in events if event["event"] == "counted"]
    start, end = counted[0]["at"] - counted[0]["detail"]["seconds"], counted[-1]["at"]
    sent = sum(start <= sample.at < end for sample in load.samples)
    asked = sum(host["requests"] for event in counted for host in event["detail"]["hosts"].values())
    told = sum(span[release]["requests"] for span in report["traffic"]["spans"] for release in ("old", "new"))
    # Each reading takes a moment, and the requests of that moment may be on either side.
    assert sent > 500 and told == asked and abs(asked - sent) < 0.05 * sent + 60, (asked, sent, end - start)
    assert counted[-1]["at"] > max(event["at"] for event in events if event["event"] == "rolled_back" and event["host"])
    place = os.path.join(site.fleet.directory, "state", "seamless-rollout", "shop", "reports", report["id"])
    assert {"report.html", "report.json", "report.md", "report.xml"} == set(os.listdir(place))
