# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import datetime
import http.server
import socket
import threading
import time
import typing as t

import pytest
import zoneinfo
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _blockers
from ansible_collections.seamless.rollout.plugins.plugin_utils._windows import DAYS, duration, judge, read_window, window_problems
from hypothesis import assume, given, settings
from hypothesis import strategies as st

UTC = datetime.timezone.utc
NIGHT = {"kind": "allow", "days": ["mon", "tue", "wed", "thu"], "from": "22:00", "to": "06:00", "timezone": "Europe/Berlin"}
FREEZE = {"kind": "deny", "start": "2026-12-20", "end": "2027-01-02", "name": "Christmas"}


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("windows", "now", "is_open", "change"),
    [
        ([], "2026-11-25 12:00", True, None),
        ([NIGHT], "2026-11-25 12:00", False, "2026-11-25 22:00"),
        ([NIGHT], "2026-11-25 22:00", True, "2026-11-26 06:00"),
        ([NIGHT], "2026-11-26 05:59", True, "2026-11-26 06:00"),
        ([NIGHT], "2026-11-27 05:59", True, "2026-11-27 06:00"),
        ([NIGHT], "2026-11-27 23:00", False, "2026-11-30 22:00"),
        ([NIGHT, FREEZE], "2026-12-22 23:00", False, "2027-01-04 22:00"),
        ([NIGHT, FREEZE], "2026-12-18 05:00", True, "2026-12-18 06:00"),
        ([FREEZE], "2026-11-25 12:00", True, "2026-12-20 01:00"),
        ([FREEZE], "2027-01-03 00:59", False, "2027-01-03 01:00"),
        ([{"kind": "deny"}], "2026-11-25 12:00", False, None),
        ([{"kind": "allow"}], "2026-11-25 12:00", True, None),
        ([{"kind": "allow", "start": "2031-01-01"}], "2026-11-25 12:00", False, "2031-01-01 01:00"),
        ([{"kind": "allow", "end": "2020-01-01"}], "2026-11-25 12:00", False, None),
        ([{"kind": "deny", "days": ["sat", "sun"], "timezone": "Europe/Berlin"}], "2026-11-25 12:00", True, "2026-11-28 00:00"),
        ([{"kind": "allow", "from": "20:00", "to": "24:00", "timezone": "Europe/Berlin"}], "2026-11-25 23:59", True, "2026-11-26 00:00"),
    ],
)
def test_windows_open_and_close_when_they_say(windows: list[dict[str, t.Any]], now: str, is_open: bool, change: str | None) -> None:
    verdict = judge(windows, at(now))
    assert (verdict.open, verdict.next_change) == (is_open, None if change is None else at(change))


def test_a_closed_window_says_why_and_when_the_next_one_opens() -> None:
    assert judge([NIGHT], at("2026-11-25 12:00")).why == (
        "none that allows a rollout is open, it is Wed 2026-11-25 12:00 Europe/Berlin; opens Wed 2026-11-25 22:00 Europe/Berlin, in 10 h"
    )
    assert judge([NIGHT, FREEZE], at("2026-12-22 23:00")).why.startswith("closed by Christmas, it is Tue 2026-12-22 23:00")
    assert "closed by a window of kind deny; " in judge([{"kind": "deny"}], at("2026-12-22 23:00")).why.replace(", it is Tue 2026-12-22 22:00 UTC", "")


def test_an_hour_that_comes_twice_is_long_for_deny_and_as_written_for_allow() -> None:
    window = {"from": "02:15", "to": "02:45", "timezone": "Europe/Berlin"}
    for fold, allowed in ((0, True), (1, False)):
        assert judge([{"kind": "allow", **window}], at("2026-10-25 02:30", fold=fold)).open is allowed
        assert judge([{"kind": "deny", **window}], at("2026-10-25 02:30", fold=fold)).open is False
    assert judge([{"kind": "deny", **window}], at("2026-10-25 02:50", fold=0)).open is False


