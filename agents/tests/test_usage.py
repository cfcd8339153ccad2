"""Token counts as providers report them."""

from typing import Any

import pytest

from agents.providers import usage
from agents.providers.usage import TokenCounts
from runs.metering import tokens
from runs.metering.tokens import TokenUsage


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}, (20, 5, None, None, None)),
        ({"prompt_tokens": 20.0, "completion_tokens": "5"}, (20, 5, None, None, None)),
        ({"prompt_tokens": 20, "completion_tokens": None, "total_tokens": 20}, (20, 0, None, None, None)),
        ({"prompt_tokens": 20, "total_tokens": 1025}, (20, 1005, None, None, None)),
        # OpenAI
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 80, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 40},
            },
            (100, 50, 40, 80, None),
        ),
        # DeepSeek
        ({"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 90}, (100, 5, None, 90, None)),
        (
            {"completion_tokens": 5, "prompt_cache_hit_tokens": 90, "prompt_cache_miss_tokens": 10},
            (100, 5, None, 90, None),
        ),
        # Anthropic, whose input leaves the cache out
        (
            {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 20},
            (100, 5, None, 70, 20),
        ),
        ({"input_tokens": 10, "output_tokens": 5}, (10, 5, None, None, None)),
        # xAI and Gemini, whose output leaves the reasoning out
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            (32, 103, 94, None, None),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}, (10, 105, 100, None, None)),
        # a total that holds the cache beside the input
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115, "cache_read_input_tokens": 100},
            (110, 5, None, 100, None),
        ),
        # what is no count
        ({"prompt_tokens": True, "completion_tokens": -1}, (None,) * 5),
        ({"prompt_tokens": 5.5, "completion_tokens": "many"}, (None,) * 5),
        ({"prompt_tokens": 10**25, "completion_tokens": float("nan")}, (None,) * 5),
        ("n/a", (None,) * 5),
        ([1, 2], (None,) * 5),
        (None, (None,) * 5),
    ],
)
def test_spellings(reported: Any, expected: tuple[int | None, ...]) -> None:
    counts = usage.parse_usage(reported)
    assert (counts.input, counts.output, counts.reasoning, counts.cache_read, counts.cache_write) == expected


def test_a_zero_does_not_replace_a_count() -> None:
    counts = TokenCounts()
    for report in (TokenCounts(0, 0), TokenCounts(20, 5), TokenCounts(0, 0), TokenCounts(None, 6)):
        counts.update(report)
    assert (counts.input, counts.output) == (20, 6)


def test_what_is_missing_is_estimated_and_marked() -> None:
    assert TokenCounts(20, 5).completed(input=30, output=9) == TokenUsage(20, 5)
    assert TokenCounts(20).completed(input=30, output=9) == TokenUsage(20, 9, estimated=True)
    assert TokenCounts(20, 0).completed(input=30, output=9) == TokenUsage(20, 9, estimated=True)
    assert TokenCounts(20, 0).completed(input=30, output=0) == TokenUsage(20, 0)
    assert TokenCounts().completed(input=30, output=9) == TokenUsage(30, 9, estimated=True)


def test_a_part_is_never_more_than_the_whole() -> None:
    assert TokenCounts(10, 5, reasoning=9, cache_read=90).completed(input=0, output=0) == TokenUsage(10, 5, 5, 10)


def test_adding_up() -> None:
    assert TokenUsage(1, 2, 3, 4, 5) + TokenUsage(1, 1, 1, 1, 1, estimated=True) == TokenUsage(2, 3, 4, 5, 6, True)


@pytest.mark.parametrize(
    ("text", "expected"), [("", 0), ("x" * 40, 10), ("x", 1), ("代码" * 50, 75), ("😀" * 10, 10), ("ж" * 8, 4)]
)
def test_estimates(text: str, expected: int) -> None:
    assert tokens.estimate(text) == expected
