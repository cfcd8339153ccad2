"""Raw answers whose framing deviates: lines, fields, comments, pings, ends, and bodies that are no event stream."""

import json

from agents.tests.raw_answers.chunks import (
    COUNTED,
    CUT_SHORT,
    DONE,
    EMPTY_ANSWER,
    END,
    ERROR_TOO_LATE,
    MORNING,
    NO_STREAM,
    NO_TEXT,
    PING_FATAL,
    PLAIN,
    STOP,
    TEXT,
    USAGE,
    RawAnswer,
    choice,
    chunk,
    data,
    delta,
    failing,
    pretty,
    raw_delta,
    says,
)

SINGLE_NEWLINES = "openai takes lines between which no blank line stands for one event; each whole object is one here"
EMPTY_EVENT = "openai parses an event without data as JSON and fails; WHATWG HTML 9.2.6 dispatches no such event"
BOM = b"\xef\xbb\xbf"
HTML = b"<!doctype html>\n<html><body>Please log in: <a href='/'>here</a></body></html>\n"


def between(piece: bytes) -> bytes:
    """Put a piece before the answer, amid its text, before its finish reason and behind it."""
    return piece + says("Good ") + piece + says("morning", ".") + piece + STOP + piece + USAGE + DONE


LINES = [
    RawAnswer("plain", PLAIN),
    RawAnswer("no_space_after_the_colon", PLAIN.replace(b"data: ", b"data:")),
    RawAnswer("two_spaces_after_the_colon", PLAIN.replace(b"data: {", b"data:  {")),
    RawAnswer("a_tab_after_the_colon", PLAIN.replace(b"data: {", b"data:\t{")),
    RawAnswer("spaces_behind_the_data", PLAIN.replace(b"}\n\n", b"}  \n\n")),
    RawAnswer("lines_end_with_crlf", PLAIN.replace(b"\n", b"\r\n")),
    RawAnswer("lines_end_with_cr", PLAIN.replace(b"\n", b"\r")),
    RawAnswer("line_ends_are_mixed", MORNING.replace(b"\n", b"\r\n") + STOP.replace(b"\n", b"\r") + USAGE + DONE),
    RawAnswer("crlf_then_lf", PLAIN.replace(b"\n\n", b"\r\n\n")),
    RawAnswer("lf_then_cr", PLAIN.replace(b"\n\n", b"\n\r")),
    RawAnswer("four_newlines_between_events", PLAIN.replace(b"\n\n", b"\n\n\n\n")),
    RawAnswer("newlines_first", b"\n\n\r\n" + PLAIN),
    RawAnswer("json_over_several_lines", pretty(PLAIN)),
    RawAnswer("json_over_several_crlf_lines", pretty(PLAIN).replace(b"\n", b"\r\n")),
    RawAnswer(
        "string_over_two_lines",
        raw_delta(b"Good \ndata: morning.") + END,
        text="Good \nmorning.",
        differs="openai takes JSON strictly, which has no raw newline in a string; the newline is part of the text",
    ),
    failing(
        "blank_line_in_a_string", raw_delta(b"Good \n\ndata: morning.") + END
    ),  # two events, neither of them whole: the text is lost, and success would hide that
    RawAnswer("single_newlines", PLAIN.replace(b"\n\n", b"\n"), differs=SINGLE_NEWLINES),
    RawAnswer("single_crlfs", PLAIN.replace(b"\n\n", b"\r\n"), differs=SINGLE_NEWLINES),
    RawAnswer("single_newline_before_done", MORNING + STOP + USAGE[:-1] + DONE, differs=SINGLE_NEWLINES),
    RawAnswer(
        "single_newlines_and_event_fields",
        PLAIN.replace(b"data: {", b"event: message\ndata: {").replace(b"\n\n", b"\n"),
        differs=SINGLE_NEWLINES,
    ),
    RawAnswer(
        "byte_order_mark", BOM + MORNING + END, differs="openai loses the first event behind a BOM, with its text"
    ),
    RawAnswer("byte_order_mark_before_a_comment", BOM + b": hello\n\n" + MORNING + END),
    RawAnswer("byte_order_mark_before_crlf_lines", BOM + PLAIN.replace(b"\n", b"\r\n")),
    RawAnswer(
        "unicode_line_ends_in_a_string", raw_delta("Good\x85\u2028\u2029.".encode()) + END, "Good\x85\u2028\u2029."
    ),
    RawAnswer(
        "escaped_sse_in_a_string",
        says("data: [DONE]\n\nevent: error\ndata: {}\n\n") + END,
        "data: [DONE]\n\nevent: error\ndata: {}\n\n",
    ),
    RawAnswer("done_in_a_string", says("[DONE]", " is no end.") + END, "[DONE] is no end."),
    RawAnswer("thousand_small_events", says(*"abcdefghij" * 100) + END, "abcdefghij" * 100),
    RawAnswer("one_long_line", says("long " * 4_000) + END, "long " * 4_000),
]