def test_an_hour_that_does_not_come_is_moved_and_not_lost() -> None:
    window = {"kind": "allow", "from": "02:15", "to": "02:45", "timezone": "Europe/Berlin"}
    verdict = judge([window], at("2026-03-29 01:00"))
    assert verdict.next_change == at("2026-03-29 03:15")
    assert judge([window], at("2026-03-29 03:30")).next_change == at("2026-03-29 03:45")


CLOCK = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Asia/Kolkata", "UTC"])
WINDOWS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["allow", "deny"]), "from": CLOCK, "to": CLOCK, "timezone": ZONES},
    optional={"days": st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True)},
).filter(lambda window: window["from"] != window["to"])
# Around the clock changes of all those zones.
TIMES = st.one_of(
    st.datetimes(datetime.datetime(2026, 3, 7), datetime.datetime(2026, 4, 6)), st.datetimes(datetime.datetime(2026, 10, 3), datetime.datetime(2026, 11, 3))
).map(lambda moment: moment.replace(microsecond=0, tzinfo=UTC))


@settings(deadline=None, max_examples=60)
@given(windows=st.lists(WINDOWS, max_size=3), now=TIMES)
def test_the_verdict_holds_until_the_next_change_and_not_longer(windows: list[dict[str, t.Any]], now: datetime.datetime) -> None:
    verdict = judge(windows, now)
    if verdict.next_change is None:
        assert all(judge(windows, now + datetime.timedelta(hours=hours)).open is verdict.open for hours in (1, 30, 200))
        return
    assert verdict.next_change > now
    assert judge(windows, verdict.next_change).open is not verdict.open
    for part in (0.25, 0.5, 0.999999):
        assert judge(windows, now + (verdict.next_change - now) * part).open is verdict.open


@settings(deadline=None, max_examples=100)
@given(window=WINDOWS, now=TIMES)
def test_away_from_clock_changes_a_window_is_what_the_clock_on_the_wall_says(window: dict[str, t.Any], now: datetime.datetime) -> None:
    local = now.astimezone(zoneinfo.ZoneInfo(window["timezone"]))
    assume(len({(local + datetime.timedelta(hours=hours)).astimezone(UTC).astimezone(local.tzinfo).utcoffset() for hours in range(-50, 51, 2)}) == 1)
    wall, days = local.strftime("%H:%M"), window.get("days", DAYS)
    today, yesterday = DAYS[local.weekday()] in days, DAYS[local.weekday() - 1] in days
    if window["from"] < window["to"]:
        inside = today and window["from"] <= wall < window["to"]
    else:
        inside = (today and wall >= window["from"]) or (yesterday and wall < window["to"])
    assert judge([window], now).open is (inside if window["kind"] == "allow" else not inside)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": ""}, "kind is ''"),
        ({"days": ["monday"]}, "use a list of mon, tue"),
        ({"from": 1320}, "which YAML made a number"),
        ({"to": "25:00"}, "to is '25:00'"),
        ({"to": "22:00"}, "leave both out"),
        ({"timezone": ""}, "timezone is not set"),
        ({"timezone": "Europe/Berln"}, "Did you mean Europe/Berlin?"),
        ({"timezone": "../etc/passwd"}, "which is not known"),
        ({"start": "20.12.2026"}, "use a date such as 2026-12-20"),
        ({"start": "2026-12-20", "end": "2026-12-01"}, "before start"),
        ({"form": "22:00"}, "Did you mean from?"),
    ],
)
def test_a_window_that_cannot_be_meant_is_refused(changes: dict[str, t.Any], message: str) -> None:
    (problem,) = window_problems([FREEZE, {**NIGHT, **changes}])
    assert problem.startswith("rollout_windows[1]: ") and message in problem


