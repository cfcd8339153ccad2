"""Spans of OpenTelemetry, imported only with a collector: the import takes 0.5 s."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from celery.signals import before_task_publish, task_postrun, task_prerun
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACEPARENT = "traceparent"  # in the headers of a task (W3C Trace Context, 3.2)

# The SDK reads its own variables: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, ….
_service = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME") or "lunaos"}
_provider = TracerProvider(resource=Resource.create(_service))
_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
_tracer = _provider.get_tracer("lunaos")
_propagator = TraceContextTextMapPropagator()
_tasks: dict[str, tuple[Span, Any]] = {}  # of running tasks, with the token that restores their thread's context


class Note:
    def __init__(self, span: Span) -> None:
        self._span = span

    def __call__(self, attributes: Mapping[str, str | int], name: str | None = None) -> None:
        self._span.set_attributes(attributes)
        if name:
            self._span.update_name(name)


@contextmanager
def span(name: str, kind: str, current: bool, attributes: Mapping[str, str | int]) -> Iterator[Note]:
    """Implement `tracing.span`."""
    made = _tracer.start_span(name, kind=SpanKind[kind.upper()], attributes=attributes)
    token = context.attach(trace.set_span_in_context(made)) if current else None
    try:
        yield Note(made)
    except Exception as e:
        made.set_status(StatusCode.ERROR)
        # The code or class of an error, never its message, which may quote a prompt.
        made.set_attribute("error.type", str(getattr(e, "code", type(e).__name__)))
        raise
    finally:
        if token:
            context.detach(token)
        made.end()


def trace_id() -> str | None:
    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id:032x}" if found.is_valid else None


@before_task_publish.connect
def carry(headers: dict[str, Any], **_: object) -> None:
    _propagator.inject(headers)


@task_prerun.connect
def begin(task_id: str, task: Any, **_: object) -> None:
    parent = _propagator.extract({TRACEPARENT: getattr(task.request, TRACEPARENT, None) or ""})
    made = _tracer.start_span(task.name, parent, kind=SpanKind.CONSUMER, attributes={"lunaos.task_id": task_id})
    _tasks[task_id] = (made, context.attach(trace.set_span_in_context(made)))


@task_postrun.connect
def end(task_id: str, state: str | None = None, **_: object) -> None:
    if task_id in _tasks:
        made, token = _tasks.pop(task_id)
        made.set_status(StatusCode.ERROR if state == "FAILURE" else StatusCode.UNSET)
        context.detach(token)
        made.end()
