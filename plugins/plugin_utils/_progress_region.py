# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The live view at the bottom of a terminal, drawn with rich, and the streams that keep everything else above it."""

from __future__ import annotations

import io
import os
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_model import View
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_text import first_line, left_text, short, traffic_line
from ansible_collections.seamless.rollout.plugins.plugin_utils._windows import duration

try:
    from rich.console import Console, ConsoleOptions, Group, RenderResult
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.segment import Segment
    from rich.table import Table
    from rich.text import Text

    HAS_RICH = True
except ImportError:
    HAS_RICH = False

# Lines of the view that are no hosts: the bar, the phase, traffic, failures, what halted it, and a line to keep the cursor on.
AROUND = 6


def drawing(view: View, now: float, width: int) -> t.Any:
    """Return *view* as something that rich draws, no line of it longer than *width*."""
    parts: list[t.Any] = []
    if view.total:
        head = Table.grid(padding=(0, 1))
        head.add_column(no_wrap=True)
        head.add_column()
        head.add_column(no_wrap=True)
        color = "red" if view.failed else "green" if view.done == view.total else "cyan"
        words = f"{view.done}/{view.total} hosts  {duration(round(view.elapsed))}"
        left = left_text(view.left, now)
        room = max(10, min(40, width - len(view.title) - len(words) - len(left) - 8))
        head.add_row(
            Text(view.title, style="bold"), ProgressBar(view.total, view.done, width=room, complete_style=color, finished_style=color),
            Text(words + (f"  {left}" if left else "")),
        )
        parts.append(head)
    else:
        parts.append(Text(f"{view.title}  {duration(round(view.elapsed))}", style="bold"))
    parts.append(Text(view.phase + (f", halted: {first_line(view.halted)}" if view.halted else ""), style="red" if view.halted else "dim"))
    if view.lines:
        hosts = Table.grid(padding=(0, 2))
        hosts.add_column(no_wrap=True, style="bold")
        hosts.add_column(no_wrap=True)
        hosts.add_column(no_wrap=True, justify="right")
        hosts.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        for line in view.lines:
            hosts.add_row(f"  {line.host}", line.words, short(line.seconds), first_line(line.note))
        parts.append(hosts)
    rest = [f"{number} {what}" for number, what in ((view.more, "more"), (view.waiting, "wait for a slot")) if number]
    if rest:
        parts.append(Text(f"  and {', '.join(rest)}", style="dim"))
    parts += [Text(f"  database: {name} {told}", style="magenta") for name, told in view.backfills.items()]
    if view.traffic:
        parts.append(Text(f"  {traffic_line(view)}", style="red" if any(part.errors for part in view.traffic) else ""))
    if view.failed:
        parts.append(Text(f"  failed: {', '.join(view.failed)}", style="red"))
    for part in parts:
        if isinstance(part, Text):
            part.no_wrap, part.overflow = True, "ellipsis"
    return Group(*parts)


class _Drawn:
    """Lines that are drawn already: whoever prints above them has them drawn again at no cost."""

    def __init__(self, lines: t.Sequence[t.Sequence[t.Any]]) -> None:
        self.lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines:
            yield from line
            yield Segment.line()


class _Raw:
    """Text that goes to the terminal as it is, colours and all: rich would wrap and cut it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self.text)


class Region:
    """The last lines of a terminal. Whatever writes takes *lock*, which Ansible holds while it forks: no process inherits a half-written state."""

    def __init__(self, stream: t.Any, lock: t.Any, **console: t.Any) -> None:
        self.lock = lock
        self.console = Console(file=stream, force_terminal=True, highlight=False, markup=False, emoji=False, **console)
        self._live: Live | None = None
        self.held = False

    @property
    def rows(self) -> int:
        return max(1, self.console.size.height - AROUND)

    def show(self, view: View, now: float) -> None:
        self.put(self.draw(view, now))

    def draw(self, view: View, now: float) -> _Drawn:
        """Return *view* as lines for :meth:`put`. This is what takes time, and it needs no lock."""
        width = self.console.width
        return _Drawn(self.console.render_lines(drawing(view, now, width), self.console.options.update(width=width - 1), pad=False))

    def put(self, drawn: _Drawn) -> None:
        with self.lock:
            if self.held:
                return
            if self._live is None:
                self._live = Live(drawn, console=self.console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, transient=True)
                self._live.start()
                # A process that is killed can't bring it back.
                self.console.show_cursor(True)
            self._live.update(drawn, refresh=True)

    def above(self, text: str) -> None:
        """Print whole lines above the view."""
        with self.lock:
            if self._live is None:
                self.console.file.write(text)
                self.console.file.flush()
            else:
                self.console.print(_Raw(text), end="", soft_wrap=True)

    def hide(self) -> None:
        with self.lock:
            live, self._live = self._live, None
            if live is not None:
                live.stop()

    def hold(self) -> None:
        """Leave the terminal to somebody who asks a question, until :meth:`release`."""
        with self.lock:
            self.hide()
            self.held = True

    def release(self) -> None:
        self.held = False


class Above(io.TextIOBase):
    """Stands for a stream of the terminal: whole lines go above the view. *hear* takes each line and says whether it is shown there instead."""

    def __init__(self, stream: t.Any, region: Region, hear: t.Callable[[str], bool]) -> None:
        self.stream, self.region, self.hear = stream, region, hear
        self._partial = ""
        self._owner = os.getpid()

    def write(self, text: str) -> int:
        if os.getpid() != self._owner:
            # A process that was forked off has no view, and maybe a lock of it that nobody gives back.
            return int(self.stream.write(text))
        with self.region.lock:
            whole, newline, self._partial = (self._partial + text).rpartition("\n")
            if newline:
                kept = "".join(f"{line}\n" for line in whole.split("\n") if not self.hear(line))
                if kept:
                    self.region.above(kept)
        return len(text)

    def flush(self) -> None:
        if os.getpid() != self._owner:
            self.stream.flush()
            return
        with self.region.lock:
            if self._partial:
                # A question: its answer is typed behind it.
                self.region.hold()
                self.stream.write(self._partial)
                self._partial = ""
            self.stream.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self.stream.fileno())

    @property
    def buffer(self) -> t.Any:
        self.region.hold()
        return self.stream.buffer

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self.stream, name)
