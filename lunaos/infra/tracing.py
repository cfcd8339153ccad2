"""One trace from a request through Celery to the provider, for an OpenTelemetry collector; nothing where none is set.

Spans hold names, ids, codes and counts that are ours: no text of a request or an answer, no address and no key.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

ON = bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
if ON:
    from lunaos.infra import spans
else:
    # Where OpenTelemetry is installed, redis imports its whole SDK for metrics that nobody asked for. What is None in
    # `sys.modules` cannot be imported (Python's documentation of it), and redis does without.
    sys.modules.setdefault("opentelemetry.metrics", cast(ModuleType, None))

Attributes = Mapping[str, str | int]


def _ignore(attributes: Attributes, name: str | None = None) -> None:
    """What is told of a span that is none."""


@contextmanager
def span(
    name: str, attributes: Attributes, *, kind: str = "internal", current: bool = True
) -> Iterator[Callable[..., None]]:
    """Measure a block as part of the trace that is under way, or as the beginning of one.

    Args:
        kind: OpenTelemetry's: internal, server, client, consumer.
        current: whether what happens inside is part of it; not in a generator, whose caller would be too.

    Returns:
        What tells further attributes, and perhaps a better name, while it lasts.
    """
    if ON:
        with spans.span(name, kind, current, attributes) as note:
            yield note
    else:
        yield _ignore


def add_trace_id(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Structlog processor: the trace that a line belongs to."""
    if ON and (found := spans.trace_id()):
        event["trace_id"] = found
    return event
