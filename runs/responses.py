"""The stream that answers an execution, of agents and of chains alike."""

from functools import partial
from typing import Any

from rest_framework import serializers

from lunaos.api.fields import NamedChoiceField
from lunaos.api.sse import EventStreamResponse
from runs import executors
from runs.eventlog import follower
from runs.services import Begun


class ExecutionSerializer(serializers.Serializer[Any]):
    """What agents and chains take alike."""

    context = serializers.CharField(  # type: ignore[assignment]
        max_length=50_000, trim_whitespace=False, help_text="Code, question, document: what is to be worked on."
    )
    provider = serializers.CharField(max_length=32, required=False, default=None)
    model = serializers.CharField(max_length=64, required=False, default=None)
    useRag = serializers.BooleanField(
        required=False, default=False, help_text="Put the best passages of a repository into the prompt."
    )
    repository = serializers.CharField(
        max_length=256, required=False, default="default", help_text="Where to look, with useRag."
    )
    onDisconnect = NamedChoiceField(
        ["continue", "cancel"],
        required=False,
        default="continue",
        help_text="What becomes of the run when this connection breaks.",
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """With `repository` None unless the request wants its passages."""
        values = super().to_internal_value(data)
        wanted = values.pop("useRag")
        return {**values, "repository": values["repository"] if wanted else None}


def execution_response(begun: Begun, *, on_disconnect: str = "continue", after: int = 0) -> EventStreamResponse:
    """Stream a run that has just begun; it opens with the provider's first byte.

    Args:
        on_disconnect: "cancel" ends the run when the client leaves before its end.
        after: position of the last event to leave out.
    """
    leave = partial(executors.cancel_soon, begun.run) if on_disconnect == "cancel" else None
    reader = partial(follower.Follower, begun.run, after, begun.recorder)
    return EventStreamResponse(reader, begun.headers, is_opening_event=follower.opens, on_disconnect=leave)