FIELDS = [
    RawAnswer("event_and_id_and_retry", PLAIN.replace(b"data: {", b"id: 5\nretry: 10\nevent: message\ndata: {")),
    RawAnswer("event_behind_the_data", PLAIN.replace(b"}\n\n", b"}\nevent: chunk\nid:\n\n")),
    RawAnswer("events_with_names_of_their_own", PLAIN.replace(b"data: {", b"event: chat.completion.chunk\ndata: {")),
    RawAnswer("done_with_a_name", PLAIN.replace(DONE, b"event: done\ndata: [DONE]\n\n")),
    RawAnswer("unknown_fields", PLAIN.replace(b"data: {", b"datum: {\nDATA: {\nx-node 7\ndata: {")),
    RawAnswer("fields_without_a_colon", between(b"data\n\nid\nretry\n\n"), differs=EMPTY_EVENT),
    RawAnswer("retry_alone", b"retry: 3000\n\n" + PLAIN, differs=EMPTY_EVENT),
    RawAnswer("id_alone", between(b"id: 8\n\n"), differs=EMPTY_EVENT),
    RawAnswer("comments", between(b": PROCESSING\n\n")),
    RawAnswer("comments_without_text", between(b":\n\n:\n")),
    RawAnswer("comments_inside_events", PLAIN.replace(b"}\n\n", b"}\n: inside\n\n")),
    RawAnswer("comment_of_a_data_line", between(b':data: {"error": "no"}\n\n: data: [DONE]\n\n')),
    RawAnswer("comment_behind_an_id", PLAIN.replace(b"}\n\n", b"}\nid: 9\n\n: keep-alive\n\n"), differs=EMPTY_EVENT),
    RawAnswer("comments_in_the_queue", b": keep-alive\n\n" * 50 + PLAIN),
]

PINGS = [
    RawAnswer("ping_object", between(b'event: ping\ndata: {"type": "ping"}\n\n')),
    RawAnswer("ping_without_a_name", between(data({"ping": 1767225600}))),
    RawAnswer("heartbeat_object", between(data({"object": "heartbeat", "data": None}))),
    RawAnswer("ping_without_data", between(b"event: ping\n\n"), differs=PING_FATAL),
    RawAnswer("ping_with_empty_data", between(b"event: ping\ndata:\n\n"), differs=PING_FATAL),
    RawAnswer("ping_with_blank_data", between(b"data:  \n\n"), differs=PING_FATAL),
    RawAnswer("ping_as_text", between(b"event: ping\ndata: ping\n\n"), differs=PING_FATAL),
    RawAnswer("ping_as_time", between(b"data: 2026-01-01 00:00:15.125\n\n"), differs=PING_FATAL),
    RawAnswer("comment_wrapped_in_data", between(b"data: : PROCESSING\n\n"), differs=PING_FATAL),
    RawAnswer("ping_as_null", between(data(None))),
    RawAnswer("ping_as_number", between(data(1))),
    RawAnswer("ping_as_string", between(data("ping"))),
    RawAnswer("ping_as_empty_object", between(data({}))),
    RawAnswer("ping_as_empty_list", between(data([]))),
    failing("pings_alone", data({"type": "ping"}) * 3 + DONE, differs=NO_TEXT),
    failing("text_pings_alone", b"data: ping\n\n" * 3 + DONE),
    failing("usage_alone", USAGE + DONE, tokens=COUNTED, differs=NO_TEXT),
    failing("unknown_objects_alone", data({"sources": [{"name": "a.md"}]}) + DONE, differs=NO_TEXT),
    failing("comments_and_done", b": PROCESSING\n\n" * 3 + DONE, EMPTY_ANSWER, differs=NO_TEXT),
    failing("done_alone", DONE, EMPTY_ANSWER, differs=NO_TEXT),
]

