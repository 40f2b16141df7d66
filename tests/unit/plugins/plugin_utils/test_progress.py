# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
import typing as t
from types import SimpleNamespace

import pytest
from ansible_collections.seamless.rollout.plugins.callback import progress
from ansible_collections.seamless.rollout.plugins.plugin_utils import _progress_text as text
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_estimate import Estimate
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_ledger import Follower
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_model import Failure, Happening, Model
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_steps import Step, step_of

ROLE = "/somewhere/rollout/roles/rollout/tasks"


def facts(*hosts: str, **more: t.Any) -> dict[str, t.Any]:
    entries = {host: {"state": "pending", "current": "1.0", "target": "2.0", "bake_seconds": 0, "ramp_seconds": 0} for host in hosts}
    return {"id": "r1", "app": "shop", "release": "2.0", "order": list(hosts), "hosts": entries, "batches": [list(hosts)], "estimate": None, **more}


class Told:
    """A model with a plan, and what it told."""

    def __init__(self, *hosts: str, **more: t.Any) -> None:
        self.model = Model()
        self.happened: list[Happening] = []
        self.model.listeners.append(self.happened.append)
        self.model.named(facts(*hosts, **more), 100.0)
        self.model.plan(facts(*hosts, **more), 101.0)

    def record(self, event: str, at: float, host: str | None = None, **detail: t.Any) -> None:
        self.model.record({"event": event, "at": at, "host": host, "detail": detail})

    def of(self, event: str) -> list[Happening]:
        return [happening for happening in self.happened if happening["event"] == event]


@pytest.mark.parametrize(
    ("places", "task", "wanted"),
    [
        ([f"{ROLE}/drain.yml:3"], "Take the host out of rotation", Step("drain")),
        ([f"{ROLE}/switch.yml:3", f"{ROLE}/switch_hooks.yml:15"], "Switch, restart and check", Step("switch")),
        (["/site/warm.yml:1", None, f"{ROLE}/hook.yml:3", f"{ROLE}/steps.yml:2"], "Warm the cache", Step("hook", "Warm the cache")),
        ([f"{ROLE}/update_role.yml:2"], "Note that the host changes", Step("update")),
        (["/roles/kernel/tasks/main.yml:1", f"{ROLE}/update_role.yml:6"], "Patch", Step("update", "Patch")),
        ([f"{ROLE}/slot.yml:2"], "Wait for a slot", Step("wait")),
        ([f"{ROLE}/roll.yml:2"], "Record the batch", Step("")),
        (["/c/rollout/roles/migration/tasks/expand_one.yml:2"], "Bring it", Step("database", "Bring it")),
        (["/site/play.yml:3", None], "Anything", Step("")),
    ],
)
def test_a_task_belongs_to_the_step_that_it_is_written_in(places: list[str | None], task: str, wanted: Step) -> None:
    assert step_of(places, task) == wanted


def test_a_host_goes_through_its_steps_and_each_is_told_with_its_time() -> None:
    told = Told("web1", "web2")
    told.record("in_flight", 110.0, "web1")
    told.model.begin("web1", Step("drain"), 110.5)
    told.model.end("web1", Step("drain"), "ok", 113.5)
    view = told.model.view(115.0, 10)
    assert [(line.host, line.words, line.seconds, line.note) for line in view.lines] == [("web1", "drain", 3.0, "waits for the others")]
    told.model.begin("web1", Step("switch"), 120.0)
    view = told.model.view(122.0, 10)
    assert (view.lines[0].words, view.lines[0].seconds, view.lines[0].note) == ("switch, restart, check", 2.0, "")
    told.model.end("web1", Step("switch"), "ok", 125.0)
    told.record("done", 126.0, "web1", state="done", seconds_out=7.5)
    assert [(step["step"], step["seconds"], step["status"]) for step in told.of("step_ended")] == [("drain", 3.0, "ok"), ("switch", 5.0, "ok")]
    assert [(host["host"], host["status"], host["seconds"], host["seconds_out"]) for host in told.of("host_ended")] == [("web1", "done", 16.0, 7.5)]
    assert (told.model.view(127.0, 10).done, told.model.view(127.0, 10).total) == (1, 2)


