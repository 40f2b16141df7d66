# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real pseudo-terminal with an emulator behind it, to see what a user sees."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
import typing as t

import pyte

COLUMNS, LINES = 120, 40


@dataclasses.dataclass
class Seen:
    """*text* is all that stayed, what scrolled away included; *frames* are the screens on the way, each once."""

    code: int
    text: str
    frames: list[str]
    cursor_hidden: bool

    def frame(self, *words: str) -> bool:
        """Say whether there was a moment at which all of *words* were on the screen."""
        return any(all(word in frame for word in words) for frame in self.frames)


def run(
    command: t.Sequence[str], environment: t.Mapping[str, str], *, timeout: float = 300, interrupt: t.Callable[[str], bool] | None = None,
    cwd: str | None = None,
) -> Seen:
    """Run *command* in a terminal of its own. Ctrl-C is typed once, when *interrupt* says so of the screen."""
    screen = pyte.HistoryScreen(COLUMNS, LINES, history=20_000, ratio=1)
    stream = pyte.ByteStream(screen)
    process, handle = pty.fork()
    if process == 0:
        try:
            if cwd:
                os.chdir(cwd)
            os.execvpe(command[0], list(command), {**environment, "TERM": "xterm-256color"})
        finally:
            os._exit(127)
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    frames: list[str] = []
    deadline = time.monotonic() + timeout
    status: int | None = None
    try:
        while time.monotonic() < deadline:
            if select.select([handle], [], [], 0.1)[0]:
                try:
                    data = os.read(handle, 65536)
                except OSError:
                    break
                if not data:
                    break
                stream.feed(data)
                frame = _shown(screen)
                if not frames or frames[-1] != frame:
                    frames.append(frame)
                if interrupt is not None and interrupt(frame):
                    interrupt = None
                    os.write(handle, b"\x03")
        while time.monotonic() < deadline and status is None:
            ended, code = os.waitpid(process, os.WNOHANG)
            status = code if ended else None
            time.sleep(0.02)
    finally:
        if status is None:
            os.kill(process, signal.SIGKILL)
            status = os.waitpid(process, 0)[1]
        os.close(handle)
    above = ["".join(line[column].data for column in range(COLUMNS)).rstrip() for line in screen.history.top]
    return Seen(os.waitstatus_to_exitcode(status), "\n".join([*above, _shown(screen)]), frames, screen.cursor.hidden)


def _shown(screen: t.Any) -> str:
    return "\n".join(line.rstrip() for line in screen.display).rstrip()
