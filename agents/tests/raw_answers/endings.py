"""Raw answers that do not end normally: finish reasons by vendor, refusals, JSON in the place of a stream."""

import json

from agents.tests.raw_answers.chunks import (
    CONTENT_FILTERED,
    COUNTED,
    COUNTS,
    CUT_SHORT,
    DONE,
    EMPTY_ANSWER,
    ERROR_UNSEEN,
    JSON_BODY,
    MORNING,
    NO_STREAM,
    NO_TEXT,
    OUTPUT_LIMIT_REACHED,
    PROVIDER_ERROR,
    PROVIDER_REFUSED,
    PROVIDER_UNAVAILABLE,
    TEXT,
    RawAnswer,
    data,
    delta,
    ends,
    failing,
)

# Finish reasons that end a whole answer, with the vendors that send them beside `stop` and `length`.
WHOLE = (
    "STOP",  # Gemini
    "end_turn",
    "stop_sequence",  # Anthropic behind a gateway
    "eos",
    "eos_token",  # Together, text-generation-inference
    "end",  # gateways before Ollama and LM Studio
    "COMPLETE",  # Cohere
    "length",
    "max_tokens",
    "MAX_TOKENS",
    "model_length",  # a cut answer is an answer
    "content_filter",
    "sensitive",
    "something_new",
)

WITHOUT_TEXT = {
    OUTPUT_LIMIT_REACHED: (
        "length",
        "LENGTH",
        "max_tokens",
        "MAX_TOKENS",
        "max_output_tokens",
        "model_length",
        "model_context_window_exceeded",
    ),
    CONTENT_FILTERED: (
        "content_filter",
        "content_filtered",
        "content-filter",
        "SAFETY",
        "safety",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "sensitive",
        "content_filter: PROHIBITED_CONTENT",
    ),
    PROVIDER_REFUSED: ("refusal",),
    EMPTY_ANSWER: (
        "stop",
        "STOP",
        "end_turn",
        "MALFORMED_FUNCTION_CALL",
        "function_call_filter: MALFORMED_FUNCTION_CALL",
        "OTHER",
        "something_new",
    ),
}

# Finish reasons that say that the provider broke the answer off.
ABORTED_REASONS = {
    "error": PROVIDER_ERROR,  # OpenRouter, vLLM
    "abort": PROVIDER_ERROR,  # vLLM and SGLang, when the engine ends a request
    "network_error": PROVIDER_ERROR,  # Zhipu
    "insufficient_system_resource": PROVIDER_UNAVAILABLE,  # DeepSeek
}
NO_REASONS: tuple[object, ...] = ("", "null", "None", None, False, 0, {}, [])

FINISH_REASONS = [
    *(RawAnswer(f"text_and_{reason}", MORNING + ends(reason), finish=reason) for reason in WHOLE),
    *(
        failing(
            f"no_text_and_{reason}",
            delta(role="assistant", content="") + ends(reason),
            outcome,
            finish=reason,
            tokens=COUNTED,
        )
        for outcome, reasons in WITHOUT_TEXT.items()
        for reason in reasons
    ),
    *(
        failing(f"text_and_{reason}", MORNING + delta(finish=reason) + DONE, outcome, text=TEXT, differs=ERROR_UNSEEN)
        for reason, outcome in ABORTED_REASONS.items()
    ),
    *(
        failing(f"no_text_and_{reason}", delta(content="", finish=reason) + DONE, outcome, differs=NO_TEXT)
        for reason, outcome in ABORTED_REASONS.items()
    ),
    *(
        RawAnswer(
            f"finish_reason_{reason!r}_in_each_delta",
            b"".join(delta(content=text, finish=reason) for text in ("Good ", "morning", ".")) + ends(),
        )
        for reason in NO_REASONS
    ),
    *(
        failing(f"finish_reason_{reason!r}_is_no_end", delta(content=TEXT, finish=reason), text=TEXT, differs=CUT_SHORT)
        for reason in NO_REASONS[:4]
    ),
    RawAnswer(
        "null_then_content_filter", delta(content=TEXT, finish="null") + ends("content_filter"), finish="content_filter"
    ),
]

REFUSALS = [
    failing(
        "refusal_in_deltas",
        delta(role="assistant", content=None, refusal="I cannot ") + delta(refusal="do that.") + ends(),
        PROVIDER_REFUSED,
        finish="stop",
        tokens=COUNTED,
        refusal="I cannot do that.",
    ),
    failing(
        "refusal_and_content_filter",
        delta(refusal="No.") + ends("content_filter"),
        PROVIDER_REFUSED,
        finish="content_filter",
        tokens=COUNTED,
        refusal="No.",
    ),
    failing("refusal_and_done", delta(refusal="No.") + DONE, PROVIDER_REFUSED, refusal="No."),
    failing(
        "refusal_with_empty_content",
        delta(content="", refusal="No.") + ends(),
        PROVIDER_REFUSED,
        finish="stop",
        tokens=COUNTED,
        refusal="No.",
    ),
    failing(
        "refusal_as_a_part",
        delta(content=[{"type": "refusal", "refusal": "No."}]) + ends(),
        PROVIDER_REFUSED,
        finish="stop",
        tokens=COUNTED,
        refusal="No.",
    ),
    failing(
        "refusal_over_surrogates",
        data(b'{"choices":[{"delta":{"refusal":"No \\ud83d"}}]}')
        + data(b'{"choices":[{"delta":{"refusal":"\\ude00"}}]}')
        + ends(),
        PROVIDER_REFUSED,
        finish="stop",
        tokens=COUNTED,
        refusal="No 😀",
    ),
    failing(
        "refusal_with_a_lone_surrogate",
        data(b'{"choices":[{"delta":{"refusal":"No \\ud83d"}}]}') + ends(),
        PROVIDER_REFUSED,
        finish="stop",
        tokens=COUNTED,
        refusal="No \ufffd",
    ),
    failing("refusal_empty", delta(content=None, refusal="") + ends(), EMPTY_ANSWER, finish="stop", tokens=COUNTED),
    failing(
        "refusal_is_a_number", delta(content=None, refusal=5) + ends(), EMPTY_ANSWER, finish="stop", tokens=COUNTED
    ),
]


