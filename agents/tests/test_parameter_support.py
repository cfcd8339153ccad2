"""Omission of parameters that a model has refused."""

import time

import pytest

from agents.providers import parameter_support

MODEL = ("http://127.0.0.1:1/v1", "model-of-a-test")


@pytest.mark.parametrize(
    ("names", "refused", "expected"),
    [
        (set(), "temperature", {"temperature"}),
        (set(), "stream_options", {"stream_options"}),
        (set(), "max_tokens", {"max_tokens"}),
        ({"max_tokens"}, "temperature", {"max_tokens", "temperature"}),
        ({"max_tokens"}, "max_completion_tokens", {"max_completion_tokens"}),
        ({"max_completion_tokens"}, "max_tokens", None),
        ({"temperature"}, "temperature", None),
        (set(), "messages", None),
        (set(), "", None),
    ],
)
def test_the_next_request_omits_the_rejected_parameter(
    names: set[str], refused: str, expected: set[str] | None
) -> None:
    found = parameter_support.drop_parameter(frozenset(names), refused)
    assert found == (None if expected is None else frozenset(expected))


@pytest.mark.parametrize("names", [set(), {"max_tokens"}, {"max_completion_tokens"}, {"temperature"}])
def test_there_is_always_a_limit(names: set[str]) -> None:
    assert parameter_support.output_limit_parameter(frozenset(names)) not in names


def test_it_is_remembered_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    parameter_support.remember(*MODEL, frozenset({"temperature"}))
    assert parameter_support.unsupported_parameters(*MODEL) == {"temperature"}
    later_s = time.monotonic() + parameter_support.REMEMBERED_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    assert parameter_support.unsupported_parameters(*MODEL) == frozenset()


def test_a_limit_that_was_tried_is_not_remembered() -> None:
    parameter_support.remember(*MODEL, frozenset({"max_completion_tokens"}))
    assert parameter_support.unsupported_parameters(*MODEL) == frozenset()
