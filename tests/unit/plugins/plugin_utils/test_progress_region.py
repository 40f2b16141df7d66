# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import os
import re
import threading
import typing as t

import pyte
import pytest
from ansible_collections.seamless.rollout.plugins.plugin_utils import _progress_region as region
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_model import Line, Traffic, View
from rich.console import Console

VIEW = View(
    title="shop 2.0", phase="Roll", done=3, total=12, elapsed=75.0, left=200.0,
    lines=[Line("web4", "drain", 3.2, ""), Line("web5", "switch, restart, check", 12.0, ""), Line("web6", "waits for its slot", 1.0, "2 of 2 are in use")],
    more=2, waiting=4, traffic=[Traffic("1.0", 431.0, 0), Traffic("2.0", 120.4, 2)], backfills={"names": "43 % (430000 of 1000000 rows)"},
    failed=["web2"], halted="",
)


def drawn(view: View, width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True)
    console.print(region.drawing(view, 0.0, width))
    return re.sub(r"\s+\n", "\n", console.export_text())


def test_the_view_shows_all_there_is() -> None:
    lines = drawn(VIEW).splitlines()
    assert re.match(r"shop 2\.0 [━╸╺]+ 3/12 hosts  1 min 15 s  about 3 min 20 s left, until \d\d:\d\d$", lines[0])
    assert lines[1:] == [
        "Roll",
        "  web4  drain                   3.2 s",
        "  web5  switch, restart, check   12 s",
        "  web6  waits for its slot      1.0 s  2 of 2 are in use",
        "  and 2 more, 4 wait for a slot",
        "  database: names 43 % (430000 of 1000000 rows)",
        "  1.0: 431 requests/s, 0 errors   2.0: 120 requests/s, 2 errors",
        "  failed: web2",
    ]


@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_line_of_the_view_is_longer_than_the_terminal(width: int) -> None:
    long = VIEW._replace(halted="web2: " + "no " * 100, failed=[f"web{number}" for number in range(200)])
    lines = drawn(long, width).splitlines()
    assert max(map(len, lines)) <= width
    # Nor is it more lines than it says, whatever a message is like.
    told = "web2: not healthy\nlast lines of the unit\n" * 20
    more = long._replace(halted=told, lines=[line._replace(note=told) for line in long.lines])
    assert len(drawn(more, width).splitlines()) == len(lines)


def test_what_is_not_known_is_left_out() -> None:
    bare = VIEW._replace(left=None, lines=[], more=0, waiting=0, traffic=[], backfills={}, failed=[])
    assert len(drawn(bare).splitlines()) == 2 and "left" not in drawn(bare)


class Terminal(io.StringIO):
    """A stream that a terminal emulator reads."""

    def __init__(self) -> None:
        super().__init__()
        self.screen = pyte.HistoryScreen(80, 20, history=1000, ratio=1)
        self.emulator = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        self.emulator.feed(text.replace("\n", "\r\n"))
        return len(text)

    def isatty(self) -> bool:
        return True

    @property
    def buffer(self) -> t.Any:
        return io.BytesIO()

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in "\n".join(self.screen.display).rstrip().splitlines()]


@pytest.fixture
def terminal() -> tuple[Terminal, region.Region, region.Above]:
    stream = Terminal()
    made = region.Region(stream, threading.RLock(), width=80, height=20)
    return stream, made, region.Above(stream, made, lambda line: line.startswith("backfill"))


def test_lines_come_out_whole_above_the_view(terminal: t.Any) -> None:
    stream, made, above = terminal
    made.show(VIEW, 0.0)
    above.write("first\n")
    above.write("sec")
    above.write("ond\nthird\n")
    above.write("backfill of names: 43 %\n")
    made.show(VIEW._replace(done=4), 1.0)
    assert stream.lines[:3] == ["first", "second", "third"] and stream.lines[3].startswith("shop 2.0") and "4/12 hosts" in stream.lines[3]
    assert sum("hosts" in line for line in stream.lines) == 1
    above.write("x" * 100 + "\n")
    assert stream.lines[3:5] == ["x" * 80, "x" * 20] and "4/12 hosts" in stream.lines[5]
    made.hide()
    assert stream.lines == ["first", "second", "third", "x" * 80, "x" * 20] and not stream.screen.cursor.hidden


def test_a_view_that_shrinks_leaves_nothing_behind(terminal: t.Any) -> None:
    stream, made, above = terminal
    made.show(VIEW, 0.0)
    made.show(VIEW._replace(lines=[], traffic=[], backfills={}, failed=[], more=0, waiting=0), 1.0)
    assert len(stream.lines) == 2
    for number in range(100):
        above.write(f"line {number}\n")
    assert stream.lines[-3:-1] == ["line 99", stream.lines[-2]] and stream.lines[-1] == "Roll"


def test_the_cursor_is_never_hidden_for_good(terminal: t.Any) -> None:
    stream, made, above = terminal
    made.show(VIEW, 0.0)
    assert not stream.screen.cursor.hidden


def test_a_question_has_the_terminal_for_itself(terminal: t.Any) -> None:
    stream, made, above = terminal
    made.show(VIEW, 0.0)
    above.write("Which one? ")
    above.flush()
    made.show(VIEW, 1.0)
    assert stream.lines == ["Which one?"]
    made.release()
    above.write("\n")
    made.show(VIEW, 2.0)
    assert "3/12 hosts" in stream.lines[1]
    assert above.buffer is not None and made.held
    made.show(VIEW, 3.0)
    assert not any("hosts" in line for line in stream.lines)


def test_a_process_that_is_forked_off_writes_past_the_view(terminal: t.Any) -> None:
    stream, made, above = terminal
    made.show(VIEW, 0.0)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        stream.write = lambda text: os.write(writing, text.encode())
        made.above = made.show = None
        os._exit(0 if above.write("from a worker\n") and above.flush() is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert os.read(reading, 100) == b"from a worker\n" and not any("worker" in line for line in stream.lines)
