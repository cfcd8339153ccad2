"""Idempotency-Key on execute endpoints: one result, also for parallel requests."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.db.models.functions import Now

from accounts import idempotency
from accounts.models import IdempotencyKey
from billing.models import MonthlyUsage
from runs.models import Run
from testing.client import Api, error, events
from testing.loopback.upstream import Answer, Upstream, completion, delta

AGENT = ("/agents/execute", {"agent": "code-review", "context": "x"})
CHAIN = ("/chains/execute", {"steps": [{"agent": "code-review"}, {"agent": "documentation"}], "context": "x"})


def post(api: Api, user: Any, request: tuple[str, dict[str, Any]], key: str = "k-1", **changes: Any) -> httpx.Response:
    path, body = request
    return api.post(path, json={**body, **changes}, headers={**api.as_(user), "Idempotency-Key": key})


@pytest.mark.parametrize("request_", [AGENT, CHAIN])
def test_it_works(api: Api, alice: Any, upstream: Upstream, chains_worker: Any, request_: Any) -> None:
    first, second = post(api, alice, request_), post(api, alice, request_)

    assert second.text == first.text
    assert second.headers["X-Run-Id"] == first.headers["X-Run-Id"]
    assert ("Idempotency-Replayed" in first.headers, second.headers["Idempotency-Replayed"]) == (False, "true")
    assert second.headers["X-Usage-Used"] == "1"
    assert Run.objects.filter(user=alice).count() == 1 == MonthlyUsage.objects.get(user=alice).executions


@pytest.mark.parametrize("request_", [AGENT, CHAIN])
def test_twenty_parallel_requests(api: Api, alice: Any, upstream: Upstream, chains_worker: Any, request_: Any) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(api, alice, request_), range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["X-Run-Id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert len({str(events(answer)) for answer in answers}) == 1
    assert MonthlyUsage.objects.get(user=alice).executions == 1


def test_another_body_is_a_conflict(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    post(api, alice, AGENT)
    assert error(post(api, alice, AGENT, context="y")) == (409, "idempotency_conflict")
    assert error(post(api, alice, CHAIN)) == (409, "idempotency_conflict")
    assert Run.objects.filter(user=alice).count() == 1


def test_the_format_of_the_body_does_not_matter(api: Api, alice: Any, upstream: Upstream) -> None:
    post(api, alice, AGENT)
    headers = {**api.as_(alice), "Idempotency-Key": "k-1", "Content-Type": "application/json"}
    body = '{ "onDisconnect":"continue", "context" : "x", "agent": "code-review" }'
    assert api.post("/agents/execute", content=body, headers=headers).headers["Idempotency-Replayed"] == "true"


def test_another_users_key_is_another_key(api: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    first, second = post(api, alice, AGENT), post(api, charlie, AGENT)
    assert first.headers["X-Run-Id"] != second.headers["X-Run-Id"]


def test_a_run_under_way_is_joined(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("half "), "wait", delta("done", "stop")]))
    path, body = AGENT
    headers = {**api.as_(alice), "Idempotency-Key": "k-1"}
    with api.stream("POST", path, json=body, headers=headers) as response:
        next(text for text in response.iter_text() if "half" in text)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(post, api, alice, AGENT)
        upstream.resume.set()
        assert [event["type"] for event in events(second.result())] == ["start", "chunk", "chunk", "done"]
    assert len(upstream.requests) == 1


def test_a_run_without_output_may_be_retried(api: Api, alice: Any, upstream: Upstream) -> None:
    """A run that failed without output was released; its response has Retry-After."""
    upstream.respond_with(Answer(status=503), Answer(status=503), completion("at last"))
    assert error(post(api, alice, AGENT)) == (503, "provider_unavailable")
    again = post(api, alice, AGENT)
    assert events(again)[-1]["type"] == "done" and "Idempotency-Replayed" not in again.headers
    assert post(api, alice, AGENT).headers["X-Run-Id"] == again.headers["X-Run-Id"]
    assert MonthlyUsage.objects.get(user=alice).executions == 1


def test_a_run_that_failed_half_way_is_the_result(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("half "), 0.05, "cut"]), completion("not asked"))
    first, second = post(api, alice, AGENT), post(api, alice, AGENT)
    assert first.text == second.text and events(second)[-1]["code"] == "provider_error"


def test_a_downgrade_does_not_take_the_result_away(api: Api, bob: Any, upstream: Upstream) -> None:
    first = post(api, bob, AGENT, agent="seo")
    bob.tier = "free"
    bob.save()
    assert post(api, bob, AGENT, agent="seo").headers["X-Run-Id"] == first.headers["X-Run-Id"]


def test_a_refused_request_leaves_its_key_free(api: Api, alice: Any, upstream: Upstream) -> None:
    assert error(post(api, alice, AGENT, agent="seo")) == (403, "pro_required")
    assert not IdempotencyKey.objects.filter(user=alice).exists()
    assert post(api, alice, AGENT).status_code == 200


def test_a_key_expires_after_a_day(api: Api, alice: Any, upstream: Upstream) -> None:
    first = post(api, alice, AGENT)
    IdempotencyKey.objects.filter(user=alice).update(created_at=Now() - timedelta(hours=25))
    assert post(api, alice, AGENT, context="y").headers["X-Run-Id"] != first.headers["X-Run-Id"]


def test_expired_keys_are_deleted(api: Api, alice: Any, upstream: Upstream) -> None:
    post(api, alice, AGENT, "old")
    IdempotencyKey.objects.update(created_at=Now() - timedelta(hours=25))
    post(api, alice, AGENT, "new")
    idempotency.delete_expired()
    assert [key.key for key in IdempotencyKey.objects.all()] == ["new"]


@pytest.mark.parametrize("bad", ["", "x" * 256, "tab\there", "ü"])
def test_a_bad_key(api: Api, alice: Any, bad: str) -> None:
    path, body = AGENT
    headers = httpx.Headers([*api.as_(alice).items(), ("Idempotency-Key", bad)], encoding="utf-8")
    response = api.post(path, json=body, headers=headers)
    assert error(response) == (400, "validation_error")
    assert response.json()["fields"][0]["field"] == "Idempotency-Key"
