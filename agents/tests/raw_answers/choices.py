"""Raw answers whose chunks or choices have odd members, or those of another endpoint."""

from agents.tests.raw_answers.chunks import (
    DONE,
    END,
    MORNING,
    NOT_A_CHUNK,
    PLAIN,
    STOP,
    TEXT,
    USAGE,
    RawAnswer,
    choice,
    chunk,
    data,
    delta,
    ends,
)

LATER_CHOICE = "openai yields the choices as they come and its users read the first; the one of index 0 is the answer"


def choices(*values: object) -> bytes:
    return data({"choices": list(values)})


def message(text: str, **members: object) -> dict[str, object]:
    return {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": None, **members}


CASES = [
    RawAnswer("delta_null", choices({"index": 0, "delta": None, "finish_reason": None}) + MORNING + END),
    RawAnswer("delta_missing", choices({"index": 0, "finish_reason": None}) + MORNING + END),
    RawAnswer("delta_is_a_list", MORNING + choices({"index": 0, "delta": [], "finish_reason": None}) + END),
    RawAnswer("delta_is_a_string", MORNING + choices({"index": 0, "delta": "x", "finish_reason": None}) + END),
    RawAnswer(
        "finish_reason_with_delta_null",
        MORNING + choices({"index": 0, "delta": None, "finish_reason": "stop"}) + USAGE + DONE,
    ),
    RawAnswer("finish_reason_missing", MORNING.replace(b', "finish_reason": null', b"") + END),
    RawAnswer("choices_null", data({"choices": None}) + MORNING + END),
    RawAnswer("choices_missing", data({"id": "chatcmpl-7", "created": 1767225600}) + MORNING + END),
    RawAnswer("choices_is_an_object", data({"choices": {}}) + MORNING + END),
    RawAnswer("choices_is_a_number", MORNING + data({"choices": 5}) + END),
    RawAnswer("choices_with_null", choices(None) + MORNING + END),
    RawAnswer("choices_with_a_number", MORNING + choices(5, "x", []) + END),
    RawAnswer("index_missing", PLAIN.replace(b'"index": 0, ', b"")),
    RawAnswer("index_null", PLAIN.replace(b'"index": 0', b'"index": null')),
    RawAnswer("index_is_a_string", PLAIN.replace(b'"index": 0', b'"index": "0"')),
    RawAnswer(
        "index_counts_the_deltas",
        b"".join(
            data(chunk({**choice({"content": text}), "index": index}))
            for index, text in enumerate(["Good ", "morning", "."], 1)
        )
        + data(chunk({**choice(finish="stop"), "index": 4}))
        + USAGE
        + DONE,
    ),
    RawAnswer(
        "two_choices_in_one_chunk",
        choices(choice({"content": TEXT}), {**choice({"content": "Evening."}), "index": 1}) + END,
    ),
    RawAnswer(
        "two_choices_the_other_way_round",
        choices({**choice({"content": "Evening."}), "index": 1}, choice({"content": TEXT})) + END,
        differs=LATER_CHOICE,
    ),
    RawAnswer(
        "message_in_the_place_of_delta",
        choices(message("Good ")) + choices(message("morning.")) + USAGE + DONE,
        finish=None,
        differs=NOT_A_CHUNK,
    ),
    RawAnswer(
        "message_and_finish_reason", choices(message(TEXT, finish_reason="stop")) + USAGE + DONE, differs=NOT_A_CHUNK
    ),
    RawAnswer("message_beside_delta_null", choices(message(TEXT, delta=None)) + END, differs=NOT_A_CHUNK),
    RawAnswer(
        "message_repeats_the_delta",
        b"".join(choices(message(text, delta={"content": text})) for text in ("Good ", "morning", ".")) + END,
    ),
    RawAnswer(
        "message_sums_up_the_deltas",
        choices(message("Good ", delta={"content": "Good "}))
        + choices(message(TEXT, delta={"content": "morning."}))
        + END,
    ),
    RawAnswer(
        "message_repeats_the_answer_at_the_end", MORNING + choices(message(TEXT, finish_reason="stop")) + USAGE + DONE
    ),
    RawAnswer(
        "message_and_empty_delta_at_the_end",
        MORNING + choices(message(TEXT, delta={"content": ""}, finish_reason="stop")) + USAGE + DONE,
    ),
    RawAnswer(
        "completion_object_at_the_end",
        MORNING
        + STOP
        + data({"object": "chat.completion", "choices": [message(TEXT, finish_reason="stop")], "usage": {}})
        + USAGE
        + DONE,
    ),
    RawAnswer(
        "text_in_the_place_of_delta",
        choices({"index": 0, "text": "Good ", "finish_reason": None})
        + choices({"index": 0, "text": "morning.", "finish_reason": "stop"})
        + USAGE
        + DONE,
        differs=NOT_A_CHUNK,
    ),
    RawAnswer("text_null_beside_a_delta", choices(choice({"content": TEXT}, text=None)) + END),
    RawAnswer(
        "role_in_each_delta", b"".join(delta(role="assistant", content=text) for text in ("Good ", "morning.")) + ends()
    ),
    RawAnswer(
        "service_fields",
        data(
            chunk(
                choice({"content": TEXT}, logprobs=None),
                system_fingerprint="fp",
                provider="P",
                citations=["a"],
                service_tier=None,
            )
        )
        + END,
    ),
    RawAnswer(
        "members_unordered", data({"choices": [{"finish_reason": None, "delta": {"content": TEXT}, "index": 0}]}) + END
    ),
    RawAnswer(
        "ids_empty",
        data({"id": "", "object": "", "created": 0, "model": "", "choices": [choice({"content": TEXT})]}) + END,
    ),
    RawAnswer(
        "filter_results_first",
        data(
            chunk(
                prompt_filter_results=[
                    {"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}
                ]
            )
        )
        + MORNING
        + END,
    ),
    RawAnswer(
        "filter_results_beside_text",
        data(
            chunk(
                choice({"content": TEXT}, content_filter_results={"violence": {"filtered": False, "severity": "safe"}})
            )
        )
        + END,
    ),
    RawAnswer(
        "filter_results_behind_the_finish_reason",
        MORNING
        + STOP
        + choices(
            {
                "index": 0,
                "finish_reason": None,
                "content_filter_results": {},
                "content_filter_offsets": {"check_offset": 9},
            }
        )
        + USAGE
        + DONE,
    ),
    RawAnswer(
        "tool_call_behind_text",
        MORNING
        + delta(tool_calls=[{"index": 0, "id": "call_1", "function": {"name": "search", "arguments": "{}"}}])
        + ends("tool_calls"),
        finish="tool_calls",
    ),
    RawAnswer("tool_calls_empty", b"".join(delta(content=text, tool_calls=[]) for text in ("Good ", "morning.")) + END),
    RawAnswer(
        "refusal_null_beside_text", b"".join(delta(content=text, refusal=None) for text in ("Good ", "morning.")) + END
    ),
    RawAnswer("refusal_behind_text", MORNING + delta(refusal="No more.") + END, refusal="No more."),
]
