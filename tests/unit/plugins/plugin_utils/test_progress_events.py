# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import typing as t

import jsonschema
import pytest
from ansible_collections.seamless.rollout.plugins.plugin_utils import _progress_spans as spans
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_events import Lines, iso, record
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_model import Failure, Model
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_steps import Step
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))


def story(model: Model) -> None:
    """Two hosts, of which one fails and goes back."""
    hosts = {host: {"state": "pending", "current": "1.0", "target": "2.0"} for host in ("web1", "web2")}
    facts = {"id": "r1", "app": "shop", "release": "2.0", "mode": "release", "order": ["web1", "web2"], "hosts": hosts, "batches": [["web1"], ["web2"]]}
    model.tell("run_started", 99.0, playbook="rollout.yml")
    model.play("Plan the rollout", 99.5)
    model.begin("web1", Step(""), 99.6)
    model.named(facts, 100.0)
    model.plan(facts, 101.0)

    def recorded(event: str, at: float, host: str | None = None, **detail: t.Any) -> None:
        model.record({"event": event, "at": at, "host": host, "detail": detail})

    model.play("Roll", 109.0)
    recorded("in_flight", 110.0, "web1")
    model.begin("web1", Step("drain"), 110.5)
    model.end("web1", Step("drain"), "ok", 113.5)
    recorded("done", 114.0, "web1", seconds_out=2.5)
    recorded("counted", 114.5, None, hosts={"web1": {"requests": 10, "errors": 1}}, seconds=1)
    recorded("pause", 114.6, None, by="someone", reason="lunch")
    recorded("in_flight", 115.0, "web2")
    model.begin("web2", Step("switch"), 115.5)
    model.fail(Failure("web2", "Switch", "not healthy\nstdout: SECRET", "not healthy", False), "failed", Step("switch"), 118.0)
    model.end("web2", Step("switch"), "failed", 118.0)
    recorded("failed", 118.5, "web2", detail="Switch: not healthy")
    recorded("rolling_back", 118.6, None, halted="web2: Switch: not healthy")
    recorded("rolled_back", 120.0, "web1")
    recorded("rolled_back", 120.5, None, halted="web2: Switch: not healthy")
    model.over(121.0)
    model.tell("run_ended", 121.5, status="failed", seconds=22.5)


def test_every_event_is_as_the_schema_says() -> None:
    with open(os.path.join(REPO, "docs", "events.schema.json"), encoding="utf-8") as file:
        schema = jsonschema.Draft202012Validator(json.load(file))
    schema.check_schema(schema.schema)
    model, written = Model(), []
    model.listeners.append(lambda happening: written.append(record(happening, model.facts)))
    story(model)
    for event in written:
        schema.validate(event)
    assert {"run_started", "rollout_started", "planned", "phase", "host_started", "step_started", "step_ended", "failure", "host_ended", "halted", "order",
            "traffic", "rollout_ended", "run_ended"} == {event["event"] for event in written}
    assert "SECRET" not in json.dumps(written)
    step = next(event for event in written if event["event"] == "step_ended")
    assert step == {
        "schema": 1, "time": "1970-01-01T00:01:53.500Z", "event": "step_ended", "rollout": "r1", "app": "shop", "release": "2.0", "host": "web1",
        "step": "drain", "seconds": 3.0, "status": "ok",
    }


def test_the_guide_tells_of_every_event() -> None:
    with open(os.path.join(REPO, "docs", "events.schema.json"), encoding="utf-8") as file:
        events = json.load(file)["properties"]["event"]["enum"]
    with open(os.path.join(REPO, "docs", "docsite", "rst", "live.rst"), encoding="utf-8") as guide:
        text = guide.read()
    assert [event for event in events if f"``{event}``" not in text] == []


def test_times_are_utc_with_milliseconds() -> None:
    assert iso(1700000000.0) == "2023-11-14T22:13:20.000Z"


