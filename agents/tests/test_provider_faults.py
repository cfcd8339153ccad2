"""Faults of a provider, and the errors that the client reads."""

from typing import Any

import pytest

from lunaos.embedded.servers import free_port
from runs.models import Run, RunText
from testing.client import Api, answer, error, events
from testing.loopback.upstream import DONE, Answer, Upstream, completion, delta
from testing.servers import daphne


@pytest.mark.parametrize(
    ("status", "expected", "attempts"),
    [
        (400, (502, "provider_error"), 1),
        (401, (502, "provider_error"), 1),
        (403, (502, "provider_error"), 1),
        (404, (502, "provider_error"), 1),
        (500, (502, "provider_error"), 2),
        (429, (503, "provider_unavailable"), 2),
        (502, (503, "provider_unavailable"), 2),
        (503, (503, "provider_unavailable"), 2),
        (529, (503, "provider_unavailable"), 2),
    ],
)
def test_an_error_status(
    api: Api, alice: Any, upstream: Upstream, status: int, expected: tuple[int, str], attempts: int
) -> None:
    upstream.respond_with(Answer(status=status))
    response = api.execute(alice)

    assert error(response) == expected
    assert len(upstream.requests) == attempts
    assert ("Retry-After" in response.headers) == (expected[0] == 503)
    run = Run.objects.get(user=alice)
    assert (run.status, run.error_code, run.charge) == ("failed", expected[1], "released")
    assert response.headers["X-Run-Id"] == str(run.pk)


def test_the_providers_own_waiting_time_is_passed_on(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(status=429, headers={"Retry-After": "17"}))
    assert api.execute(alice).headers["Retry-After"] == "17"


def test_a_waiting_time_above_the_maximum_is_not_passed_on(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(status=429, headers={"Retry-After": "9" * 30}))
    assert api.execute(alice).headers["Retry-After"] == "3600"


ODD = ["null", '"5.5"', "-1", "5.5", "3000000000", "1" + "0" * 25]


@pytest.mark.parametrize("count", ODD)
def test_a_count_that_is_none_is_estimated(api: Api, alice: Any, upstream: Upstream, count: str) -> None:
    counted = f'data: {{"choices":[],"usage":{{"prompt_tokens":{count},"completion_tokens":{count}}}}}\n\n'
    upstream.respond_with(Answer(pieces=[delta("whole", "stop"), counted.encode(), DONE]))
    last = events(api.execute(alice))[-1]
    assert last["type"] == "done" and last["tokens"]["output"] == 2
    run = Run.objects.get(user=alice)
    assert (run.status, run.charge, run.output_tokens) == ("succeeded", "settled", 2)


def test_a_second_attempt_may_succeed(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(status=503), completion("at last"))
    assert answer(api.execute(alice)) == "at last"
    assert Run.objects.get(user=alice).status == "succeeded"


@pytest.mark.parametrize(
    "pieces",
    [
        ["cut"],
        [b"data: no json\n\n"],
        [b'data: {"error": {"message": "boom"}}\n\n'],
        [b'data: {"choices": 5}\n\n'],
        [b'data: {"choices": [{"delta": {"content": 5}}]}\n\n'],
        [b"data: []\n\n"],
        [b"<html>hello</html>"],
        [],
    ],
)
def test_an_invalid_response_before_the_first_chunk_is_an_http_error(
    api: Api, alice: Any, upstream: Upstream, pieces: list[Any]
) -> None:
    upstream.respond_with(Answer(pieces=pieces))
    assert error(api.execute(alice)) == (502, "provider_error")
    assert Run.objects.get(user=alice).status == "failed"


@pytest.mark.parametrize("broken", [["cut"], [b'data: {"error": {"message": "boom"}}\n\n'], [b"data: {\n\n"], []])
def test_a_failure_after_the_first_chunk_is_an_error_event(
    api: Api, alice: Any, upstream: Upstream, broken: list[Any]
) -> None:
    upstream.respond_with(Answer(pieces=[delta("half"), 0.05, *broken]))
    response = api.execute(alice)

    assert response.status_code == 200
    last = events(response)[-1]
    assert (last["type"], last["code"]) == ("error", "provider_error") and last["error"]
    assert answer(response) == "half"
    run = Run.objects.get(user=alice)
    assert (run.status, run.charge) == ("failed", "settled")
    assert len(upstream.requests) == 1  # never asked again once something was said


def test_a_provider_that_refuses_connections(database: None, alice: Any, tmp_path: Any) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    changes = {"DEEPSEEK_BASE_URL": nowhere, "DEEPSEEK_API_KEY": "x", "LLM_RETRIES": "1"}
    with daphne(tmp_path / "web.log", "/ready", **changes) as url, Api(base_url=url, timeout=30) as api:
        response = api.execute(alice)
        assert error(response) == (503, "provider_unavailable")
        assert int(response.headers["Retry-After"]) > 0


