"""Building blocks of raw answers, and what is expected of an answer."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

ANSWER_DONE = "done"
PROVIDER_ERROR, PROVIDER_UNAVAILABLE = "provider_error", "provider_unavailable"
EMPTY_ANSWER, OUTPUT_LIMIT_REACHED = "empty_answer", "output_limit_reached"
CONTENT_FILTERED, PROVIDER_REFUSED = "content_filtered", "provider_refused"
WITHOUT_TEXT = (EMPTY_ANSWER, OUTPUT_LIMIT_REACHED, CONTENT_FILTERED, PROVIDER_REFUSED)

# Why an outcome differs from that of `openai`'s client, where more than one case has the same reason.
NO_TEXT = "openai succeeds with an empty string; an answer without text is an error here, which says why"
CUT_SHORT = "openai takes every end for success; an answer without finish reason and [DONE] has been cut short"
NO_STREAM = "openai finds no chat completion and succeeds with an empty string; this is an error here"
ERROR_UNSEEN = "openai knows errors only as a member `error`; this is an error in another spelling"
PING_FATAL = "openai parses the data of each event as JSON and fails; pings are no JSON and cost nothing here"
ONE_VALUE = "openai fails at one value; that value alone is lost here"
NOT_A_CHUNK = "openai passes this shape on, or drops it, without typing it as text; the text is read here"
ERROR_TOO_LATE = "openai fails at what comes after the finish reason; the answer was complete before"
JSON_BODY = "openai finds no event in a JSON body and succeeds with an empty string; the completion is read here"

TEXT = "Good morning."
COUNTS = {"prompt_tokens": 31, "completion_tokens": 4, "total_tokens": 35}


@dataclass(frozen=True, slots=True)
class Tokens:
    """Expected token counts; None where the provider reports none."""

    input: int | None
    output: int | None
    reasoning: int = 0
    cache_read: int = 0
    cache_write: int = 0


COUNTED = Tokens(31, 4)


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """The bytes of one response body and what is expected of them.

    Args:
        name: of the case, unique in the corpus.
        body: the decoded bytes of the response.
        text: all pieces of the answer, joined.
        outcome: "done", or the code of the error that the run ends with.
        finish: the finish reason in the provider's word; None where there is none or an error ended the answer.
        tokens: the counts reported; None for none.
        refusal: the model's words in place of an answer.
        thinking: whether reasoning came.
        differs: why the text or the success differs from that of `openai`'s client; empty where they agree.
    """

    name: str
    body: bytes
    text: str = TEXT
    outcome: str = ANSWER_DONE
    finish: str | None = "stop"
    tokens: Tokens | None = COUNTED
    refusal: str = ""
    thinking: bool = False
    differs: str = ""

    def __repr__(self) -> str:
        return self.name


def failing(
    name: str,
    body: bytes,
    outcome: str = PROVIDER_ERROR,
    *,
    text: str = "",
    finish: str | None = None,
    tokens: Tokens | None = None,
    refusal: str = "",
    thinking: bool = False,
    differs: str | None = None,
) -> RawAnswer:
    """Return a case that ends with an error; unlike a success it has no text, finish reason or counts by default."""
    reason = differs if differs is not None else NO_TEXT if outcome in WITHOUT_TEXT else ""
    return RawAnswer(name, body, text, outcome, finish, tokens, refusal, thinking, reason)


def data(value: object) -> bytes:
    """Return one event; bytes are taken as they are, anything else as JSON in ASCII."""
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def choice(delta: object = None, finish: object = None, **members: Any) -> dict[str, Any]:
    return {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish, **members}


def chunk(*choices: object, **members: Any) -> dict[str, Any]:
    head = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1767225600, "model": "m-1"}
    return {**head, "choices": list(choices), **members}


def delta(*, finish: object = None, **members: Any) -> bytes:
    """Return an event with one delta of these members."""
    return data(chunk(choice(members, finish)))


def says(*texts: str) -> bytes:
    return b"".join(delta(content=text) for text in texts)


def usage(counts: object) -> bytes:
    """Return the usage-only chunk that `include_usage` asks for."""
    return data(chunk(usage=counts))


def ends(reason: object = "stop", counts: object = COUNTS) -> bytes:
    """Return the end of an answer: finish reason, usage and `[DONE]`."""
    return delta(finish=reason) + usage(counts) + DONE


def raw_delta(content: bytes) -> bytes:
    """Return an event whose content is this part of a JSON string, not escaped."""
    return b'data: {"choices":[{"index":0,"delta":{"content":"' + content + b'"},"finish_reason":null}]}\n\n'


def pretty(body: bytes) -> bytes:
    """Spread each event's JSON over several `data` lines."""
    return b"".join(_spread(event) for event in body.split(b"\n\n") if event)


def _spread(event: bytes) -> bytes:
    value = event.removeprefix(b"data: ")
    if not value.startswith(b"{"):
        return event + b"\n\n"
    lines: Iterable[str] = json.dumps(json.loads(value), indent=2).splitlines()
    return b"".join(b"data: " + line.encode() + b"\n" for line in lines) + b"\n"


DONE = b"data: [DONE]\n\n"
STOP = delta(finish="stop")
USAGE = usage(COUNTS)
MORNING = says("Good ", "morning", ".")
END = STOP + USAGE + DONE
PLAIN = delta(role="assistant", content="") + MORNING + END