def test_a_step_that_fails_ends_there() -> None:
    told = Told("web1")
    told.record("in_flight", 110.0, "web1")
    told.model.begin("web1", Step("switch"), 111.0)
    told.model.fail(Failure("web1", "Switch", "no\nlong story", "no", False), "failed", Step("switch"), 114.0)
    told.model.end("web1", Step("switch"), "failed", 114.0)
    assert [(step["status"], step["seconds"]) for step in told.of("step_ended")] == [("failed", 3.0)]
    assert [(failure["message"], failure["step"]) for failure in told.of("failure")] == [("no", "switch")]
    told.record("failed", 115.0, "web1", detail="Switch: no")
    told.record("rolling_back", 116.0, None, halted="web1: Switch: no")
    told.record("rolling_back", 117.0, "web1")
    told.record("rolled_back", 119.0, "web1")
    assert [host["status"] for host in told.of("host_ended")] == ["failed", "rolled_back"]
    assert [halted["message"] for halted in told.of("halted")] == ["web1: Switch: no"]
    assert told.model.view(120.0, 5).halted == "web1: Switch: no" and told.model.view(120.0, 5).left is None


def test_who_waits_says_why_and_who_waits_without_a_reason_is_counted() -> None:
    told = Told("web1", "web2", "web3")
    told.record("in_flight", 110.0, "web1")
    for host in ("web2", "web3"):
        told.model.begin(host, Step("wait"), 110.0)
    assert not told.model.hear("web2: waits for a slot: 1 of 1 are in use")
    assert not told.model.hear("no host of ours: at all") and not told.model.hear("web1, web9: nothing")
    view = told.model.view(112.0, 10)
    assert [(line.host, line.note) for line in view.lines] == [("web1", ""), ("web2", "waits for a slot: 1 of 1 are in use")]
    assert view.waiting == 1
    # The wait may end and begin anew without a host that starts meanwhile.
    told.model.end("web2", Step("wait"), "ok", 113.0)
    told.model.begin("web2", Step("wait"), 113.0)
    assert told.model.view(114.0, 10).lines[1].note.startswith("waits for a slot")
    assert told.of("step_started") == []


def test_no_more_hosts_are_shown_than_there_is_room_for() -> None:
    names = [f"web{number:04}" for number in range(1000)]
    told = Told(*names)
    for name in names:
        told.model.begin(name, Step("stage"), 110.0)
    view = told.model.view(111.0, 7)
    assert (len(view.lines), view.more) == (7, 993)


def test_traffic_is_told_by_release() -> None:
    told = Told("web1", "web2")
    told.record("done", 110.0, "web1")
    for errors in (2, 1):
        told.record("counted", 120.0, None, hosts={"web1": {"requests": 50, "errors": errors}, "web2": {"requests": 100, "errors": 0}}, seconds=10)
    assert [tuple(part) for part in told.model.view(121.0, 5).traffic] == [("1.0", 10.0, 0), ("2.0", 5.0, 3)]
    assert text.traffic_line(told.model.view(121.0, 5)) == "1.0: 10 requests/s, 0 errors   2.0: 5 requests/s, 3 errors"
    assert len(told.of("traffic")) == 2


def test_a_backfill_is_told_in_place() -> None:
    told = Told("web1")
    assert told.model.hear("backfill of names: 43 % (43 of 100 rows)") and told.model.hear("backfill of names: 44 % (44 of 100 rows)")
    assert told.model.view(105.0, 5).backfills == {"names": "44 % (44 of 100 rows)"}
    told.model.begin("web1", Step("database", "Bring it"), 104.0)
    told.model.play("Roll", 106.0)
    assert told.model.view(107.0, 5).backfills == {}