def test_without_any_key_the_order_of_checks_holds(database: None, alice: Any, tmp_path: Any) -> None:
    with daphne(tmp_path / "web.log", "/ready", LOCAL_BASE_URL="") as url, Api(base_url=url, timeout=30) as api:
        assert error(api.execute(alice, agent="nobody")) == (404, "unknown_agent")
        assert error(api.execute(alice, agent="seo")) == (403, "pro_required")
        assert error(api.execute(alice)) == (503, "provider_not_configured")
        assert api.get("/health").json()["data"]["services"]["llm"]["detail"] == "no language model is set up"


def test_no_first_token_in_time(impatient: Api, alice: Any, upstream: Upstream) -> None:
    upstream.script = lambda asked: Answer(pieces=["hang"])
    response = impatient.execute(alice, provider="openai")

    assert error(response) == (504, "provider_timeout")
    assert upstream.client_gone.wait(5)


def test_a_provider_that_queues_is_not_waited_for_without_end(impatient: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[b": keep-alive\n\n", 0.2] * 20))
    response = impatient.execute(alice, provider="openai")
    assert events(response)[-1]["code"] == "provider_timeout"  # for both providers, so that the stream has opened
    assert {asked["model"] for asked in upstream.requests} == {"gpt-4o", "deepseek-chat"}
    assert upstream.client_gone.wait(5)


def test_a_provider_that_queues_is_waited_for(impatient: Api, alice: Any, upstream: Upstream) -> None:
    """For longer than LLM_FIRST_TOKEN_TIMEOUT_S, since comments come."""
    waiting: list[Any] = [b": queued\n\n", 0.2] * 5
    upstream.respond_with(Answer(pieces=[*waiting, delta("at last"), delta("", "stop"), DONE]))
    response = impatient.execute(alice, provider="openai")
    received = events(response)
    assert [event.get("state") for event in received if event["type"] == "progress"] == ["queued"]
    assert [event["type"] for event in received] == ["start", "progress", "chunk", "done"]
    assert answer(response) == "at last"


def test_a_stall_after_the_first_token(impatient: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("half"), "hang"]))
    response = impatient.execute(alice)

    assert events(response)[-1]["code"] == "provider_timeout"
    assert answer(response) == "half"
    assert upstream.client_gone.wait(5)
    assert Run.objects.get(user=alice).error_code == "provider_timeout"


def test_a_run_has_a_longest_time(impatient: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[piece for _ in range(40) for piece in (delta("x"), 0.2)]))
    response = impatient.execute(alice)
    assert events(response)[-1]["code"] == "provider_timeout"
    assert "2 seconds" in events(response)[-1]["error"]
    last = RunText.objects.get(run_id=response.headers["X-Run-Id"]).last_attempt
    assert last and (last["provider"], last["code"]) == ("deepseek", "provider_timeout")


def test_a_fallback_provider_answers(impatient: Api, alice: Any, upstream: Upstream) -> None:
    upstream.script = lambda asked: (
        Answer(status=503) if asked["model"] == "deepseek-chat" else completion("from openai")
    )
    response = impatient.execute(alice)

    start = events(response)[0]
    assert (start["provider"], start["model"], start["fallbackFrom"]) == ("openai", "gpt-4o", "deepseek")
    assert answer(response) == "from openai"
    run = Run.objects.get(user=alice)
    assert (run.provider, run.model, run.status) == ("openai", "gpt-4o", "succeeded")
    assert upstream.headers[-1]["Authorization"] == "Bearer sk-planted-openai-secret"


def test_a_refused_request_is_not_tried_elsewhere(impatient: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(status=400))
    assert error(impatient.execute(alice)) == (502, "provider_error")
    assert {asked["model"] for asked in upstream.requests} == {"deepseek-chat"}


def test_all_providers_are_down(impatient: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(status=503))
    assert error(impatient.execute(alice)) == (503, "provider_unavailable")
    assert {asked["model"] for asked in upstream.requests} == {"deepseek-chat", "gpt-4o"}


def test_a_refusal_of_any_length_is_read_in_part(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(status=400, body=b'{"error": {"message": "' + b"x" * 20_000_000))
    assert error(api.execute(alice)) == (502, "provider_error")


def test_a_connection_is_used_again(api: Api, alice: Any, upstream: Upstream) -> None:
    for _ in range(4):
        assert answer(api.execute(alice)) == "Hello world"
    assert len(set(upstream.peers)) == 1
