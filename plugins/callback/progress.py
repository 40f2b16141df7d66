# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
author:
  - Seamless Rollout Contributors (@seamless-rollout)
short_description: Live view of a rollout
version_added: 0.1.0
description:
  - Shows how far a rollout is, with a bar of its hosts, what each host under way does and since when, why others wait, what the balancers count,
    how far a backfill is, and when it will be over. Failures are shown as a whole, above the view, and again in a line each at the end.
  - The view needs a terminal and the Python library C(rich) on the controller. Without them, and where E(NO_COLOR) is set, there are plain lines.
  - With C(-v) and more, results are shown as by P(ansible.builtin.default#callback), and so are all plays that are not part of a rollout.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
options:
  progress_style:
    description:
      - V(auto) draws the view where that is possible, V(plain) never.
    type: str
    choices: [auto, plain]
    default: auto
    env:
      - name: SEAMLESS_PROGRESS_STYLE
    ini:
      - section: callback_progress
        key: style
  progress_rows:
    description:
      - Most hosts that the view has a line for.
    type: int
    default: 12
    env:
      - name: SEAMLESS_PROGRESS_ROWS
    ini:
      - section: callback_progress
        key: rows
  progress_refresh:
    description:
      - How often the view is drawn, in seconds.
    type: float
    default: 0.5
    env:
      - name: SEAMLESS_PROGRESS_REFRESH
    ini:
      - section: callback_progress
        key: refresh
  progress_steps:
    description:
      - Whether plain lines have one for each step of each host, besides the one for each host that is done.
    type: bool
    default: true
    env:
      - name: SEAMLESS_PROGRESS_STEPS
    ini:
      - section: callback_progress
        key: steps
  progress_heartbeat:
    description:
      - After how many seconds without another plain line there is one that says what still goes on. V(0) for never.
    type: float
    default: 60
    env:
      - name: SEAMLESS_PROGRESS_HEARTBEAT
    ini:
      - section: callback_progress
        key: heartbeat
requirements:
  - set as stdout in the configuration
  - rich (optional)
seealso:
  - plugin: seamless.rollout.events
    plugin_type: callback
"""

import atexit
import os
import sys
import typing as t

from ansible import constants
from ansible.plugins.callback.default import CallbackModule as Default
from ansible_collections.seamless.rollout.plugins.plugin_utils import _progress_region as region
from ansible_collections.seamless.rollout.plugins.plugin_utils import _progress_text as text
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_feed import Feed, of, rolls
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_model import Failure, Happening, Model, View
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_ticker import Ticker

C: t.Any = constants


class CallbackModule(Default):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "seamless.rollout.progress"

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.feed = Feed(self.model)
        self._compact = self._broken = False
        self._kinds: set[bool] = set()
        self._region: region.Region | None = None
        self._streams: list[tuple[str, region.Above]] = []
        self._ticker: Ticker | None = None
        self._said = 0.0

    def set_options(self, task_keys: t.Any = None, var_options: t.Any = None, direct: t.Any = None) -> None:
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        self._live = (
            self.get_option("progress_style") == "auto" and region.HAS_RICH and sys.stdout.isatty() and not C.ANSIBLE_NOCOLOR
            and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
        )
        if not self._live:
            self._lines = text.PlainLines(self.model, steps=bool(self.get_option("progress_steps")) and not self._display.verbosity)
            self.model.listeners.append(self._say)
        self.model.listeners.append(self._follow)

    def _say(self, happening: Happening) -> None:
        line = self._lines.line(happening) if self._compact or happening["event"] not in ("phase", "failure") else ""
        if line and not self.feed.dry:
            self._said = happening["at"]
            self._display.display(line)

    def _follow(self, happening: Happening) -> None:
        if happening["event"] == "rollout_started" and not self.feed.dry:
            self._begin()
        elif happening["event"] in ("rollout_ended", "refused"):
            self._end()

    def _begin(self) -> None:
        if self._ticker is not None:
            return
        atexit.register(self._end)
        self._said = self.feed.clock()
        if self._live:
            self._region = region.Region(sys.stdout, self._display._lock)
            for name in ("stdout", "stderr"):
                stream = getattr(sys, name)
                if stream.isatty():
                    above = region.Above(stream, self._region, self.model.hear)
                    self._streams.append((name, above))
                    setattr(sys, name, above)
        self._ticker = Ticker(float(self.get_option("progress_refresh")) if self._live else 1.0, self._tick)
        self._ticker.start()

    def _tick(self) -> None:
        try:
            with self._display._lock:
                if self._ticker is None:
                    return
                self.feed.look()
                now, place = self.feed.clock(), self._region
                view = self.model.view(now, min(int(self.get_option("progress_rows")), place.rows) if place else 4)
                if place is None:
                    self._beat(view, now)
                    return
            drawn = place.draw(view, now)
            with self._display._lock:
                if self._region is place:
                    place.put(drawn)
        except Exception as exc:
            # The rollout matters, its picture does not.
            self._end()
            self._display.warning(f"The live view ends here: {exc!r}")

    def _beat(self, view: View, now: float) -> None:
        every = float(self.get_option("progress_heartbeat"))
        if every and now - self._said >= every:
            self._said = now
            self._display.display(text.heartbeat(view, now))

    def _end(self) -> None:
        """Give the terminal back as it was."""
        ticker, self._ticker = self._ticker, None
        if ticker is not None:
            ticker.stop()
        if self._region is not None:
            with self._display._lock:
                self._region.hide()
                for name, above in self._streams:
                    above.flush()
                    if getattr(sys, name) is above:
                        setattr(sys, name, above.stream)
                self._streams.clear()
                self._region = None
        atexit.unregister(self._end)

    def _feed(self, take: t.Callable[..., t.Any], *args: t.Any, **more: t.Any) -> t.Any:
        """Have the model take what happened. Should it fail, everything is shown as by the default callback from then on: nothing must be lost."""
        if self._broken:
            return None
        try:
            with self._display._lock:
                return take(*args, **more)
        except Exception as exc:
            self._broken, self._compact = True, False
            self._end()
            self._display.warning(f"The progress of the rollout can't be shown any more: {exc!r}")
            return None

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        ours = rolls(play)
        self._kinds.add(ours)
        self._compact = ours and not self._display.verbosity and not self._broken
        self._feed(self.feed.play, play)
        if not self._compact:
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        # Banners of tasks whose results are shown after all name the task itself.
        self._last_task_name = None

    def v2_playbook_on_no_hosts_matched(self) -> None:
        if not self._compact:
            super().v2_playbook_on_no_hosts_matched()

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        if not self._compact:
            super().v2_playbook_on_no_hosts_remaining()

    def _task_start(self, task: t.Any, prefix: str | None = None) -> None:
        if self._compact:
            if prefix is not None:
                self._task_type_cache[task._uuid] = prefix
        else:
            super()._task_start(task, prefix)

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:
        self._feed(self.feed.start, host, task)
        if not self._compact:
            super().v2_runner_on_start(host, task)

    def _settled(self, result: t.Any) -> None:
        if self._region is not None:
            self._region.release()
        self._feed(self.feed.ok, result)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        if not self._compact or self._run_is_verbose(result):
            super().v2_runner_on_ok(result)
        else:
            self._handle_warnings(of(result, "result"))
        self._settled(result)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        if not self._compact:
            super().v2_runner_on_skipped(result)
        self._settled(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        failure = self._feed(self.feed.bad, result, "failed", ignored=ignore_errors)
        if not self._compact:
            super().v2_runner_on_failed(result, ignore_errors)
        elif failure is not None:
            self._show(failure, "failed", of(result, "result"))

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        failure = self._feed(self.feed.bad, result, "unreachable", ignored=of(result, "task").ignore_unreachable is True)
        if not self._compact:
            super().v2_runner_on_unreachable(result)
        elif failure is not None:
            self._show(failure, "unreachable", of(result, "result"))

    def _show(self, failure: Failure, status: str, values: t.Any) -> None:
        self._handle_warnings(values)
        color = C.COLOR_UNREACHABLE if status == "unreachable" else C.COLOR_SKIP if failure.ignored else C.COLOR_ERROR
        self._display.display(text.failure_text(failure, status), color=color, stderr=self.get_option("display_failed_stderr"))

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        if not self._compact or self._run_is_verbose(result):
            super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_skipped(self, result: t.Any) -> None:
        if not self._compact:
            super().v2_runner_item_on_skipped(result)

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        failure = self._feed(self.feed.bad_item, result, str(self._get_item_label(of(result, "result"))))
        if self._compact:
            self._show(failure, "failed", of(result, "result"))
        else:
            super().v2_runner_item_on_failed(result)

    def v2_playbook_on_include(self, included_file: t.Any) -> None:
        if not self._compact:
            super().v2_playbook_on_include(included_file)

    def v2_runner_retry(self, result: t.Any) -> None:
        if not self._compact:
            super().v2_runner_retry(result)

    def v2_runner_on_async_poll(self, result: t.Any) -> None:
        if not self._compact:
            super().v2_runner_on_async_poll(result)

    def v2_runner_on_async_ok(self, result: t.Any) -> None:
        if not self._compact:
            super().v2_runner_on_async_ok(result)

    def v2_runner_on_async_failed(self, result: t.Any) -> None:
        if not self._compact:
            super().v2_runner_on_async_failed(result)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._end()
        # The usual recap says more of plays that are no rollout, or where somebody wants to know more.
        if self._display.verbosity or self._broken or self._kinds != {True} or stats.custom and self.get_option("show_custom_stats"):
            super().v2_playbook_on_stats(stats)
        if True in self._kinds:
            for line in text.recap(self.model, self.feed.clock()):
                self._display.display(line, color=C.COLOR_ERROR if line == "Failed:" else None)