def test_a_controller_without_time_zones_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> zoneinfo.ZoneInfo:
        raise zoneinfo.ZoneInfoNotFoundError(name)

    monkeypatch.setattr("zoneinfo.ZoneInfo", missing)
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    with pytest.raises(SeamlessError, match="install the package tzdata"):
        read_window(NIGHT)
    assert read_window({**NIGHT, "timezone": "UTC"}).zone is UTC


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.6, "1 min"), (3700, "1 h 1 min"), (3605, "1 h"), (90000, "1 d 1 h")])
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = 503 if self.path == "/down" else 302 if self.path == "/moved" else 200
        body = {"/alarms": b'{"data": {"result": [{"metric": "x"}]}}', "/quiet": b'{"data": {"result": []}}', "/down": b"incident 42\n"}.get(self.path, b"ok")
        if self.path == "/slow":
            time.sleep(1)
        self.send_response(status)
        self.send_header("Location", "/quiet")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(body)

    def log_message(self, *args: t.Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> t.Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("/up", {}, None),
        ("/up", {"contains": "ok"}, None),
        ("/up", {"contains": "go"}, "does not contain 'go' (ok)"),
        ("/up", {"json": {"a": 1}}, "answered no JSON (ok)"),
        ("/down", {"name": "status page"}, "rollout_blockers: status page forbids a rollout: it answered 503, wanted 200 (incident 42)"),
        ("/down", {"status": 503}, None),
        ("/moved", {}, "it answered 302, wanted 200"),
        ("/quiet", {"json": {"data.result": []}}, None),
        ("/alarms", {"json": {"data.result": []}}, 'data.result is [{"metric": "x"}], wanted []'),
        ("/slow", {"timeout": 0.2}, "gave no answer, so nobody knows whether a rollout is allowed (timed out)"),
    ],
)
def test_an_address_forbids_unless_it_answers_as_expected(site: str, path: str, options: dict[str, t.Any], message: str | None) -> None:
    reasons = _blockers.check([{"url": site + path, **options}])
    assert (message is None and reasons == []) or (message is not None and message in reasons[0]), reasons


def test_an_address_where_nobody_listens_forbids_in_other_words_and_keeps_its_secrets() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (reason,) = _blockers.check([{"url": f"http://me:secret@127.0.0.1:{free.getsockname()[1]}/x?token=secret"}])
    assert "gave no answer, so nobody knows" in reason and "refused" in reason and "secret" not in reason


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("true", None),
        ("echo; echo 'disk is full'; echo more; exit 3", "forbids a rollout: disk is full"),
        (["sh", "-c", "exit 3"], "forbids a rollout: exit code 3"),
        (["/no/such/program"], "could not be run, so nobody knows"),
        ("sleep 20; true", "gave no answer within 0.3 s"),
    ],
)
def test_a_command_forbids_by_its_exit_code(command: t.Any, message: str | None) -> None:
    started = time.monotonic()
    reasons = _blockers.check([{"command": command, "timeout": 0.3 if "sleep" in command else 10}])
    assert (message is None and reasons == []) or (message is not None and message in reasons[0]), reasons
    assert time.monotonic() - started < 5


def test_a_file_forbids_while_it_is_there(tmp_path: t.Any) -> None:
    path = tmp_path / "incident"
    assert _blockers.check([{"file": str(path)}]) == []
    path.write_text("the database is slow\nmore\n")
    assert _blockers.check([{"file": str(path)}]) == [f"rollout_blockers: {path} forbids a rollout: the database is slow"]
    path.write_text("")
    assert _blockers.check([{"file": str(path)}])[0].endswith("the file is there")
    assert _blockers.check([{"file": str(tmp_path)}])[0].endswith("the directory is there")


def test_windows_and_blockers_are_asked_together(tmp_path: t.Any) -> None:
    path = tmp_path / "incident"
    path.write_text("slow")
    reasons = _blockers.what_forbids([NIGHT], [{"file": str(path)}, {"command": "true"}], at("2026-11-25 12:00"))
    assert [reason.split(":")[0] for reason in reasons] == ["rollout_windows", "rollout_blockers"]
    assert _blockers.what_forbids([NIGHT], [], at("2026-11-25 23:00")) == []
