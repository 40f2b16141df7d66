# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import html.parser
import json
import os
import re
import typing as t
import unittest.mock
from xml.etree import ElementTree

import jsonschema
import pytest
import test_gatekeeper
from ansible_collections.seamless.rollout.plugins.plugin_utils import _report_files as files
from ansible_collections.seamless.rollout.plugins.plugin_utils._report import result_text
from ansible_collections.seamless.rollout.plugins.plugin_utils._report_charts import Axis
from ansible_collections.seamless.rollout.plugins.plugin_utils._report_data import report_data, stamp
from ansible_collections.seamless.rollout.plugins.plugin_utils._status import watch
from ansible_collections.seamless.rollout.plugins.plugin_utils._story import NEW, OLD, Story, tell
from fleet.fleet import REPO
from report.streams import HOSTILE, START, Stream, small, thousand
from test_gatekeeper import World

world = test_gatekeeper.world
with open(os.path.join(REPO, "docs", "report.schema.json"), encoding="utf-8") as schema_file:
    SCHEMA = json.load(schema_file)


def story_of(stream: Stream) -> Story:
    ledger = stream.ledger
    rollout = ledger.rollout(stream.id)
    assert rollout
    return tell(rollout, ledger.hosts(stream.id), ledger.events(stream.id))


def written(stream: Stream) -> dict[str, str]:
    story, found = story_of(stream), {}
    data = report_data(story)
    for name, make in files.FILES.items():
        found[name] = make(story, data)
    return found


def valid(text: str) -> dict[str, t.Any]:
    data = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(data)
    return t.cast("dict[str, t.Any]", data)


