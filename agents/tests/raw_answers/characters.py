"""Raw answers whose characters or numbers strict parsers refuse, and characters that deltas tear apart."""

from agents.tests.raw_answers.chunks import (
    DONE,
    END,
    MORNING,
    NOT_A_CHUNK,
    ONE_VALUE,
    STOP,
    USAGE,
    RawAnswer,
    data,
    delta,
    failing,
    raw_delta,
    says,
)


def logprob(value: bytes) -> bytes:
    return (
        b'data: {"choices":[{"index":0,"delta":{"content":"Good "},"logprobs":{"content":[{"logprob":'
        + value
        + b'}]},"finish_reason":null}]}\n\n'
        + says("morning.")
        + END
    )


INVALID = b"caf\xe9 \xff \xe4\xb8 \xed\xa0\xbd\xed\xb8\x80."
CASES = [
    RawAnswer("many_scripts", says("Grüße ", "世界 ", "😀 ", "שלום") + END, "Grüße 世界 😀 שלום"),
    RawAnswer("many_scripts_unescaped", raw_delta("Grüße 世界 😀 שלום".encode()) + END, "Grüße 世界 😀 שלום"),
    RawAnswer(
        "escaped_controls",
        says("a\u0000b\u001b[1mc\u007fd\ufeffe\u202ef") + END,
        "a\u0000b\u001b[1mc\u007fd\ufeffe\u202ef",
    ),
    RawAnswer("escaped_slashes", raw_delta(rb"a\/b\u0041\"\\") + END, 'a/bA"\\'),
    RawAnswer("raw_tab", raw_delta(b"Good\tmorning.") + END, "Good\tmorning.", differs=ONE_VALUE),
    RawAnswer(
        "raw_controls",
        raw_delta(b"a\x00b\x1b[1mc\x0bd\x0ce\x1cf") + END,
        "a\x00b\x1b[1mc\x0bd\x0ce\x1cf",
        differs=ONE_VALUE,
    ),
    RawAnswer("invalid_utf8", raw_delta(INVALID) + END, INVALID.decode(errors="replace"), differs=ONE_VALUE),
    RawAnswer(
        "character_torn_over_two_deltas",
        raw_delta(b"\xf0\x9f") + raw_delta(b"\x98\x80 ok") + END,
        "\ufffd\ufffd\ufffd ok",
        differs=ONE_VALUE,
    ),
    RawAnswer(
        "invalid_utf8_in_a_field_not_read", data(b'{"id": "\xff", "choices": []}') + MORNING + END, differs=ONE_VALUE
    ),
    RawAnswer("invalid_utf8_in_a_comment", b": \xff\xfe\n\n" + MORNING + END, differs=ONE_VALUE),
    RawAnswer("nan_in_logprobs", logprob(b"NaN")),
    RawAnswer("infinity_in_logprobs", logprob(b"-Infinity")),
    RawAnswer("number_out_of_range", logprob(b"1e999")),
    RawAnswer("number_with_300_digits", logprob(b"9" * 300)),
    RawAnswer("member_twice", data(b'{"choices": [{"delta": {"content": "x", "content": "Good morning."}}]}') + END),
    RawAnswer("surrogates_in_one_delta", raw_delta(rb"ok \ud83d\ude00!") + END, "ok 😀!"),
    RawAnswer("surrogates_in_two_deltas", raw_delta(rb"ok \ud83d") + raw_delta(rb"\ude00!") + END, "ok 😀!"),
    RawAnswer("surrogates_in_capitals", raw_delta(rb"ok \uD83D") + raw_delta(rb"\uDE00!") + END, "ok 😀!"),
    RawAnswer("surrogates_alone_in_deltas", raw_delta(rb"\ud83d") + raw_delta(rb"\ude00") + END, "😀"),
    RawAnswer(
        "surrogates_around_an_empty_delta",
        raw_delta(rb"\ud83d") + delta(content="") + delta(content=None) + raw_delta(rb"\ude00") + END,
        "😀",
    ),
    RawAnswer(
        "surrogates_around_pings_and_reasoning",
        raw_delta(rb"\ud83d")
        + b": x\n\n"
        + data({"type": "ping"})
        + delta(reasoning="Hm.")
        + USAGE
        + raw_delta(rb"\ude00")
        + END,
        "😀",
        thinking=True,
    ),
    RawAnswer(
        "surrogates_around_the_finish_reason", raw_delta(rb"\ud83d") + STOP + raw_delta(rb"\ude00") + USAGE + DONE, "😀"
    ),
    RawAnswer(
        "surrogates_over_three_deltas",
        raw_delta(rb"\ud83d") + raw_delta(rb"\ude00\ud83d") + raw_delta(rb"\ude01") + END,
        "😀😁",
    ),
    RawAnswer("high_surrogate_before_text", raw_delta(rb"a\ud83d") + raw_delta(b"b") + END, "a\ufffdb"),
    RawAnswer("high_surrogate_amid_text", raw_delta(rb"a\ud83db") + END, "a\ufffdb"),
    RawAnswer(
        "two_high_surrogates", raw_delta(rb"\ud83d") + raw_delta(rb"\ud83d") + raw_delta(rb"\ude00") + END, "\ufffd😀"
    ),
    RawAnswer("high_surrogate_last", raw_delta(rb"ok \ud83d") + END, "ok \ufffd"),
    RawAnswer("high_surrogate_last_without_done", raw_delta(rb"ok \ud83d") + STOP, "ok \ufffd", tokens=None),
    RawAnswer("high_surrogate_alone", raw_delta(rb"\ud83d") + END, "\ufffd"),
    RawAnswer("low_surrogate_first", raw_delta(rb"\ude00 ok") + END, "\ufffd ok"),
    RawAnswer("low_before_high", raw_delta(rb"\ude00\ud83d") + raw_delta(b"!") + END, "\ufffd\ufffd!"),
    RawAnswer("surrogates_in_a_field_not_read", data(b'{"id": "\\ud83d", "choices": []}') + MORNING + END),
    RawAnswer(
        "surrogates_in_parts",
        data(b'{"choices":[{"delta":{"content":[{"type":"text","text":"\\ud83d"},{"type":"text","text":"\\ude00"}]}}]}')
        + END,
        "😀",
        differs=NOT_A_CHUNK,
    ),
    failing("surrogate_before_an_error", raw_delta(rb"ok \ud83d") + data({"error": "boom"}), text="ok \ufffd"),
]
