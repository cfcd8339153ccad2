"""GET /runs and GET /runs/{id}."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from django.db.models import F

import agents.services
import chains.services
from agents.models import LanguageModel
from runs.models import Run, RunText
from testing.client import Api, error, events, takes_effect
from testing.loopback.upstream import DONE, Answer, Upstream, completion, delta, reasoning_delta, usage

MILLISECOND = timedelta(milliseconds=1)
KINDS = {
    "prompt_tokens_details": {"cached_tokens": 640, "cache_creation_tokens": 32},
    "completion_tokens_details": {"reasoning_tokens": 96},
}
ALL_KINDS = {"input": 812, "output": 240, "reasoning": 96, "cacheRead": 640, "cacheWrite": 32, "estimated": False}
SAID = {"error": {"message": "Not so: https://inside.example.com/v1 says org-abcdef0123456789.", "code": "odd"}}


def detail(api: Api, user: Any, run_id: str) -> dict[str, Any]:
    return dict(api.get(f"/runs/{run_id}", headers=api.as_(user)).json()["data"])


def listed(api: Api, user: Any, run_id: str) -> dict[str, Any]:
    page = api.get("/runs", headers=api.as_(user)).json()["data"]
    return next(run for run in page["runs"] if run["id"] == run_id)


def refusal_answer(status: int = 400) -> Answer:
    return Answer(status=status, body=orjson.dumps(SAID), headers={"Content-Type": "application/json"})


def add_key(api: Api, user: Any) -> None:
    put = api.put("/providers/openai/key", json={"key": "sk-alices-own-0123456789"}, headers=api.as_(user))
    assert put.status_code == 200


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice, context="my code").headers["X-Run-Id"]
    run = api.get(f"/runs/{run_id}", headers=api.as_(alice)).json()["data"]

    assert run["id"] == run_id
    assert (run["agent"], run["provider"], run["model"]) == ("code-review", "deepseek", "deepseek-chat")
    assert (run["status"], run["errorCode"]) == ("succeeded", "")
    assert (run["inputTokens"], run["outputTokens"]) == (11, 7)
    assert float(run["costUsd"]) > 0
    assert 0 < run["firstTokenMs"] <= run["durationMs"]
    assert run["createdAt"] < run["finishedAt"]
    assert (run["input"], run["output"]) == ("my code", "Hello world")


def test_a_failed_run_has_an_error_code(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(status=401))
    run_id = api.execute(alice).headers["X-Run-Id"]
    run = api.get(f"/runs/{run_id}", headers=api.as_(alice)).json()["data"]
    assert (run["status"], run["errorCode"], run["output"]) == ("failed", "provider_error", "")


def test_another_users_run_is_not_there(api: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    assert error(api.get(f"/runs/{run_id}", headers=api.as_(charlie))) == (404, "not_found")
    assert api.get("/runs", headers=api.as_(charlie)).json()["data"] == {"runs": [], "nextCursor": None}


@pytest.mark.parametrize("path", ["/runs/00000000-0000-4000-8000-000000000000", "/runs/nonsense", "/runs/1"])
def test_unknown_runs(api: Api, alice: Any, path: str) -> None:
    assert error(api.get(path, headers=api.as_(alice))) == (404, "not_found")


def test_paging(api: Api, bob: Any, upstream: Upstream) -> None:
    made = [api.execute(bob).headers["X-Run-Id"] for _ in range(5)]
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.get("/runs", params=query, headers=api.as_(bob)).json()["data"]
        assert len(page["runs"]) <= 2
        seen += [run["id"] for run in page["runs"]]
        if not (cursor := page["nextCursor"]):
            break
    assert seen == made[::-1]


def test_filters(api: Api, bob: Any, upstream: Upstream) -> None:
    api.execute(bob, agent="seo")
    api.execute(bob, agent="docker")
    upstream.respond_with(Answer(status=401))
    api.execute(bob, agent="docker")

    def agents(**query: str) -> list[str]:
        page = api.get("/runs", params=query, headers=api.as_(bob)).json()["data"]
        return [run["agent"] for run in page["runs"]]

    assert agents(agent="docker") == ["docker", "docker"]
    assert agents(status="failed") == ["docker"]
    assert agents(agent="docker", status="succeeded") == ["docker"]
    assert agents(agent="hig") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [({"status": "lost"}, "status"), ({"limit": "0"}, "limit"), ({"limit": "x"}, "limit"), ({"limit": "101"}, "limit"),
     ({"cursor": "nonsense"}, "cursor"), ({"agent": "x" * 65}, "agent"), ({"statu": "failed"}, "statu")],
)  # fmt: skip
def test_bad_queries(api: Api, alice: Any, query: dict[str, str], field: str) -> None:
    response = api.get("/runs", params=query, headers=api.as_(alice))
    assert error(response) == (400, "validation_error")
    assert [entry["field"] for entry in response.json()["fields"]] == [field]


# -- Tokens and cost ---------------------------------------------------------------------------------------------------


def test_all_kinds_of_tokens(api: Api, alice: Any, upstream: Upstream) -> None:
    pieces = [reasoning_delta("Hm."), delta("Fine.", "stop"), usage(812, 240, **KINDS), DONE]
    upstream.respond_with(Answer(pieces=[b"".join(pieces)]))
    response = api.execute(alice)
    run = detail(api, alice, response.headers["X-Run-Id"])
    assert run["tokens"] == ALL_KINDS == events(response)[-1]["tokens"]
    assert (run["inputTokens"], run["outputTokens"], run["costKnown"]) == (812, 240, True)
    assert listed(api, alice, run["id"]).items() <= run.items()


def test_estimated_tokens_say_so(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(completion("Fine.", tokens=None))
    run = detail(api, alice, api.execute(alice).headers["X-Run-Id"])
    assert run["tokens"]["estimated"] and run["tokens"]["input"] == run["inputTokens"] > 0


def test_steps_of_a_chain(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    counted = [delta("Fine.", "stop"), usage(812, 240, **KINDS), DONE]
    upstream.respond_with(Answer(pieces=[b"".join(counted)]), completion("Tested.", tokens=None))
    response = api.execute_chain(alice, "code-review", "documentation")
    run = detail(api, alice, response.headers["X-Run-Id"])
    first, second = run["steps"]
    assert first["tokens"] == ALL_KINDS and second["tokens"]["estimated"]
    assert first["costKnown"] is second["costKnown"] is run["costKnown"] is True
    assert run["tokens"] == events(response)[-1]["tokens"]
    assert run["tokens"] == {**ALL_KINDS, **{name: run["tokens"][name] for name in ("input", "output", "estimated")}}
    assert run["tokens"]["input"] == first["inputTokens"] + second["inputTokens"]


@pytest.fixture
def unpriced(database: None) -> Iterator[str]:
    """Add a model that the price table lacks."""
    row = LanguageModel.objects.create(provider="openai", name="not-for-sale-9")
    yield row.name
    row.delete()


def test_a_model_without_a_price(api: Api, bob: Any, upstream: Upstream, unpriced: str) -> None:
    body = {"agent": "code-review", "context": "x", "model": unpriced}
    assert takes_effect(lambda: api.post("/agents/execute", json=body, headers=api.as_(bob)).status_code == 200)
    response = api.execute(bob, model=unpriced)
    done, run = events(response)[-1], detail(api, bob, response.headers["X-Run-Id"])
    assert (done["cost"], done["costKnown"]) == ("$0.0000", False)
    assert (float(run["costUsd"]), run["costKnown"]) == (0, False)
    assert listed(api, bob, run["id"])["costKnown"] is False


# -- Failures ----------------------------------------------------------------------------------------------------------


def test_a_failure_on_the_servers_key(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(refusal_answer())
    response = api.execute(alice)
    run = detail(api, alice, response.headers["X-Run-Id"])
    assert run["error"] == response.json()["error"]
    assert (run["providerStatus"], run["errorCode"]) == (400, "provider_error")
    asked = {"provider": "deepseek", "model": "deepseek-chat", "code": "provider_error", "status": 400}
    assert run["lastAttempt"] == {**asked, "said": ""}
    assert listed(api, alice, run["id"])["providerStatus"] == 400


def test_a_failure_on_an_own_key(api: Api, alice: Any, upstream: Upstream) -> None:
    add_key(api, alice)
    upstream.respond_with(refusal_answer())
    response = api.execute(alice, provider="openai")
    run = detail(api, alice, response.headers["X-Run-Id"])
    assert run["ownKey"] and run["error"] == response.json()["error"]
    assert "Not so" in run["lastAttempt"]["said"] and "Not so" in run["error"]
    assert "inside.example.com" not in str(run) and "org-abcdef" not in str(run)


def test_a_chain_that_failed(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    upstream.respond_with(completion("found"), refusal_answer(401))
    response = api.execute_chain(alice, "code-review", "documentation")
    run = detail(api, alice, response.headers["X-Run-Id"])
    last = events(response)[-1]
    assert (run["errorCode"], run["error"]) == (last["code"], last["error"])
    assert (run["providerStatus"], run["lastAttempt"]["status"], run["lastAttempt"]["said"]) == (401, 401, "")


def test_a_run_that_did_not_fail_has_no_failure(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(status=503), completion("at last"))
    run = detail(api, alice, api.execute(alice).headers["X-Run-Id"])
    assert (run["error"], run["lastAttempt"], run["providerStatus"]) == ("", None, None)


def test_a_chain_that_is_resumed_has_not_failed(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    """A provider's message about the server's key stays hidden after a resume."""
    upstream.respond_with(refusal_answer(401))
    run_id = api.execute_chain(alice, "code-review", provider="openai").headers["X-Run-Id"]
    add_key(api, alice)
    upstream.respond_with(Answer(pieces=[delta("found"), "wait", delta("", "stop"), DONE]))
    with api.stream("POST", f"/runs/{run_id}/resume", headers=api.as_(alice)) as response:
        text = response.iter_text()
        next(piece for piece in text if "found" in piece)
        run = detail(api, alice, run_id)
        upstream.resume.set()
        assert [*text]
    assert (run["status"], run["ownKey"], run["error"], run["lastAttempt"]) == ("running", True, "", None)


def test_a_failure_without_its_expired_texts(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(refusal_answer())
    run_id = api.execute(alice).headers["X-Run-Id"]
    for model in (Run, RunText):
        model._default_manager.update(expires_at=F("expires_at") - timedelta(days=120))
    run = detail(api, alice, run_id)
    assert (run["error"], run["lastAttempt"]) == ("", None)
    assert (run["errorCode"], run["providerStatus"]) == ("provider_error", 400)


# -- Times -------------------------------------------------------------------------------------------------------------


def assert_times_agree(run: dict[str, Any], *, text: bool) -> None:
    created, finished = (datetime.fromisoformat(run[name]) for name in ("createdAt", "finishedAt"))
    assert abs((finished - created) / MILLISECOND - run["durationMs"]) <= 1  # the shown times are rounded
    assert (run["firstTokenMs"] is not None) == text
    assert not text or 0 < run["firstTokenMs"] <= run["durationMs"]


def test_times_of_an_agents_run(api: Api, alice: Any, upstream: Upstream) -> None:
    response = api.execute(alice)
    run = detail(api, alice, response.headers["X-Run-Id"])
    assert_times_agree(run, text=True)
    shown_s = float(events(response)[-1]["duration"].removesuffix("s"))
    assert shown_s * 1000 == pytest.approx(run["durationMs"], abs=51)  # with one decimal place


def test_times_of_a_chain(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    run = detail(api, alice, api.execute_chain(alice, "code-review", "documentation").headers["X-Run-Id"])
    assert_times_agree(run, text=True)
    assert sum(step["durationMs"] for step in run["steps"]) <= run["durationMs"]


def test_a_chain_is_created_when_its_request_came_in(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for passages before the start may take seconds."""
    monkeypatch.setattr(chains.services, "_publish_and_enqueue", lambda run, opening: None)
    monkeypatch.setattr(agents.services, "targets_for_user", lambda user, asked, own: [asked])
    request = {"steps": ["code-review"], "context": "x", "provider": None, "model": None, "chain": None}
    began = chains.services.start(user=alice, **request, request_id="r", started=time.perf_counter() - 60)  # type: ignore[arg-type]
    run = Run.objects.get(pk=began.run.pk)
    assert run.heartbeat_at - run.created_at >= timedelta(seconds=60)


