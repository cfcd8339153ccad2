"""The end of a chain by its provider's answer: without and with fallback, and on the user's own key."""

from typing import Any

import pytest

from agents import provider_keys
from agents.providers import connections
from billing.models import MonthlyUsage
from chains import runner
from lunaos.infra import event_loop
from runs import services as run_services
from runs.models import Run, RunStep, RunText
from testing.client import Api, answer, error, events
from testing.loopback.upstream import DONE, Answer, Upstream, completion, delta, usage
from testing.odd_answers import CASES, Case, choice, event

STEPS = ("code-review", "documentation")
FAILING = [case for case in CASES if case.outcome != "done"]


def read_outcome(response: Any) -> str:
    """Return the error code of a chain, from the response or from its stream."""
    if response.headers["Content-Type"] != "text/event-stream":
        return str(error(response)[1])
    last = events(response)[-1]
    return "done" if last["type"] == "chain_done" else str(last["code"])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_chain(api: Api, alice: Any, upstream: Upstream, chains_worker: None, case: Case) -> None:
    """The first step gets the answer; without one the second step does not start."""
    upstream.respond_with(case.answer, case.answer, completion("second"))  # the second answer serves a retry
    if case.outcome == "done":
        upstream.respond_with(case.answer, completion("second"))
    response = api.execute_chain(alice, *STEPS)
    assert read_outcome(response) == case.outcome
    run = Run.objects.get(user=alice)
    assert run.charge == ("settled" if case.counted else "released")
    assert MonthlyUsage.objects.get(user=alice).executions == int(case.counted)
    first, *rest = RunStep.objects.filter(run_id=run.pk).order_by("position")
    assert (first.output, first.error_code or "done", len(rest)) == (
        case.text,
        case.outcome,
        int(case.outcome == "done"),
    )


@pytest.mark.parametrize("case", FAILING, ids=str)
def test_on_the_users_own_key(api: Api, bob: Any, upstream: Upstream, chains_worker: None, case: Case) -> None:
    provider_keys.set_key(user=bob, provider="deepseek", key="sk-bobs-own-0123456789")
    upstream.respond_with(case.answer)
    assert read_outcome(api.execute_chain(bob, *STEPS)) == case.outcome
    assert Run.objects.get(user=bob).charge == ("settled" if case.counted else "released")


@pytest.mark.parametrize("case", FAILING, ids=str)
def test_with_a_provider_to_fall_back_on(alice: Any, upstream: Upstream, settings: Any, case: Case) -> None:
    reachable = {"base_url": upstream.base_url, "api_key": "sk-server"}
    settings.LLM_PROVIDERS = {
        name: config | (reachable if name in ("deepseek", "openai") else {})
        for name, config in settings.LLM_PROVIDERS.items()
    }
    settings.LLM_FALLBACK, settings.LLM_RETRIES = ["openai"], 0
    upstream.script = lambda asked: completion("from openai") if asked["model"] == "gpt-4o" else case.answer
    fields = {"chain": "custom", "steps": ["code-review"], "provider": "deepseek", "model": "deepseek-chat"}
    run = run_services.create(user=alice, text="x", **fields, request_id="r", status="queued", attempt=0).run  # type: ignore[arg-type]
    try:
        runner.run(run.pk)
    finally:
        event_loop.submit(connections.close_all()).result(5)
    run.refresh_from_db()
    assert (run.error_code or "done") == ("done" if case.falls_back else case.outcome)
    if case.falls_back:
        step = RunStep.objects.get(run_id=run.pk)
        assert (step.provider, step.output) == ("openai", "from openai")


def test_a_chain_whose_step_was_empty_can_be_resumed(
    api: Api, alice: Any, upstream: Upstream, chains_worker: None
) -> None:
    upstream.respond_with(
        completion("first"), Answer(pieces=[choice({"role": "assistant"}) + DONE]), completion("second")
    )
    failed = api.execute_chain(alice, *STEPS)
    assert events(failed)[-1]["code"] == "empty_answer"
    run = Run.objects.get(user=alice)
    assert RunText.objects.get(run_id=run.pk).error == events(failed)[-1]["error"]

    resumed = api.post(f"/runs/{run.pk}/resume", headers=api.as_(alice))
    assert '"content":"second"' in resumed.text
    run.refresh_from_db()
    assert (run.status, run.error_code) == ("succeeded", "")
    assert RunText.objects.get(run_id=run.pk).error == ""


def test_the_tokens_of_all_steps(api: Api, alice: Any, upstream: Upstream, chains_worker: None) -> None:
    counted = {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 2}}
    first = Answer(pieces=[delta("one", "stop") + event({"choices": [], "usage": counted}) + DONE])
    upstream.respond_with(first, Answer(pieces=[delta("two", "stop") + usage(20, 7) + DONE]))
    done = events(api.execute_chain(alice, *STEPS))[-1]
    assert (done["totalTokens"], done["tokens"]["reasoning"], done["tokens"]["estimated"]) == (42, 2, False)
    run = Run.objects.get(user=alice)
    assert (run.input_tokens, run.output_tokens, run.reasoning_tokens) == (30, 12, 2)


def test_the_client_gets_progress_events(api: Api, alice: Any, upstream: Upstream, chains_worker: None) -> None:
    thoughts = choice({"content": None, "reasoning_content": "hm"})
    upstream.respond_with(Answer(pieces=[b": queued\n\n", 0.05, thoughts, 0.05, delta("one", "stop"), DONE]))
    response = api.execute_chain(alice, "code-review")
    assert [event.get("state", event["type"]) for event in events(response)] == [
        *("chain_start", "step_start", "queued", "thinking", "chunk", "step_done", "chain_done")
    ]
    assert answer(response) == "one"