@pytest.mark.parametrize(
    ("fill", "wanted"),
    [
        ({"rows": 430, "rows_estimate": 1000, "rate": 21.4, "eta": 27, "waits": ""}, "43 % (430 of about 1000 rows), 21 rows/s, about 27 s left"),
        ({"rows": 1100, "rows_estimate": 1000, "rate": 0, "eta": None, "waits": "replica"}, "100 % (1100 of about 1000 rows), waits for replica"),
        ({"rows": 12, "rows_estimate": None, "rate": None, "eta": None, "waits": None}, "12 rows"),
    ],
)
def test_a_backfill_says_how_far_it_is_in_words_that_the_view_knows(fill: dict[str, t.Any], wanted: str) -> None:
    line = text.backfill_text("names", fill)
    assert line == f"backfill of names: {wanted}" and Told("web1").model.hear(line)


def test_the_time_that_is_left_follows_the_hosts_that_are_done() -> None:
    hosts = facts(*(f"web{number}" for number in range(10)))["hosts"]
    unknown = Estimate(hosts, None)
    assert unknown.left([], None, None, 100.0) is None
    assert unknown.left(["web0", "web1"], 100.0, 120.0, 120.0) == pytest.approx(80.0)
    # The time goes on between two hosts.
    assert unknown.left(["web0", "web1"], 100.0, 120.0, 125.0) == pytest.approx(75.0)
    planned = Estimate(hosts, {"seconds": 200.0, "host_seconds": 20.0})
    assert planned.left([], None, None, 100.0) == pytest.approx(200.0)
    # Half as slow as planned: the more hosts are done, the more that counts.
    some, many = planned.left(["web0"], 100.0, 110.0, 110.0), planned.left([f"web{number}" for number in range(5)], 100.0, 150.0, 150.0)
    assert some is not None and many is not None and 90 < some < 180 and 50 < many < 75
    assert planned.left(list(hosts), 100.0, 200.0, 200.0) == 0.0


def test_a_canary_that_is_watched_longer_says_nothing_of_the_others() -> None:
    hosts = facts("web1", "web2", "web3")["hosts"]
    hosts["web1"]["bake_seconds"] = 90.0
    left = Estimate(hosts, None).left(["web1"], 0.0, 100.0, 100.0)
    assert left == pytest.approx(20.0)


def test_the_ledger_is_followed_and_never_changed(tmp_path: t.Any) -> None:
    follower = Follower(str(tmp_path), "r1")
    assert follower.news() == []
    ledger = Ledger(str(tmp_path))
    ledger.event("r1", "in_flight", "web1")
    follower.skip()
    ledger.event("r1", "done", "web1", seconds_out=1.5)
    ledger.event("other", "done", "web9")
    ledger.event("r1", "steps", "web1", steps=[{"step": "drain", "started_at": 1.0, "seconds": 2.0, "ok": True}])
    assert [(row["event"], row["host"]) for row in follower.news()] == [("steps", "web1"), ("done", "web1")]
    assert follower.news() == []
    with ledger._open(exclusive=True) as connection:
        # Nobody waits for whoever writes.
        connection.execute("INSERT INTO events (rollout_id, at, host, event) VALUES ('r1', 1.0, 'web2', 'done')")
        assert follower.news() == []
    assert [row["host"] for row in follower.news()] == ["web2"]


def test_what_the_ledger_says_of_steps_is_shown_for_a_host_that_is_done() -> None:
    told = Told("web1", "web2")
    lines = text.PlainLines(told.model)
    told.record("in_flight", 110.0, "web1")
    for step, seconds in (("drain", 3.4), ("hook", 1.5), ("redrain", 0.5), ("switch", 2.4), ("validated", 0.5), ("enable", 1.0)):
        told.model.begin("web1", Step(step), 111.0)
        told.model.end("web1", Step(step), "ok", 111.0 + seconds)
    measured = [("drain", 3.0), ("hook", 1.0), ("drain", 0.25), ("switch", 0.1), ("restart", 1.5), ("health", 0.5), ("enable", 0.75)]
    told.record("steps", 119.0, "web1", steps=[{"step": step, "started_at": 110.0, "seconds": seconds, "ok": True} for step, seconds in measured])
    told.record("done", 120.0, "web1", seconds_out=4.0)
    line = lines.line(told.of("host_ended")[0])
    steps = "drain 3.2 s, hook 1.0 s, switch 0.1 s, restart 1.5 s, health 0.5 s, enable 0.8 s, validated 0.5 s"
    assert f"web1: done in 10 s ({steps}); 1 of 2 hosts, about 10 s left" in line