def test_times_of_a_failed_run(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    upstream.respond_with(refusal_answer())
    failed = [api.execute(alice), api.execute_chain(alice, "code-review")]
    upstream.respond_with(Answer(pieces=[delta("half"), "cut"]))
    failed_later = api.execute(alice)
    for response in failed:
        assert_times_agree(detail(api, alice, response.headers["X-Run-Id"]), text=False)
    assert_times_agree(detail(api, alice, failed_later.headers["X-Run-Id"]), text=True)


@pytest.mark.parametrize("chain", [False, True])
def test_times_of_a_cancelled_run(api: Api, alice: Any, upstream: Upstream, chains_worker: Any, chain: bool) -> None:
    upstream.respond_with(Answer(pieces=[delta("half"), "hang"]))
    agents = {"steps": [{"agent": "code-review"}]} if chain else {"agent": "code-review"}
    path = "/chains/execute" if chain else "/agents/execute"
    with api.stream("POST", path, json={**agents, "context": "x"}, headers=api.as_(alice)) as response:
        text = response.iter_text()
        next(piece for piece in text if "half" in piece)
        run_id = response.headers["X-Run-Id"]
        api.post(f"/runs/{run_id}/cancel", headers=api.as_(alice))
        assert '"cancelled"' in "".join(text)
    run = detail(api, alice, run_id)
    assert (run["status"], run["error"], run["lastAttempt"]) == ("cancelled", "", None)
    assert_times_agree(run, text=True)
