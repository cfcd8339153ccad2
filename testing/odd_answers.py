"""Deviating answers of a provider, each with the expected outcome of a run."""

from dataclasses import dataclass
from typing import Any

import orjson

from testing.loopback.upstream import DONE, Answer, completion, delta, usage


@dataclass(frozen=True)
class Case:
    """One answer and the expected outcome of a run."""

    name: str
    answer: Answer
    # "done", or the code of the error.
    outcome: str = "done"
    # The text that the client sees.
    text: str = ""
    # Whether the execution counts, and whether a fallback provider is asked.
    counted: bool = True
    falls_back: bool = False

    def __str__(self) -> str:
        return self.name


def event(found: Any) -> bytes:
    return b"data: " + orjson.dumps(found) + b"\n\n"


def choice(piece: dict[str, Any], finish: str | None = None) -> bytes:
    """Encode a chunk of a chat completion with any delta."""
    return event({"choices": [{"index": 0, "delta": piece, "finish_reason": finish}]})


def error_response(status: int, **error: Any) -> Answer:
    return Answer(status=status, body=orjson.dumps({"error": {"message": "no", **error}}))


HELLO, END = b"".join(map(delta, ("Hello ", "world"))), delta("", "stop") + usage(11, 7) + DONE
THOUGHTS = choice({"content": None, "reasoning_content": "hm "}) * 3

NOT_COUNTED: dict[str, Any] = {"counted": False, "falls_back": True}
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
HALVES = [b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % half for half in (rb"ok \ud83d", rb"\ude00")]
STOP = delta("", "stop")
ROLE = choice({"role": "assistant"})
OVERLOADED = b'event: error\ndata: {"error":{"type":"overloaded_error"}}\n\n'
BODY = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}

CASES = [
    Case("complete", completion("Hello ", "world"), text="Hello world"),
    Case("connection kept open behind DONE", Answer([HELLO + END, "hang"]), text="Hello world"),
    Case("connection reset behind the finish reason", Answer([HELLO + STOP, "cut"]), text="Hello world"),
    Case("text behind the finish reason", Answer([HELLO + STOP, 0.05, delta("!"), END]), text="Hello world!"),
    Case("byte order mark", Answer([b"\xef\xbb\xbf" + HELLO + END]), text="Hello world"),
    Case("lines that end with CR", Answer([(HELLO + END).replace(b"\n", b"\r")]), text="Hello world"),
    Case("pings", Answer([b"event: ping\ndata: \n\n" + HELLO + PING + END]), text="Hello world"),
    Case("a surrogate pair in two deltas", Answer([*HALVES, END]), text="ok \U0001f600"),
    Case("a JSON body", Answer([orjson.dumps(BODY)]), text="Hello"),
    Case("reasoning first", Answer([THOUGHTS + HELLO + END]), text="Hello world"),
    Case("cut off by the limit", Answer([HELLO + delta("", "length") + DONE]), text="Hello world"),
    Case(
        "reasoning up to the limit",
        Answer([THOUGHTS + choice({}, "length") + DONE]),
        "output_limit_reached",
    ),
    Case("filtered", Answer([ROLE + choice({}, "content_filter") + DONE]), "content_filtered"),
    Case("filtered by status", error_response(400, code="content_filter"), "content_filtered"),
    Case("refusal", Answer([choice({"content": None, "refusal": "I cannot."}) + END]), "provider_refused"),
    Case("role only", Answer([ROLE + DONE]), "empty_answer", **NOT_COUNTED),
    Case(
        "a tool call",
        Answer([choice({"tool_calls": [{}]}, "tool_calls") + DONE]),
        "empty_answer",
        **NOT_COUNTED,
    ),
    Case("nothing known", Answer([event({"prompt_filter_results": []}) + DONE]), "provider_error", **NOT_COUNTED),
    Case("broken off", Answer([HELLO, "cut"]), "provider_error", text="Hello world"),
    Case("broken off before the first text", Answer([ROLE, 0.05, "cut"]), "provider_error", **NOT_COUNTED),
    Case("error object", Answer([event({"object": "error", "message": "no"})]), "provider_error", **NOT_COUNTED),
    Case(
        "error behind text",
        Answer([HELLO + event({"error": {"code": 1}}) + DONE]),
        "provider_error",
        text="Hello world",
    ),
    Case("finish reason error", Answer([HELLO + delta("", "error") + DONE]), "provider_error", text="Hello world"),
    Case("overloaded inside the answer", Answer([OVERLOADED]), "provider_unavailable", **NOT_COUNTED),
    Case("too long", error_response(400, code="context_length_exceeded"), "provider_error", counted=False),
    Case("unknown model", error_response(404, code="model_not_found"), "provider_error", **NOT_COUNTED),
]
NO_CREDIT = error_response(429, code="insufficient_quota", message="You exceeded your current quota, see org-abc123")
