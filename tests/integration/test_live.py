# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the live view and the events say of real rollouts."""

from __future__ import annotations

import json
import os
import typing as t

import jsonschema
import pytest
from fleet import terminal
from fleet.fleet import REPO, run
from fleet.site import Site

BAR = "━"


def play(site: Site, release: str, *, events: str, **changes: t.Any) -> terminal.Seen:
    """Roll out in a terminal, with the view and the events."""
    environment = {
        **site.fleet.environment, "ANSIBLE_NOCOLOR": "0", "ANSIBLE_STDOUT_CALLBACK": "seamless.rollout.progress",
        "ANSIBLE_CALLBACKS_ENABLED": "seamless.rollout.events", "SEAMLESS_EVENTS_PATH": events,
    }
    environment.pop("NO_COLOR", None)
    return terminal.run(site.fleet.command("seamless.rollout.rollout", site.variables(release, **changes)), environment)


def read(path: str) -> list[dict[str, t.Any]]:
    with open(os.path.join(REPO, "docs", "events.schema.json"), encoding="utf-8") as file:
        schema = jsonschema.Draft202012Validator(json.load(file))
    with open(path, encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    for event in events:
        schema.validate(event)
    return events


def steps(events: t.Sequence[t.Mapping[str, t.Any]], host: str) -> list[str]:
    return [event["step"] for event in events if event["event"] == "step_ended" and event["host"] == host]


def test_a_rollout_in_batches_is_seen_step_by_step(settled: Site, tmp_path: t.Any) -> None:
    path = str(tmp_path / "events.jsonl")
    # One that no host holds yet.
    settled.build("2.5")
    seen = play(settled, "2.5", events=path, canary=1, batch=[1], bake_seconds=3)
    assert seen.code == 0 and not seen.cursor_hidden, seen.text
    assert BAR not in seen.text and "shop 2.5: succeeded" in seen.text and "3 done" in seen.text, seen.text
    for words in (("shop 2.5", "0/3 hosts", "drain"), ("web1", "switch, restart, check"), ("web1", "bake"), ("2/3 hosts", "left, until")):
        assert seen.frame(*words), f"{words} were never seen together:\n{seen.frames[-20:]}"
    # The plan stands above the view, whole.
    assert "Rollout 20" in seen.text and "at most 1 of 3 hosts out of service at once" in seen.text
    events = read(path)
    assert steps(events, "web1") == ["stage", "drain", "switch", "enable", "bake"]
    ended = {event["host"]: event["status"] for event in events if event["event"] == "host_ended"}
    assert ended == dict.fromkeys(settled.fleet.web, "done")
    assert (events[-2]["event"], events[-2]["status"], events[-1]["status"]) == ("rollout_ended", "succeeded", "ok")


@pytest.mark.full
@pytest.mark.parametrize("pace", ["batch", "window"])
def test_a_release_that_fails_is_told_as_a_whole_and_again_at_the_end(settled: Site, tmp_path: t.Any, pace: str) -> None:
    path = str(tmp_path / "events.jsonl")
    seen = play(settled, "broken", events=path, canary=1, batch=[1], pace=pace)
    assert seen.code != 0 and not seen.cursor_hidden and BAR not in seen.text, seen.text
    assert "fatal: [web1]: FAILED! Switch, restart and check" in seen.text
    assert seen.frame("failed: web1") and seen.frame("Undo", "rolled back") or "rolled_back" in seen.text
    last = seen.text[seen.text.index("Failed:"):]
    assert "web1: Switch, restart and check:" in last, last
    events = read(path)
    failures = [event for event in events if event["event"] == "failure"]
    assert failures and failures[0]["host"] == "web1" and failures[0]["step"] == "switch"
    assert [event["status"] for event in events if event["event"] == "host_ended" and event["host"] == "web1"] == ["failed", "rolled_back"]


@pytest.mark.full
def test_a_rollout_in_a_window_says_who_waits_and_why(settled: Site, tmp_path: t.Any) -> None:
    seen = play(settled, "3.0", events=str(tmp_path / "events.jsonl"), canary=1, pace="window", bake_seconds=2)
    assert seen.code == 0 and BAR not in seen.text, seen.text
    assert seen.frame("web1", "bake", "web2", "waits until web1 of the step before is finished")
    assert "web2: waits until web1 of the step before is finished" in seen.text
    assert set(settled.releases().values()) == {"3.0"}


@pytest.mark.full
def test_with_a_pipe_there_are_plain_lines(settled: Site, tmp_path: t.Any) -> None:
    environment = {**settled.fleet.environment, "ANSIBLE_STDOUT_CALLBACK": "seamless.rollout.progress"}
    variables = settled.variables("4.0", canary=1, batch=[1])
    text = run("env", *(f"{name}={value}" for name, value in environment.items()), *settled.fleet.command("seamless.rollout.rollout", variables), timeout=300)
    assert BAR not in text and "\x1b" not in text
    for line in ("web1: drain", "web1: switch, restart, check", "web1: enable", "1 of 3 hosts", "shop 4.0: succeeded"):
        assert line in text, text