def completion(message: object, finish: object = "stop", **members: object) -> dict[str, object]:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "chatcmpl-7", "object": "chat.completion", "choices": [choice], "usage": COUNTS, **members}


def assistant(content: object, **members: object) -> dict[str, object]:
    return {"role": "assistant", "content": content, **members}


WHOLE_BODY = json.dumps(completion(assistant(TEXT))).encode()
INDENTED = json.dumps(completion(assistant(TEXT)), indent=2).encode()


def body(name: str, content: bytes, text: str = TEXT, *, finish: str | None = "stop") -> RawAnswer:
    return RawAnswer(name, content, text, finish=finish, differs=JSON_BODY)


BODIES = [
    body("json_body", WHOLE_BODY),
    body("json_body_with_a_newline", WHOLE_BODY + b"\n"),
    body("json_body_indented", INDENTED),
    body("json_body_indented_with_crlf", INDENTED.replace(b"\n", b"\r\n")),
    body("json_body_behind_newlines", b"\n\n  \n" + WHOLE_BODY),  # DeepSeek's sign of life without a stream
    body("json_body_behind_spaces", b"   " + WHOLE_BODY),
    body("json_body_behind_a_byte_order_mark", b"\xef\xbb\xbf" + WHOLE_BODY),
    body("json_body_and_done", WHOLE_BODY + b"\n\n" + DONE),
    body("json_body_with_blank_lines", INDENTED.replace(b"\n", b"\n\n")),
    body("json_body_with_parts", json.dumps(completion(assistant([{"type": "text", "text": TEXT}]))).encode()),
    body("json_body_with_length", json.dumps(completion(assistant(TEXT), "length")).encode(), finish="length"),
    body(
        "json_body_of_a_text_completion",
        json.dumps(
            {
                "object": "text_completion",
                "choices": [{"index": 0, "text": TEXT, "finish_reason": "stop"}],
                "usage": COUNTS,
            }
        ).encode(),
    ),
    body("json_body_with_nan", WHOLE_BODY[:-1] + b', "score": NaN}'),
    body("json_body_with_invalid_utf8", WHOLE_BODY.replace(b"Good", b"G\xffd"), "G\ufffdd morning."),
    body("json_body_with_surrogates", WHOLE_BODY.replace(b"Good", b"\\ud83d\\ude00"), "😀 morning."),
    body("json_body_with_error_null", json.dumps(completion(assistant(TEXT), error=None)).encode()),
    failing(
        "json_body_without_text",
        json.dumps(completion(assistant(None))).encode(),
        EMPTY_ANSWER,
        finish="stop",
        tokens=COUNTED,
    ),
    failing(
        "json_body_of_reasoning",
        json.dumps(completion(assistant("", reasoning_content="Hm."), "length")).encode(),
        OUTPUT_LIMIT_REACHED,
        finish="length",
        tokens=COUNTED,
        thinking=True,
    ),
    failing(
        "json_body_of_a_refusal",
        json.dumps(completion(assistant(None, refusal="No."))).encode(),
        PROVIDER_REFUSED,
        finish="stop",
        tokens=COUNTED,
        refusal="No.",
    ),
    failing(
        "json_body_of_a_tool_call",
        json.dumps(completion(assistant(None, tool_calls=[{"id": "call_1"}]), "tool_calls")).encode(),
        EMPTY_ANSWER,
        finish="tool_calls",
        tokens=COUNTED,
    ),
    failing(
        "json_body_filtered",
        json.dumps(completion(assistant(""), "content_filter")).encode(),
        CONTENT_FILTERED,
        finish="content_filter",
        tokens=COUNTED,
    ),
    failing(
        "json_body_broken_off",
        json.dumps(completion(assistant(TEXT), "error")).encode(),
        text=TEXT,
        tokens=COUNTED,
        differs=ERROR_UNSEEN,
    ),
    failing("json_body_of_an_error", b'{"error": {"message": "model not loaded", "code": 400}}', differs=NO_STREAM),
    failing(
        "json_body_of_an_error_429",
        b'{"error": {"message": "slow down", "code": 429}}',
        PROVIDER_UNAVAILABLE,
        differs=NO_STREAM,
    ),
    failing(
        "json_body_of_an_error_in_a_list",
        b'[{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}]',
        differs=NO_STREAM,
    ),
    failing("json_body_of_an_error_string", b'{"error": "no such model"}\n', differs=NO_STREAM),
    failing("json_body_of_an_error_object", b'{"object": "error", "message": "no", "code": 400}', differs=NO_STREAM),
    failing("json_body_of_a_detail", b'{"detail": "Not Found"}', differs=NO_STREAM),
    failing("json_body_without_choices", b'{"status": "ok", "url": "/docs"}', differs=NO_STREAM),
    failing("json_body_with_choices_empty", b'{"object": "chat.completion", "choices": []}', differs=NO_STREAM),
    failing("json_body_cut", WHOLE_BODY[:-40], differs=NO_STREAM),
    failing("json_body_is_empty", b"{}", differs=NO_STREAM),
    failing("json_body_is_null", b"null", differs=NO_STREAM),
]

CASES = [*FINISH_REASONS, *REFUSALS, *BODIES]
