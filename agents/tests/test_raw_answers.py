"""Raw answers of providers at the decoder: text, outcome, tokens; any split of the bytes; `openai` as the reference."""

import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from django.conf import settings as django_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import answer_validation
from agents.providers import Provider
from agents.providers.decoding import Decoder
from agents.providers.usage import TokenCounts
from agents.tests import openai_comparison
from agents.tests.raw_answers import CASES
from agents.tests.raw_answers.chunks import (
    ANSWER_DONE,
    END,
    MORNING,
    PROVIDER_ERROR,
    TEXT,
    RawAnswer,
    Tokens,
    data,
    says,
)
from lunaos.errors import LunaError

PROVIDER = Provider("deepseek", "http://provider/v1", "none")
LONG_BYTES, READ_BYTES = 10_000_000, 1_000
MAX_BYTES = django_settings.EVENT_LOG_MAX_BYTES
OPEN_STRING = b'data: {"choices":[{"index":0,"delta":{"content":"'

quickly = settings(max_examples=200, deadline=None, database=None, derandomize=True)
cases = pytest.mark.parametrize("case", CASES, ids=repr)
small = st.sampled_from([case for case in CASES if len(case.body) < 20_000])


@dataclass(frozen=True, slots=True)
class Decoded:
    """Result of the decoder and the validation, independent of the reads."""

    text: str
    outcome: str
    finish: str | None
    tokens: Tokens | None
    refusal: str
    thinking: bool
    queued: bool = False


def decoded(reads: Iterable[bytes]) -> Decoded:
    """Feed a decoder read by read and judge the answer as the runner does."""
    decoder = Decoder(PROVIDER)
    blocks = [*(decoder.feed(read) for read in reads), decoder.close()]
    texts = [text for block in blocks for text in block.texts]
    assert all(texts), "an empty piece is no piece"
    return Decoded(
        text="".join(texts),
        outcome=outcome(decoder),
        finish=None if decoder.error else decoder.reply.finish_reason,
        tokens=tokens(decoder.reply.counts),
        refusal=decoder.reply.refusal,
        thinking=any(block.thinking for block in blocks),
        queued=any(block.queued for block in blocks),
    )


def outcome(decoder: Decoder) -> str:
    """Return the code of the run's error, or "done"."""
    if decoder.error:
        return decoder.error.code
    if not decoder.reply.complete:
        return PROVIDER_ERROR
    try:
        answer_validation.require_text(decoder.reply, PROVIDER)
    except LunaError as e:
        return e.code
    return ANSWER_DONE


def tokens(counts: TokenCounts) -> Tokens | None:
    """Return the reported counts, and None where neither input nor output was reported."""
    if counts.input is None and counts.output is None:
        return None
    details = (counts.reasoning or 0, counts.cache_read or 0, counts.cache_write or 0)
    return Tokens(counts.input, counts.output, *details)


def expected(case: RawAnswer, *, queued: bool) -> Decoded:
    return Decoded(case.text, case.outcome, case.finish, case.tokens, case.refusal, case.thinking, queued)


@cases
def test_an_answer_in_one_read(case: RawAnswer) -> None:
    found = decoded([case.body])
    assert found == expected(case, queued=found.queued)


@cases
def test_an_answer_byte_by_byte(case: RawAnswer) -> None:
    found = decoded(case.body[at : at + 1] for at in range(len(case.body)))
    assert found == expected(case, queued=found.queued)


@quickly
@given(case=small, cuts=st.lists(st.floats(0, 1), max_size=12))
def test_any_split_of_an_answer(case: RawAnswer, cuts: list[float]) -> None:
    assert decoded(split(case.body, cuts)) == decoded([case.body])


@quickly
@given(
    case=small,
    cuts=st.lists(st.floats(0, 1), max_size=6),
    at=st.floats(0, 1),
    junk=st.binary(max_size=9),
    drop=st.integers(0, 9),
)
def test_a_damaged_answer(case: RawAnswer, cuts: list[float], at: float, junk: bytes, drop: int) -> None:
    """Bytes that are replaced, added or lost raise nothing, and come to the same however they are split."""
    place = int(at * len(case.body))
    damaged = case.body[:place] + junk + case.body[place + drop :]
    whole = decoded([damaged])
    assert decoded(split(damaged, cuts)) == whole
    assert whole.text.encode() + whole.refusal.encode() is not None  # fit for storing


