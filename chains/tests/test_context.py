"""The context budget: the oldest outputs are shortened first, and the request's context never."""

from chains.context import BYTES_A_TOKEN, OVERHEAD_TOKENS, Cut, Output, compose, room

OUTPUTS = [Output(1, "code-review", "a" * 1_000), Output(2, "documentation", "b" * 1_000)]


def test_what_fits_is_left_alone() -> None:
    text, cuts = compose("code", OUTPUTS, 10_000)
    assert text == (
        f"code\n\n--- Output of step 1 (code-review) ---\n{'a' * 1_000}"
        f"\n\n--- Output of step 2 (documentation) ---\n{'b' * 1_000}"
    )
    assert cuts == []
    assert compose("code", [], 0) == ("code", [])


def test_the_oldest_is_shortened_first() -> None:
    text, (cut,) = compose("code", OUTPUTS, 1_500)
    assert cut.step == 1 and f"[{cut.characters} characters left out]" in text
    assert text.count("a" * (1_000 - cut.characters)) == 1 and "b" * 1_000 in text
    assert len(text) <= 1_500


def test_then_the_next_one() -> None:
    text, cuts = compose("code", OUTPUTS, 400)
    assert [cut.step for cut in cuts] == [1, 2]
    assert cuts[0] == Cut(1, 1_000) and 0 < cuts[1].characters < 1_000
    assert len(text) <= 400


def test_the_requests_own_context_is_never_shortened() -> None:
    text, cuts = compose("code" * 500, OUTPUTS, 100)
    assert text.startswith("code" * 500)
    assert [(cut.step, cut.characters) for cut in cuts] == [(1, 1_000), (2, 1_000)]


def test_no_character_is_torn_apart() -> None:
    outputs = [Output(1, "code-review", "🙂" * 500)]
    for limit in range(300, 320):
        text, (cut,) = compose("", outputs, limit)
        assert text.count("🙂") == 500 - cut.characters
        assert len(text.encode()) <= limit


def test_an_output_shorter_than_the_mark_is_left_alone() -> None:
    _, cuts = compose("code", [Output(1, "seo", "ok")], 0)
    assert cuts == []


def test_the_room_of_a_window() -> None:
    assert room(window=8_192, answer=512, prompt="x" * 300) == BYTES_A_TOKEN * (8_192 - 512 - OVERHEAD_TOKENS) - 300
