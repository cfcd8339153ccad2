"""Raw answers whose content or reasoning deviates, or that have no content."""

from agents.tests.raw_answers.chunks import (
    CONTENT_FILTERED,
    COUNTED,
    DONE,
    EMPTY_ANSWER,
    END,
    MORNING,
    NOT_A_CHUNK,
    OUTPUT_LIMIT_REACHED,
    STOP,
    TEXT,
    USAGE,
    RawAnswer,
    data,
    delta,
    ends,
    failing,
    says,
)


def text_part(text: object, **members: object) -> dict[str, object]:
    return {"type": "text", "text": text, **members}


def thinking_part(text: str) -> dict[str, object]:
    return {"type": "thinking", "thinking": [text_part(text)]}


def content(name: str, *values: object, text: str = TEXT, thinking: bool = False, differs: str = "") -> RawAnswer:
    """Return a case in which each of these values is the content of a delta."""
    body = b"".join(delta(content=value) for value in values) + END
    return RawAnswer(name, body, text, thinking=thinking, differs=differs)


CONTENTS = [
    content("content_null_between", "Good ", None, "morning."),
    content("content_empty_between", "Good ", "", "morning."),
    content("content_is_a_number_between", "Good ", 7, "morning."),
    content("content_is_false_between", "Good ", False, "morning."),
    failing(
        "content_of_blanks",
        delta(content="\n") + delta(content=" ") + END,
        EMPTY_ANSWER,
        finish="stop",
        tokens=COUNTED,
        differs="openai yields the white space; white space alone is no answer here",
    ),
    failing(
        "blanks_up_to_the_limit",
        delta(reasoning_content="hm") + delta(content="\n\n") + delta(finish="length") + USAGE + DONE,
        OUTPUT_LIMIT_REACHED,
        finish="length",
        tokens=COUNTED,
        thinking=True,
        differs="openai yields the white space; white space alone is no answer here",
    ),
    content("content_begins_with_newlines", "\n\n", "Good morning.", text="\n\nGood morning."),
    content("content_is_a_list_of_parts", [text_part("Good "), text_part("morning.")], differs=NOT_A_CHUNK),
    content(
        "content_is_now_a_list_now_a_string", [text_part("Good ")], "morning", [text_part(".")], differs=NOT_A_CHUNK
    ),
    content("parts_without_a_type", [{"text": "Good "}, {"text": "morning."}], differs=NOT_A_CHUNK),
    content("parts_of_output_text", [{"type": "output_text", "text": TEXT}], differs=NOT_A_CHUNK),
    content(
        "parts_with_odd_text",
        [text_part("Good "), text_part(None), text_part(5), text_part("morning.")],
        differs=NOT_A_CHUNK,
    ),
    content(
        "parts_of_other_kinds",
        "Good ",
        [{"type": "image_url", "image_url": {"url": "data:,"}}],
        [{"type": "reference", "reference_ids": [0]}],
        "morning.",
    ),
    content("parts_that_are_no_objects", "Good ", [None, 5, True], "morning."),
    content("empty_list_of_parts", "Good ", [], "morning."),
    content("content_is_an_object", text_part("Good "), {"text": "morning."}, differs=NOT_A_CHUNK),
    content("content_is_an_object_without_text", "Good ", {"type": "text"}, {}, "morning."),
    content(
        "thinking_parts_first",
        [thinking_part("Hm.")],
        [text_part("Good ")],
        "morning.",
        thinking=True,
        differs=NOT_A_CHUNK,
    ),
    content(
        "thinking_and_text_in_one_list", [thinking_part("Hm."), text_part(TEXT)], thinking=True, differs=NOT_A_CHUNK
    ),
    content("thinking_part_with_a_string", [{"type": "thinking", "thinking": "Hm."}], TEXT, thinking=True),
    content("reasoning_part_with_text", [{"type": "reasoning", "text": "Hm."}], TEXT, thinking=True),
    content("think_tags_are_text", "<think>Hm.</think>", TEXT, text="<think>Hm.</think>Good morning."),
    content("cumulative_deltas", "Good", "Good morning", text="GoodGood morning"),
    content("the_same_delta_twice", "ha", "ha", text="haha"),
]

