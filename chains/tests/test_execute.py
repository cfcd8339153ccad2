"""POST /chains/execute: the stream as a client sees it."""

from typing import Any

import pytest

from agents.models import LanguageModel
from billing.models import MonthlyUsage
from chains import context
from chains.context import StepOutput
from lunaos.embedded.servers import until
from runs.models import Run, RunStep
from testing.client import Api, error, events
from testing.loopback.upstream import Answer, Upstream, completion, delta

pytestmark = pytest.mark.usefixtures("chains_worker")
FREE = ("code-review", "testing-validation", "documentation")


def texts(*answers: str) -> list[Answer]:
    return [completion(answer) for answer in answers]


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(*texts("found", "tested", "written"))
    response = api.execute_chain(alice, *FREE)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    start, *steps, done = events(response)
    assert start == {"type": "chain_start", "steps": 3, "runId": response.headers["X-Run-Id"]}
    assert [(event["type"], event.get("step"), event.get("agent"), event.get("content")) for event in steps] == [
        *(
            ("step_start", 1, "code-review", None),
            ("chunk", None, None, "found"),
            ("step_done", 1, "code-review", None),
        ),
        *(("step_start", 2, "testing-validation", None), ("chunk", None, None, "tested")),
        *(("step_done", 2, "testing-validation", None), ("step_start", 3, "documentation", None)),
        *(("chunk", None, None, "written"), ("step_done", 3, "documentation", None)),
    ]
    assert all(event["duration"].endswith("s") for event in steps if event["type"] == "step_done")
    assert done["type"] == "chain_done" and done["totalDuration"].endswith("s") and done["totalTokens"] == 3 * 18


def test_each_step_gets_the_outputs_of_earlier_steps(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(*texts("found a bug", "wrote a test", "wrote a page"))
    api.execute_chain(alice, *FREE, context="def add(a, b): return a - b")
    run = Run.objects.get(user=alice)

    asked = [request["messages"][1]["content"] for request in upstream.requests]
    assert asked[0] == "def add(a, b): return a - b"
    outputs = [StepOutput(1, "code-review", "found a bug"), StepOutput(2, "testing-validation", "wrote a test")]
    for step in (2, 3):
        said, _ = context.compose(asked[0], outputs[: step - 1], 10_000, context.boundary(run.pk, step))
        assert asked[step - 1] == said


def test_it_counts_as_one_execution(api: Api, alice: Any, upstream: Upstream) -> None:
    response = api.execute_chain(alice, *FREE)
    assert (response.headers["X-Usage-Used"], response.headers["X-Usage-Limit"]) == ("1", "100")
    assert MonthlyUsage.objects.get(user=alice).executions == 1
    assert Run.objects.get(user=alice).charge == "settled"


def test_a_finished_chain_is_stored(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(*texts("found", "tested"))
    run_id = api.execute_chain(alice, *FREE[:2], context="code").headers["X-Run-Id"]
    run = api.get(f"/runs/{run_id}", headers=api.as_(alice)).json()["data"]

    assert (run["chain"], run["agent"], run["status"]) == ("custom", "", "succeeded")
    assert (run["input"], run["output"]) == ("code", "tested")
    assert (run["inputTokens"], run["outputTokens"]) == (22, 14)
    assert run["firstTokenMs"] > 0 and float(run["costUsd"]) > 0
    assert [(step["step"], step["agent"], step["status"], step["output"]) for step in run["steps"]] == [
        (1, "code-review", "succeeded", "found"),
        (2, "testing-validation", "succeeded", "tested"),
    ]
    assert run["durationMs"] >= sum(step["durationMs"] for step in run["steps"])  # from created to finished


def test_a_preset(api: Api, bob: Any, upstream: Upstream) -> None:
    response = api.execute_chain(bob, chain="security-audit")
    agents = [event["agent"] for event in events(response) if event["type"] == "step_start"]
    assert agents == ["code-review", "365-security", "deployment"]
    assert Run.objects.get(user=bob).chain == "security-audit"


def test_provider_and_model_hold_for_all_steps(api: Api, alice: Any, upstream: Upstream) -> None:
    response = api.execute_chain(alice, *FREE, provider="openai", model="gpt-4o-mini")
    done = [event for event in events(response) if event["type"] == "step_done"]
    assert {(event["provider"], event["model"]) for event in done} == {("openai", "gpt-4o-mini")}
    assert {request["model"] for request in upstream.requests} == {"gpt-4o-mini"}


@pytest.mark.parametrize("body", [{"chain": "security-audit"}, {"steps": [{"agent": "code-review"}, {"agent": "seo"}]}])
def test_a_chain_with_a_pro_step_needs_pro(api: Api, alice: Any, upstream: Upstream, body: dict[str, Any]) -> None:
    response = api.execute_chain(alice, **body)
    assert error(response) == (403, "pro_required")
    assert response.json()["agent"] in ("365-security", "seo")
    assert upstream.requests == [] and not Run.objects.filter(user=alice).exists()


def test_a_used_up_month(api: Api, alice: Any, upstream: Upstream) -> None:
    api.execute_chain(alice, *FREE)
    MonthlyUsage.objects.filter(user=alice).update(executions=100)
    assert error(api.execute_chain(alice, *FREE)) == (403, "quota_exceeded")
    assert Run.objects.filter(user=alice).count() == 1


def test_unknown_chains_and_agents(api: Api, alice: Any) -> None:
    response = api.execute_chain(alice, chain="nobody")
    assert error(response) == (404, "unknown_chain")
    assert "full-review" in response.json()["available"] and len(response.json()["available"]) == 6

    assert error(api.execute_chain(alice, "code-review", "nobody")) == (404, "unknown_agent")
    assert error(api.execute_chain(alice, *FREE, provider="acme")) == (400, "unknown_provider")
    assert error(api.execute_chain(alice, *FREE, model="gpt-1")) == (400, "unknown_model")
    assert error(api.execute_chain(alice, *FREE, provider="anthropic")) == (503, "provider_not_configured")


def test_five_steps_at_most(api: Api, alice: Any, upstream: Upstream) -> None:
    assert error(api.execute_chain(alice, *["code-review"] * 6)) == (400, "chain_too_long")
    assert events(api.execute_chain(alice, *["code-review"] * 5))[-1]["type"] == "chain_done"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "steps"),
        ({"chain": "deploy", "steps": [{"agent": "code-review"}]}, "steps"),
        ({"steps": []}, "steps"),
        ({"steps": [5]}, "steps.0"),
        ({"steps": ["x" * 65]}, "steps.0.agent"),
        ({"steps": [{"agent": "code-review"}, {"agent": ""}]}, "steps.1.agent"),
        ({"steps": [{"agent": "x" * 65}]}, "steps.0.agent"),
        ({"chain": "x" * 65}, "chain"),
        ({"chain": "deploy", "context": ""}, "context"),
        ({"chain": "deploy", "context": "x" * 50_001}, "context"),
        ({"chain": "deploy", "onDisconnect": "explode"}, "onDisconnect"),
    ],
)
def test_invalid_input(api: Api, alice: Any, body: dict[str, Any], field: str) -> None:
    response = api.execute_chain(alice, **body)
    assert error(response) == (400, "validation_error")
    assert [entry["field"] for entry in response.json()["fields"]] == [field]


