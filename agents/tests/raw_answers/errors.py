"""Raw answers in which the provider reports an error, in the spellings of the field."""

import json

from agents.tests.raw_answers.chunks import (
    CONTENT_FILTERED,
    DONE,
    END,
    ERROR_UNSEEN,
    MORNING,
    PROVIDER_ERROR,
    PROVIDER_UNAVAILABLE,
    STOP,
    TEXT,
    USAGE,
    RawAnswer,
    choice,
    chunk,
    data,
    delta,
    failing,
    says,
)


def named(value: object, name: bytes = b"event: error\n") -> bytes:
    return name + data(value)


BOOM = {"message": "boom", "type": "server_error", "code": 500}
LLAMA = b'error: {"code":500,"message":"context shift is off","type":"server_error"}\n\n'
BARE = json.dumps({"error": {"message": "prohibited", "code": 400}}).encode() + b"\n"

# By name: the event, whether `openai`'s client sees an error in it, and the outcome.
SPELLINGS: dict[str, tuple[bytes, bool, str]] = {
    "object": (data({"error": BOOM}), True, PROVIDER_ERROR),
    "string": (data({"error": "STREAM_FAILED"}), True, PROVIDER_ERROR),
    "true": (data({"error": True, "message": "boom"}), True, PROVIDER_ERROR),
    "code_as_string": (data({"error": {"message": "boom", "code": "500"}}), True, PROVIDER_ERROR),
    "without_message": (data({"error": {"code": "internal"}}), True, PROVIDER_ERROR),
    "with_empty_choices": (data(chunk(error=BOOM)), True, PROVIDER_ERROR),
    "with_choices_null": (data({"choices": None, "error": BOOM}), True, PROVIDER_ERROR),
    "nested_object_error": (data({"error": {"object": "error", **BOOM, "param": None}}), True, PROVIDER_ERROR),
    "success_false": (data({"success": False, "error": {"code": "INTERNAL", "status": 500}}), True, PROVIDER_ERROR),
    "invalid_key": (data({"error": {"message": "Incorrect key", "code": "invalid_api_key"}}), True, PROVIDER_ERROR),
    "context_too_long": (
        data({"error": {"message": "too long", "code": "context_length_exceeded"}}),
        True,
        PROVIDER_ERROR,
    ),
    "rate_limit_code": (data({"error": {"message": "slow down", "code": 429}}), True, PROVIDER_UNAVAILABLE),
    "rate_limit_string": (data({"error": {"message": "slow down", "code": "429"}}), True, PROVIDER_UNAVAILABLE),
    "rate_limit_type": (data({"error": {"message": "slow", "type": "rate_limit_error"}}), True, PROVIDER_UNAVAILABLE),
    "rate_limit_name": (
        data({"error": {"message": "slow", "code": "rate_limit_exceeded"}}),
        True,
        PROVIDER_UNAVAILABLE,
    ),
    "exhausted": (data({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}), True, PROVIDER_UNAVAILABLE),
    "unavailable_code": (data({"error": {"message": "no slot", "code": 503}}), True, PROVIDER_UNAVAILABLE),
    "overloaded_code": (data({"error": {"message": "busy", "code": 529}}), True, PROVIDER_UNAVAILABLE),
    "overloaded_string": (
        data({"error": "Model is overloaded", "error_type": "overloaded"}),
        True,
        PROVIDER_UNAVAILABLE,
    ),
    "overloaded_event": (
        named({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        True,
        PROVIDER_UNAVAILABLE,
    ),
    "quota": (
        data({"error": {"message": "quota", "type": "insufficient_quota", "code": None}}),
        True,
        PROVIDER_UNAVAILABLE,
    ),
    "quota_code": (data({"error": {"message": "quota", "code": "insufficient_quota"}}), True, PROVIDER_UNAVAILABLE),
    "policy": (
        data({"error": {"code": "content_filter", "status": 400, "message": "filtered by our content policy"}}),
        True,
        CONTENT_FILTERED,
    ),
    "object_error": (
        data({"object": "error", "message": "no", "type": "BadRequestError", "code": 400}),
        False,
        PROVIDER_ERROR,
    ),
    "type_error": (data({"type": "error", "message": "boom"}), False, PROVIDER_ERROR),
    "detail": (data({"detail": "model not loaded"}), False, PROVIDER_ERROR),
    "detail_list": (data({"detail": [{"loc": ["body", "n"], "msg": "field required"}]}), False, PROVIDER_ERROR),
    "errors_list": (
        data({"success": False, "errors": [{"code": 5007, "message": "no such model"}], "result": None}),
        False,
        PROVIDER_ERROR,
    ),
    "base_resp": (
        data({"choices": None, "base_resp": {"status_code": 1027, "status_msg": "sensitive"}}),
        False,
        PROVIDER_ERROR,
    ),
    "base_resp_rate_limit": (
        data({"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}),
        False,
        PROVIDER_UNAVAILABLE,
    ),
    "event_with_message": (named({"message": "Internal error", "code": "internal"}), False, PROVIDER_ERROR),
    "event_with_error": (named({"error": BOOM}), True, PROVIDER_ERROR),
    "event_without_a_space": (named({"message": "boom"}, b"event:error\n"), False, PROVIDER_ERROR),
    "event_behind_its_data": (b'data: {"message": "boom"}\nevent: error\n\n', False, PROVIDER_ERROR),
    "event_over_two_lines": (b'event: error\ndata: {"message":\ndata: "boom"}\n\n', False, PROVIDER_ERROR),
    "event_with_an_id": (
        b'id: 7\nevent: error\ndata: {"code": "InvalidParameter", "message": "no"}\n\n',
        False,
        PROVIDER_ERROR,
    ),
    "event_with_json_string": (named("boom"), False, PROVIDER_ERROR),
    "event_with_text": (named(b"upstream timed out"), True, PROVIDER_ERROR),
    "event_with_broken_json": (named(b'{"message": "boo'), True, PROVIDER_ERROR),
    "error_field": (LLAMA, False, PROVIDER_ERROR),
    "finish_reason_error": (delta(content="", finish="error"), False, PROVIDER_ERROR),
    "in_a_choice": (
        data(chunk(choice({"content": ""}, error={"code": 500, "message": "gone"}))),
        False,
        PROVIDER_ERROR,
    ),
    "in_a_choice_with_finish": (
        data(chunk(choice({"content": ""}, "error", error={"code": 502, "message": "gone"}))),
        False,
        PROVIDER_UNAVAILABLE,
    ),
    "with_finish_reason_error": (
        data(chunk(choice({"content": ""}, "error"), error={"code": 502, "message": "gone"})),
        True,
        PROVIDER_UNAVAILABLE,
    ),
}

EVERYWHERE = [
    case
    for spelling, (event, seen, outcome) in SPELLINGS.items()
    for case in (
        failing(f"error_{spelling}_first", event + DONE, outcome, differs="" if seen else ERROR_UNSEEN),
        failing(
            f"error_{spelling}_behind_text",
            MORNING + event + DONE,
            outcome,
            text=TEXT,
            differs="" if seen else ERROR_UNSEEN,
        ),
    )
]

PLACES = [
    failing("error_behind_the_role", delta(role="assistant", content="") + data({"error": BOOM}) + DONE),
    failing("error_behind_reasoning", delta(reasoning="Hm.") + data({"error": BOOM}) + DONE, thinking=True),
    failing("error_without_done", MORNING + data({"error": BOOM}), text=TEXT),
    failing(
        "error_without_a_newline",
        MORNING + data({"error": BOOM})[:-2],
        text=TEXT,
        differs="openai drops an event without its blank line, here the error",
    ),
    failing("error_and_done_with_one_newline", data({"error": BOOM})[:-1] + DONE),
    failing("text_behind_an_error", says("Good ") + data({"error": BOOM}) + says("morning.") + END, text="Good "),
    failing(
        "error_beside_text",
        says("Good ") + data(chunk(choice({"content": "morning."}), error=BOOM)) + DONE,
        text=TEXT,
        differs="openai raises before it yields the chunk; text that came is kept",
    ),
    failing("error_beside_the_finish_reason", MORNING + data(chunk(choice({}, "stop"), error=BOOM)) + DONE, text=TEXT),
    failing("error_line_without_a_field", MORNING + BARE, text=TEXT, differs=ERROR_UNSEEN),
    failing("error_line_without_a_field_first", BARE, differs=ERROR_UNSEEN),
    failing("error_glued_to_a_torn_event", MORNING + says(" And")[:-30] + named({"error": BOOM}), text=TEXT),
    failing("error_event_and_done_with_one_newline", named({"message": "boom"})[:-1] + DONE),
    failing("error_field_and_done_with_one_newline", LLAMA[:-1] + DONE, differs=ERROR_UNSEEN),
    failing("error_field_without_a_newline", LLAMA[:-2], differs=ERROR_UNSEEN),
    RawAnswer(
        "error_behind_the_finish_reason",
        MORNING + STOP + data({"error": BOOM}) + DONE,
        tokens=None,
        differs="openai fails at an error behind the finish reason; the answer was complete before",
    ),
    RawAnswer("error_event_behind_the_finish_reason", MORNING + STOP + USAGE + named({"message": "closed"}) + DONE),
    RawAnswer("error_field_behind_the_finish_reason", MORNING + STOP + USAGE + LLAMA + DONE),
    RawAnswer("error_finish_behind_the_finish_reason", MORNING + STOP + delta(finish="error") + USAGE + DONE),
]

NO_ERRORS: tuple[object, ...] = (None, "", False, 0, {}, [])
NONE_AT_ALL = [
    RawAnswer(
        f"error_is_{value!r}",
        b"".join(data(chunk(choice({"content": text}), error=value)) for text in ("Good ", "morning.")) + END,
    )
    for value in NO_ERRORS
] + [
    RawAnswer("errors_empty", data(chunk(choice({"content": TEXT}), errors=[])) + END),
    RawAnswer("detail_beside_choices", data(chunk(choice({"content": TEXT}), detail="cached")) + END),
    RawAnswer(
        "base_resp_zero", data(chunk(choice({"content": TEXT}), base_resp={"status_code": 0, "status_msg": ""})) + END
    ),
    RawAnswer("error_null_in_a_choice", data(chunk(choice({"content": TEXT}, error=None))) + END),
    RawAnswer("event_named_errors", b"event: no_error\n" + says(TEXT) + END),
]

LIKE_ERRORS = [
    failing(f"object_like_an_error_{n}{place}", before + data(found) + END, outcome, text=text, differs=ERROR_UNSEEN)
    for n, (found, outcome) in enumerate(
        (
            ({"code": 500, "msg": "fail"}, PROVIDER_ERROR),
            ({"type": "overloaded_error", "message": "busy"}, PROVIDER_UNAVAILABLE),
            ({"status": "error", "message": "boom"}, PROVIDER_ERROR),
            ({"error_code": 336_100, "error_msg": "try again"}, PROVIDER_ERROR),
            ([{"error": BOOM}], PROVIDER_ERROR),
        )
    )
    for place, before, text in (("_first", b"", ""), ("_behind_text", MORNING, TEXT))
] + [
    failing("event_named_Error", MORNING + b'event: Error\ndata: {"x":1}\n\n' + END, text=TEXT, differs=ERROR_UNSEEN),
    failing(
        "event_named_exception", MORNING + b"event: exception\ndata: {}\n\n" + END, text=TEXT, differs=ERROR_UNSEEN
    ),
    failing(
        "bare_line_with_a_space", MORNING + b'{ "error": {"message": "x"} }\n' + END, text=TEXT, differs=ERROR_UNSEEN
    ),
    failing("bare_line_with_a_detail", MORNING + b'{"detail": "gone"}\n' + END, text=TEXT, differs=ERROR_UNSEEN),
    failing("error_in_a_delta", MORNING + delta(error=BOOM) + END, text=TEXT, differs=ERROR_UNSEEN),
    *(
        failing(f"finish_reason_{reason}", MORNING + delta(finish=reason) + DONE, text=TEXT, differs=ERROR_UNSEEN)
        for reason in ("error: upstream", "failed", "internal_error", "cancelled")
    ),
    RawAnswer("object_with_a_message_alone", MORNING + data({"message": "hello"}) + END),
    RawAnswer("object_with_a_good_code", MORNING + data({"code": 200, "message": "ok"}) + END),
]

CASES = [*EVERYWHERE, *PLACES, *NONE_AT_ALL, *LIKE_ERRORS]
