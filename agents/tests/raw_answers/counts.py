"""Raw answers whose token counts deviate: spellings, places, kinds of value."""

from agents.tests.raw_answers.chunks import (
    COUNTED,
    COUNTS,
    DONE,
    MORNING,
    STOP,
    USAGE,
    RawAnswer,
    Tokens,
    choice,
    chunk,
    data,
    usage,
)

NOTHING: Tokens | None = None


def counted(name: str, counts: object, tokens: Tokens | None) -> RawAnswer:
    """Return a case whose usage-only chunk has this `usage`."""
    return RawAnswer(name, MORNING + STOP + usage(counts) + DONE, tokens=tokens)


def placed(name: str, body: bytes, tokens: Tokens | None = COUNTED, finish: str | None = "stop") -> RawAnswer:
    return RawAnswer(name, body, tokens=tokens, finish=finish)


ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
GROWING = b"".join(
    data(
        chunk(
            choice({"content": text}), usage={"prompt_tokens": 31, "completion_tokens": made, "total_tokens": 31 + made}
        )
    )
    for made, text in ((1, "Good "), (2, "morning"), (4, "."))
)

SPELLINGS = [
    counted(
        "usage_openai_details",
        {
            "prompt_tokens": 160,
            "completion_tokens": 50,
            "total_tokens": 210,
            "prompt_tokens_details": {"cached_tokens": 100, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 40, "audio_tokens": 0},
        },
        Tokens(160, 50, 40, 100),
    ),
    counted(
        "usage_details_null",
        {**COUNTS, "prompt_tokens_details": None, "completion_tokens_details": None},
        Tokens(31, 4),
    ),
    counted(
        "usage_details_odd", {**COUNTS, "prompt_tokens_details": [5], "completion_tokens_details": "x"}, Tokens(31, 4)
    ),
    counted(
        "usage_deepseek",
        {
            "prompt_tokens": 1000,
            "completion_tokens": 4,
            "total_tokens": 1004,
            "prompt_tokens_details": {"cached_tokens": 900},
            "prompt_cache_hit_tokens": 900,
            "prompt_cache_miss_tokens": 100,
        },
        Tokens(1000, 4, 0, 900),
    ),
    counted(
        "usage_deepseek_without_details",
        {
            "prompt_tokens": 1000,
            "completion_tokens": 4,
            "prompt_cache_hit_tokens": 900,
            "prompt_cache_miss_tokens": 100,
        },
        Tokens(1000, 4, 0, 900),
    ),
    counted(
        "usage_deepseek_uncached",
        {**COUNTS, "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 31},
        Tokens(31, 4),
    ),
    counted(
        "usage_deepseek_reasoner",
        {
            "prompt_tokens": 31,
            "completion_tokens": 90,
            "total_tokens": 121,
            "completion_tokens_details": {"reasoning_tokens": 80},
        },
        Tokens(31, 90, 80),
    ),
    counted("usage_anthropic", {"input_tokens": 31, "output_tokens": 4}, Tokens(31, 4)),
    counted(
        "usage_anthropic_cache",
        {"input_tokens": 10, "output_tokens": 4, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50},
        Tokens(160, 4, 0, 100, 50),
    ),
    counted(
        "usage_anthropic_cache_null",
        {"input_tokens": 31, "output_tokens": 4, "cache_read_input_tokens": None, "cache_creation_input_tokens": 0},
        Tokens(31, 4),
    ),
    counted(
        "usage_of_a_gateway_to_anthropic",
        {
            "prompt_tokens": 160,
            "completion_tokens": 4,
            "total_tokens": 164,
            "prompt_tokens_details": {"cached_tokens": 100},
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 50,
        },
        Tokens(160, 4, 0, 100, 50),
    ),
    counted(
        "usage_responses",
        {
            "input_tokens": 160,
            "input_tokens_details": {"cached_tokens": 100},
            "output_tokens": 50,
            "output_tokens_details": {"reasoning_tokens": 40},
            "total_tokens": 210,
        },
        Tokens(160, 50, 40, 100),
    ),
    counted(
        "usage_openrouter",
        {
            **COUNTS,
            "prompt_tokens": 160,
            "total_tokens": 164,
            "cost": 0.0021,
            "is_byok": False,
            "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 50},
        },
        Tokens(160, 4, 0, 100, 50),
    ),
    counted("usage_moonshot_cached", {**COUNTS, "cached_tokens": 20}, Tokens(31, 4, 0, 20)),
    counted(
        "usage_xai",
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "completion_tokens_details": {"reasoning_tokens": 94},
        },
        Tokens(32, 103, 94),
    ),
    counted(
        "usage_gemini_thoughts_in_the_total",
        {"prompt_tokens": 31, "completion_tokens": 4, "total_tokens": 135},
        Tokens(31, 104, 100),
    ),
    counted("usage_total_without_output", {"prompt_tokens": 31, "total_tokens": 131}, Tokens(31, 100)),
    counted("usage_total_too_small", {"prompt_tokens": 31, "completion_tokens": 4, "total_tokens": 4}, Tokens(31, 4)),
    counted("usage_total_null", {**COUNTS, "total_tokens": None}, Tokens(31, 4)),
    counted("usage_perplexity", {**COUNTS, "search_context_size": "low", "cost": {"total_cost": 0.006}}, Tokens(31, 4)),
]

