"""POST /agents/execute: the stream as a client sees it."""

import json
from typing import Any

import httpx
import pytest

from accounts.models import AuditEvent
from agents.models import Agent
from runs.models import Run, RunText
from testing.client import Api, answer, error, events
from testing.loopback.upstream import DONE, Answer, Upstream, completion, delta, usage


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    response = api.execute(alice, context="def add(a, b): return a - b")

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache, no-transform"
    assert response.headers["X-Accel-Buffering"] == "no"
    start, *chunks, done = events(response)
    assert start == {
        "type": "start",
        "agent": "code-review",
        "model": "deepseek-chat",
        "provider": "deepseek",
        "runId": response.headers["X-Run-Id"],
    }
    assert chunks == [{"type": "chunk", "content": "Hello"}, {"type": "chunk", "content": " world"}]
    assert (done["tokens"]["input"], done["tokens"]["output"], done["tokens"]["estimated"]) == (11, 7, False)
    assert done["cost"].startswith("$0.0000") and done["duration"].endswith("s")
    assert done["finishReason"] == "stop"


def test_the_stream_has_the_documented_format(api: Api, alice: Any, upstream: Upstream) -> None:
    assert api.execute(alice).text.startswith('id: 1\ndata: {"type":"start",')
    assert api.execute(alice).text.endswith("\n\n")


def test_the_request_to_the_provider(api: Api, alice: Any, upstream: Upstream) -> None:
    api.execute(alice, agent="documentation", context="Explain.\n")
    agent = Agent.objects.get(slug="documentation")

    (asked,), (headers,) = upstream.requests, upstream.headers
    assert asked["messages"] == [{"role": "system", "content": agent.prompt}, {"role": "user", "content": "Explain.\n"}]
    assert (asked["model"], asked["stream"], asked["max_tokens"]) == ("deepseek-chat", True, agent.max_tokens)
    assert asked["stream_options"] == {"include_usage": True}
    assert headers["Authorization"] == "Bearer sk-planted-deepseek-secret"


@pytest.mark.parametrize(
    "texts",
    [
        ("a",) * 50,
        ("é", "🙂", "漢字\u2028", "\r\n", '"\\', " ", "\t"),
        ("data: x\n\nid: 5\n\n", "</script>"),
        ("x" * 100_000,),
    ],
)
def test_the_chunks_joined_are_the_answer_byte_for_byte(
    api: Api, alice: Any, upstream: Upstream, texts: tuple[str, ...]
) -> None:
    upstream.respond_with(completion(*texts))
    response = api.execute(alice)
    assert answer(response) == "".join(texts)
    assert RunText.objects.get(run_id=response.headers["X-Run-Id"]).output == "".join(texts)


def test_utf8_split_between_two_reads(api: Api, alice: Any, upstream: Upstream) -> None:
    line = (
        b"data: " + json.dumps({"choices": [{"delta": {"content": "naïve 🙂"}}]}, ensure_ascii=False).encode() + b"\n\n"
    )
    middle = line.index("🙂".encode()) + 2
    upstream.respond_with(Answer(pieces=[line[:middle], 0.05, line[middle:], delta("", "stop"), DONE]))
    assert answer(api.execute(alice)) == "naïve 🙂"


def test_a_nul_in_the_answer_reaches_the_client(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(completion("a\0b"))
    response = api.execute(alice)
    assert answer(response) == "a\0b"
    assert RunText.objects.get(run_id=response.headers["X-Run-Id"]).output == "ab"


def test_tokens_are_estimated_where_the_provider_does_not_count(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(completion("x" * 40, tokens=None))
    done = events(api.execute(alice))[-1]
    assert done["tokens"]["output"] == 10
    assert done["tokens"]["input"] > 300


def test_an_empty_answer_is_an_error_and_not_counted(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(completion())
    assert error(api.execute(alice)) == (502, "empty_answer")
    run = Run.objects.get(user=alice)
    assert (run.status, run.error_code, run.charge) == ("failed", "empty_answer", "released")
    assert len(upstream.requests) == 1  # a model that answers nothing is not asked a second time


def test_chunks_are_forwarded_at_once(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("one"), "hang"]))
    body = {"agent": "code-review", "context": "x"}
    with api.stream("POST", "/agents/execute", json=body, headers=api.as_(alice)) as response:
        seen = ""
        for text in response.iter_text():
            seen += text
            if '"one"' in seen:
                break
    assert '"type":"done"' not in seen


def test_heartbeat_comments_are_sent_while_the_model_is_silent(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("a"), 1.0, delta("b", "stop"), DONE]))
    response = api.execute(alice)
    assert response.text.count(": keep-alive\n") >= 2
    assert answer(response) == "ab"


def test_a_slow_model_opens_the_stream_before_it_says_anything(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=["hang"]))
    body = {"agent": "code-review", "context": "x"}
    with api.stream("POST", "/agents/execute", json=body, headers=api.as_(alice)) as response:
        assert response.status_code == 200
        assert next(response.iter_text()).startswith(": keep-alive\n")


def test_the_answer_of_a_slow_model_follows(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[2.3, delta("late", "stop"), DONE]))
    response = api.execute(alice)
    assert response.text.startswith(": keep-alive\n")
    assert answer(response) == "late"


def test_models_and_providers_can_be_chosen(api: Api, alice: Any, upstream: Upstream) -> None:
    def used(**body: str) -> tuple[str, str]:
        start = events(api.execute(alice, **body))[0]
        return start["provider"], start["model"]

    assert used(provider="openai") == ("openai", "gpt-4o")
    assert used(provider="openai", model="gpt-4o-mini") == ("openai", "gpt-4o-mini")
    assert used(model="gpt-4o-mini") == ("openai", "gpt-4o-mini")
    assert used(model="deepseek-reasoner") == ("deepseek", "deepseek-reasoner")
    assert used(provider="deepseek") == ("deepseek", "deepseek-chat")


