"""The answers to an execution of an agent or a chain: a stream or a JSON object."""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers

from lunaos.api import json
from lunaos.api.fields import NamedChoiceField, is_blank
from lunaos.api.serializers import RequestSerializer
from lunaos.api.streaming.deferred import DeferredResponse
from lunaos.api.streaming.guarded_reader import GuardedReader
from lunaos.api.streaming.sse import EventReader, EventStreamResponse, PositionedEvent
from runs import executors
from runs.eventlog import follower
from runs.models import Status
from runs.results import ResultBuilder
from runs.services import StartedRun

RESULT_WAIT_S = 120.0  # below the time-outs of common proxies; then the client follows the events


class ExecutionSerializer(RequestSerializer):
    """Members that executions of agents and chains have in common."""

    context = serializers.CharField(  # type: ignore[assignment]
        max_length=50_000, trim_whitespace=False, help_text="The input: code, a question, a document."
    )
    provider = serializers.CharField(max_length=32, required=False, default=None)
    model = serializers.CharField(max_length=64, required=False, default=None)
    useRag = serializers.BooleanField(
        required=False, default=False, help_text="Put the best passages of a repository into the prompt."
    )
    repository = serializers.CharField(
        max_length=256, required=False, default="default", help_text="The repository to search, with useRag."
    )
    stream = serializers.BooleanField(
        required=False, default=True, help_text="`false` answers one JSON object when the run has ended."
    )
    onDisconnect = NamedChoiceField(
        ["continue", "cancel"],
        required=False,
        default="continue",
        help_text="What happens to the run if this connection breaks.",
    )

    def validate_context(self, context: str) -> str:
        if is_blank(context):
            raise serializers.ValidationError("This field may not be blank.", "blank")
        return context

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Set `repository` to None unless the request uses RAG."""
        values = super().to_internal_value(data)
        use_rag = values.pop("useRag")
        return {**values, "repository": values["repository"] if use_rag else None}


def without_stream(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request without `stream`, for idempotency: the run is the same."""
    return {name: value for name, value in values.items() if name != "stream"}


def execution_response(
    started_run: StartedRun, *, on_disconnect: str = "continue", after: int = 0, stream: bool = True
) -> DeferredResponse:
    """Return the stream of a new or replayed run, or its result as one JSON object.

    Args:
        started_run: the new run, or the replayed one.
        on_disconnect: "cancel" cancels the run if the client disconnects before its end.
        after: position of the last event to leave out.
        stream: False for one JSON object at the run's end.
    """
    on_leave = partial(executors.schedule_cancel, started_run.run) if on_disconnect == "cancel" else None
    reader = partial(follower.RunFollower, started_run.run, after, started_run.recorder)
    if not stream:
        return RunResult(reader, started_run.run.pk, started_run.headers, on_leave)
    return EventStreamResponse(
        reader, started_run.headers, is_opening_event=follower.opens_stream, on_disconnect=on_leave
    )


class RunResult(DeferredResponse):
    """A run's outcome as one JSON object, awaited without a thread."""

    def __init__(
        self,
        make_reader: Callable[[], EventReader],
        run_id: UUID,
        headers: Mapping[str, str],
        on_disconnect: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(headers=headers)
        self._make_reader, self._on_disconnect = make_reader, on_disconnect
        self._result = ResultBuilder(str(run_id))

    async def open(self, within_s: float) -> HttpResponseBase:
        """Wait for the end of the run; raise its error, or RunCancelled."""
        source = self._make_reader()
        reader = GuardedReader(source, self.access)
        try:
            reader.open()
            await self._collect(reader)
        except asyncio.CancelledError:
            self.abandon()
            raise
        finally:
            reader.close()
            source.close()
        return self._answer()

    def abandon(self) -> None:
        if self._on_disconnect:
            self._on_disconnect()

    async def _collect(self, reader: GuardedReader[list[PositionedEvent] | None]) -> None:
        deadline = time.monotonic() + RESULT_WAIT_S
        while (left_s := deadline - time.monotonic()) > 0 and self._result.last is None:
            for _, line in await reader.read(left_s) or ():
                self._result.add(json.loads(line))

    def _answer(self) -> HttpResponse:
        if self._result.last:
            return self._respond(HTTPStatus.OK, self._result.build(self._result.last))
        run_id, status = self._result.run_id, Status.RUNNING if self._result.has_started else Status.QUEUED
        data = {"runId": run_id, "status": status, "eventsUrl": f"/runs/{run_id}/events"}
        response = self._respond(HTTPStatus.ACCEPTED, data)
        response["Location"] = f"/runs/{run_id}"
        return response

    def _respond(self, status: int, data: dict[str, Any]) -> HttpResponse:
        headers = {**self.headers, "Content-Type": "application/json"}
        return HttpResponse(json.dumps({"data": data}), status=status, headers=headers)
