"""The stream that answers an execution of an agent or a chain."""

from functools import partial
from typing import Any

from rest_framework import serializers

from lunaos.api.fields import NamedChoiceField
from lunaos.api.serializers import RequestSerializer
from lunaos.api.sse import EventStreamResponse
from runs import executors
from runs.eventlog import follower
from runs.services import StartedRun


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
    onDisconnect = NamedChoiceField(
        ["continue", "cancel"],
        required=False,
        default="continue",
        help_text="What happens to the run if this connection breaks.",
    )

    def validate_context(self, context: str) -> str:
        if not context.strip():
            raise serializers.ValidationError("This field may not be blank.", "blank")
        return context

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Set `repository` to None unless the request uses RAG."""
        values = super().to_internal_value(data)
        use_rag = values.pop("useRag")
        return {**values, "repository": values["repository"] if use_rag else None}


def execution_response(
    started_run: StartedRun, *, on_disconnect: str = "continue", after: int = 0
) -> EventStreamResponse:
    """Return the stream of a new run; it opens with the first text of a provider.

    Args:
        started_run: the new run, or the replayed one.
        on_disconnect: "cancel" cancels the run if the client disconnects before its end.
        after: position of the last event to leave out.
    """
    on_leave = partial(executors.schedule_cancel, started_run.run) if on_disconnect == "cancel" else None
    reader = partial(follower.RunFollower, started_run.run, after, started_run.recorder)
    return EventStreamResponse(
        reader, started_run.headers, is_opening_event=follower.opens_stream, on_disconnect=on_leave
    )