def test_reasoning_is_no_answer(api: Api, alice: Any, upstream: Upstream) -> None:
    thought = b'data: {"choices":[{"delta":{"reasoning_content":"hmm","content":null}}]}\n\n'
    upstream.respond_with(Answer(pieces=[thought, delta("so", "stop"), usage(5, 9), DONE]))
    assert answer(api.execute(alice)) == "so"


def test_the_agents_of_pro_are_open_to_pro_and_team(api: Api, bob: Any, carol: Any, upstream: Upstream) -> None:
    assert answer(api.execute(bob, agent="seo")) == answer(api.execute(carol, agent="365-security")) == "Hello world"


def test_pro_required(api: Api, alice: Any, upstream: Upstream) -> None:
    response = api.execute(alice, agent="seo")

    assert error(response) == (403, "pro_required")
    body = response.json()
    assert body["error"] == "Pro subscription required"
    assert (body["agent"], body["agentName"]) == ("seo", "SEO Agent")
    assert body["upgradeUrl"].startswith("http") and body["checkoutUrl"].startswith("http") and body["message"]
    assert upstream.requests == []


def test_unknown_agent(api: Api, alice: Any) -> None:
    response = api.execute(alice, agent="nobody")
    assert error(response) == (404, "unknown_agent")
    assert len(response.json()["available"]) == 28


def test_unknown_provider_and_model(api: Api, alice: Any) -> None:
    response = api.execute(alice, provider="acme")
    assert error(response) == (400, "unknown_provider")
    assert response.json()["available"] == ["deepseek", "anthropic", "openai", "local"]

    response = api.execute(alice, provider="openai", model="gpt-1")
    assert error(response) == (400, "unknown_model")
    assert response.json()["available"] == ["gpt-4o", "gpt-4o-mini"]
    assert error(api.execute(alice, model="gpt-1")) == (400, "unknown_model")


def test_a_provider_without_a_key(api: Api, alice: Any) -> None:
    assert error(api.execute(alice, provider="anthropic")) == (503, "provider_not_configured")
    assert not Run.objects.filter(user=alice).exists()


def test_the_order_of_checks(api: Api, alice: Any) -> None:
    url, headers = "/agents/execute", api.as_(alice)
    assert error(api.post(url, json={}))[0] == 401
    assert error(api.post(url, json={"agent": "seo"}, headers=headers))[0] == 400
    both = {"agent": "nobody", "context": "x", "provider": "anthropic"}
    assert error(api.post(url, json=both, headers=headers))[0] == 404
    both["agent"] = "seo"
    assert error(api.post(url, json=both, headers=headers)) == (403, "pro_required")
    both["agent"] = "code-review"
    assert error(api.post(url, json=both, headers=headers))[0] == 503


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"agent": ""}, "agent"),
        ({"agent": "x" * 65}, "agent"),
        ({"agent": None}, "agent"),
        ({"context": ""}, "context"),
        ({"context": "x" * 50_001}, "context"),
        ({"context": "a\0b"}, "context"),
        ({"context": {"a": 1}}, "context"),
        ({"model": "x" * 65}, "model"),
        ({"provider": 5.5}, "provider"),
    ],
)
def test_invalid_input(api: Api, alice: Any, change: dict[str, Any], field: str) -> None:
    response = api.execute(alice, **change)
    assert error(response) == (400, "validation_error")
    assert [entry["field"] for entry in response.json()["fields"]] == [field]


def test_the_longest_context(api: Api, alice: Any, upstream: Upstream) -> None:
    assert answer(api.execute(alice, context="🙂" * 50_000)) == "Hello world"


@pytest.mark.local_model
def test_the_embedded_model_answers(api: Api, alice: Any) -> None:
    response = api.execute(alice, provider="local", agent="code-review")
    start, *chunks, done = events(response)

    assert (start["provider"], start["model"]) == ("local", "smollm2-135m-instruct")
    assert "demonstrates the stream and cannot review" in start["notice"] and "DEEPSEEK_API_KEY" in start["notice"]
    assert "demonstrates the stream" not in "".join(chunk["content"] for chunk in chunks)
    assert 5 < len(chunks) <= 512
    assert done["tokens"]["input"] > 300 and done["tokens"]["output"] > 5
    assert done["cost"] == "$0.0000"


@pytest.mark.local_model
def test_the_embedded_model_refuses_what_it_cannot_hold(api: Api, alice: Any) -> None:
    response = api.execute(alice, provider="local", context="many words of soup " * 2_600)
    assert error(response) == (502, "provider_error")
    assert "too long" in response.json()["error"]


def test_keys_stay_secret(api: Api, alice: Any, upstream: Upstream, folder: Any) -> None:
    leak = b'{"error": {"message": "Incorrect API key provided: sk-planted-deepseek-secret"}}'
    upstream.respond_with(Answer(status=401, body=leak))
    response = api.execute(alice)
    detail: httpx.Response = api.get(f"/runs/{response.headers['X-Run-Id']}", headers=api.as_(alice))
    for text in (response.text, str(response.headers), detail.text, (folder / "web.log").read_text()):
        assert "sk-planted" not in text


def test_a_refusal_by_tier_is_in_the_audit_trail(api: Api, alice: Any) -> None:
    assert error(api.execute(alice, agent="seo")) == (403, "pro_required")
    event = AuditEvent.objects.get(subject_id=alice.pk)
    assert (event.action, event.details) == ("run.refused", {"reason": "pro_required", "agent": "seo"})