def test_lines_are_kept_until_it_is_known_where_they_go_and_appended_whole(tmp_path: t.Any) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"old":1}\n', encoding="utf-8")
    lines = Lines(pytest.fail)
    lines.add({"a": "é"})
    lines.to(str(path))
    lines.add({"b": 2})
    # Nothing is held back: a reader has it now.
    assert path.read_text(encoding="utf-8") == '{"old":1}\n{"a":"é"}\n{"b":2}\n'
    lines.close()


@pytest.mark.parametrize("kind", ["nowhere", "full", "fifo"])
def test_what_can_not_be_written_is_warned_of_once_and_delays_nothing(tmp_path: t.Any, kind: str) -> None:
    path = {"nowhere": str(tmp_path / "nowhere" / "events.jsonl"), "full": "/dev/full", "fifo": str(tmp_path / "fifo")}[kind]
    if kind == "fifo":
        os.mkfifo(path)
    warned: list[str] = []
    lines = Lines(warned.append)
    lines.to(path)
    for number in range(3):
        lines.add({"number": number})
    lines.close()
    assert len(warned) == 1 and path in warned[0] and "goes on without them" in warned[0]


def test_lines_go_to_stderr(capsys: t.Any) -> None:
    lines = Lines(pytest.fail)
    lines.to("-")
    lines.add({"a": 1})
    assert capsys.readouterr().err == '{"a":1}\n'


def test_spans_are_of_the_rollout_its_hosts_and_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    model = Model()
    trace = spans.Trace(lambda: model.facts)
    model.listeners.append(trace.hear)
    story(model)
    exporter = InMemorySpanExporter()
    spans.send(trace.rollouts, exporter, service="shop-ci", now=130.0)
    made = {span.name: span for span in exporter.get_finished_spans()}
    assert set(made) == {"rollout shop", "host web1", "host web2", "drain", "switch"}
    rollout, web2, switch = made["rollout shop"], made["host web2"], made["switch"]
    assert f"{rollout.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c" and f"{rollout.parent.span_id:016x}" == "b7ad6b7169203331"
    assert web2.parent.span_id == rollout.context.span_id and switch.parent.span_id == web2.context.span_id
    assert (made["drain"].start_time, made["drain"].end_time) == (110_500_000_000, 113_500_000_000)
    assert (switch.status.status_code, switch.status.description) == (StatusCode.ERROR, "not healthy")
    assert rollout.status.description == "web2: Switch: not healthy" and made["drain"].status.status_code == StatusCode.OK
    assert dict(rollout.attributes)["seamless.rollout.release"] == "2.0" and dict(rollout.attributes)["seamless.rollout.status"] == "rolled_back"
    assert dict(rollout.resource.attributes)["service.name"] == "shop-ci"
    assert "SECRET" not in str([span.to_json() for span in made.values()])


def test_a_run_that_ends_early_has_spans_that_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEPARENT", raising=False)
    model = Model()
    trace = spans.Trace(lambda: model.facts)
    model.listeners.append(trace.hear)
    model.named({"id": "r1", "app": "shop"}, 100.0)
    model.begin("web1", Step("drain"), 101.0)
    exporter = InMemorySpanExporter()
    spans.send(trace.rollouts, exporter, service="shop", now=130.0)
    assert {span.name: span.end_time for span in exporter.get_finished_spans()} == dict.fromkeys(("rollout shop", "host web1", "drain"), 130_000_000_000)


@pytest.mark.parametrize(
    ("option", "endpoint", "wanted"), [(None, "", False), (None, "http://collector:4317", True), (False, "http://collector:4317", False), (True, "", True)]
)
def test_spans_are_sent_where_an_endpoint_is_named(monkeypatch: pytest.MonkeyPatch, option: bool | None, endpoint: str, wanted: bool) -> None:
    for name in spans.ENDPOINTS:
        monkeypatch.setenv(name, endpoint)
    assert spans.wanted(option) is wanted