def split(body: bytes, cuts: list[float]) -> list[bytes]:
    """Cut at these shares of the body; some reads may be empty."""
    places = sorted(int(cut * len(body)) for cut in cuts)
    return [body[begin:end] for begin, end in zip([0, *places], [*places, len(body)], strict=True)]


def test_queueing_and_thinking_are_detected() -> None:
    decoder = Decoder(PROVIDER)
    queued, answering, waiting = (decoder.feed(raw) for raw in (b": keep-alive\n\n", MORNING, b": keep-alive\n\n"))
    assert queued.queued and queued.alive
    assert answering.alive and not answering.queued
    assert waiting.alive and not waiting.queued


def test_unknown_events_are_counted() -> None:
    decoder = Decoder(PROVIDER)
    decoder.feed(data({"type": "ping"}) + b"data: ping\n\n" + MORNING + data({"sources": []}) + END)
    assert (decoder.reply.ignored, decoder.reply.objects) == (3, 8)


# -- The comparison with `openai` -------------------------------------------------------------------------------------


@cases
def test_a_difference_from_openai_has_a_reason(case: RawAnswer) -> None:
    theirs = openai_comparison.openais(case.body)
    assert bool(case.differs) == (theirs != openai_comparison.ours(case)), theirs


def test_the_corpus() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 130
    rows = openai_comparison.table_of_differences().splitlines()
    assert len(rows) == 2 + len([case for case in CASES if case.differs])


# -- Long lines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begin",
    [MORNING + OPEN_STRING, b": ", MORNING + b"data: ", b"<html>", b'{"choices": [{"message": {"content": "'],
    ids=["delta", "comment", "data", "html", "json_body"],
)
def test_a_long_line_costs_linear_work_and_bounded_memory(begin: bytes) -> None:
    """Peak memory shows copies: a copy of the buffer at each read would be 500 times the bound."""
    decoder, piece = Decoder(PROVIDER), b"x" * READ_BYTES
    decoder.feed(begin)
    copied = most_held = held = 0
    tracemalloc.start()
    try:
        for _ in range(LONG_BYTES // READ_BYTES):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            decoder.feed(piece)
            held, peak = tracemalloc.get_traced_memory()
            copied += peak - before
            most_held = max(most_held, held)
    finally:
        tracemalloc.stop()
    assert decoder.error and decoder.error.code == "output_too_long"
    assert copied < 10 * LONG_BYTES
    assert most_held < 1.25 * MAX_BYTES
    assert held < 100 * READ_BYTES  # 1 % of the answer; other threads of this process allocate too


def test_text_before_a_long_line_is_delivered() -> None:
    piece = b"x" * READ_BYTES
    found = decoded([MORNING + OPEN_STRING, *[piece] * (LONG_BYTES // READ_BYTES), b'"}}]}\n\n' + END])
    assert (found.text, found.outcome) == (TEXT, "output_too_long")


@pytest.mark.parametrize(
    "body",
    [
        MORNING + OPEN_STRING + b"x" * LONG_BYTES + b'"}}]}\n\n' + END,
        MORNING + b": " + b"x" * LONG_BYTES + b"\n\n" + END,
        MORNING + (b"data: " + b" " * 1_000_000 + b"\n") * 10 + b"\n" + END,
        MORNING + b"x" * LONG_BYTES,
    ],
    ids=["delta", "comment", "event_of_many_lines", "no_line_end"],
)
def test_too_much_at_once(body: bytes) -> None:
    for reads in ([body], split(body, [0.1, 0.5, 0.9]), split(body, [at / 500 for at in range(500)])):
        found = decoded(reads)
        assert (found.text, found.outcome) == (TEXT, "output_too_long")


def test_a_json_body_that_is_too_long() -> None:
    body = b'{"choices": [{"message": {"content": "' + b"x" * LONG_BYTES + b'"}}]}'
    assert decoded([body]).outcome == decoded(split(body, [0.3, 0.6])).outcome == "output_too_long"


def test_a_line_just_short_enough() -> None:
    content = b"x" * (MAX_BYTES - 1_000)
    found = decoded(split(OPEN_STRING + content + b'"}}]}\n\n' + END, [0.2, 0.7]))
    assert (found.text.encode(), found.outcome) == (content, ANSWER_DONE)


def test_many_lines_are_no_long_line() -> None:
    body = says("x" * READ_BYTES) * (LONG_BYTES // READ_BYTES) + END
    found = decoded(split(body, [at / 100 for at in range(100)]))
    assert (len(found.text), found.outcome) == (LONG_BYTES, ANSWER_DONE)