REASONING = [
    RawAnswer("reasoning_content", delta(content=None, reasoning_content="Hm.") * 3 + MORNING + END, thinking=True),
    RawAnswer("reasoning", delta(content="", reasoning="Hm.") * 3 + MORNING + END, thinking=True),
    RawAnswer(
        "reasoning_in_both_fields", delta(reasoning="Hm.", reasoning_content="Hm.") + MORNING + END, thinking=True
    ),
    RawAnswer("reasoning_beside_text", delta(content=TEXT, reasoning_content="Hm.") + END, thinking=True),
    RawAnswer("reasoning_behind_text", says("Good ") + delta(reasoning="Hm.") + says("morning.") + END, thinking=True),
    RawAnswer(
        "reasoning_is_an_object", delta(content="", reasoning_content={"text": "Hm."}) + MORNING + END, thinking=True
    ),
    RawAnswer("reasoning_empty_or_null", delta(content=TEXT, reasoning_content="", reasoning=None) + END),
    RawAnswer(
        "reasoning_details_beside_reasoning",
        delta(content="", reasoning="Hm.", reasoning_details=[{"type": "reasoning.text", "text": "Hm."}])
        + MORNING
        + END,
        thinking=True,
    ),
]

NO_CONTENT = [
    failing("stop_alone", STOP + USAGE + DONE, EMPTY_ANSWER, finish="stop", tokens=COUNTED),
    failing(
        "finish_reason_and_no_delta",
        data({"choices": [{"index": 0, "finish_reason": "stop"}]}) + DONE,
        EMPTY_ANSWER,
        finish="stop",
    ),
    failing(
        "filter_and_no_delta",  # Gemini
        data({"choices": [{"index": 0, "finish_reason": "content_filter: PROHIBITED_CONTENT"}]}) + USAGE + DONE,
        CONTENT_FILTERED,
        finish="content_filter: PROHIBITED_CONTENT",
        tokens=COUNTED,
    ),
    failing("role_and_stop", delta(role="assistant", content="") + END, EMPTY_ANSWER, finish="stop", tokens=COUNTED),
    failing("role_and_done", delta(role="assistant") + DONE, EMPTY_ANSWER),
    failing("empty_strings", delta(content="") * 5 + END, EMPTY_ANSWER, finish="stop", tokens=COUNTED),
    failing("empty_parts", delta(content=[text_part("")]) * 2 + END, EMPTY_ANSWER, finish="stop", tokens=COUNTED),
    failing("numbers_alone", delta(content=7) * 2 + END, EMPTY_ANSWER, finish="stop", tokens=COUNTED),
    failing(
        "reasoning_and_stop",
        delta(reasoning_content="Hm.") + END,
        EMPTY_ANSWER,
        finish="stop",
        tokens=COUNTED,
        thinking=True,
    ),
    failing("reasoning_and_done", delta(reasoning="Hm.") + DONE, EMPTY_ANSWER, thinking=True),
    failing(
        "reasoning_and_length",
        delta(reasoning_content="Hm.") * 3 + delta(content="") + ends("length"),
        OUTPUT_LIMIT_REACHED,
        finish="length",
        tokens=COUNTED,
        thinking=True,
    ),
    failing(
        "thinking_parts_and_length",
        delta(content=[thinking_part("Hm.")]) + ends("length"),
        OUTPUT_LIMIT_REACHED,
        finish="length",
        tokens=COUNTED,
        thinking=True,
    ),
    failing(
        "tool_call_alone",
        delta(
            role="assistant",
            content=None,
            tool_calls=[{"index": 0, "id": "call_1", "function": {"name": "search", "arguments": '{"q": 1}'}}],
        )
        + ends("tool_calls"),
        EMPTY_ANSWER,
        finish="tool_calls",
        tokens=COUNTED,
    ),
    failing(
        "tool_call_without_an_index",
        delta(tool_calls=[{"function": {"name": "search", "arguments": "{}"}}]) + ends("stop"),
        EMPTY_ANSWER,
        finish="stop",
        tokens=COUNTED,
    ),
    failing(
        "function_call_alone",
        delta(function_call={"name": "search", "arguments": "{}"}) + ends("function_call"),
        EMPTY_ANSWER,
        finish="function_call",
        tokens=COUNTED,
    ),
    failing(
        "tool_call_and_length",
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"q'}}]) + ends("length"),
        OUTPUT_LIMIT_REACHED,
        finish="length",
        tokens=COUNTED,
    ),
]

CASES = [*CONTENTS, *REASONING, *NO_CONTENT]
