"""The stream that answers an execution, of agents and of chains alike."""

from functools import partial
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from accounts.idempotency import Once
from lunaos.api import json
from lunaos.api.sse import EventStreamResponse
from lunaos.errors import ValidationFailed
from runs import executors, stream
from runs.services import Begun

LONGEST_KEY = 255


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
    onDisconnect = serializers.ChoiceField(
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


def once(request: Request, content: dict[str, Any]) -> Once | None:
    """The request's idempotency key, where it has one.

    Args:
        content: the validated input, so that the JSON's spelling does not matter.

    Raises:
        ValidationFailed: the key is empty, too long or not printable ASCII.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise ValidationFailed.of("Idempotency-Key", f"Send 1 to {LONGEST_KEY} printable ASCII characters.")
    return Once.of(key, request.path, json.dumps(dict(sorted(content.items()))))


def execution_response(begun: Begun, *, on_disconnect: str = "continue", after: int = 0) -> EventStreamResponse:
    """Stream a run that has just begun; it opens with the provider's first byte.

    Args:
        on_disconnect: "cancel" ends the run when the client leaves before its end.
        after: position of the last event to leave out.
    """
    leave = partial(executors.cancel_soon, begun.run) if on_disconnect == "cancel" else None
    reader = partial(stream.Follower, begun.run, after, begun.recorder)
    return EventStreamResponse(reader, begun.headers, opens=stream.opens, on_leave=leave)