def test_a_failure_is_told_whole() -> None:
    result = {
        "msg": "first line\nsecond line", "rc": 3, "stdout": "x" * 5000 + "\nend of stdout", "stderr": "problem", "module_stderr": "",
        "exception": 'Traceback (most recent call last):\n  File "x"\nValueError: no',
    }
    told = text.failure_text(Failure("web1", "Do it", text.whole_message(result), text.reason_of(result), False), "failed")
    assert told.startswith("fatal: [web1]: FAILED! Do it\n")
    for part in ("second line (exit code 3)", "x" * 5000, "end of stdout", "problem", "ValueError: no"):
        assert part in told
    assert "end of stdout" not in text.reason_of(result)


def test_what_no_log_hides_stays_hidden() -> None:
    result = {"censored": "the output has been hidden", "msg": "secret", "stdout": "secret"}
    assert "secret" not in text.whole_message(result) + text.reason_of(result)


def test_items_that_failed_are_told_each() -> None:
    result = {"msg": "One or more items failed", "results": [{"failed": True, "msg": "lb1 says no"}, {"msg": "fine"}, {"failed": True, "msg": "lb2 too"}]}
    assert text.whole_message(result).splitlines() == ["One or more items failed", "lb1 says no", "lb2 too"]


def test_a_recap_is_short() -> None:
    told = Told("web1", "web2", "web3")
    told.record("done", 110.0, "web1")
    told.model.fail(Failure("web2", "Switch", "no such file\nand more", "no such file", False), "failed", Step("switch"), 114.0)
    told.model.fail(Failure("web1", "Prune", "busy", "busy", True), "failed", Step(""), 114.0)
    told.record("failed", 115.0, "web2", detail="Switch: no such file")
    told.record("failed", 116.0, None, halted="web2: Switch: no such file")
    told.model.over(117.0)
    assert text.recap(told.model, 160.0) == [
        "shop 2.0: failed after 1 min; 1 done, 1 failed, 1 untouched", "Failed:", "  web2: Switch: no such file",
    ]


def test_plain_lines_name_a_play_only_when_a_host_has_work_in_it() -> None:
    told = Told("web1")
    for name in ("Undo", "Roll", "Roll"):
        told.model.play(name, 110.0)
    told.model.begin("web1", Step("drain"), 111.0)
    assert [happening["phase"] for happening in told.of("phase")] == ["Roll"]
    lines = text.PlainLines(told.model, steps=False)
    assert [lines.line(happening)[10:] for happening in told.happened if lines.line(happening)] == ["Roll"]


def test_the_heartbeat_says_what_goes_on() -> None:
    told = Told("web1", "web2")
    told.record("in_flight", 110.0, "web1")
    told.model.begin("web1", Step("bake"), 120.0)
    line = text.heartbeat(told.model.view(180.0, 4), 180.0)
    assert "0 of 2 hosts done; web1: bake for 1 min" in line


class Shown:
    """What Ansible's display got."""

    def __init__(self) -> None:
        self.verbosity, self._lock = 0, threading.RLock()
        self.lines: list[str] = []

    def __getattr__(self, name: str) -> t.Callable[..., None]:
        return lambda line, *args, **more: self.lines.append(line)


def test_a_model_that_fails_leaves_the_default_callback_and_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown()
    callback = progress.CallbackModule()
    monkeypatch.setattr(callback, "_display", shown)
    monkeypatch.setattr(callback, "get_option", lambda name: name != "show_per_host_start")
    callback._compact, callback._play = True, SimpleNamespace(strategy="linear")
    # Nothing that Ansible has: whatever the model asks of it fails.
    for dummy in range(3):
        callback.v2_runner_on_start(SimpleNamespace(), SimpleNamespace())
    task = SimpleNamespace(get_name=lambda: "Ping", no_log=False, check_mode=False, _uuid="1")
    callback.v2_playbook_on_task_start(task, False)
    assert len(shown.lines) == 2 and "can't be shown any more" in shown.lines[0] and shown.lines[1] == "TASK [Ping]"