@pytest.fixture(scope="module")
def bad_day(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    return small(str(tmp_path_factory.mktemp("small")))


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    return thousand(str(tmp_path_factory.mktemp("thousand")), 300)


def test_the_data_keep_to_their_schema_and_tell_the_whole_story(bad_day: Stream) -> None:
    data = valid(written(bad_day)["report.json"])
    assert data["schema"] == 1 and data["state"] == "rolled_back"
    steps = data["hosts"]["web1"]["steps"]
    assert [step["step"] for step in steps] == ["drain", "switch", "restart", "health", "enable"] * 2
    assert [step["undo"] for step in steps] == [False] * 5 + [True] * 5
    assert "500" in data["hosts"][HOSTILE]["failure"] and data["hosts"]["web1"]["failure"] == ""
    assert [deed["what"] for deed in data["deeds"]] == [
        "started it", "fail: rollback", "ordered pause", "ordered resume", "takes back what was updated", "ended as rolled back",
    ]
    assert data["deeds"][2]["who"] == "ann@desk" and data["deeds"][2]["why"] == "look at the basket"
    assert data["once"] == [{"point": "before", "host": "web1", "action": "migrate.yml", "at": stamp(START + 8), "done": True}]
    assert data["actual"]["order_kept"] and data["actual"]["states"] == {"rolled_back": 6, "untouched": 2}
    assert data["actual"]["groups"][0]["seconds"] > 4 and data["actual"]["groups"][3]["started_at"] is None
    assert not {"steps", "counted"} & {event["event"] for event in data["events"]}
    assert data["canary_course"]["points"][-1]["evidence"] >= data["canary_course"]["needed"] == 10_000
    assert data["canary_course"]["points"][0]["evidence"] < 10_000


def test_every_request_is_told_of_and_goes_to_the_release_that_its_host_served(bad_day: Stream) -> None:
    story = story_of(bad_day)
    asked = {"requests": 0, "errors": 0}
    for event in story.events:
        for count in event["detail"]["hosts"].values() if event["event"] == "counted" else ():
            for key in asked:
                asked[key] += count[key]
    told = {key: sum(getattr(span.old, key) + getattr(span.new, key) for span in story.spans) for key in asked}
    assert told == asked and asked["errors"] > 50
    assert story.spans[0].new.requests == 0 and story.spans[0].old.requests > 0
    while_waiting = [span for span in story.spans if START + 100 < span.at < START + 1700]
    for span in while_waiting:
        # Two of eight hosts have the new release, and only it fails that often.
        assert 0.15 < span.new.requests / (span.new.requests + span.old.requests) < 0.35
    assert sum(span.new.errors for span in while_waiting) > 3 * sum(span.old.errors for span in while_waiting)


def test_a_host_serves_the_old_release_until_its_drain_and_the_new_one_from_its_enable(bad_day: Stream) -> None:
    host = story_of(bad_day).hosts["web1"]
    before, meanwhile, after = host.serving(balanced=True)
    assert (before.release, meanwhile.release, after.release) == (OLD, NEW, OLD)
    drain, enable = host.passes[0].steps[0], host.passes[0].steps[-1]
    assert before.end == drain.ended_at and meanwhile.start == enable.started_at
    failed = story_of(bad_day).hosts[HOSTILE].serving(balanced=True)
    assert [one.release for one in failed if one.end > one.start] == [OLD, OLD], "it never came into rotation with the new release"


def test_the_page_links_nowhere_and_names_and_details_stay_text(bad_day: Stream) -> None:
    page = written(bad_day)["report.html"]
    tags: list[tuple[str, dict[str, str | None]]] = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append((tag, dict(attrs)))  # type: ignore[method-assign]
    parser.handle_startendtag = parser.handle_starttag  # type: ignore[method-assign]
    parser.feed(page)
    leading = {"src", "href", "action", "srcset", "poster", "data", "xlink:href", "formaction", "background"}
    assert [(tag, attrs[name]) for tag, attrs in tags for name in attrs if name in leading] == [("link", "data:,")]
    assert not [name for dummy, attrs in tags for name in attrs if name.startswith("on")] and sum(tag == "script" for tag, dummy in tags) == 1
    assert not re.search(r"@import|url\(", page) and not {"img", "a", "iframe", "object", "base"} & {tag for tag, dummy in tags}
    assert "<script>alert" not in page and "&lt;script&gt;alert(&#39;x&#39;)" in page
    assert "<img" not in page and "answered 500 &lt;/td&gt;" in page and "the new basket &lt;b&gt;&amp; more" in page
    for words in ("rolled back", "ann@desk", "look at the basket", "evidence", "migrate.yml", "held to 2 by", "web7, web8"):
        assert words in page
    assert re.search(r"drain [\d.]+ s, switch [\d.]+ s, restart [\d.]+ s, health [\d.]+ s FAILED, undo drain", page)


def test_the_junit_is_one_case_a_host_with_what_went_wrong(bad_day: Stream) -> None:
    root = ElementTree.fromstring(written(bad_day)["report.xml"])
    suite = root.find("testsuite")
    assert root.tag == "testsuites" and suite is not None
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    failures = {name: case.find("failure") for name, case in cases.items() if case.find("failure") is not None}
    assert set(failures) == {HOSTILE, "verdict"} and suite.get("failures") == root.get("failures") == "2"
    failure = failures[HOSTILE]
    assert failure is not None and "answered 500" in str(failure.get("message")) and "health: " in str(failure.text)
    skipped = {name: str(case.find("skipped").get("message")) for name, case in cases.items() if case.find("skipped") is not None}  # type: ignore[union-attr]
    assert skipped["web7"] == "not reached" and skipped["web1"] == "taken back with the others" and suite.get("skipped") == str(len(skipped))
    assert "migrate.yml" in cases and len(cases) == int(str(suite.get("tests"))) == 10
    assert all(case.get("classname") and float(str(case.get("time"))) >= 0 for case in cases.values())


def test_what_xml_has_no_place_for_does_not_break_it(bad_day: Stream) -> None:
    story = story_of(bad_day)
    story.hosts["web1"].row = {**story.hosts["web1"].row, "state": "failed", "detail": "\x1b[31mred\x00\ud800"}  # type: ignore[dict-item]
    text = files.FILES["report.xml"](story, {})
    assert "[31mred" in text and ElementTree.fromstring(text.encode()) is not None


def test_many_hosts_are_in_groups_and_those_that_failed_come_first(big: Stream) -> None:
    found = written(big)
    data = valid(found["report.json"])
    groups = re.findall(r"<details( open)?><summary>((?:Failed|Batch [\d to]+)) <small>", found["report.html"])
    assert groups[0] == (" open", "Failed") and groups[1][1] == "Batch 1 to 2" and not any(is_open for is_open, dummy in groups[1:])
    assert all(found["report.html"].count(f'<tr data-h="{host}">') == (2 if row["steps"] else 1) for host, row in data["hosts"].items())
    assert "No turn for" in found["report.html"] and len(found["report.md"].splitlines()) < 220
    assert data["traffic"]["counted"] and data["traffic"]["drivers"] == ["haproxy"]


def test_a_report_that_can_not_be_written_is_said_and_the_others_are_written(bad_day: Stream, tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = bad_day.ledger
    rollout = ledger.rollout(bad_day.id)
    assert rollout
    what = (rollout, ledger.hosts(bad_day.id), ledger.events(bad_day.id))
    monkeypatch.setitem(files.FILES, "report.html", lambda story, data: str(1 // 0))
    place, problems = files.write_reports(str(tmp_path), *what)
    assert os.path.basename(place) == "report.md" and len(problems) == 1 and "ZeroDivisionError" in problems[0] and "report.html" in problems[0]
    assert sorted(os.listdir(os.path.dirname(place))) == ["report.json", "report.md", "report.xml"]
    (tmp_path / "file").write_text("")
    place, problems = files.write_reports(str(tmp_path / "file"), *what)
    assert place == "" and len(problems) == 1 and "No report could be written" in problems[0]
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(files.os, "fdopen", lambda handle, *args, **options: os.close(handle) or full)  # type: ignore[attr-defined, func-returns-value]
        place, problems = files.write_reports(str(tmp_path / "full"), *what)
    assert place == "" and len(problems) >= 1 and os.listdir(tmp_path / "full" / "reports" / bad_day.id) == []


def test_a_rollout_whose_report_fails_ends_as_it_would_have(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    conductor = world.begin()
    for host in world.facts["hosts"]:
        world.done(host)
    monkeypatch.setattr(files, "tell", lambda *args: 1 // 0)
    data = conductor.finish({})
    assert data["state"] == "succeeded" and data["report"] == "" and "ZeroDivisionError" in data["report_problems"][0]
    assert "report:" not in result_text(data)


def test_a_rollout_of_which_little_is_known_has_a_report_too(world: World) -> None:
    conductor = world.begin(release=None)
    world.ledger.event("r", "note", "a host that left the inventory", state="note")
    conductor.open_batch(["web1"], undo=False)
    conductor.failed("web1", "Switch", {"msg": "no"}, undo=False)
    data = conductor.finish({})
    assert data["report_problems"] == [] and f"report: {data['report']}" in result_text(data)
    with open(os.path.join(os.path.dirname(data["report"]), "report.json"), encoding="utf-8") as file:
        whole = valid(file.read())
    assert whole["hosts"]["web1"]["state"] == "failed" and whole["traffic"] == {"counted": False, "drivers": ["None"], "spans": []}
    with open(data["report"], encoding="utf-8") as file:
        page = file.read()
    assert "No requests are shown" in page and "no history to learn from" in page


def test_who_watches_is_not_told_numbers(bad_day: Stream) -> None:
    said: list[str] = []
    ledger = bad_day.ledger
    with unittest.mock.patch.object(type(ledger), "working", lambda self: {"id": bad_day.id, "state": "running"}):
        assert watch(os.path.dirname(ledger.path), said.append)["state"] == "rolled_back"
    assert any("in_flight" in line for line in said) and not any(word in line for line in said for word in ("  steps", "  counted"))


def test_long_waits_are_drawn_shorter_and_times_keep_their_order() -> None:
    axis = Axis(0, 10_000, [(0, 100), (9_900, 10_000)])
    assert len(axis.cuts) == 1 and axis.cuts[0][1] - axis.cuts[0][0] == pytest.approx(40)
    places = [axis.x(at) for at in range(0, 10_001, 50)]
    assert places == sorted(places) and places[0] == 0 and places[-1] == 1000
    assert axis.x(100) == pytest.approx(480) and axis.x(9_900) == pytest.approx(520)
    assert axis.x(-5) == 0 and axis.x(20_000) == 1000
    plain = Axis(0, 600, [(0, 20), (580, 600)])
    assert plain.cuts != [] and Axis(0, 600, [(0, 200), (500, 600)]).cuts == []
    assert len(Axis(5, 5, []).ticks()) >= 1 and 3 <= len(Axis(0, 330, [(0, 330)]).ticks()) <= 7
