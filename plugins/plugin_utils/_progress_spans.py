# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""A rollout as OpenTelemetry spans: the rollout, its hosts, and the steps of each.

They are collected while it runs and sent at its end: exporters have threads, and Ansible forks for every task.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import BAD_STATES
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_model import Happening

try:
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    HAS_SDK = True
except ImportError:
    HAS_SDK = False

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@dataclasses.dataclass
class Span:
    """Times are seconds since 1970; *error* is why it failed, None for what succeeded or was never told."""

    name: str
    start: float
    end: float | None = None
    error: str | None = None
    attributes: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    children: list[Span] = dataclasses.field(default_factory=list)


class Trace:
    """Listens to happenings. Pure."""

    def __init__(self, facts: t.Callable[[], t.Mapping[str, t.Any]]) -> None:
        self.facts = facts
        self.rollouts: list[Span] = []
        self._hosts: dict[str, Span] = {}
        self._steps: dict[str, Span] = {}

    def hear(self, told: Happening) -> None:
        if told["event"] == "rollout_started":
            self._hosts, self._steps = {}, {}
            facts = self.facts()
            names = {"id": facts.get("id"), "app": facts.get("app"), "release": facts.get("release"), "mode": facts.get("mode")}
            self.rollouts.append(Span(f"rollout {facts.get('app')}", told["at"], attributes=_attributes(names)))
        elif self.rollouts:
            getattr(self, f"_{told['event']}", lambda happening: None)(told)

    def _host(self, told: Happening) -> Span:
        if told["host"] not in self._hosts:
            self._hosts[told["host"]] = Span(f"host {told['host']}", told["at"], attributes=_attributes({"host": told["host"]}))
            self.rollouts[-1].children.append(self._hosts[told["host"]])
        return self._hosts[told["host"]]

    def _step_started(self, told: Happening) -> None:
        span = Span(told["step"], told["at"], attributes=_attributes({"host": told["host"], "step": told["step"]}))
        self._steps[told["host"]] = span
        self._host(told).children.append(span)

    def _step_ended(self, told: Happening) -> None:
        span = self._steps.pop(told["host"], None)
        if span is None:
            return
        span.end = told["at"]
        if told["status"] != "ok":
            span.error = span.error or told["status"]

    def _failure(self, told: Happening) -> None:
        span = self._steps.get(told["host"])
        if span is not None and told["status"] != "ignored":
            span.error = told["message"]

    def _host_ended(self, told: Happening) -> None:
        span = self._host(told)
        span.end = told["at"]
        span.attributes.update(_attributes({"status": told["status"]}))
        if told["status"] in BAD_STATES:
            span.error = told["message"] or told["status"]

    def _rollout_ended(self, told: Happening) -> None:
        span = self.rollouts[-1]
        span.end = told["at"]
        span.attributes.update(_attributes({"status": told["status"], "done": told["done"], "hosts": told["hosts"]}))
        if told["status"] != "succeeded":
            span.error = span.error or told["status"]

    def _halted(self, told: Happening) -> None:
        self.rollouts[-1].error = told["message"]

    def _refused(self, told: Happening) -> None:
        self.rollouts[-1].error = told["message"]


def _attributes(values: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {f"seamless.rollout.{key}": value for key, value in values.items() if value is not None}


def wanted(option: bool | None) -> bool:
    """Say whether to send spans: as *option* says, else where the SDK is installed and an endpoint is named in the environment."""
    return bool(option) if option is not None else HAS_SDK and any(os.environ.get(name) for name in ENDPOINTS)


def exporter() -> SpanExporter:
    """Return the exporter that the environment names. Raises ImportError where it isn't installed."""
    if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").startswith("http"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    else:
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        except ImportError:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    return t.cast("SpanExporter", OTLPSpanExporter())


def send(rollouts: t.Sequence[Span], to: SpanExporter, *, service: str, now: float) -> None:
    """Send *rollouts* with all that is in them; what has no end yet ends *now*. ``TRACEPARENT`` names a span that they belong to."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(to))
    tracer = provider.get_tracer("seamless.rollout")
    parent = os.environ.get("TRACEPARENT")
    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None

    def emit(span: Span, around: t.Any) -> None:
        made = tracer.start_span(span.name, context=around, start_time=int(span.start * 1e9), attributes=span.attributes)
        for child in span.children:
            emit(child, trace.set_span_in_context(made))
        made.set_status(trace.Status(trace.StatusCode.OK) if span.error is None else trace.Status(trace.StatusCode.ERROR, span.error))
        made.end(end_time=int(max(span.start, now if span.end is None else span.end) * 1e9))

    for rollout in rollouts:
        emit(rollout, context)
    provider.shutdown()
