"""Traces from a request through Celery to the provider, if a collector is set."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lunaos.infra import patches

ON = bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
if ON:
    from lunaos.infra.observability import spans
else:
    patches.block_opentelemetry_metrics()

# Names, ids, codes and counts of LunaOS: no text of a request or an answer, no address and no key.
Attributes = Mapping[str, str | int]


def _ignore(attributes: Attributes, name: str | None = None) -> None:
    """Ignore attributes: tracing is off."""


@contextmanager
def span(
    name: str, attributes: Attributes, *, kind: str = "internal", current: bool = True
) -> Iterator[Callable[..., None]]:
    """Measure a block as a span; yield a function that adds attributes or a new name."""
    if ON:
        with spans.span(name, kind, current, attributes) as note:
            yield note
    else:
        yield _ignore


def add_trace_id(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Add the id of the current trace to a log record (structlog processor)."""
    if ON and (found := spans.trace_id()):
        event["trace_id"] = found
    return event
