"""The steps of a walk as OpenTelemetry spans, when the ``otel`` extra is installed; without it nothing happens.

A walk is told first and becomes spans when it is over, with the times it had: the hot path carries no tracer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from idnode.resolution.explain import Step, Trace
from idnode.resolution.question import Outcome
from idnode_protocol.codes import response_text
from idnode_protocol.handle import to_text

telemetry: Any = None
try:
    from opentelemetry import trace
except ImportError:  # the extra is not installed
    pass
else:
    telemetry = trace

Report = Callable[[bytes, Outcome, Trace], None]
NS_PER_S = 1_000_000_000


def reporter() -> Report | None:
    """What turns finished walks into spans; None without the extra."""
    return None if telemetry is None else report


def report(name: bytes, outcome: Outcome, told: Trace) -> None:
    """One span for the walk, and below it one for each step."""
    tracer = telemetry.get_tracer("idnode.resolution")
    began = int(told.wall_s * NS_PER_S)
    attributes: dict[str, Any] = {
        "hdl.handle": to_text(name),
        "hdl.response_code": int(outcome.code),
        "hdl.outcome": str(outcome.failure or response_text(outcome.code)),
        "hdl.stale": outcome.is_stale,
    }
    span = tracer.start_span("resolve", start_time=began, attributes=attributes)
    if span.is_recording():
        for step in told.steps:
            _report_step(tracer, span, step, began)
    span.end(end_time=began + int(told.seconds * NS_PER_S))


def _report_step(tracer: Any, parent: Any, step: Step, began: int) -> None:
    start = began + int(step.started_s * NS_PER_S)
    attributes = {"hdl.subject": step.subject, **{f"hdl.{name}": value for name, value in step.facts.items()}}
    context = telemetry.set_span_in_context(parent)
    span = tracer.start_span(step.kind, context=context, start_time=start, attributes=attributes)
    for inner in step.steps:
        _report_step(tracer, span, inner, began)
    span.end(end_time=start + int(step.seconds * NS_PER_S))