VALUES = [
    counted("usage_floats", {"prompt_tokens": 31.0, "completion_tokens": 4.0, "total_tokens": 35.0}, Tokens(31, 4)),
    counted("usage_strings", {"prompt_tokens": "31", "completion_tokens": "4", "total_tokens": "35"}, Tokens(31, 4)),
    counted("usage_broken_floats", {"prompt_tokens": 31.5, "completion_tokens": 4.25}, NOTHING),
    counted("usage_words", {"prompt_tokens": "many", "completion_tokens": "n/a"}, NOTHING),
    counted("usage_negative", {"prompt_tokens": -31, "completion_tokens": -4}, NOTHING),
    counted("usage_too_large", {"prompt_tokens": 10**25, "completion_tokens": 10**12}, NOTHING),
    counted("usage_booleans", {"prompt_tokens": True, "completion_tokens": False}, NOTHING),
    counted("usage_lists", {"prompt_tokens": [31], "completion_tokens": {"n": 4}}, NOTHING),
    counted("usage_members_null", {"prompt_tokens": None, "completion_tokens": None, "total_tokens": 0}, NOTHING),
    counted("usage_output_null", {"prompt_tokens": 31, "completion_tokens": None}, Tokens(31, None)),
    counted("usage_input_odd", {"prompt_tokens": "?", "completion_tokens": 4}, Tokens(None, 4)),
    counted("usage_string", "n/a", NOTHING),
    counted("usage_number", 35, NOTHING),
    counted("usage_list", [COUNTS], NOTHING),
    counted("usage_true", True, NOTHING),
    counted("usage_empty", {}, NOTHING),
    counted("usage_null", None, NOTHING),
    placed(
        "usage_nan",
        MORNING + STOP + data(b'{"choices":[],"usage":{"prompt_tokens":NaN,"completion_tokens":4}}') + DONE,
        Tokens(None, 4),
    ),
]

PLACES = [
    placed("usage_beside_the_finish_reason", MORNING + data(chunk(choice({}, "stop"), usage=COUNTS)) + DONE),
    placed(
        "usage_beside_the_last_text", data(chunk(choice({"content": "Good morning."}, "stop"), usage=COUNTS)) + DONE
    ),
    placed("usage_in_each_chunk", GROWING + STOP + DONE),
    placed("usage_in_each_chunk_and_at_the_end", GROWING + STOP + USAGE + DONE),
    placed(
        "usage_null_in_each_chunk",
        b"".join(data(chunk(choice({"content": text}), usage=None)) for text in ("Good ", "morning."))
        + STOP
        + USAGE
        + DONE,
    ),
    placed("usage_first", USAGE + MORNING + STOP + DONE),
    placed("usage_amid_the_text", GROWING + STOP + data(chunk(usage=None)) + DONE),
    placed("usage_without_choices", MORNING + STOP + data({"object": "chat.completion.usage", "usage": COUNTS}) + DONE),
    placed("usage_with_choices_null", MORNING + STOP + data({"choices": None, "usage": COUNTS}) + DONE),
    placed("usage_in_a_choice", MORNING + data(chunk(choice({}, "stop", usage=COUNTS))) + DONE),
    placed("usage_in_a_choice_and_at_the_end", MORNING + data(chunk(choice({}, "stop", usage=COUNTS))) + USAGE + DONE),
    placed(
        "usage_in_x_groq",
        MORNING
        + data(
            chunk(
                choice({}, "stop"), x_groq={"id": "req_1", "usage": {**COUNTS, "queue_time": 0.01, "total_time": 0.2}}
            )
        )
        + DONE,
    ),
    placed(
        "x_groq_without_usage",
        data(chunk(choice({"role": "assistant"}), x_groq={"id": "req_1"})) + MORNING + STOP + USAGE + DONE,
    ),
    placed("x_groq_null", data(chunk(choice({}), x_groq=None)) + MORNING + STOP + USAGE + DONE),
    placed("usage_before_the_finish_reason", MORNING + USAGE + STOP + DONE),
    placed("usage_before_done_without_finish_reason", MORNING + USAGE + DONE, finish=None),
    placed(
        "usage_zero_then_counts", data(chunk(choice({"role": "assistant"}), usage=ZERO)) + MORNING + STOP + USAGE + DONE
    ),
    placed("usage_counts_then_zero", MORNING + STOP + USAGE + usage(ZERO) + DONE),
    placed("usage_counts_then_null", MORNING + STOP + USAGE + usage(None) + DONE),
    placed("usage_counts_then_odd", MORNING + STOP + USAGE + usage("n/a") + DONE),
    placed(
        "usage_input_first_output_last",
        data({"choices": [], "usage": {"input_tokens": 31, "output_tokens": 1}})
        + MORNING
        + STOP
        + data({"choices": [], "usage": {"output_tokens": 4}})
        + DONE,
    ),
    placed(
        "usage_cache_first_output_last",
        data({"choices": [], "usage": {"input_tokens": 1, "cache_read_input_tokens": 30, "output_tokens": 1}})
        + MORNING
        + STOP
        + data({"choices": [], "usage": {"output_tokens": 4}})
        + DONE,
        Tokens(31, 4, 0, 30),
    ),
    placed("usage_behind_done", MORNING + STOP + DONE + USAGE, NOTHING),
    placed("usage_never", MORNING + STOP + DONE, NOTHING),
]

CASES = [*SPELLINGS, *VALUES, *PLACES]