ENDS = [
    RawAnswer("done_without_a_space", PLAIN.replace(DONE, b"data:[DONE]\n\n")),
    RawAnswer("done_with_spaces_behind", PLAIN.replace(DONE, b"data: [DONE]  \n\n")),
    RawAnswer(
        "done_with_spaces_before",
        PLAIN.replace(DONE, b"data:   [DONE]\n\n"),
        differs="openai looks for [DONE] behind one space at most; the answer was complete before",
    ),
    RawAnswer("done_in_small_letters", PLAIN.replace(DONE, b"data: [done]\n\n"), differs=ERROR_TOO_LATE),
    RawAnswer("done_without_brackets", PLAIN.replace(DONE, b"data: DONE\n\n"), differs=ERROR_TOO_LATE),
    RawAnswer("html_behind_the_finish_reason", MORNING + STOP + USAGE + HTML),
    RawAnswer("done_with_text_behind", PLAIN.replace(DONE, b"data: [DONE] bye\n\n")),
    RawAnswer("done_without_a_newline", PLAIN.removesuffix(b"\n\n")),
    RawAnswer("done_with_one_newline", PLAIN.removesuffix(b"\n")),
    RawAnswer("done_with_a_cr_at_the_end", PLAIN.removesuffix(b"\n\n") + b"\r"),
    RawAnswer("done_twice", PLAIN + DONE),
    RawAnswer("text_behind_done", MORNING + STOP + DONE + says(" More.") + USAGE, tokens=None),
    RawAnswer("error_behind_done", PLAIN + data({"error": {"message": "closed", "code": 500}})),
    RawAnswer("broken_bytes_behind_done", PLAIN + b'data: {"choices": [\xff\xfe\n\n<html>\r\n\r\n0\r\n'),
    RawAnswer("done_without_finish_reason", MORNING + USAGE + DONE, finish=None),
    RawAnswer("finish_reason_without_done", MORNING + STOP + USAGE),
    RawAnswer("finish_reason_is_the_last_event", MORNING + STOP, tokens=None),
    RawAnswer("finish_reason_without_a_newline", MORNING + STOP.removesuffix(b"\n\n"), tokens=None),
    RawAnswer(
        "text_and_finish_reason_without_a_newline",
        says("Good ", "morning") + delta(content=".", finish="stop")[:-2],
        tokens=None,
        differs="openai drops an event without its blank line, here with the last text",
    ),
    RawAnswer("usage_without_a_newline", MORNING + STOP + USAGE.removesuffix(b"\n\n")),
    RawAnswer("cut_inside_the_usage", MORNING + STOP + USAGE[:-30], tokens=None),
    RawAnswer(
        "broken_json_behind_the_finish_reason",
        MORNING + STOP + data(b'{"usage": {"prompt_tok') + DONE,
        tokens=None,
        differs=ERROR_TOO_LATE,
    ),
    RawAnswer("text_behind_the_usage", says("Good ", "morning") + STOP + USAGE + says(".") + DONE),
    RawAnswer("text_behind_the_finish_reason", says("Good ", "morning") + STOP + says(".") + USAGE + DONE),
    RawAnswer(
        "finish_reason_in_each_chunk",
        b"".join(delta(content=text, finish="STOP") for text in ("Good ", "morning", ".")) + USAGE + DONE,
        finish="STOP",
    ),
    RawAnswer("finish_reason_twice", MORNING + STOP + STOP + USAGE + DONE),
    RawAnswer("empty_deltas_behind_the_finish_reason", MORNING + STOP + delta(content="") * 2 + USAGE + DONE),
    RawAnswer("finish_reason_with_the_text", says("Good ") + delta(content="morning.", finish="stop") + USAGE + DONE),
    RawAnswer("finish_reason_with_the_first_text", delta(role="assistant", content=TEXT, finish="stop"), tokens=None),
    failing("no_end_at_all", MORNING, text=TEXT, differs=CUT_SHORT),
    failing("usage_and_no_end", MORNING + USAGE, text=TEXT, tokens=COUNTED, differs=CUT_SHORT),
    failing("cut_inside_the_text", MORNING + says(" And more")[:-40], text=TEXT, differs=CUT_SHORT),
    failing("html_amid_the_text", MORNING + HTML, text=TEXT, differs=CUT_SHORT),
    failing("cut_inside_a_field_name", MORNING + b"dat", text=TEXT, differs=CUT_SHORT),
    failing("cut_before_done_is_whole", MORNING + b"data: [DO", text=TEXT, differs=CUT_SHORT),
    failing("role_and_no_end", delta(role="assistant", content=""), differs=CUT_SHORT),
    failing("broken_json_in_the_text", MORNING + data(b'{"choices": [{"delta": {"content": "x"') + END, text=TEXT),
    failing("broken_json_first", data(b'{"choices": [') + PLAIN),
    failing(
        "broken_json_with_the_finish_reason",
        MORNING + data(b'{"choices":[{"finish_reason":"stop","raw":"{"x""}]}') + DONE,
        text=TEXT,
    ),
    failing("deep_nesting", MORNING + data(b'{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}") + END, text=TEXT),
    failing("prefix_twice", PLAIN.replace(b"data: ", b"data: data: ")),
]

ANTHROPIC: list[dict[str, object]] = [
    {"type": "message_start", "message": {"role": "assistant", "content": [], "usage": {"input_tokens": 9}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    {"type": "message_stop"},
]
RESPONSES: list[dict[str, object]] = [
    {"type": "response.created", "response": {"status": "in_progress"}},
    {"type": "response.output_text.delta", "delta": TEXT},
    {"type": "response.completed", "response": {"status": "completed"}},
]
GEMINI: list[dict[str, object]] = [
    {"candidates": [{"content": {"parts": [{"text": TEXT}], "role": "model"}, "finishReason": "STOP"}]}
]
NDJSON: list[dict[str, object]] = [
    {"model": "m-1", "message": {"role": "assistant", "content": TEXT}, "done": False},
    {"model": "m-1", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
]
BARE_CHUNKS = [chunk(choice({"content": TEXT})), chunk(choice(finish="stop"))]


def lines(values: list[dict[str, object]]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def named(values: list[dict[str, object]]) -> bytes:
    return b"".join(f"event: {value['type']}\n".encode() + data(value) for value in values)


NO_STREAMS = [
    failing("nothing", b"", differs=NO_STREAM),
    failing("newlines_alone", b"\n\r\n\n", differs=NO_STREAM),
    failing("comments_alone", b": PROCESSING\n\n" * 3, differs=NO_STREAM),
    failing("html_page", HTML, differs=NO_STREAM),
    failing("plain_text", b"upstream connect error or disconnect/reset before headers", differs=NO_STREAM),
    failing("text_without_framing", TEXT.encode(), differs=NO_STREAM),
    failing("anthropic_stream", named(ANTHROPIC), differs=NO_STREAM),
    failing("responses_stream", named(RESPONSES), differs=NO_STREAM),
    failing("gemini_stream", b"".join(map(data, GEMINI)), differs=NO_STREAM),
    failing("gemini_list", json.dumps(GEMINI, indent=1).encode(), differs=NO_STREAM),
    failing("ollama_lines", lines(NDJSON), differs=NO_STREAM),
    failing("chunks_without_framing", lines(BARE_CHUNKS), differs=NO_STREAM),
    failing("binary", bytes(range(256))),
]

CASES = [*LINES, *FIELDS, *PINGS, *ENDS, *NO_STREAMS]
