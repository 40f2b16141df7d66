# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: events
type: notification
author:
  - Seamless Rollout Contributors (@seamless-rollout)
short_description: Events of a rollout, for machines
version_added: 0.1.0
description:
  - Writes what happens in a rollout as one JSON object a line, as it happens, for CI and for what ships logs. The guide has a table of the events,
    and the collection a JSON Schema in C(docs/events.schema.json).
  - There are names, times, states and the messages of failures in it, never arguments of tasks or what they wrote; what C(no_log) hides stays hidden.
  - Sends OpenTelemetry spans of the rollout, its hosts and their steps, at its end.
options:
  path:
    description:
      - File that the lines are appended to, V(-) for stderr. By default C(events.jsonl) in the state directory of the application, except for a plan that
        changes nothing.
      - A file that can't be written is warned of, once, and the rollout goes on.
    type: str
    env:
      - name: SEAMLESS_EVENTS_PATH
    ini:
      - section: callback_events
        key: path
  otel:
    description:
      - Whether spans are sent. By default they are where C(opentelemetry-sdk) is installed and E(OTEL_EXPORTER_OTLP_ENDPOINT) or
        E(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) is set.
    type: bool
    env:
      - name: SEAMLESS_EVENTS_OTEL
    ini:
      - section: callback_events
        key: otel
  otel_service_name:
    description:
      - Name of the service that the spans are of.
    type: str
    default: seamless.rollout
    env:
      - name: OTEL_SERVICE_NAME
    ini:
      - section: callback_events
        key: otel_service_name
requirements:
  - enabled in the configuration, with C(callbacks_enabled)
  - opentelemetry-sdk and opentelemetry-exporter-otlp (optional)
seealso:
  - plugin: seamless.rollout.progress
    plugin_type: callback
"""

import os
import typing as t

from ansible.plugins.callback import CallbackBase
from ansible_collections.seamless.rollout.plugins.plugin_utils import _progress_spans as spans
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_events import Lines, record
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_feed import Feed, of
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_model import Happening, Model


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "seamless.rollout.events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, display: t.Any = None, options: t.Any = None) -> None:
        super().__init__(display=display, options=options)
        self.model = Model()
        self.feed = Feed(self.model)
        self.lines = Lines(self._display.warning)
        self.trace: spans.Trace | None = None
        self._begun = self.feed.clock()

    def set_options(self, task_keys: t.Any = None, var_options: t.Any = None, direct: t.Any = None) -> None:
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        if self.get_option("path"):
            self.lines.to(str(self.get_option("path")))
        self.model.listeners.append(self._write)
        if spans.wanted(self.get_option("otel")):
            if spans.HAS_SDK:
                self.trace = spans.Trace(lambda: self.model.facts)
                self.model.listeners.append(self.trace.hear)
            else:
                self._display.warning("otel is true, and opentelemetry-sdk is not installed: no spans are sent.")

    def _write(self, happening: Happening) -> None:
        if happening["event"] == "rollout_started" and not self.get_option("path") and not self.feed.dry:
            self.lines.to(os.path.join(self.model.facts["state_dir"], "events.jsonl"))
        self.lines.add(record(happening, self.model.facts))

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        self.model.tell("run_started", self.feed.clock(), playbook=os.path.basename(str(playbook._file_name)))

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        self.feed.play(play)

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:
        self.feed.start(host, task)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self.feed.ok(result)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self.feed.ok(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self.feed.bad(result, "failed", ignored=ignore_errors)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self.feed.bad(result, "unreachable", ignored=of(result, "task").ignore_unreachable is True)

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        # An item may be a secret of its own.
        self.feed.bad_item(result, "an item")

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self.feed.look(force=True)
        now = self.feed.clock()
        bad = any(stats.failures.values()) or any(stats.dark.values())
        self.model.tell("run_ended", now, status="failed" if bad else "ok", seconds=round(now - self._begun, 3))
        self.lines.close()
        if self.trace is not None and self.trace.rollouts:
            try:
                spans.send(self.trace.rollouts, spans.exporter(), service=str(self.get_option("otel_service_name")), now=now)
            except Exception as exc:
                self._display.warning(f"The spans could not be sent: {exc}")
