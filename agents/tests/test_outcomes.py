"""Ends of an agent's run by the provider's answer: without and with a fallback, and on the user's own key."""

from typing import Any
from uuid import uuid4

import pytest

from agents.models import Agent, LanguageModel
from agents.providers.errors import CausedByRequest
from billing.models import MonthlyUsage
from runs.metering import charge_reasons
from runs.models import Run, RunText
from testing.client import Api, answer, error, events, takes_effect
from testing.loopback.upstream import DONE, Answer, Upstream, completion, delta, usage
from testing.odd_answers import CASES, NO_CREDIT, Case, choice, error_response, event


def outcome_of(response: Any) -> str:
    """Return the code with which a run ended, before or after its stream opened."""
    if response.headers["Content-Type"] != "text/event-stream":
        return str(error(response)[1])
    last = events(response)[-1]
    return str(last.get("code", last["type"]))


def text_of(response: Any) -> str:
    return answer(response) if response.headers["Content-Type"] == "text/event-stream" else ""


def put_key(api: Api, user: Any, key: str = "sk-of-the-user-0123456789") -> None:
    assert api.put("/providers/deepseek/key", json={"key": key}, headers=api.as_(user)).status_code == 200


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_agents_run(api: Api, alice: Any, upstream: Upstream, case: Case) -> None:
    upstream.respond_with(case.answer)
    response = api.execute(alice)
    assert (outcome_of(response), text_of(response)) == (case.outcome, case.text)
    run = Run.objects.get(user=alice)
    assert run.status == ("succeeded" if case.outcome == "done" else "failed")
    assert (run.error_code or "done") == case.outcome
    assert run.charge == ("settled" if case.counted else "released")
    assert MonthlyUsage.objects.get(user=alice).executions == int(case.counted)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_with_a_provider_to_fall_back_on(impatient: Api, alice: Any, upstream: Upstream, case: Case) -> None:
    upstream.script = lambda asked: completion("from openai") if asked["model"] == "gpt-4o" else case.answer
    response = impatient.execute(alice)
    if case.falls_back:
        assert (outcome_of(response), text_of(response)) == ("done", "from openai")
        assert Run.objects.get(user=alice).provider == "openai"
    else:
        assert (outcome_of(response), text_of(response)) == (case.outcome, case.text)
        assert {asked["model"] for asked in upstream.requests} == {"deepseek-chat"}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_on_the_users_own_key(impatient: Api, bob: Any, upstream: Upstream, case: Case) -> None:
    """There is no fallback: the user has chosen who is paid."""
    put_key(impatient, bob)
    upstream.respond_with(case.answer)
    response = impatient.execute(bob)
    assert (outcome_of(response), text_of(response)) == (case.outcome, case.text)
    assert Run.objects.get(user=bob).charge == ("settled" if case.counted else "released")
    assert {asked["model"] for asked in upstream.requests} == {"deepseek-chat"}


# -- What the client reads while it waits ------------------------------------------------------------------------------


def test_each_state_of_waiting_is_sent_once(api: Api, alice: Any, upstream: Upstream) -> None:
    thoughts = choice({"content": None, "reasoning_content": "hm"})
    waiting: list[Any] = [b": queued\n\n", 0.05, b": queued\n\n", 0.05, thoughts, 0.05, thoughts, 0.05]
    upstream.respond_with(Answer(pieces=[*waiting, delta("Hello"), delta("", "stop"), DONE]))
    received = events(api.execute(alice))
    assert [event["type"] for event in received] == ["start", "progress", "progress", "chunk", "done"]
    assert [event["state"] for event in received[1:3]] == ["queued", "thinking"]


