"""Refusals of providers, translated by what they say."""

from typing import Any

import pytest

from agents.providers import Provider, failures
from agents.providers.errors import ProviderFailed

SERVERS = Provider("openai", "http://127.0.0.1:1/v1", "sk-server")
OWN = Provider("openai", "http://127.0.0.1:1/v1", "sk-own", own_key=True)


def refusal(status: int, body: object, provider: Provider = SERVERS, wait: str = "") -> ProviderFailed:
    headers = {"retry-after": wait} if wait else {}
    return failures.translate_refusal(provider, failures.parse_error(body, status), headers, model="gpt-x")


def of(**error: Any) -> dict[str, Any]:
    return {"error": error}


@pytest.mark.parametrize(
    ("status", "body", "code", "elsewhere"),
    [
        (429, of(code="insufficient_quota", message="You exceeded your current quota"), "provider_unavailable", True),
        (402, of(message="Insufficient Balance"), "provider_unavailable", True),
        (402, {}, "provider_unavailable", True),
        (400, of(message="Your credit balance is too low to access the API"), "provider_unavailable", True),
        (429, of(message="Rate limit reached for requests"), "provider_unavailable", True),
        (503, "<html>", "provider_unavailable", True),
        (529, {"type": "error", "error": {"type": "overloaded_error"}}, "provider_unavailable", True),
        (524, "", "provider_unavailable", True),
        (500, {}, "provider_error", True),
        (408, {}, "provider_timeout", True),
        (400, of(code="content_filter", message="content management policy"), "content_filtered", False),
        (400, of(code="content_policy_violation", message="safety system"), "content_filtered", False),
        (400, of(code="data_inspection_failed", message="inappropriate content"), "content_filtered", False),
        (400, of(message="This model's maximum context length is 8192 tokens"), "provider_error", False),
        (413, "", "provider_error", False),
        (429, of(message="Request too large for gpt-x on tokens per min"), "provider_error", False),
        (
            403,
            of(message="Your chosen model requires moderation and your input was flagged"),
            "content_filtered",
            False,
        ),
        (404, "<html>nginx</html>", "provider_error", False),
        (400, {"detail": "prompt is too long: 210000 tokens > 200000 maximum"}, "provider_error", False),
        (404, of(code="model_not_found", message="The model `gpt-x` does not exist"), "provider_error", True),
        (400, of(message="Model Not Exist"), "provider_error", True),
        (400, of(code="unsupported_parameter", param="temperature"), "provider_error", True),
        (400, of(message="Unrecognized request argument supplied: stream_options"), "provider_error", True),
        (400, of(message="something else"), "provider_error", False),
        (401, of(message="Incorrect API key"), "provider_error", True),
        (307, "", "provider_error", True),
    ],
)
def test_of_the_servers_key(status: int, body: object, code: str, elsewhere: bool) -> None:
    error = refusal(status, body)
    assert (error.code, error.elsewhere, error.provider_status) == (code, elsewhere, status)
    said = str(error.provider_message)
    assert not said or said not in str(error)  # the provider's words are not for those who use the server's key


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, of(message="Incorrect API key provided: sk-abc***"), "provider_key_rejected"),
        (403, of(message="Country, region, or territory not supported"), "provider_key_rejected"),
        (402, of(message="Insufficient Balance"), "provider_quota_exhausted"),
        (429, of(type="insufficient_quota", message="You exceeded your current quota"), "provider_quota_exhausted"),
        (400, of(message="Your credit balance is too low"), "provider_quota_exhausted"),
        (429, of(message="Rate limit reached for org-abc123"), "provider_unavailable"),
        (400, of(message="invalid image"), "provider_error"),
    ],
)
def test_of_an_own_key_in_the_providers_words(status: int, body: Any, code: str) -> None:
    error = refusal(status, body, OWN)
    assert error.code == code
    first_words = " ".join(body["error"]["message"].split()[:2])
    assert first_words in str(error)
    assert "sk-abc" not in str(error) and "org-abc" not in str(error)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (of(message="maximum context length is 8192"), "the context is too long for gpt-x"),
        (of(code="model_not_found"), "it has no model gpt-x"),
        (of(code="unsupported_parameter", param="temperature"), "does not support the parameter 'temperature'"),
        (of(message="Unrecognized request argument supplied: logit_bias"), "the parameter 'logit_bias'"),
        (of(message="'temperature' does not support 0.2 with this model."), "the parameter 'temperature'"),
        (of(code="unknown_parameter", message="Unknown parameter: 'seed'."), "the parameter 'seed'"),
        ({"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs not permitted"}]}, "'stream_options'"),
        ({"detail": [{"msg": "Extra inputs are not permitted"}]}, "does not support the parameter."),
        (of(code="unsupported_parameter", param="sk_live_SECRET123"), "does not support the parameter."),
        (of(code="unsupported_parameter", param="<b>/etc/passwd</b>"), "does not support the parameter."),
    ],
)  # fmt: skip
def test_the_sentence_says_what_to_change(body: object, words: str) -> None:
    assert words in str(refusal(400, body))


def test_no_credit_is_not_worth_a_second_attempt() -> None:
    assert not refusal(429, of(code="insufficient_quota")).retryable
    assert refusal(429, of(message="slow down")).retryable


def test_the_stated_wait_of_an_answer_that_is_none() -> None:
    error = failures.error_in_stream(SERVERS, {"code": 429, "message": "slow down"}, {"retry-after": "40"})
    assert error.retry_after == 40


def test_the_stated_wait_is_passed_on() -> None:
    error = refusal(429, {}, wait="17")
    assert (error.retry_after, error.stated_wait_s) == (17, 17.0)
    assert refusal(429, {}).stated_wait_s is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("STREAM_EXPLODED", "provider_error"),
        ({"message": "boom", "code": 500}, "provider_error"),
        ({"message": "slow down", "code": 429}, "provider_unavailable"),
        ({"message": "Rate limit reached"}, "provider_unavailable"),
        ({"type": "overloaded_error"}, "provider_unavailable"),
        ({"code": "content_filter"}, "content_filtered"),
        ({"code": "insufficient_quota"}, "provider_unavailable"),
        ({"object": "error", "message": "maximum context length is 4096", "code": 400}, "provider_error"),
        ([{"error": {"code": 503, "status": "UNAVAILABLE"}}], "provider_unavailable"),
        ({"status_code": 1002, "status_msg": "rate limit"}, "provider_unavailable"),
        (None, "provider_error"),
        (5, "provider_error"),
    ],
)
def test_inside_an_answer(error: object, code: str) -> None:
    assert failures.error_in_stream(SERVERS, error, {}).code == code