def test_the_order_of_checks(api: Api, alice: Any) -> None:
    assert error(api.post("/chains/execute", json={}))[0] == 401
    unheard_of = {"chain": "nobody", "provider": "anthropic"}
    assert error(api.execute_chain(alice, **unheard_of))[0] == 404
    assert error(api.execute_chain(alice, chain="new-feature", provider="anthropic"))[0] == 403
    MonthlyUsage.objects.update_or_create(user=alice, month="2026-01-01", defaults={"executions": 100})
    assert error(api.execute_chain(alice, chain="deploy", provider="anthropic"))[0] == 503


def test_a_failing_step_ends_the_chain_and_earlier_outputs_are_kept(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(completion("found"), Answer(status=401))
    response = api.execute_chain(alice, *FREE)

    *_, start, last = events(response)
    assert (start["type"], start["step"]) == ("step_start", 2)
    assert (last["type"], last["code"]) == ("error", "provider_error")
    run = Run.objects.get(user=alice)
    assert (run.status, run.error_code, run.charge) == ("failed", "provider_error", "settled")
    steps = RunStep.objects.filter(run_id=run.pk).order_by("position")
    assert [(step.position, step.status, step.output) for step in steps] == [
        (1, "succeeded", "found"),
        (2, "failed", ""),
    ]


def test_a_partial_answer_is_kept(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("half "), 0.05, "cut"]))
    assert events(api.execute_chain(alice, *FREE))[-1]["code"] == "provider_error"
    run = Run.objects.get(user=alice)
    assert (run.status, run.charge) == ("failed", "settled")
    assert RunStep.objects.get(run_id=run.pk).output == "half "


def test_a_failure_before_the_first_byte_is_an_http_error_and_not_counted(
    api: Api, alice: Any, upstream: Upstream
) -> None:
    upstream.respond_with(Answer(status=429, headers={"Retry-After": "9"}))
    response = api.execute_chain(alice, *FREE)
    assert error(response) == (503, "provider_unavailable")
    assert response.headers["Retry-After"] == "9"
    assert response.headers["X-Run-Id"] == str(Run.objects.get(user=alice).pk)
    assert Run.objects.get(user=alice).charge == "released"
    assert MonthlyUsage.objects.get(user=alice).executions == 0


def test_an_answer_beyond_the_models_window_is_shortened_and_said_to_be(
    api: Api, alice: Any, upstream: Upstream
) -> None:
    def run() -> list[dict[str, Any]]:
        upstream.respond_with(*texts("first " * 2_000, "second " * 500, "third"))
        response = api.execute_chain(alice, *FREE, model="gpt-4o")
        return [event for event in events(response) if event["type"] == "step_start"]

    LanguageModel.objects.filter(name="gpt-4o").update(context_window=9_000)
    try:
        assert until(lambda: "shortened" in run()[2], 10)  # the catalogue is reloaded every three seconds
    finally:
        LanguageModel.objects.filter(name="gpt-4o").update(context_window=None)

    upstream.requests.clear()
    starts = run()
    assert "shortened" not in starts[0]
    (cut,) = starts[2]["shortened"]
    assert cut["step"] == 1 and 0 < cut["characters"] <= 12_000
    prompt = upstream.requests[2]["messages"][1]["content"]
    assert f"[{cut['characters']} characters left out]" in prompt
    assert "second " * 500 in prompt


def test_a_nul_in_an_answer(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(*texts("a\0b", "c"))
    response = api.execute_chain(alice, *FREE[:2])
    assert events(response)[-1]["type"] == "chain_done"
    assert "".join(event["content"] for event in events(response) if event["type"] == "chunk") == "a\0bc"