def test_progress_does_not_open_the_stream(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(
        Answer(pieces=[b": queued\n\n", 0.2, event({"error": {"code": 429, "message": "slow down"}})])
    )
    response = api.execute(alice)
    assert error(response) == (503, "provider_unavailable")
    assert "Retry-After" in response.headers


def test_the_stream_names_the_provider_that_answers(impatient: Api, alice: Any, upstream: Upstream) -> None:
    queued = Answer(pieces=[b": queued\n\n", 0.1, event({"error": "gone"})])
    upstream.script = lambda asked: queued if asked["model"] == "deepseek-chat" else completion("from openai")
    received = events(impatient.execute(alice))
    assert (received[0]["type"], received[0]["provider"]) == ("start", "deepseek")
    assert received[1] == {"type": "progress", "state": "queued"}
    assert received[2] == {"type": "progress", "state": "fallback", "provider": "openai", "model": "gpt-4o"}
    assert [event["type"] for event in received[3:]] == ["chunk", "done"]
    run = Run.objects.get(user=alice)
    assert (run.provider, run.model) == ("openai", "gpt-4o")


# -- Tokens and cost ---------------------------------------------------------------------------------------------------


def test_abandoned_attempts_are_charged(impatient: Api, alice: Any, upstream: Upstream) -> None:
    given_up = Answer(pieces=[choice({"role": "assistant"}) + usage(100, 10), 0.05, "cut"])
    upstream.script = lambda asked: (
        given_up if asked["model"] == "deepseek-chat" else completion("Hello", tokens=(11, 7))
    )
    done = events(impatient.execute(alice))[-1]
    asked = [request["model"] for request in upstream.requests]
    assert asked == ["deepseek-chat", "deepseek-chat", "gpt-4o"]
    assert (done["tokens"]["input"], done["tokens"]["output"]) == (2 * 100 + 11, 2 * 10 + 7)
    run = Run.objects.get(user=alice)
    assert (run.input_tokens, run.output_tokens, run.tokens_estimated) == (211, 27, False)


def test_cached_and_reasoning_tokens(api: Api, alice: Any, upstream: Upstream) -> None:
    counted = {"prompt_tokens": 1_000_000, "completion_tokens": 50, "prompt_cache_hit_tokens": 990_000,
               "completion_tokens_details": {"reasoning_tokens": 40}}  # fmt: skip
    upstream.respond_with(Answer(pieces=[delta("Hello", "stop") + event({"choices": [], "usage": counted}) + DONE]))
    done = events(api.execute(alice))[-1]
    assert done["tokens"] == {
        "input": 1_000_000, "output": 50, "reasoning": 40, "cacheRead": 990_000, "cacheWrite": 0, "estimated": False
    }  # fmt: skip
    run = Run.objects.get(user=alice)
    assert (run.reasoning_tokens, run.cache_read_tokens) == (40, 990_000)
    upstream.respond_with(completion("Hello", tokens=(1_000_000, 50)))
    assert events(api.execute(alice))[-1]["cost"] > 2 * done["cost"]


def test_estimates_are_marked(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(completion("代码" * 50, tokens=None))
    done = events(api.execute(alice))[-1]
    assert done["tokens"]["estimated"] and done["tokens"]["output"] == 75


# -- The request -------------------------------------------------------------------------------------------------------


def test_a_model_that_reasons_gets_room_for_its_answer(api: Api, alice: Any, upstream: Upstream) -> None:
    api.execute(alice, model="deepseek-reasoner")
    api.execute(alice, model="deepseek-chat")
    limits = [asked["max_tokens"] for asked in upstream.requests]
    assert limits == [32_768, Agent.objects.get(slug="code-review").max_tokens]


def test_an_unsupported_parameter_is_left_out_and_remembered(api: Api, alice: Any, upstream: Upstream) -> None:
    def script(asked: dict[str, Any]) -> Answer:
        for name in ("max_tokens", "temperature"):
            if name in asked:
                return error_response(400, code="unsupported_parameter", param=name)
        return completion("Hello")

    upstream.script = script
    assert answer(api.execute(alice, provider="openai", model="gpt-4o-mini")) == "Hello"
    assert [set(asked) & {"max_tokens", "max_completion_tokens", "temperature"} for asked in upstream.requests] == [
        {"max_tokens", "temperature"}, {"max_completion_tokens", "temperature"}, {"max_completion_tokens"}
    ]  # fmt: skip
    upstream.requests.clear()
    assert answer(api.execute(alice, provider="openai", model="gpt-4o-mini")) == "Hello"
    assert len(upstream.requests) == 1


def test_every_request_has_an_output_limit(api: Api, alice: Any, upstream: Upstream) -> None:
    def script(asked: dict[str, Any]) -> Answer:
        limit = next((name for name in ("max_tokens", "max_completion_tokens") if name in asked), None)
        assert limit
        return error_response(400, code="unsupported_parameter", param=limit)

    upstream.script = script
    response = api.execute(alice, provider="deepseek", model="deepseek-reasoner")
    assert error(response) == (502, "provider_error")
    assert "does not support the parameter 'max_tokens'" in response.json()["error"]


def test_a_parameter_whose_omission_did_not_help_is_not_remembered(api: Api, alice: Any, upstream: Upstream) -> None:
    """A provider that refuses with and without the parameter; afterwards it answers again."""
    refusals = [error_response(400, code="unsupported_parameter", param="temperature")] * 2
    upstream.respond_with(*refusals, completion("Hello"))
    assert error(api.execute(alice, model="gpt-4o"))[0] == 502
    assert answer(api.execute(alice, model="gpt-4o")) == "Hello"
    assert ["temperature" in asked for asked in upstream.requests] == [True, False, True]


# -- Refusals in their own words ---------------------------------------------------------------------------------------


def test_the_servers_account_without_credit(api: Api, alice: Any, upstream: Upstream, folder: Any) -> None:
    upstream.respond_with(NO_CREDIT)
    response = api.execute(alice)
    assert error(response) == (503, "provider_unavailable")
    assert "quota" not in response.json()["error"] and "org-" not in response.text
    assert len(upstream.requests) == 1  # asking again would be refused again
    run = Run.objects.get(user=alice)
    assert (run.provider_status, run.charge) == (429, "released")
    said = RunText.objects.get(run_id=run.pk).last_attempt
    assert said and said["status"] == 429 and "[account]" in said["said"]
    lines = (folder / "web.log").read_text().splitlines()
    mine = [line for line in lines if response.headers["X-Request-Id"] in line]
    assert any('"alarm": "provider_quota_exhausted"' in line for line in mine)


def test_the_users_own_account_without_credit(api: Api, alice: Any, upstream: Upstream) -> None:
    put_key(api, alice)
    upstream.respond_with(NO_CREDIT)
    response = api.execute(alice)
    assert error(response) == (400, "provider_quota_exhausted")
    assert "You exceeded your current quota" in response.json()["error"]
    assert "org-abc123" not in response.text


def test_a_providers_message_is_shown_to_the_owner_of_the_key_only(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(
        error_response(400, message="bad thing at /srv/app/main.py on vllm-7.internal:8000 for sk-abc123456")
    )
    theirs = api.execute(alice).json()["error"]
    put_key(api, alice)
    own = api.execute(alice).json()["error"]
    assert "bad thing" not in theirs
    assert "bad thing at [path] on [host] for [key]" in own


def test_a_run_says_why_it_failed(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(
        error_response(400, code="context_length_exceeded", message="maximum context length is 4096 tokens")
    )
    sentence = api.execute(alice).json()["error"]
    assert "too long" in sentence and "4096" not in sentence
    run = Run.objects.get(user=alice)
    text = RunText.objects.get(run_id=run.pk)
    assert (text.error, run.provider_status) == (sentence, 400)
    assert text.last_attempt == {
        "provider": "deepseek", "model": "deepseek-chat", "code": "provider_error", "status": 400,
        "said": "context_length_exceeded maximum context length is 4096 tokens",
    }  # fmt: skip


def test_a_model_without_a_price_alerts_operators(api: Api, alice: Any, upstream: Upstream, folder: Any) -> None:
    name = f"gpt-of-{uuid4().hex[:8]}"  # the alarm of each model is raised once a day
    LanguageModel.objects.create(provider="openai", name=name)
    try:
        assert takes_effect(lambda: api.execute(alice, model=name).status_code == 200)
        done = events(api.execute(alice, model=name))[-1]
    finally:
        LanguageModel.objects.filter(name=name).delete()
        assert takes_effect(lambda: api.execute(alice, model=name).status_code == 400)
    assert (done["cost"], done["costKnown"]) == ("$0.0000", False)
    assert not Run.objects.filter(user=alice, status="succeeded", cost_known=True).exists()
    log = (folder / "web.log").read_text()
    assert log.count(f"does not contain openai/{name}") == 1


def test_the_admin_knows_which_codes_count() -> None:
    assert {error.code for error in CausedByRequest.__subclasses__()} == charge_reasons.CAUSED_BY_REQUEST
