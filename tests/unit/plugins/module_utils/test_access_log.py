# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils import _access_log
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from hypothesis import given
from hypothesis import strategies as st

Perform = t.Callable[..., t.Dict[str, t.Any]]

COMBINED = '198.51.100.7 - - [28/Nov/2026:23:00:00 +0000] "GET {path} HTTP/1.1" {status} 612 "-" "curl/7.88.1"\n'
TIMED = r'" (?P<status>[\d, :-]+) "(?P<upstream>[^"]+)" "(?P<seconds>[^"]+)"$'


def line(status: t.Any = 200, path: str = "/") -> str:
    return COMBINED.format(path=path, status=status)


def count(perform: Perform, log: pathlib.Path, **params: t.Any) -> tuple[tuple[int, int], dict[str, t.Any]]:
    found = perform("access_log_info", path=str(log), **params)
    counts = found["counts"].get("", {"requests": 0, "errors": 0})
    return (counts["requests"], counts["errors"]), found


def test_failures_are_answers_with_500_and_above(perform: Perform, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "access.log"
    log.write_text("".join(map(line, (200, 302, 404, 499, 500, 503))) + line(200, "/health") + "no request at all\n")
    numbers, found = count(perform, log, ignore="GET /health")
    assert numbers == (6, 2) and found["unread"] == 1 and found["complete"] and not found["changed"]


def test_what_was_written_since_is_counted_once(perform: Perform, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "access.log"
    half = line(500)
    log.write_text(line() + half[:40])
    numbers, found = count(perform, log)
    assert numbers == (1, 0), "a line that is not whole is not read"
    with log.open("a") as file:
        file.write(half[40:] + line())
    numbers, found = count(perform, log, since=found["place"])
    assert numbers == (2, 1)
    assert count(perform, log, since=found["place"])[0] == (0, 0)


def test_a_log_that_is_rotated_loses_nothing(perform: Perform, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line())
    place = count(perform, log)[1]["place"]
    with log.open("a") as file:
        file.write(line(500))
    log.rename(tmp_path / "access.log.1")
    log.write_text(line() + line())
    numbers, found = count(perform, log, since=place)
    assert numbers == (3, 1) and found["complete"]
    os.unlink(tmp_path / "access.log.1")
    numbers, found = count(perform, log, since=place)
    assert numbers == (2, 0) and not found["complete"]


def test_a_log_that_is_emptied_in_place_is_read_from_its_begin(perform: Perform, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line() * 5)
    place = count(perform, log)[1]["place"]
    log.write_text(line(503))
    assert count(perform, log, since=place)[0] == (1, 1)


def test_of_a_long_log_the_last_whole_lines_are_read(perform: Perform, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line(500) * 5 + line() * 5)
    size = len(line())
    assert count(perform, log, max_bytes=2 * size)[0] == (2, 0)
    assert count(perform, log, max_bytes=2 * size + 10)[0] == (2, 0)
    assert count(perform, log, max_bytes=7 * size)[0] == (7, 2)


@given(st.lists(st.sampled_from([200, 404, 500, 502])), st.data())
def test_however_it_is_read_in_parts_the_sum_is_that_of_the_whole(tmp_path_factory: t.Any, statuses: list[int], data: st.DataObject) -> None:
    log = tmp_path_factory.mktemp("log") / "access.log"
    content = "".join(map(line, statuses)).encode()
    defaults = {name: option.get("default") for name, option in _access_log.ARGUMENT_SPEC.items()}
    place, seen = None, {"requests": 0, "errors": 0}
    for end in [*sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=4))), len(content)]:
        log.write_bytes(content[:end])
        found = _access_log.run({**defaults, "path": str(log), "since": place}, False)
        place = found["place"]
        for numbers in found["counts"].values():
            seen = {name: seen[name] + numbers[name] for name in seen}
    assert seen == {"requests": len(statuses), "errors": sum(status >= 500 for status in statuses)}


def test_a_request_counts_for_each_server_that_it_went_to(perform: Perform, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(
        '"GET / HTTP/1.1" 200 "10.0.0.1:80" "0.100"\n'
        '"GET / HTTP/1.1" 502, 200 "10.0.0.1:80, 10.0.0.2:80" "2.000, 0.001"\n'
        '"GET / HTTP/1.1" 504, 200 "10.0.0.1:80 : 10.0.0.3:80" "0.900, 0.700"\n'
        '"GET / HTTP/1.1" 200 "10.0.0.1:80, 10.0.0.2:80" "0.100"\n'
        '"GET / HTTP/1.1" - "10.0.0.2:80" "-"\n'
    )
    found = perform("access_log_info", path=str(log), pattern=TIMED, slow_seconds=0.5)
    assert found["counts"] == {
        "10.0.0.1:80": {"requests": 4, "errors": 3, "slow": 2},
        "10.0.0.2:80": {"requests": 3, "errors": 1, "slow": 0},
        "10.0.0.3:80": {"requests": 1, "errors": 0, "slow": 1},
    }


def test_what_can_not_be_read_is_explained(perform: Perform, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "access.log"
    for params, message in (
        ({"path": str(log)}, "no such file: name the access log"),
        ({"path": str(tmp_path)}, "is a directory"),
        ({"path": str(log), "pattern": "(?P<state>.)"}, r"no group named status"),
        ({"path": str(log), "pattern": "("}, "no regular expression"),
        ({"path": str(log), "slow_seconds": 1.0}, "no group of seconds"),
    ):
        with pytest.raises(SeamlessError, match=message):
            perform("access_log_info", **params)
